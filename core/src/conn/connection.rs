//! A client connection's place in the table: parked, or awake.
//!
//! Owns when a connection needs no more than a few numbers, and the machines that those which need
//! more take turns in. Must not know what a machine does.
//!
//! Most connections of a busy server wait for their next request. Such a one is [`Parked`]: it
//! holds no buffer and nothing else on the heap, which its being `Copy` proves. An event wakes it.

use super::Machine;
use super::address::{Address, LocalId};
use super::client::{Client, Receiving};
use super::memory::{Memory, Pressure};
use super::spare::Spare;
use super::world::World;
use crate::io::{Fd, Op, Time, Token};
use crate::per_address::Permit;
use std::net::SocketAddr;
use std::time::Duration;

/// See the module's documentation.
pub(crate) enum Connection {
    Parked(Parked),
    Awake(Box<Client>),
}

/// A connection between two requests: with nothing to send, and nothing of a request received.
#[derive(Clone, Copy)]
pub(crate) struct Parked {
    pub(super) until: Time,
    /// From when on a cheaper receive will do: so many tenths of a second before `until`. Whose
    /// patience is above two hours gets it later.
    pub(super) rests_before: u16,
    /// Bytes that the kernel has accepted of its answers.
    pub(super) accepted: u64,
    pub(super) fd: Fd,
    /// Saturates.
    pub(super) requests: u32,
    pub(super) peer: Address,
    pub(super) local: LocalId,
    pub(super) receiving: Receiving,
    pub(super) watched: bool,
    /// So many bytes of one have arrived: it may be the end of the last request (RFC 9112 §2.2).
    pub(super) empty_line: u8,
}

impl Parked {
    pub(super) fn rests_before(until: Time, now: Time) -> u16 {
        let rested = until.since(now.after(RESTS_AFTER)).as_millis() / 100;
        u16::try_from(rested).unwrap_or(u16::MAX)
    }

    fn deadline(&self) -> Time {
        match self.receiving {
            Receiving::Repeatedly => {
                self.until.before(Duration::from_millis(100) * self.rests_before.into())
            }
            _ => self.until,
        }
    }

    /// An armed receive costs the kernel three times the memory of a poll, and may bring much at
    /// once. What arrives meanwhile is received still.
    fn rest(&mut self, token: Token, w: &mut World) {
        self.receiving = Receiving::Resting;
        w.submit(token, Op::EndRecv { target: token });
    }
}

/// Machines that nobody uses. Boxed, because that is how they are used.
pub(crate) struct Machines(Spare<Box<Client>>);

impl Connection {
    /// What an idle connection counts in `memory_budget`: the most that it may have in all tables.
    pub(crate) const PARKED_BYTES: u64 = 128;

    pub(crate) fn new(
        token: Token,
        fd: Fd,
        addresses: (SocketAddr, SocketAddr),
        permit: Option<Permit>,
        w: &mut World,
    ) -> Connection {
        let mut client = w.machines.take();
        client.begin(token, fd, addresses, permit, w);
        Connection::Awake(client)
    }

    /// Its socket, until that has been closed.
    pub(crate) fn descriptor(&self) -> Option<Fd> {
        match self {
            Connection::Parked(parked) => Some(parked.fd),
            Connection::Awake(client) => (!client.is_over()).then_some(client.fd),
        }
    }

    /// For an event that any connection can have.
    pub(crate) fn wake(&mut self, token: Token, w: &mut World) -> &mut Client {
        if let Connection::Parked(parked) = self {
            let mut client = w.machines.take();
            client.go_on(token, *parked, &w.locals);
            if parked.empty_line > 0 {
                client.input = w.buffers.small();
                client.input.extend_from_slice(&b"\r\n"[..parked.empty_line.into()]);
            }
            *self = Connection::Awake(client);
        }
        self.awake().expect("just woken")
    }

