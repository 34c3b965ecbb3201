//! What of a response goes through the spool, because its client is slower than its worker.
//!
//! Owns the order: what is in the file, the piece that is being written, what waits behind it.
//! Must not know where the pieces come from.

use super::buffers::Buffers;
use super::memory::Pressure;
use super::piece::Piece;
use super::spool::SpoolFile;
use super::world::World;
use crate::io::{Errno, Fd, Outgoing, SharedFile, Token};
use std::collections::VecDeque;
use std::rc::Rc;

/// See the module's documentation.
pub(crate) struct Backlog {
    spool: SpoolFile,
    /// Bytes of the file that the client has got.
    taken: u64,
    /// Behind the file, and behind what is being written.
    tail: VecDeque<Piece>,
    tail_bytes: usize,
    /// Bytes of memory that the tail owns.
    tail_capacity: usize,
}

impl Backlog {
    /// So much may wait to be written.
    const TAIL_MOST: usize = 2 * Buffers::LARGE;

    pub(crate) fn begin(token: Token, w: &mut World) -> Backlog {
        let spool = SpoolFile::create(0, token, w);
        Backlog { spool, taken: 0, tail: w.buffers.queue(), tail_bytes: 0, tail_capacity: 0 }
    }

    /// Bytes in memory. What is being written is not counted: it leaves soon.
    pub(crate) fn memory(&self) -> usize {
        self.tail_bytes
    }

    /// Bytes of memory that it owns.
    pub(crate) fn footprint(&self) -> usize {
        self.tail_capacity + self.spool.writing_bytes()
    }

    /// An operation is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.spool.is_busy()
    }

    /// Nothing goes to the file any more: memory has to do.
    pub(crate) fn has_failed(&self) -> bool {
        self.spool.has_failed()
    }

    /// More may come. `most`: bytes of the file.
    pub(crate) fn has_room(&self, most: u64, pressure: Pressure) -> bool {
        let has_memory = match pressure {
            Pressure::None => self.tail_bytes < Backlog::TAIL_MOST,
            // Small pieces are refused to nobody: so they come one by one.
            scarce if scarce >= Pressure::Uploads => self.footprint() == 0,
            _ => self.footprint() < Buffers::MEDIUM,
        };
        has_memory && self.spool.written() < most
    }

    /// Everything has been taken, and nothing is in flight.
    pub(crate) fn is_drained(&self) -> bool {
        !self.is_busy() && self.taken == self.spool.written() && self.tail.is_empty()
    }

    pub(crate) fn put(&mut self, piece: Outgoing) {
        self.count(&piece);
        self.tail.push_back(Piece::Bytes(piece));
    }

    /// Puts in a part of another file. What comes behind it is not written before it is taken.
    pub(crate) fn put_file(&mut self, file: Rc<SharedFile>, offset: u64, len: u64) {
        self.tail.push_back(Piece::File { file, offset, len });
    }

    /// Copies bytes behind the last piece, if its buffer has room: they are one write.
    pub(crate) fn add_to_last(&mut self, parts: [&[u8]; 3]) -> bool {
        let is_added = match self.tail.back_mut() {
            Some(Piece::Bytes(last)) => last.append(parts),
            _ => false,
        };
        if is_added {
            self.tail_bytes += parts.map(<[u8]>::len).iter().sum::<usize>();
        }
        is_added
    }

    /// What the client gets next: from the file, or from behind it.
    pub(crate) fn take(&mut self) -> Option<Piece> {
        let (written, offset) = (self.spool.written(), self.taken);
        if let Some(file) = self.spool.file()
            && written > offset
        {
            self.taken = written;
            return Some(Piece::File { file: Rc::clone(file), offset, len: written - offset });
        }
        if self.spool.is_writing() {
            return None;
        }
        let piece = self.tail.pop_front()?;
        if let Piece::Bytes(out) = &piece {
            self.uncount(out);
        }
        Some(piece)
    }

    /// Writes the next piece, if none is being written.
    pub(crate) fn write_on(&mut self, token: Token, w: &mut World) {
        if self.spool.is_ready()
            && let Some(piece) = self.pop_bytes()
            && let Err(piece) = self.spool.write(piece, token, w)
        {
            self.put_back(piece);
        }
    }

    pub(crate) fn on_created(&mut self, result: Result<Fd, Errno>, w: &mut World) {
        self.spool.on_created(result, w);
    }

    pub(crate) fn on_written(
        &mut self,
        out: Outgoing,
        result: Result<usize, Errno>,
        token: Token,
        w: &mut World,
    ) {
        if let Some(piece) = self.spool.on_written(out, result, token, w) {
            self.put_back(piece);
        }
    }

    /// Nobody takes it any more.
    pub(crate) fn clear(&mut self, buffers: &mut Buffers) {
        self.taken = self.spool.written();
        (self.tail_bytes, self.tail_capacity) = (0, 0);
        self.tail.drain(..).for_each(|piece| buffers.give_piece(piece));
    }

    pub(crate) fn dispose(self, buffers: &mut Buffers) {
        buffers.give_queue(self.tail);
    }

    fn put_back(&mut self, piece: Outgoing) {
        self.count(&piece);
        self.tail.push_front(Piece::Bytes(piece));
    }

    fn count(&mut self, piece: &Outgoing) {
        self.tail_bytes += piece.remaining();
        self.tail_capacity += piece.capacity();
    }

    fn uncount(&mut self, piece: &Outgoing) {
        self.tail_bytes -= piece.remaining();
        self.tail_capacity -= piece.capacity();
    }

    fn pop_bytes(&mut self) -> Option<Outgoing> {
        let first = self.tail.pop_front_if(|piece| matches!(piece, Piece::Bytes(_)))?;
        let Piece::Bytes(piece) = first else { unreachable!("bytes were asked for") };
        self.uncount(&piece);
        Some(piece)
    }
}
