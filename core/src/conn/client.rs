//! One client connection.
//!
//! Owns its input, its output and where it is in its current request. What happens on a worker's
//! side of a request is the hand-over's business; this module only takes its response.
//!
//! ```text
//!            ┌───────────── answered, kept alive ─────────────┐
//!            ▼                                                │
//!  accept ► Head ──► Content ──► Handler │ HandedOver ──► (response)
//!            └─────► File ────────────────────────────────────┤
//!                                  answered, not kept alive   ▼
//!                  Closing ◄── Lingering ◄────── Ending │ BreakingOff
//! ```
//! From its second request on a connection goes on receiving while its request is being answered,
//! so that its end is noticed; what comes behind the request waits, up to a bound, in `input`.

use super::Machine;
use super::address::{Address, LocalAddresses, LocalId};
use super::connection::{Connection, Parked};
use super::content::Content;
use super::memory::Memory;
use super::output::Output;
use super::own_answer;
use super::pace::Delivery;
use super::request_id::RequestId;
use super::world::{Meta, Notice, World};
use crate::access_log::Record;
use crate::files::Pending;
use crate::http::{HeadSearch, Reject, Version};
use crate::io::{Direction, Done, Errno, Fd, Op, Outgoing, Time, Token};
use crate::per_address::Permit;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// See the module's documentation.
pub(crate) struct Client {
    pub(super) token: Token,
    pub(super) fd: Fd,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    /// What `local` is known by; a connection without that is never parked.
    pub(super) local_id: Option<LocalId>,
    pub(super) state: State,
    /// Received and not consumed: an incomplete head, or requests that wait their turn.
    pub(super) input: Vec<u8>,
    pub(super) search: HeadSearch,
    /// `input` may hold a whole request, which waits until earlier answers are sent.
    pub(super) stalled: bool,
    pub(super) output: Output,
    pub(super) receiving: Receiving,
    /// Bytes of the buffer that is being received into, also once its content has been refused.
    pub(super) lent: usize,
    /// A receive is to be in flight also while a request is being answered.
    pub(super) watched: bool,
    /// True exactly while a file operation is in flight.
    pub(super) file_op: bool,
    /// The client has sent its last byte (half-closed, RFC 9112 §9.6).
    pub(super) input_ended: bool,
    /// It may go on sending after our last answer; see [`State::Lingering`].
    pub(super) linger: bool,
    /// If the connection ended now, an answer that is not would seem to be whole.
    pub(super) would_seem_whole: bool,
    /// It has said that its current request is its last.
    pub(super) has_said_close: bool,
    /// It is counted among those that wait for their next request.
    pub(super) parked: bool,
    pub(super) requests: u64,
    pub(super) meta: Meta,
    /// Among those of the same address: as a connection without a complete head, then as a request.
    pub(super) permit: Option<Permit>,
    /// What the log will say about the current request, and about those answered but not sent.
    pub(super) record: Option<Record>,
    pub(super) unsent_records: Vec<Record>,
    pub(super) receive_deadline: Option<Time>,
    /// When to look whether it takes its answers.
    pub(super) look_at: Option<Time>,
    pub(super) delivery: Delivery,
    /// What the account of memory knows.
    pub(super) counted: u64,
    /// The end of its patience, if lack of memory has brought that nearer.
    pub(super) hurried: Option<Time>,
}

/// The receive of a connection that is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    No,
    /// It ends with what it receives.
    Once,
    /// It stays.
    Repeatedly,
    /// It has been asked to end.
    NoMore,
    /// Likewise, because the client has been silent for a while.
    Resting,
    /// Only told when there is something to receive.
    Awaiting,
}

/// Where a connection is.
pub(crate) enum State {
    /// Waits for a request, or for the rest of its head.
    Head,
    /// Receives a request's content.
    Content(Box<Content>),
    /// The files ladder waits for an operation.
    File(Pending),
    /// A handler has the request.
    Handler,
    /// A pool has the request; the exchange's token, once it exists.
    HandedOver(Option<Token>),
    /// The last answer is being sent.
    Ending,
    /// We have said that we send no more; what the client still sends is thrown away for a
    /// while, or a reset would eat our answer (RFC 9112 §9.6).
    Lingering,
    /// An answer whose end would be that of the connection is not whole. So the connection is
    /// reset, but not before the client has got what is there: a reset eats that.
    BreakingOff,
    /// Waits for operations in flight, then closes.
    Closing,
    Closed,
}

