//! What a client sends: heads, content, its end, and its silence.
//!
//! Owns the part of [`Client`] that receives and takes input apart. Must not know routes.

#[cfg(any(test, feature = "fuzz"))]
use super::Machine;
use super::client::{Client, Receiving, State};
use super::memory::Pressure;
use super::world::{Notice, World};
use crate::http::Reject;
use crate::io::{Errno, Op};
use std::time::Duration;

impl Client {
    /// Bytes have arrived; none means that the client has sent its last.
    /// `armed`: the receive goes on.
    pub(crate) fn on_received(&mut self, result: Result<&[u8], Errno>, armed: bool, w: &mut World) {
        debug_assert!(self.receiving != Receiving::No);
        let was = self.receiving;
        if !armed {
            self.receiving = Receiving::No;
        }
        match result {
            Err(Errno(libc::ECANCELED)) if was == Receiving::NoMore => {}
            Err(Errno(libc::ECANCELED)) if was == Receiving::Resting => {
                if self.parked {
                    self.receiving = Receiving::Awaiting;
                    w.submit(self.token, Op::AwaitInput { fd: self.fd });
                }
            }
            Err(_) => self.abort(w),
            Ok([]) => self.on_input_end(w),
            Ok(bytes) => {
                w.counters.bytes_in.add(bytes.len() as u64);
                self.on_bytes(bytes, w);
            }
        }
        self.settle(w);
    }

    /// There is something to receive.
    pub(crate) fn on_input(&mut self, w: &mut World) {
        debug_assert!(self.receiving == Receiving::Awaiting);
        self.receiving = Receiving::No;
        if self.wants_input(w) {
            self.receive(false, w);
        }
        self.settle(w);
    }

    /// Content has been received into the buffer of [`Content::take_buffer`].
    pub(crate) fn on_filled(&mut self, buf: Vec<u8>, result: Result<usize, Errno>, w: &mut World) {
        debug_assert!(self.receiving == Receiving::Once);
        (self.receiving, self.lent) = (Receiving::No, 0);
        match (&mut self.state, result) {
            (State::Content(content), Ok(count)) if count > 0 => {
                w.counters.bytes_in.add(count as u64);
                self.input = content.filled(buf, count);
                self.on_content_progress(w);
            }
            // End of file inside content: nobody is there to read an answer to half a request.
            (State::Content(_), _) | (_, Err(_)) => self.abort(w),
            // The content was refused meanwhile.
            (_, Ok(0)) => self.on_input_end(w),
            _ => w.buffers.give(buf),
        }
        self.settle(w);
    }

    /// A transit buffer may be there now.
    pub(crate) fn on_starved(&mut self, w: &mut World) {
        debug_assert!(self.receiving != Receiving::No);
        self.receiving = Receiving::No;
        if self.wants_input(w) {
            self.receive(true, w);
        }
        self.settle(w);
    }

    /// Its request has to wait: if the client does not, no worker is to see the request.
    pub(crate) fn watch(&mut self, w: &mut World) {
        self.watched = true;
        if self.input_ended {
            self.leave_queue(w);
        }
        self.settle(w);
    }

