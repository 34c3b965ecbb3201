//! A response on its way from a worker to a client.
//!
//! Owns the pieces that the client has not taken yet, and how the response ends. The exchange
//! puts in, the client takes out. What is more than `response_memory` goes through the spool; a
//! worker waits for a client only where that cannot be.

use super::backlog::Backlog;
use super::buffers::Buffers;
use super::loan::Loan;
use super::memory::Pressure;
use super::piece::Piece;
use super::world::World;
use crate::io::{Body, Errno, Fd, Outgoing, SharedFile, Stat, Time, Token};
use crate::limits::Limits;
use std::collections::VecDeque;
use std::rc::Rc;

/// See the module's documentation.
pub(crate) struct Relay {
    ready: VecDeque<Piece>,
    /// Bytes of `ready` in memory.
    bytes: usize,
    /// Bytes of memory that `ready` owns.
    capacity: usize,
    /// Behind `ready`.
    backlog: Option<Box<Backlog>>,
    /// The worker may put content into a file itself.
    loan: Option<Box<Loan>>,
    /// Everything that the client has taken is on its way.
    pub(crate) is_flushed: bool,
    /// The application has not forbidden it.
    pub(crate) may_spool: bool,
    has_spooled: bool,
    end: Option<End>,
    /// The status sent to the client.
    pub(crate) status: u16,
    /// Bytes of content put in, and of what is around it: the head, and the framing of chunks.
    pub(crate) content_bytes: u64,
    pub(crate) around_bytes: u64,
    /// The client's connection outlives this response.
    pub(crate) keep_alive: bool,
    /// Nothing but the end of the connection tells the client where the content ends.
    pub(crate) ends_by_close: bool,
    /// When the request got its slot, and when the response's head had arrived.
    pub(crate) dispatched_at: Option<Time>,
    pub(crate) responded_at: Option<Time>,
}

/// How a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Every byte has been put in.
    Complete,
    /// The application failed after its first byte: the client must be able to tell.
    Broken,
    /// Nothing was put in; the client gets an answer of ours.
    Failed(Failure),
    /// Nothing was put in, and nothing is answered: the client has left the queue.
    Left,
}

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    QueueFull,
    QueueTimeout,
    /// The same, and no worker was there.
    NoWorker,
    BadGateway,
    Deadline,
}

impl Failure {
    pub(crate) fn status(self) -> u16 {
        match self {
            Failure::QueueFull | Failure::QueueTimeout | Failure::NoWorker => 503,
            Failure::BadGateway => 502,
            Failure::Deadline => 504,
        }
    }
}

impl Relay {
    /// More fills half of its buffer, and may keep it.
    const COPY_MOST: usize = Buffers::LARGE / 2;

    pub(crate) fn new(buffers: &mut Buffers) -> Relay {
        Relay {
            ready: buffers.queue(),
            bytes: 0,
            capacity: 0,
            backlog: None,
            loan: None,
            is_flushed: false,
            may_spool: true,
            has_spooled: false,
            end: None,
            status: 0,
            content_bytes: 0,
            around_bytes: 0,
            keep_alive: true,
            ends_by_close: false,
            dispatched_at: None,
            responded_at: None,
        }
    }

    /// Puts in a piece. What is much smaller than its buffer is copied behind what waits, as far
    /// as there is room: `response_memory` counts bytes, not buffers.
    pub(crate) fn put(&mut self, piece: Outgoing, buffers: &mut Buffers) {
        debug_assert!(self.end.is_none(), "the response has ended");
        let len = piece.remaining();
        if len == 0 || len <= Relay::COPY_MOST && self.add_to_last(piece.slices()) {
            return buffers.give_outgoing(piece);
        }
        match &mut self.backlog {
            Some(backlog) => backlog.put(piece),
            None => {
                self.bytes += len;
                self.capacity += piece.capacity();
                self.ready.push_back(Piece::Bytes(piece));
            }
        }
    }

    /// Puts in a part of a file.
    pub(crate) fn put_file(&mut self, file: Rc<SharedFile>, offset: u64, len: u64) {
        debug_assert!(self.end.is_none(), "the response has ended");
        self.content_bytes += len;
        match &mut self.backlog {
            Some(backlog) => backlog.put_file(file, offset, len),
            None => self.ready.push_back(Piece::File { file, offset, len }),
        }
    }

