//! A worker's connection, as its warden sees it: the reactor that accepted it.
//!
//! Owns the greeting and the watch for the worker's end: that of its connection, and that of its
//! process, whose children can keep the connection open. Requests on the slot are other objects'
//! business, perhaps other reactors'. Must not read from the socket after the greeting.

use super::Machine;
use super::memory::Memory;
use super::world::{Notice, World};
use crate::http::slot::{ACCEPTED, PROTOCOL, REFUSED};
use crate::http::{self, FieldRoom, HeadLimits};
use crate::io::{Body, Death, Direction, Errno, Fd, Op, Outgoing, PeerEnd, Time, Token};
use crate::pool::SlotId;
use crate::route::SharedPool;
use std::sync::Arc;
use std::time::Duration;

/// See the module's documentation.
pub(crate) struct Slot {
    token: Token,
    fd: Fd,
    /// The worker's, for the log.
    process: u32,
    pool: Arc<SharedPool>,
    state: State,
    /// Operations of the warden in flight on the socket.
    in_flight: u32,
    input: Vec<u8>,
    /// What the account knows.
    counted: u64,
    deadline: Option<Time>,
}

enum State {
    /// Waits for the worker's upgrade request.
    Greeting,
    /// Sends the answer; `true`: then it is a slot, else it is closed.
    Answering(bool),
    /// In the pool's hands.
    Open(SlotId),
    /// Shut down; waits for operations in flight.
    Closing,
    Closed,
}

impl Slot {
    pub(crate) fn new(
        token: Token,
        fd: Fd,
        process: u32,
        pool: Arc<SharedPool>,
        w: &mut World,
    ) -> Slot {
        let deadline = Some(w.now.after(GREETING_TIMEOUT));
        let input = w.buffers.small();
        let mut slot = Slot {
            token,
            fd,
            process,
            pool,
            state: State::Greeting,
            in_flight: 0,
            input,
            counted: 0,
            deadline,
        };
        slot.receive(w);
        slot
    }

    pub(crate) fn on_filled(&mut self, buf: Vec<u8>, result: Result<usize, Errno>, w: &mut World) {
        self.in_flight -= 1;
        self.input = buf;
        match (&self.state, result) {
            (State::Greeting, Ok(count)) if count > 0 => self.on_greeting(w),
            _ => self.shut_down(w),
        }
        self.settle(w);
    }

    pub(crate) fn on_sent(&mut self, out: Outgoing, result: Result<usize, Errno>, w: &mut World) {
        self.in_flight -= 1;
        match (&self.state, result) {
            (State::Answering(_), Ok(_)) if out.remaining() > 0 => {
                self.submit(Op::Send { fd: self.fd, out, more: false }, w);
                return;
            }
            (State::Answering(true), Ok(_)) => self.open(w),
            _ => self.shut_down(w),
        }
        w.buffers.give_outgoing(out);
        self.settle(w);
    }

    /// The worker has hung up, or the slot was shut down on our side.
    pub(crate) fn on_hang_up(&mut self, w: &mut World) {
        self.in_flight -= 1;
        if let State::Open(slot) = self.state
            && self.pool.core().hang_up(slot, w.now)
        {
            self.shut_down(w);
        }
        self.settle(w);
    }

    /// The worker's process has ended, or the kernel does not tell. That ends the slot even if
    /// somebody else keeps it open: whatever is in flight on it, the watch for a hang-up too.
    pub(crate) fn on_process_end(&mut self, result: Result<Death, Errno>, w: &mut World) {
        self.in_flight -= 1;
        if result.is_ok() && matches!(self.state, State::Open(_)) {
            w.submit(self.token, Op::Shutdown { fd: self.fd, direction: Direction::Both });
        }
        self.settle(w);
    }

    /// Nobody uses the slot any more.
    pub(crate) fn on_released(&mut self, w: &mut World) {
        self.shut_down(w);
        self.settle(w);
    }

    /// Its socket, until that has been closed.
    pub(crate) fn descriptor(&self) -> Option<Fd> {
        (!self.is_over()).then_some(self.fd)
    }

    /// The pool that it belongs to.
    pub(crate) fn pool(&self) -> &Arc<SharedPool> {
        &self.pool
    }

    /// The server ends, or the pool does. An idle slot is closed; one in use goes on until its
    /// exchange is over.
    pub(crate) fn on_end(&mut self, w: &mut World) {
        if !matches!(self.state, State::Closing | State::Closed) {
            w.submit(self.token, Op::Shutdown { fd: self.fd, direction: Direction::Both });
            if !matches!(self.state, State::Open(_)) {
                self.state = State::Closing;
            }
        }
        self.settle(w);
    }

