//! One exchange with a worker: a whole request, its wait for a slot, its response.
//!
//! Owns the request until it cannot be needed again, and the evidence of how far it got. Outlives
//! its client: what runs is left to run, its response is thrown away and the slot used again.

mod request;
mod spooling;
mod verdict;
mod waiting;

use super::Machine;
use super::buffers::Buffers;
use super::memory::{Memory, Pressure};
use super::relay::{End, Failure, Relay};
use super::upstream::{Progress, Upstream};
use super::world::{Notice, Whole, World};
use crate::access_log::Record;
use crate::io::{Death, Direction, Errno, Fd, Op, Outgoing, Passed, Time, Token};
use crate::per_address::Permit;
use crate::pool::{AfterRelease, Assignment, EndedBy, SlotId, TicketId};
use crate::route::{RoutedPool, SharedPool};
use request::Request;
use std::sync::Arc;
use std::time::Duration;

/// See the module's documentation.
pub(crate) struct HandOver {
    token: Token,
    client: Option<Token>,
    /// Of a client that has gone.
    _permit: Option<Permit>,
    pool: Arc<RoutedPool>,
    request: Request,
    phase: Phase,
    /// True exactly while a send to the worker is in flight.
    sending: bool,
    /// True exactly while a receive from the worker is in flight.
    receiving: bool,
    inquest: Inquest,
    upstream: Upstream,
    pub(crate) relay: Relay,
    /// How long it may wait if it must again.
    patience: Duration,
    deadline: Option<Time>,
    /// The process that had the request last.
    worker: u32,
    /// Processes that crashed before they had begun it.
    crashed: Vec<u32>,
    repeated: bool,
    /// Its response comes in small pieces, for lack of memory.
    is_meagre: bool,
    /// The response is whole, but something is still being said to the worker. Whether the slot may
    /// be used again.
    answered: Option<bool>,
    /// The deadline has passed, but a worker that writes to a file may not have stood still.
    is_in_doubt: bool,
    /// What the account of memory knows.
    counted: u64,
}

/// What is known of the death of a worker that may have begun the request.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Inquest {
    None,
    /// The kernel has been asked.
    Held,
    /// `None`: it does not tell.
    Closed(Option<Death>),
}

enum Phase {
    /// Has no slot. `None`: the queue no longer knows it, an assignment may be on its way.
    Waiting(Option<TicketId>),
    OnSlot {
        slot: SlotId,
        fd: Fd,
        /// How the slot ended, once it has; judged when nothing is in flight any more.
        ended: Option<EndedBy>,
    },
    Over,
}

impl HandOver {
    pub(crate) fn new(
        token: Token,
        client: Token,
        pool: Arc<RoutedPool>,
        whole: Whole,
        w: &mut World,
    ) -> HandOver {
        let upstream = Upstream::new(whole.meta, w.limits.response_head_bytes);
        HandOver {
            token,
            client: Some(client),
            _permit: None,
            pool,
            request: Request::new(whole),
            phase: Phase::Waiting(None),
            sending: false,
            receiving: false,
            inquest: Inquest::None,
            upstream,
            relay: Relay::new(&mut w.buffers),
            patience: Duration::ZERO,
            deadline: None,
            worker: 0,
            crashed: Vec::new(),
            repeated: false,
            is_meagre: false,
            answered: None,
            is_in_doubt: false,
            counted: 0,
        }
    }

    /// Asks the pool for a slot.
    pub(crate) fn start(&mut self, w: &mut World) {
        let admission = self.pool.core().request(w.reactor, self.token, w.now);
        self.patience = self.pool.core().limits().queue_timeout;
        self.on_admission(admission, w);
    }

    pub(crate) fn dispose(mut self, w: &mut World) {
        debug_assert!(self.is_over());
        w.memory.recount(&mut self.counted, 0);
        self.request.let_go(&mut w.buffers);
        self.upstream.dispose(&mut w.buffers);
        self.relay.dispose(&mut w.buffers);
    }