    /// Puts in a few bytes.
    pub(crate) fn append(&mut self, bytes: &[u8], buffers: &mut Buffers) {
        if !self.add_to_last([bytes, b"", b""]) {
            let mut head = buffers.small();
            head.extend_from_slice(bytes);
            self.put(Outgoing::new(head, Body::None), buffers);
        }
    }

    fn add_to_last(&mut self, parts: [&[u8]; 3]) -> bool {
        if let Some(backlog) = &mut self.backlog {
            return backlog.add_to_last(parts);
        }
        let last = match self.ready.back_mut() {
            Some(Piece::Bytes(last)) => last,
            _ => return false,
        };
        let is_added = last.append(parts);
        if is_added {
            self.bytes += parts.map(<[u8]>::len).iter().sum::<usize>();
        }
        is_added
    }

    /// How the response ends is known.
    pub(crate) fn is_finished(&self) -> bool {
        self.end.is_some()
    }

    pub(crate) fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
        if let Some(loan) = &mut self.loan {
            loan.withdraw();
        }
    }

    pub(crate) fn take(&mut self, buffers: &mut Buffers) -> Option<Piece> {
        let piece = match self.ready.pop_front() {
            Some(piece) => {
                if let Piece::Bytes(out) = &piece {
                    self.bytes -= out.remaining();
                    self.capacity -= out.capacity();
                }
                Some(piece)
            }
            None => self.backlog.as_mut()?.take(),
        };
        self.drop_drained(buffers);
        piece
    }

    /// More of the response may be put in. Where memory is scarce one buffer may wait for the
    /// client.
    pub(crate) fn has_room(&self, limits: &Limits, pressure: Pressure) -> bool {
        let is_offered = self.loan.as_ref().is_some_and(|loan| loan.is_offered());
        let most = match pressure >= Pressure::Half {
            true => 1,
            false if is_offered => limits.response_memory + Loan::ON_ITS_WAY,
            false => limits.response_memory,
        };
        match &self.backlog {
            // Then it is only a receipt.
            _ if self.is_lent() => true,
            Some(backlog) if !backlog.has_failed() => {
                backlog.has_room(limits.response_max, pressure)
            }
            Some(backlog) => self.bytes + backlog.memory() < most,
            None => self.bytes < most,
        }
    }

    /// Bytes of memory that it owns.
    pub(crate) fn footprint(&self) -> usize {
        self.capacity + self.backlog.as_ref().map_or(0, |backlog| backlog.footprint())
    }

    /// Memory is full, and what still comes may go through a file.
    pub(crate) fn overflows(&self, w: &World) -> bool {
        let may_begin = self.backlog.is_none() && self.may_spool && !self.is_finished();
        let is_lending = self.loan.as_ref().is_some_and(|loan| loan.is_creating());
        may_begin && !is_lending && !self.has_room(&w.limits, w.memory.pressure())
    }

    /// What still comes goes through a file.
    pub(crate) fn overflow(&mut self, token: Token, w: &mut World) {
        self.backlog = Some(Box::new(Backlog::begin(token, w)));
        self.count_spooled(w);
    }

    /// A file for `most` bytes is made for the worker, if there is room for it. Not twice at a
    /// time, and not after one that was of no use.
    pub(crate) fn lend(&mut self, most: u64, token: Token, w: &mut World) -> bool {
        if self.loan.is_none()
            && let Some(loan) = Loan::begin(most, token, w)
        {
            self.loan = Some(Box::new(loan));
            self.count_spooled(w);
            return true;
        }
        false
    }

    fn count_spooled(&mut self, w: &mut World) {
        if !std::mem::replace(&mut self.has_spooled, true) {
            w.counters.responses_spooled.count();
        }
    }

    /// There is, or may be soon, a file in the hands of the worker.
    pub(crate) fn loan(&mut self) -> Option<&mut Loan> {
        self.loan.as_deref_mut()
    }

    /// The worker writes to a file.
    pub(crate) fn is_lent(&self) -> bool {
        self.loan.as_ref().is_some_and(|loan| loan.is_taken())
    }

    /// How much of the file there is: true if that is more than was known.
    pub(crate) fn on_looked(&mut self, result: Result<Stat, Errno>) -> bool {
        let loan = self.loan.as_mut().expect("asked for it");
        let more = loan.on_looked(result).filter(|_| self.end.is_none());
        self.put_of_loan(more)
    }

    /// The worker has given the file back. `wanted`: somebody takes what is in it.
    pub(crate) fn on_returned(&mut self, bytes: u64, wanted: bool) {
        let loan = self.loan.as_mut().expect("it was taken");
        let rest = loan.on_returned(bytes).filter(|_| wanted);
        self.put_of_loan(rest);
    }

    fn put_of_loan(&mut self, piece: Option<Piece>) -> bool {
        self.loan.take_if(|loan| loan.may_be_forgotten());
        let Some(Piece::File { file, offset, len }) = piece else { return false };
        self.put_file(file, offset, len);
        true
    }

    /// The client could take more at once.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.is_flushed && self.ready.is_empty() && self.backlog.is_none()
    }

    /// Writes what waits for that.
    pub(crate) fn spool_on(&mut self, token: Token, w: &mut World) {
        if let Some(backlog) = &mut self.backlog {
            backlog.write_on(token, w);
        }
    }

    /// What is put in now is written to the spool file, unless the client is faster than that.
    pub(crate) fn goes_to_file(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| !backlog.has_failed())
    }

    /// An operation on a spool file is in flight.
    pub(crate) fn is_spooling(&self) -> bool {
        let is_lending = self.loan.as_ref().is_some_and(|loan| loan.is_busy());
        is_lending || self.backlog.as_ref().is_some_and(|backlog| backlog.is_busy())
    }

    /// The spool file has been made, or not.
    pub(crate) fn on_created(&mut self, result: Result<Fd, Errno>, w: &mut World) {
        self.backlog.as_mut().expect("asked for the file").on_created(result, w);
        self.drop_drained(&mut w.buffers);
    }

    /// A piece has been written to the spool file, or not.
    pub(crate) fn on_written(
        &mut self,
        out: Outgoing,
        result: Result<usize, Errno>,
        token: Token,
        w: &mut World,
    ) {
        let backlog = self.backlog.as_mut().expect("asked for the write");
        backlog.on_written(out, result, token, w);
    }

    /// How the response ended, once everything has been taken.
    pub(crate) fn end(&self) -> Option<End> {
        self.end.filter(|_| self.ready.is_empty() && self.backlog.is_none())
    }

    /// Forgets everything that is not in flight; for a client that has gone.
    pub(crate) fn clear(&mut self, buffers: &mut Buffers) {
        (self.bytes, self.capacity) = (0, 0);
        for piece in self.ready.drain(..) {
            buffers.give_piece(piece);
        }
        if let Some(backlog) = &mut self.backlog {
            backlog.clear(buffers);
        }
        self.drop_drained(buffers);
    }

    pub(crate) fn dispose(mut self, buffers: &mut Buffers) {
        debug_assert!(!self.is_spooling());
        self.clear(buffers);
        buffers.give_queue(self.ready);
    }

    /// Memory is enough again. The file goes, so that no long stream makes it grow for ever.
    fn drop_drained(&mut self, buffers: &mut Buffers) {
        let is_over = |backlog: &mut Box<Backlog>| self.ready.is_empty() && backlog.is_drained();
        if let Some(backlog) = self.backlog.take_if(is_over) {
            backlog.dispose(buffers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts pieces of this size in buffers of that size until so many bytes wait.
    fn filled(relay: &mut Relay, buffers: &mut Buffers, (len, size): (usize, usize), most: usize) {
        while relay.bytes < most {
            let mut buf = buffers.of_size(size);
            buf.resize(len, b'x');
            let piece = match size {
                Buffers::SMALL => Outgoing::new(buf, Body::None),
                _ => Outgoing::new(b"1000\r\n".to_vec(), Body::Owned(buf, 0..len)),
            };
            relay.put(piece, buffers);
        }
    }

    #[test]
    fn what_waits_fills_half_of_its_buffers_at_least() {
        let mut buffers = Buffers::default();
        for len in
            [1, 6, 2_000, 4_095, 4_097, 5_000, 20_000, 30_000, 32_768, 32_769, 40_000, 65_536]
        {
            let size = if len < Buffers::SMALL { Buffers::SMALL } else { Buffers::LARGE };
            let mut relay = Relay::new(&mut buffers);
            filled(&mut relay, &mut buffers, (len, size), 256 << 10);
            let (waits, held) = (relay.bytes, relay.footprint());
            assert!(held <= 2 * waits + Buffers::LARGE, "{held} bytes for {waits} in {len}");
            let mut taken = 0;
            while let Some(Piece::Bytes(piece)) = relay.take(&mut buffers) {
                taken += piece.remaining();
                buffers.give_outgoing(piece);
            }
            assert_eq!((taken, relay.bytes, relay.footprint()), (waits, 0, 0), "{len}");
            relay.dispose(&mut buffers);
        }
    }
}