    fn on_greeting(&mut self, w: &mut World) {
        match is_upgrade(&self.input) {
            Some(true) => self.answer(ACCEPTED, true, w),
            Some(false) => {
                w.counters.slots_refused.count();
                self.answer(REFUSED, false, w);
            }
            None if self.input.len() < self.input.capacity() => self.receive(w),
            None => self.shut_down(w),
        }
    }

    fn answer(&mut self, answer: &[u8], accepted: bool, w: &mut World) {
        let mut head = w.buffers.small();
        head.extend_from_slice(answer);
        self.state = State::Answering(accepted);
        let out = Outgoing::new(head, Body::None);
        self.submit(Op::Send { fd: self.fd, out, more: false }, w);
    }

    fn open(&mut self, w: &mut World) {
        self.deadline = None;
        w.buffers.give(std::mem::take(&mut self.input));
        self.submit(Op::AwaitHangUp { fd: self.fd }, w);
        self.submit(Op::PeerEnd(PeerEnd::new(self.fd)), w);
        let (slot, assignment) =
            self.pool.core().join(self.fd, w.reactor, self.token, self.process, w.now);
        self.state = State::Open(slot);
        if let Some(assignment) = assignment {
            w.notify(Notice::Assigned { pool: Arc::clone(&self.pool), assignment });
        }
    }

    fn receive(&mut self, w: &mut World) {
        let buf = std::mem::take(&mut self.input);
        self.submit(Op::Fill { fd: self.fd, buf, poll_first: false }, w);
    }

    fn submit(&mut self, op: Op, w: &mut World) {
        self.in_flight += 1;
        w.submit(self.token, op);
    }

    fn shut_down(&mut self, w: &mut World) {
        if !matches!(self.state, State::Closing | State::Closed) {
            w.submit(self.token, Op::Shutdown { fd: self.fd, direction: Direction::Both });
            w.submit(self.token, Op::Cancel { target: self.token });
            self.state = State::Closing;
        }
    }

    fn settle(&mut self, w: &mut World) {
        if matches!(self.state, State::Closing) && self.in_flight == 0 {
            w.submit(self.token, Op::Close { fd: self.fd });
            w.buffers.give(std::mem::take(&mut self.input));
            self.state = State::Closed;
            self.deadline = None;
        }
    }
}

impl Machine for Slot {
    fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    fn on_deadline(&mut self, _: Token, w: &mut World) {
        self.deadline = None;
        self.shut_down(w);
        self.settle(w);
    }

    fn account(&mut self, memory: &mut Memory) {
        memory.recount(&mut self.counted, self.input.capacity() as u64);
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Closed)
    }
}

/// How long a worker may take to say what it wants.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a worker asks to become a slot; `None`: not all of its request is there.
fn is_upgrade(input: &[u8]) -> Option<bool> {
    let limits = HeadLimits { bytes: input.len().max(1), fields: 32, target_bytes: 256 };
    let mut room = FieldRoom::default();
    match http::parse_request(input, &mut room, &limits) {
        Ok(None) => None,
        Err(_) => Some(false),
        Ok(Some(head)) => {
            let upgrade = |f: &&httparse::Header<'_>| f.name.eq_ignore_ascii_case("Upgrade");
            let asked = head.fields.iter().find(upgrade).map(|f| f.value);
            Some(asked == Some(PROTOCOL.as_bytes()) && head.len == input.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_upgrade;

    #[test]
    fn only_a_whole_upgrade_becomes_a_slot() {
        let good = b"GET / HTTP/1.1\r\nHost: forebay\r\nConnection: Upgrade\r\n\
            Upgrade: forebay-slot/1\r\n\r\n";
        assert_eq!(is_upgrade(good), Some(true));
        for end in 0..good.len() {
            assert_eq!(is_upgrade(&good[..end]), None, "{end} bytes");
        }
        assert_eq!(is_upgrade(b"GET / HTTP/1.1\r\nHost: forebay\r\n\r\n"), Some(false));
        assert_eq!(is_upgrade(b"nonsense\r\n\r\n"), Some(false));
        let with_more = [&good[..], b"x"].concat();
        assert_eq!(is_upgrade(&with_more), Some(false), "bytes before the first request");
    }
}