    /// The queue has found a slot for it.
    pub(crate) fn on_assigned(&mut self, assignment: &Assignment, w: &mut World) {
        if self.client.is_none() || !matches!(self.phase, Phase::Waiting(_)) {
            HandOver::return_unused(self.pool.shared(), assignment, w);
            self.phase = Phase::Over;
        } else {
            self.patience = assignment.ticket.give_up_at.since(w.now);
            self.dispatch(assignment.slot, assignment.fd, w);
        }
    }

    /// Gives a slot back that was assigned to an exchange which does not need it any more.
    pub(crate) fn return_unused(pool: &Arc<SharedPool>, assignment: &Assignment, w: &mut World) {
        release(pool, assignment.slot, true, w);
    }

    /// A send to the worker has ended.
    pub(crate) fn on_sent(&mut self, out: Outgoing, result: Result<usize, Errno>, w: &mut World) {
        debug_assert!(self.sending);
        self.sending = false;
        if self.request.is_sent {
            return self.on_said(out, result, w);
        }
        self.request.is_begun |= result.is_ok_and(|count| count > 0);
        let fd = self.fd();
        match (result, fd) {
            (Ok(_), Some(fd)) if out.remaining() > 0 && self.ended().is_none() => {
                self.sending = true;
                w.submit(self.token, Op::Send { fd, out, more: false });
                self.receive(w);
                return;
            }
            (Ok(_), _) => {
                self.request.is_sent = out.remaining() == 0;
                self.receive(w);
            }
            (Err(errno), _) => self.on_slot_end(EndedBy::of(errno), w),
        }
        self.request.take_back(out);
        self.conclude(w);
    }

    /// Bytes of the response have arrived; none means end of file.
    pub(crate) fn on_filled(
        &mut self,
        buf: Vec<u8>,
        passed: Passed,
        result: Result<usize, Errno>,
        w: &mut World,
    ) {
        debug_assert!(self.receiving);
        self.receiving = false;
        self.upstream.on_returned();
        self.upstream.attach(passed, w);
        match result {
            Ok(_) if self.is_cut_off() => self.upstream.keep(buf),
            Ok(0) => {
                self.upstream.keep(buf);
                let wanted = self.is_wanted();
                if self.upstream.on_end(&mut self.relay, wanted, w) {
                    self.on_whole_response(false, w);
                } else {
                    self.on_slot_end(EndedBy::EndOfFile, w);
                }
            }
            Ok(_) => self.on_response_bytes(buf, w),
            Err(errno) => {
                self.upstream.keep(buf);
                self.on_slot_end(EndedBy::of(errno), w);
            }
        }
        self.conclude(w);
    }

    /// The client has taken what it can: reading goes on, into a file if there is no other room.
    pub(crate) fn on_drained(&mut self, w: &mut World) {
        self.overflow(w);
        self.relay.spool_on(self.token, w);
        self.attend_to_loan(w);
        self.receive(w);
    }

    /// The client needs nothing more: it has everything, or has gone.
    pub(crate) fn on_let_go(
        &mut self,
        permit: Option<Permit>,
        record: Option<Box<Record>>,
        w: &mut World,
    ) {
        self.client = None;
        self._permit = permit;
        if let Some(mut record) = record {
            record.set_exchange(self.relay.dispatched_at, self.relay.responded_at);
            w.log(*record);
        }
        self.relay.clear(&mut w.buffers);
        match &self.phase {
            Phase::Waiting(Some(id)) => {
                if self.pool.core().cancel(*id) {
                    self.phase = Phase::Over;
                } else {
                    // Assigned already: `on_assigned` gives the slot back.
                    self.phase = Phase::Waiting(None);
                }
                self.deadline = None;
            }
            Phase::OnSlot { .. } if self.is_endless_for_nobody() => {
                self.cut_off(w);
                self.conclude(w);
            }
            Phase::OnSlot { .. } => {
                self.attend_to_loan(w);
                self.receive(w);
            }
            _ => {}
        }
    }

    /// The server ends at once.
    pub(crate) fn stop(&mut self, w: &mut World) {
        self.end_inquest(w);
        self.cut_off(w);
        self.conclude(w);
    }