    /// Bytes of memory for input that waits.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn waiting_input(&self) -> u64 {
        self.input.capacity() as u64
    }

    /// Nothing will ever go on with it, but for the end of somebody's patience.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn is_stuck(&self) -> bool {
        match self.state {
            State::Handler => self.deadline().is_none(),
            State::Closed => false,
            State::HandedOver(exchange) => exchange.is_none(),
            State::BreakingOff | State::Lingering => self.is_joined() && self.deadline().is_none(),
            _ => self.is_joined(),
        }
    }

    /// It goes on when a send has ended.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn is_sending(&self) -> bool {
        self.output.is_sending()
    }

    /// Goes on with input that waited.
    pub(super) fn consume_input(&mut self, w: &mut World) {
        let was_new = self.search.is_new();
        let mut input = std::mem::take(&mut self.input);
        let used = self.consume(&input, w);
        if used == input.len() || self.linger {
            w.buffers.give(input);
        } else {
            input.drain(..used);
            self.input = input;
            if used > 0 || was_new {
                self.await_rest_of_head(w);
            }
        }
    }

    pub(super) fn on_receive_deadline(&mut self, w: &mut World) {
        if self.hurried.is_some_and(|at| self.receive_deadline == Some(at)) {
            w.counters.memory_timeouts.count();
        }
        match self.state {
            // It is not silent, it is still taking earlier answers: that is up to `send_timeout`.
            State::Head if !self.output.is_flushed() => {
                self.receive_deadline = Some(w.now.after(self.patience(w)));
            }
            State::Head if self.has_part_of_head() => {
                w.counters.client_header_timeout.count();
                let input = std::mem::take(&mut self.input);
                self.on_refused_head(&input, w);
                w.buffers.give(input);
                self.refuse(Reject::HeaderTimeout, w);
            }
            State::Head if self.requests == 0 => {
                w.counters.client_header_timeout.count();
                self.end(w);
            }
            State::Head => {
                w.counters.keepalive_timeout.count();
                self.end(w);
            }
            State::Content(ref content) => {
                if content.drips_at(&w.limits) <= w.now {
                    w.counters.rate_min.count();
                } else {
                    w.counters.client_body_timeout.count();
                }
                self.refuse(Reject::BodyTimeout, w);
            }
            State::Handler => self.on_handler_late(w),
            _ => self.abort(w),
        }
    }

    /// Receives while that is wanted, and as long as it may.
    pub(super) fn settle_input(&mut self, w: &mut World) {
        match self.receiving {
            Receiving::No if self.wants_input(w) => self.receive(false, w),
            Receiving::Repeatedly if !self.may_repeat(w) => {
                self.receiving = Receiving::NoMore;
                w.submit(self.token, Op::EndRecv { target: self.token });
            }
            _ => {}
        }
    }

    fn wants_input(&self, w: &World) -> bool {
        let is_due = match self.state {
            State::Head | State::Content(_) | State::Lingering => true,
            State::File(_) | State::Handler | State::HandedOver(_) => self.watched,
            State::Ending | State::BreakingOff | State::Closing | State::Closed => false,
        };
        is_due && !self.input_ended && self.has_input_room(w)
    }

    fn has_input_room(&self, w: &World) -> bool {
        match &self.state {
            // Who does not take its answers has no more requests received.
            State::Head if !self.stalled && self.output.has_room() => true,
            State::Content(content) => content.wants_input(),
            State::Ending | State::Lingering | State::BreakingOff => true,
            State::Closing | State::Closed => true,
            _ if w.memory.pressure() >= Pressure::Half => self.input.len() < INPUT_MOST / 8,
            _ => self.input.len() < INPUT_MOST,
        }
    }

    /// A repeated receive brings up to 32 pieces at once, however little of that there is room for.
    fn may_repeat(&self, w: &World) -> bool {
        self.has_input_room(w) && !self.wants_buffer() && w.memory.pressure() < Pressure::Half
    }

    fn wants_buffer(&self) -> bool {
        matches!(&self.state, State::Content(content) if content.wants_buffer())
    }

    /// `starved`: there was no transit buffer.
    fn receive(&mut self, starved: bool, w: &mut World) {
        let buffer = match &mut self.state {
            State::Content(content) => content.take_buffer(&mut w.buffers),
            _ => None,
        };
        let watched = self.requests > 0 && buffer.is_none();
        self.watched |= watched;
        let repeat = watched && !starved && w.memory.pressure() < Pressure::Half;
        self.receiving = if repeat { Receiving::Repeatedly } else { Receiving::Once };
        self.lent = buffer.as_ref().map_or(0, Vec::capacity);
        let op = match buffer {
            Some(buf) => Op::Fill { fd: self.fd, buf, poll_first: false },
            // Without a buffer, the first try fails although there is nothing to receive.
            None => Op::Recv { fd: self.fd, poll_first: starved, repeat },
        };
        w.submit(self.token, op);
    }

    fn on_bytes(&mut self, bytes: &[u8], w: &mut World) {
        match self.state {
            State::Ending | State::Lingering | State::BreakingOff => {}
            State::Closing | State::Closed => {}
            _ if self.stalled => self.input.extend_from_slice(bytes),
            _ if self.input.is_empty() => {
                let used = self.consume(bytes, w);
                let rest = &bytes[used..];
                if rest.is_empty() || self.linger {
                    return;
                }
                self.input = w.buffers.small();
                self.input.extend_from_slice(rest);
                self.await_rest_of_head(w);
            }
            _ => {
                self.input.extend_from_slice(bytes);
                self.consume_input(w);
            }
        }
        let is_begun = !self.input.is_empty() && !self.is_between_requests();
        let is_half_a_head = is_begun && matches!(self.state, State::Head) && !self.stalled;
        if is_half_a_head && w.memory.pressure() >= Pressure::Uploads {
            self.refuse_head_without_memory(w);
        }
    }

    /// Handles what can be handled now; says how many bytes that were.
    fn consume(&mut self, bytes: &[u8], w: &mut World) -> usize {
        let (mut at, mut answered) = (0, 0);
        self.stalled = false;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let may_answer = answered < w.limits.pipelined && self.has_output_room(w);
            match &mut self.state {
                State::Head if !may_answer => {
                    self.stalled = true;
                    break;
                }
                State::Head => {
                    match self.on_head_bytes(rest, w) {
                        0 => break,
                        used => at += used,
                    }
                    answered += 1;
                }
                State::Content(content) => match content.absorb(rest) {
                    Ok(used) => {
                        at += used;
                        self.on_content_progress(w);
                        if matches!(self.state, State::Content(_)) {
                            break;
                        }
                    }
                    Err(reject) => self.refuse(reject, w),
                },
                _ => break,
            }
        }
        at
    }

    /// For one more answer. A request that counts does so until its own has been sent.
    fn has_output_room(&self, w: &World) -> bool {
        self.output.is_flushed()
            || self.permit.is_none()
                && self.output.has_room()
                && self.unsent_records.len() < w.limits.pipelined
                && w.memory.pressure() < Pressure::Content
    }

    /// The input is the beginning of a request. Time for the first one runs since the connection
    /// began, unless it was only the time for which silence is waited for.
    fn await_rest_of_head(&mut self, w: &World) {
        let may_be_idle = matches!(self.state, State::Head) && !self.stalled;
        if may_be_idle && (self.requests > 0 || w.draining) && self.has_part_of_head() {
            self.receive_deadline = Some(w.now.after(w.limits.client_header_timeout));
        }
    }

    /// More of the content is here, and may be all.
    pub(super) fn on_content_progress(&mut self, w: &mut World) {
        self.spool_on(w);
        if let State::Content(content) = &mut self.state {
            // Who has to wait for our disk is not late.
            self.receive_deadline = content.late_at(&w.limits, w.now);
        }
        if let State::Content(content) = &self.state
            && content.is_whole()
            && let State::Content(content) = std::mem::replace(&mut self.state, State::Handler)
        {
            let (whole, action) = content.into_whole();
            self.hand_off(whole, action, w);
        }
    }

    fn on_input_end(&mut self, w: &mut World) {
        self.input_ended = true;
        match &self.state {
            State::Content(content) if content.has_arrived() => {}
            State::Lingering | State::Content(_) => self.abort(w),
            // Half a head is no request; whole ones that wait are served.
            State::Head if self.output.is_flushed() => self.abort(w),
            State::HandedOver(_) => self.leave_queue(w),
            _ => {}
        }
    }

    /// Nobody may be there any more: if its request still waits, it is not run.
    fn leave_queue(&self, w: &mut World) {
        if let Some(exchange) = self.exchange() {
            w.notify(Notice::InputEnded { exchange });
        }
    }

    /// For what comes next: the rest of a head, or another request.
    pub(super) fn patience(&self, w: &World) -> Duration {
        match self.has_part_of_head() {
            true => w.limits.client_header_timeout,
            false => w.unless_draining(w.limits.keepalive_timeout),
        }
    }

    /// An empty line, which may come before a request, may also be the end of the one before
    /// (RFC 9112 §2.2).
    pub(super) fn has_part_of_head(&self) -> bool {
        !matches!(&*self.input, b"" | b"\r" | b"\r\n")
    }

    /// There was a request, and nothing of another is here.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.state, State::Head) && self.requests > 0 && !self.has_part_of_head()
    }

    /// Ends a connection that owes nothing, so that a request on its way meets no reset.
    pub(super) fn end(&mut self, w: &mut World) {
        self.linger = true;
        self.meta.keep_alive = false;
        self.state = State::Ending;
        self.receive_deadline = None;
        self.settle(w);
    }
}

/// Bytes behind a request that is being answered; with more, the rest waits in the kernel. What it
/// has received by then comes on top: at most 32 pieces, the most of a repeated receive at once.
const INPUT_MOST: usize = 16 << 10;
