//! Which misbehaviour the simulated kernel is allowed, and how often.
//!
//! Owns the probabilities. Must not know operations.

use std::ops::RangeInclusive;

/// How often the kernel misbehaves, per mille of the occasions. Everything here is something
/// that Linux does, too, only rarely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// A send takes only part of what would fit.
    pub(crate) short_send: u16,
    /// A receive or a read returns only part of what is there.
    pub(crate) short_receive: u16,
    /// `SendFile` moves only part of the window.
    pub(crate) short_sendfile: u16,
    /// An operation is performed, or its completion delivered, up to [`Faults::LATE`] turns late.
    pub(crate) late: u16,
    /// A completion overtakes others (never one of the same multishot operation).
    pub(crate) reorder: u16,
    /// `Recv` says `ENOBUFS` though a buffer is free.
    pub(crate) no_buffers: u16,
    /// The peer vanishes: a TCP connection is reset, the process behind a Unix socket dies.
    pub(crate) reset: u16,
    /// Accepting fails with `EMFILE`, which ends the multishot; the connection goes on waiting.
    pub(crate) no_descriptors: u16,
    /// A multishot operation ends with what it delivers.
    pub(crate) multishot_end: u16,
    /// Opening, looking up, reading or sending a file takes up to [`Faults::COLD`] turns.
    pub(crate) cold: u16,
    /// An operation fails with `ENOMEM`; not accepting, and not waiting for a process's end: nobody
    /// but the deadline would tell of a worker that is dead and whose child keeps the connection.
    pub(crate) no_memory: u16,
    /// Making or writing a file fails: `ENOSPC`, or `EIO`.
    pub(crate) disk: u16,
    /// A write takes only part of its bytes.
    pub(crate) short_write: u16,
    /// A turn delivers nothing though something is there.
    pub(crate) early_return: u16,
}

impl Faults {
    /// Turns that a late operation or completion waits.
    pub(super) const LATE: RangeInclusive<usize> = 1..=6;
    /// Turns that a cold file takes.
    pub(super) const COLD: RangeInclusive<usize> = 2..=20;

    /// A kernel that does everything at once and whole.
    pub(crate) fn none() -> Faults {
        Faults::default()
    }

    /// Every misbehaviour, at rates that leave most connections a chance.
    pub(crate) fn all() -> Faults {
        Faults {
            short_send: 250,
            short_receive: 250,
            short_sendfile: 250,
            late: 150,
            reorder: 300,
            no_buffers: 60,
            reset: 2,
            no_descriptors: 60,
            multishot_end: 60,
            cold: 250,
            no_memory: 2,
            disk: 20,
            short_write: 250,
            early_return: 100,
        }
    }
}
