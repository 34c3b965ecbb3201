//! Which misbehaviour the simulated kernel is allowed, how often, and the randomness it draws on.
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
    /// Opening, looking up or reading a file takes up to [`Faults::COLD`] turns.
    pub(crate) cold: u16,
    /// An operation other than accepting fails with `ENOMEM`.
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

/// SplitMix64: a small generator that any seed is good for.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of the range, each about equally likely.
    pub(crate) fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        let width = range.end().saturating_sub(*range.start()) as u64 + 1;
        range.start() + (self.next() % width) as usize
    }

    /// True in `per_mille` of a thousand cases. Impossible cases draw nothing.
    pub(crate) fn chance(&mut self, per_mille: u16) -> bool {
        per_mille > 0 && self.next() % 1000 < u64::from(per_mille)
    }

    /// `whole`, or with that probability a part of it: at least 1, if `whole` is.
    pub(super) fn maybe_part(&mut self, per_mille: u16, whole: usize) -> usize {
        if whole > 1 && self.chance(per_mille) { self.within(1..=whole - 1) } else { whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_about_right() {
        let mut random = Random::new(1);
        let hits = (0..100_000).filter(|_| random.chance(250)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| !random.chance(0)));
        assert!((0..1000).all(|_| random.chance(1000)));
    }

    #[test]
    fn parts_are_neither_empty_nor_whole() {
        let mut random = Random::new(2);
        assert_eq!(random.maybe_part(1000, 0), 0);
        assert_eq!(random.maybe_part(1000, 1), 1);
        assert!((0..1000).all(|_| (1..=9).contains(&random.maybe_part(1000, 10))));
    }
}