impl Client {
    /// A machine without a connection.
    pub(super) fn vacant() -> Client {
        Client {
            token: Token::NOBODY,
            fd: -1,
            peer: NOWHERE,
            local: NOWHERE,
            local_id: None,
            state: State::Head,
            input: Vec::new(),
            search: HeadSearch::default(),
            stalled: false,
            output: Output::default(),
            receiving: Receiving::No,
            lent: 0,
            watched: false,
            file_op: false,
            input_ended: false,
            linger: false,
            would_seem_whole: false,
            has_said_close: false,
            parked: false,
            requests: 0,
            meta: Client::NO_REQUEST,
            permit: None,
            record: None,
            unsent_records: Vec::new(),
            receive_deadline: None,
            look_at: None,
            delivery: Delivery::default(),
            counted: 0,
            hurried: None,
        }
    }

    /// Vacant again; only room for what waits is kept.
    pub(super) fn vacate(&mut self) {
        debug_assert!(self.output.is_flushed() && !self.file_op && self.input.is_empty());
        let output = std::mem::take(&mut self.output).renewed();
        let mut unsent_records = std::mem::take(&mut self.unsent_records);
        unsent_records.clear();
        *self = Client { output, unsent_records, ..Client::vacant() };
    }

    /// Takes a new connection.
    pub(super) fn begin(
        &mut self,
        token: Token,
        fd: Fd,
        (peer, local): (SocketAddr, SocketAddr),
        permit: Option<Permit>,
        w: &mut World,
    ) {
        w.counters.accepted.count();
        (self.token, self.fd, self.permit) = (token, fd, permit);
        // As it will be after the connection has been parked.
        (self.peer, self.local) = (Address::from(peer).into(), local);
        self.local_id = w.locals.enter(local);
        self.receive_deadline =
            Some(w.now.after(w.unless_draining(w.limits.client_header_timeout)));
        self.settle(w);
    }

    /// What is left of a connection that only waits for its next request.
    pub(super) fn parked(&self, now: Time) -> Option<Parked> {
        let until = self.receive_deadline.filter(|_| self.parked && !self.file_op)?;
        debug_assert!(self.look_at.is_none() && self.permit.is_none() && self.record.is_none());
        debug_assert!(!self.stalled && !self.input_ended && !self.linger);
        Some(Parked {
            until,
            rests_before: Parked::rests_before(until, now),
            accepted: self.delivery.bytes_accepted(),
            fd: self.fd,
            requests: u32::try_from(self.requests).unwrap_or(u32::MAX),
            empty_line: self.input.len() as u8,
            peer: self.peer.into(),
            local: self.local_id?,
            receiving: self.receiving,
            watched: self.watched,
        })
    }

    /// Takes a parked connection.
    pub(super) fn go_on(&mut self, token: Token, parked: Parked, locals: &LocalAddresses) {
        self.token = token;
        self.receive_deadline = Some(parked.until);
        self.delivery = Delivery::after(parked.accepted);
        self.fd = parked.fd;
        self.requests = parked.requests.into();
        self.peer = parked.peer.into();
        (self.local, self.local_id) = (locals.get(parked.local), Some(parked.local));
        self.receiving = parked.receiving;
        self.watched = parked.watched;
        self.parked = true;
        self.counted = Connection::PARKED_BYTES;
    }

    /// What an answer to something that was no request assumes.
    pub(super) const NO_REQUEST: Meta = Meta {
        version: Version::Http11,
        keep_alive: false,
        to_head: false,
        idempotent: false,
        id: RequestId::NONE,
    };

    /// Its exchange, if a pool has its request.
    pub(crate) fn exchange(&self) -> Option<Token> {
        match self.state {
            State::HandedOver(exchange) => exchange,
            _ => None,
        }
    }

    /// The reactor has made the exchange that this client asked for.
    pub(crate) fn set_exchange(&mut self, exchange: Token) {
        if let State::HandedOver(slot) = &mut self.state {
            *slot = Some(exchange);
        }
    }

    /// A send has ended.
    pub(crate) fn on_sent(&mut self, out: Outgoing, result: Result<usize, Errno>, w: &mut World) {
        self.output.on_sent(out, &mut w.buffers);
        self.on_progress(result, w);
        self.settle(w);
    }