    /// Nothing that is in flight will go on with it: that is up to its client.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn waits_for_client(&self) -> bool {
        let on_slot = self.sending || self.receiving || self.inquest == Inquest::Held;
        let in_flight = on_slot || self.relay.is_spooling();
        !in_flight && !matches!(self.phase, Phase::Waiting(_))
    }

    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn client(&self) -> Option<Token> {
        self.client
    }

    fn dispatch(&mut self, slot: SlotId, fd: Fd, w: &mut World) {
        let patience = self.pool.core().limits().deadline;
        self.phase = Phase::OnSlot { slot, fd, ended: None };
        self.inquest = Inquest::None;
        self.deadline = Some(w.now.after(patience));
        self.relay.dispatched_at = Some(w.now);
        let out = self.request.outgoing(patience);
        // What a worker says before it has a request answers none: nothing is received, and
        // nothing sent to one that has spoken.
        self.sending = true;
        w.submit(self.token, Op::SendIfSilent { fd, out });
    }

    /// Reads on, unless nothing can be an answer yet, the response is whole, or too much of it
    /// waits for the client.
    fn receive(&mut self, w: &mut World) {
        let Phase::OnSlot { fd, ended: None, .. } = self.phase else { return };
        if self.receiving || !self.request.is_begun || self.answered.is_some() {
            return;
        }
        let has_room = self.relay.has_room(&w.limits, w.memory.pressure());
        if self.upstream.has_begun() && !self.relay.is_finished() {
            // A worker that waits for its client is not late.
            let patience = self.pool.core().limits().deadline;
            self.deadline = has_room.then_some(w.now.after(patience));
        }
        if has_room {
            self.receiving = true;
            let size = self.buffer_size(w);
            let buf = self.upstream.buffer(size, &mut w.buffers);
            // A worker cannot have answered what it has just been sent.
            let poll_first = !self.upstream.has_received();
            let op = match self.upstream.may_bring_file() {
                true => Op::FillWithFile { fd, buf, poll_first },
                false => Op::Fill { fd, buf, poll_first },
            };
            w.submit(self.token, op);
        }
    }

    /// Bytes to receive at once: as many as are worth it, if memory has them.
    fn buffer_size(&mut self, w: &mut World) -> usize {
        let is_huge = self.relay.goes_to_file() && self.upstream.is_plenty();
        let size = match w.memory.pressure() {
            _ if self.relay.is_lent() => Buffers::SMALL,
            Pressure::None if is_huge => Buffers::HUGE,
            Pressure::None => Buffers::LARGE,
            _ => Buffers::MEDIUM,
        };
        let more = self.upstream.growth(size) as u64;
        if more == 0 || w.memory.take(more, Pressure::Uploads) {
            self.counted += more;
            return size;
        }
        if !std::mem::replace(&mut self.is_meagre, true) {
            w.counters.memory_responses.count();
        }
        Buffers::SMALL
    }

    fn on_response_bytes(&mut self, buf: Vec<u8>, w: &mut World) {
        let wanted = self.is_wanted();
        match self.upstream.on_bytes(buf, &mut self.relay, wanted, w) {
            Progress::More if self.is_endless_for_nobody() => self.cut_off(w),
            Progress::More => {
                self.relay.spool_on(self.token, w);
                self.attend_to_loan(w);
                self.receive(w);
                self.notify_client(w);
            }
            Progress::Whole { reusable } => self.on_whole_response(reusable, w),
            Progress::Goodbye => self.on_slot_end(EndedBy::EndOfFile, w),
            Progress::Bad(why) => {
                w.counters.slots_refused.count();
                if w.may_warn() {
                    tracing::warn!(why, "bad response from the application");
                }
                self.on_slot_end(EndedBy::Other(Errno(libc::EPROTO)), w);
            }
        }
    }

    /// What nobody waits for is read to its end and thrown away.
    fn is_wanted(&self) -> bool {
        self.client.is_some() && !self.relay.is_finished()
    }

    /// Only a stream without a known end costs the slot when its client has gone.
    fn is_endless_for_nobody(&self) -> bool {
        self.client.is_none() && self.upstream.is_unbounded()
    }

    fn on_whole_response(&mut self, reusable: bool, w: &mut World) {
        let Phase::OnSlot { slot, .. } = self.phase else {
            unreachable!("responses come from slots");
        };
        self.deadline = None;
        self.relay.spool_on(self.token, w);
        self.finish(End::Complete, w);
        if self.request.is_sent {
            self.request.let_go(&mut w.buffers);
        }
        if self.sending && self.request.is_sent {
            self.answered = Some(reusable);
        } else if self.sending {
            // It has answered before it had the request: the slot is free when our send has ended.
            self.cut_off(w);
        } else {
            self.phase = Phase::Over;
            release(self.pool.shared(), slot, reusable && self.request.is_sent, w);
        }
    }

    /// We end the exchange; what the worker still says does not matter.
    fn cut_off(&mut self, w: &mut World) {
        self.on_slot_end(EndedBy::CutOff, w);
    }

    fn end_late(&mut self, w: &mut World) {
        if !self.relay.is_finished() {
            w.counters.deadline.count();
        }
        self.cut_off(w);
        self.conclude(w);
    }

    fn is_cut_off(&self) -> bool {
        self.ended() == Some(EndedBy::CutOff)
    }

    fn on_slot_end(&mut self, by: EndedBy, w: &mut World) {
        if let Phase::OnSlot { fd, ended, .. } = &mut self.phase
            && ended.is_none()
        {
            *ended = Some(by);
            // Ends what is in flight.
            w.submit(self.token, Op::Shutdown { fd: *fd, direction: Direction::Both });
        }
    }

    fn finish(&mut self, end: End, w: &mut World) {
        self.relay.finish(end);
        self.notify_client(w);
    }

    fn notify_client(&self, w: &mut World) {
        if let Some(client) = self.client {
            w.notify(Notice::Relay { client });
        }
    }

    fn fd(&self) -> Option<Fd> {
        match self.phase {
            Phase::OnSlot { fd, .. } => Some(fd),
            _ => None,
        }
    }

    fn ended(&self) -> Option<EndedBy> {
        match self.phase {
            Phase::OnSlot { ended, .. } => ended,
            _ => None,
        }
    }
}