    /// For an event that no parked connection can have.
    pub(crate) fn awake(&mut self) -> Option<&mut Client> {
        match self {
            Connection::Parked(_) => None,
            Connection::Awake(client) => Some(client),
        }
    }

    /// As [`Client::is_stuck`].
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn is_stuck(&self) -> bool {
        match self {
            Connection::Parked(parked) => parked.receiving == Receiving::No,
            Connection::Awake(client) => client.is_stuck(),
        }
    }

    /// Ends at once: whatever its client sends or has not received yet is lost.
    pub(crate) fn stop(&mut self, token: Token, w: &mut World) {
        self.wake(token, w).stop(w);
    }

    /// Ends an idle connection as if its time were over: nothing is lost.
    pub(crate) fn end(&mut self, token: Token, w: &mut World) {
        self.wake(token, w).end(w);
    }

    /// Memory is scarce.
    pub(crate) fn hurry(&mut self, token: Token, pressure: Pressure, w: &mut World) {
        match self {
            Connection::Parked(parked) if parked.receiving == Receiving::Repeatedly => {
                parked.rest(token, w);
            }
            Connection::Awake(client) if pressure >= Pressure::Timeouts => {
                client.hurry(pressure, w);
            }
            _ => {}
        }
    }

    /// After an event: needs no machine if it only waits for its next request.
    pub(crate) fn park(&mut self, w: &mut World) {
        if let Connection::Awake(client) = self
            && let Some(parked) = client.parked(w.now)
            && let Connection::Awake(mut client) =
                std::mem::replace(self, Connection::Parked(parked))
        {
            w.memory.recount(&mut client.counted, Connection::PARKED_BYTES);
            if parked.empty_line > 0 {
                w.buffers.give(std::mem::take(&mut client.input));
            }
            w.machines.give(client);
        }
    }

    /// It has ended.
    pub(crate) fn dispose(self, w: &mut World) {
        if let Connection::Awake(mut client) = self {
            w.memory.recount(&mut client.counted, 0);
            if let Some(id) = client.local_id {
                w.locals.leave(id);
            }
            w.machines.give(client);
        }
    }

    /// How long it may still idle, if that is all it does between two requests.
    pub(crate) fn parked_until(&self) -> Option<Time> {
        match self {
            Connection::Parked(parked) => Some(parked.until),
            Connection::Awake(_) => None,
        }
    }
}

impl Machine for Connection {
    fn deadline(&self) -> Option<Time> {
        match self {
            Connection::Parked(parked) => Some(parked.deadline()),
            Connection::Awake(client) => client.deadline(),
        }
    }

    fn on_deadline(&mut self, token: Token, w: &mut World) {
        match self {
            Connection::Parked(parked) if w.now < parked.until => parked.rest(token, w),
            _ => self.wake(token, w).on_deadline(token, w),
        }
    }

    fn account(&mut self, memory: &mut Memory) {
        if let Connection::Awake(client) = self {
            client.account(memory);
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Connection::Parked(_) => false,
            Connection::Awake(client) => client.is_over(),
        }
    }
}

impl Machines {
    fn take(&mut self) -> Box<Client> {
        self.0.take().unwrap_or_else(|| Box::new(Client::vacant()))
    }

    /// Takes a machine back; more than are useful are freed.
    fn give(&mut self, mut client: Box<Client>) {
        client.vacate();
        self.0.give(client);
    }

    /// Drops those that nobody has needed since the last call. How many bytes.
    pub(crate) fn trim(&mut self) -> usize {
        self.0.trim(|_| size_of::<Client>())
    }

    /// Whether [`Machines::trim`] may have something to do sooner or later.
    pub(crate) fn has_spare(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Default for Machines {
    fn default() -> Machines {
        Machines(Spare::new(1024))
    }
}

/// So long a silent connection keeps the receive that is quickest for its next request.
const RESTS_AFTER: Duration = Duration::from_secs(2);