    /// A window of a file has been sent.
    pub(crate) fn on_file_sent(&mut self, result: Result<usize, Errno>, w: &mut World) {
        let whole = self.output.on_file_sent(result.unwrap_or(0) as u64);
        self.on_progress(result, w);
        if !whole {
            // The file is shorter than we said: the client must be able to tell.
            self.abort(w);
        }
        self.settle(w);
    }

    /// The files ladder's operation has ended.
    pub(crate) fn on_file_done(&mut self, done: Done, w: &mut World) {
        debug_assert!(self.file_op);
        self.file_op = false;
        match std::mem::replace(&mut self.state, State::Closing) {
            State::File(pending) => {
                let step = w.files.resume(pending, done, w.now, w.unix_seconds);
                if self.on_file_step(step, w) {
                    self.after_answer(w);
                }
            }
            state => {
                self.state = state;
                w.dispose(done);
            }
        }
        self.settle(w);
    }

    /// The server takes no new requests: this connection ends after its current one, or soon.
    pub(crate) fn on_drain(&mut self, w: &mut World) {
        if matches!(self.state, State::Head) && !self.has_part_of_head() {
            // A request may be on its way already. It is served; silence is not waited for.
            let soon = w.now.after(self.patience(w));
            self.receive_deadline = Some(self.receive_deadline.map_or(soon, |at| at.min(soon)));
        }
        self.settle(w);
    }

    /// Ends the connection at once.
    pub(crate) fn stop(&mut self, w: &mut World) {
        self.record.iter_mut().chain(&mut self.unsent_records).for_each(Record::cut_off);
        self.abort(w);
        self.settle(w);
    }

    /// Ends it, and what the kernel holds for a client that does not take it: that would stay for
    /// as long as TCP tries, which is minutes.
    pub(super) fn reset(&mut self, w: &mut World) {
        self.would_seem_whole = true;
        self.abort(w);
    }

    /// Ends the connection without regard for what is unsent.
    pub(super) fn abort(&mut self, w: &mut World) {
        if matches!(self.state, State::Closing | State::Closed) {
            return;
        }
        let permit = self.permit.take();
        if let State::HandedOver(Some(exchange)) = self.state {
            // What a worker does for somebody who has gone is still done for that address.
            let record = self.record.take_if(|record| !record.has_response());
            w.notify(Notice::LetGo { exchange, permit, record: record.map(Box::new) });
        }
        if self.would_seem_whole {
            w.submit(self.token, Op::Shutdown { fd: self.fd, direction: Direction::Abort });
        } else if self.receiving != Receiving::No || self.output.is_sending() {
            w.submit(self.token, Op::Shutdown { fd: self.fd, direction: Direction::Both });
        }
        self.output.abandon(&mut w.buffers);
        self.unsent_records.extend(self.record.take());
        self.state = State::Closing;
        self.linger = false;
        self.receive_deadline = None;
        self.look_at = None;
        self.meta.keep_alive = false;
    }

    /// An answer of ours to the current request, with so much content, is queued as a whole.
    pub(super) fn on_answered(&mut self, status: u16, content: u64, w: &mut World) {
        w.counters.responses(status).count();
        self.on_queued(status, content, w);
    }

    /// The answer to the current request is queued as a whole, and was counted when it began.
    pub(super) fn on_queued(&mut self, status: u16, content: u64, w: &mut World) {
        self.note_answer(status, content);
        self.receive_deadline = None;
        if self.meta.keep_alive {
            self.state = State::Head;
            // Half a head may have come behind the request: it has no more time than any other.
            self.receive_deadline = Some(w.now.after(self.patience(w)));
        } else {
            // Who did not expect the end may have sent another request, and others an empty line: a
            // reset would eat what has not left of the answer (RFC 9112 §9.6). A small one has.
            self.linger |=
                !self.has_said_close || self.requests > 1 || content > own_answer::LEAVES_AT_ONCE;
            self.state = State::Ending;
        }
    }

    /// Answers a request that cannot go on, and ends the connection.
    pub(super) fn refuse(&mut self, reject: Reject, w: &mut World) {
        w.counters.refused.count();
        self.meta.keep_alive = false;
        self.linger = true;
        let (status, meta) = (reject.status(), self.meta);
        let content =
            own_answer::write_error(&mut self.output, status, reject.reason(), &[], &meta, w);
        self.input.clear();
        self.on_answered(status, content, w);
    }