impl Machine for HandOver {
    fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    fn on_deadline(&mut self, _: Token, w: &mut World) {
        self.deadline = None;
        match &self.phase {
            Phase::Waiting(Some(id)) => {
                let answer = self.pool.core().still_waiting(*id, w.now);
                self.on_still_waiting(answer, w);
            }
            Phase::Waiting(None) | Phase::Over => {}
            Phase::OnSlot { .. } if self.inquest == Inquest::Held => self.end_inquest(w),
            Phase::OnSlot { .. } if !self.upstream.has_begun() && !self.relay.is_finished() => {
                w.counters.deadline.count();
                // The worker may still answer, as late as it likes but once more as long; that is
                // thrown away, and the slot is idle again.
                self.deadline = Some(w.now.after(self.pool.core().limits().deadline));
                self.finish(End::Failed(Failure::Deadline), w);
            }
            Phase::OnSlot { .. } if self.relay.is_lent() && !self.is_in_doubt => self.doubt(w),
            Phase::OnSlot { .. } => self.end_late(w),
        }
    }

    fn account(&mut self, memory: &mut Memory) {
        let held = self.request.footprint() + self.upstream.footprint() + self.relay.footprint();
        memory.recount(&mut self.counted, (size_of::<HandOver>() + held) as u64);
    }

    fn is_over(&self) -> bool {
        let on_slot = self.sending || self.receiving || self.inquest == Inquest::Held;
        let in_flight = on_slot || self.relay.is_spooling();
        matches!(self.phase, Phase::Over) && self.client.is_none() && !in_flight
    }
}

/// Gives a slot back, and passes on what the pool wants done then.
fn release(pool: &Arc<SharedPool>, slot: SlotId, reusable: bool, w: &mut World) {
    let after = pool.core().release(slot, reusable, w.now);
    match after {
        AfterRelease::Assign(assignment) => {
            w.notify(Notice::Assigned { pool: Arc::clone(pool), assignment });
        }
        AfterRelease::Close { warden, warden_token, .. } => {
            w.notify(Notice::CloseSlot { warden, token: warden_token });
        }
        AfterRelease::None => {}
    }
}