    fn on_progress(&mut self, result: Result<usize, Errno>, w: &mut World) {
        match result {
            Ok(count) => {
                w.counters.bytes_out.add(count as u64);
                self.delivery.accepted(count);
            }
            Err(_) => self.abort(w),
        }
    }

    /// After every event: sends, receives, ends, as far as that is due.
    pub(super) fn settle(&mut self, w: &mut World) {
        if self.output.is_flushed() && !self.is_over() {
            self.on_flushed(w);
        }
        if let Some(op) = self.output.next(self.fd) {
            if self.look_at.is_none() {
                self.look_at = Some(w.now.after(Delivery::interval(&w.limits)));
            }
            w.submit(self.token, op);
        }
        match self.state {
            State::Closing if self.is_joined() => self.close(w),
            _ => self.settle_input(w),
        }
        self.count_parked(w);
    }

    fn count_parked(&mut self, w: &World) {
        let parked = self.is_between_requests() && self.output.is_flushed();
        match (self.parked, parked) {
            (false, true) => w.counters.parked.count(),
            (true, false) => w.counters.parked.uncount(),
            _ => {}
        }
        self.parked = parked;
    }

    fn on_flushed(&mut self, w: &mut World) {
        if self.is_waiting_to_break_off() {
            return;
        }
        let has_sent = self.look_at.take().is_some();
        if has_sent && matches!(self.state, State::Head) && !self.has_part_of_head() {
            self.receive_deadline = Some(w.now.after(self.patience(w)));
        }
        self.would_seem_whole &= matches!(self.state, State::HandedOver(_) | State::BreakingOff);
        self.delivery.caught_up();
        self.log_answers(w);
        if self.requests > 0 && matches!(self.state, State::Head | State::Ending) {
            self.permit = None;
        }
        if matches!(self.state, State::Head) && self.stalled {
            self.consume_input(w);
            if !self.output.is_flushed() {
                return;
            }
        }
        match self.state {
            State::Head if self.input_ended => self.abort(w),
            // Half of it came behind an earlier request, and then the end.
            State::Content(ref content) if self.input_ended && !content.has_arrived() => {
                self.abort(w);
            }
            State::BreakingOff => {
                self.look_at = Some(w.now);
                self.receive_deadline = Some(w.now.after(w.limits.lingering_timeout));
            }
            State::Ending if self.input_ended || !self.linger && self.input.is_empty() => {
                self.abort(w);
            }
            State::Ending => {
                w.submit(self.token, Op::Shutdown { fd: self.fd, direction: Direction::Write });
                self.state = State::Lingering;
                self.input.clear();
                let patience = w.unless_draining(w.limits.lingering_timeout);
                self.receive_deadline = Some(w.now.after(patience));
            }
            _ => {}
        }
    }

    /// Nothing of this connection is in flight.
    pub(super) fn is_joined(&self) -> bool {
        self.receiving == Receiving::No && !self.output.is_sending() && !self.file_op
    }

    fn close(&mut self, w: &mut World) {
        w.counters.closed.count();
        w.buffers.give(std::mem::take(&mut self.input));
        w.submit(self.token, Op::Close { fd: self.fd });
        self.state = State::Closed;
    }
}

impl Machine for Client {
    fn deadline(&self) -> Option<Time> {
        match (self.receive_deadline, self.look_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn on_deadline(&mut self, _: Token, w: &mut World) {
        if self.receive_deadline.is_some_and(|at| at <= w.now) {
            self.on_receive_deadline(w);
        }
        self.settle(w);
    }

    fn account(&mut self, memory: &mut Memory) {
        let records = self.record.iter().chain(&self.unsent_records);
        let content = match &self.state {
            State::Content(content) => content.footprint(),
            _ => self.lent as u64,
        };
        let bytes = size_of::<Client>()
            + self.input.capacity()
            + self.output.footprint()
            + records.map(Record::capacity).sum::<usize>();
        memory.recount(&mut self.counted, bytes as u64 + content);
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Closed)
    }
}

/// The part of the usual time that clients have when memory is scarce.
pub(super) const HURRY: u32 = 4;

/// No connection's address.
const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
