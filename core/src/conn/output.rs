//! What a connection still has to send, in order.
//!
//! Owns the queue and the rule that one send is in flight at a time. Must not know HTTP.

use super::buffers::Buffers;
use super::piece::Piece;
use crate::io::{Body, Fd, Op, Outgoing};
use bytes::Bytes;
use std::collections::VecDeque;
use std::rc::Rc;

/// The send queue of one connection.
#[derive(Default)]
pub(crate) struct Output {
    queue: VecDeque<Piece>,
    /// True exactly while a send or sendfile is in flight.
    sending: bool,
    /// Bytes of memory that are in flight, and how many of them are to be sent.
    lent: usize,
    in_flight: usize,
    /// Nothing is sent any more.
    abandoned: bool,
}

impl Output {
    /// sendfile(2) is asked for so much at a time: others get their turn between two windows.
    const WINDOW: u64 = 256 << 10;
    /// Small answers are collected up to about so many bytes while another send is in flight.
    const BATCH: usize = 64 << 10;

    /// Where the next head is written: behind the last one if nothing came in between, so that
    /// pipelined answers leave in one send.
    pub(crate) fn head(&mut self, buffers: &mut Buffers) -> &mut Vec<u8> {
        let open = matches!(self.queue.back(),
            Some(Piece::Bytes(out)) if matches!(out.body, Body::None));
        if !open {
            self.queue.push_back(Piece::Bytes(Outgoing::new(buffers.small(), Body::None)));
        }
        match self.queue.back_mut() {
            Some(Piece::Bytes(out)) => &mut out.head,
            _ => unreachable!("just looked at or pushed"),
        }
    }

    /// Content behind the last head, without copying it.
    pub(crate) fn shared(&mut self, content: Bytes) {
        match self.queue.back_mut() {
            Some(Piece::Bytes(out)) if matches!(out.body, Body::None) => {
                out.body = Body::Shared(content);
            }
            _ => {
                let out = Outgoing::new(Vec::new(), Body::Shared(content));
                self.queue.push_back(Piece::Bytes(out));
            }
        }
    }

    /// A piece that is complete already.
    pub(crate) fn push(&mut self, piece: Piece) {
        if !matches!(piece, Piece::File { len: 0, .. }) {
            self.queue.push_back(piece);
        }
    }

    /// Nothing waits and nothing is in flight.
    pub(crate) fn is_flushed(&self) -> bool {
        self.queue.is_empty() && !self.sending
    }

    /// Bytes of memory that it owns.
    pub(crate) fn footprint(&self) -> usize {
        let capacity = |piece: &Piece| match piece {
            Piece::Bytes(out) => out.footprint(),
            Piece::File { .. } => 0,
        };
        self.lent + self.queue.iter().map(capacity).sum::<usize>()
    }

    /// Bytes that are still to be sent.
    pub(crate) fn unsent(&self) -> u64 {
        let unsent = |piece: &Piece| match piece {
            Piece::Bytes(out) => out.remaining() as u64,
            Piece::File { len, .. } => *len,
        };
        self.in_flight as u64 + self.queue.iter().map(unsent).sum::<u64>()
    }

    /// Little enough waits that more may be added.
    pub(crate) fn has_room(&self) -> bool {
        match self.queue.back() {
            Some(Piece::Bytes(out)) => self.queue.len() < 2 && out.head.len() < Output::BATCH,
            _ => self.queue.len() < 2,
        }
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.sending
    }

    /// The next operation, if there is something to send and none is in flight.
    pub(crate) fn next(&mut self, fd: Fd) -> Option<Op> {
        if self.sending {
            return None;
        }
        let piece = self.queue.pop_front()?;
        self.sending = true;
        Some(match piece {
            Piece::Bytes(out) => {
                (self.lent, self.in_flight) = (out.footprint(), out.remaining());
                let more = matches!(self.queue.front(), Some(Piece::File { .. }));
                Op::Send { fd, out, more }
            }
            Piece::File { file, offset, len } => {
                let window = len.min(Output::WINDOW) as u32;
                // What is left waits at the front for the window's completion.
                self.queue.push_front(Piece::File { file: Rc::clone(&file), offset, len });
                Op::SendFile { fd, file, offset, len: window }
            }
        })
    }

    /// A send has ended; what it did not send goes on first.
    pub(crate) fn on_sent(&mut self, out: Outgoing, buffers: &mut Buffers) {
        debug_assert!(self.sending);
        (self.sending, self.lent, self.in_flight) = (false, 0, 0);
        if out.remaining() > 0 && !self.abandoned {
            self.queue.push_front(Piece::Bytes(out));
        } else {
            buffers.give_outgoing(out);
        }
    }

    /// A window of a file has been sent. False: the file has become shorter than was promised.
    pub(crate) fn on_file_sent(&mut self, count: u64) -> bool {
        debug_assert!(self.sending);
        self.sending = false;
        if self.abandoned {
            return true;
        }
        let Some(Piece::File { offset, len, .. }) = self.queue.front_mut() else {
            unreachable!("a window leaves its file at the front");
        };
        *offset += count;
        *len -= count;
        if *len == 0 {
            self.queue.pop_front();
        }
        count > 0
    }

    /// Empty, for another connection; only room for what waits is kept.
    pub(crate) fn renewed(self) -> Output {
        debug_assert!(self.is_flushed());
        Output { queue: self.queue, ..Output::default() }
    }

    /// Forgets what has not been sent, for good.
    pub(crate) fn abandon(&mut self, buffers: &mut Buffers) {
        self.abandoned = true;
        for piece in self.queue.drain(..) {
            if let Piece::Bytes(out) = piece {
                buffers.give_outgoing(out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Graveyard, SharedFile};

    fn part_of_file(len: u64) -> Piece {
        Piece::File { file: SharedFile::new(9, &Graveyard::default()), offset: 0, len }
    }

    #[test]
    fn answers_of_one_batch_leave_in_one_send() {
        let (mut output, mut buffers) = (Output::default(), Buffers::default());
        output.head(&mut buffers).extend_from_slice(b"first");
        output.head(&mut buffers).extend_from_slice(b"second");
        let Some(Op::Send { out, .. }) = output.next(1) else { panic!("nothing to send") };
        assert_eq!(out.slices()[0], b"firstsecond");
        assert!(output.next(1).is_none(), "one in flight at a time");
    }

    #[test]
    fn a_short_send_goes_on_before_anything_else() {
        let (mut output, mut buffers) = (Output::default(), Buffers::default());
        output.head(&mut buffers).extend_from_slice(b"head");
        output.shared(Bytes::from_static(b"content"));
        output.head(&mut buffers).extend_from_slice(b"next");
        let Some(Op::Send { mut out, .. }) = output.next(1) else { panic!() };
        assert_eq!(output.unsent(), 15, "in flight or not");
        out.advance(6);
        output.on_sent(out, &mut buffers);
        assert_eq!(output.unsent(), 9);
        let Some(Op::Send { mut out, .. }) = output.next(1) else { panic!() };
        assert_eq!(out.slices(), [&b""[..], &b"ntent"[..], &b""[..]]);
        out.advance(5);
        output.on_sent(out, &mut buffers);
        let Some(Op::Send { out, .. }) = output.next(1) else { panic!() };
        assert_eq!(out.slices()[0], b"next");
    }

    #[test]
    fn a_file_is_sent_in_windows_behind_its_head() {
        let (mut output, mut buffers) = (Output::default(), Buffers::default());
        let size = Output::WINDOW + 10;
        output.head(&mut buffers).extend_from_slice(b"head");
        output.push(part_of_file(size));
        let Some(Op::Send { mut out, more: true, .. }) = output.next(1) else { panic!() };
        out.advance(4);
        output.on_sent(out, &mut buffers);
        let mut sent = 0;
        while let Some(Op::SendFile { offset, len, .. }) = output.next(1) {
            assert_eq!(offset, sent);
            let count = u64::from(len).min(200_000);
            sent += count;
            assert!(output.on_file_sent(count));
        }
        assert_eq!(sent, size);
        assert!(output.is_flushed());
    }

    #[test]
    fn a_shorter_file_is_noticed() {
        let mut output = Output::default();
        output.push(part_of_file(10));
        assert!(output.next(1).is_some());
        assert!(!output.on_file_sent(0));
    }

    #[test]
    fn what_was_in_flight_at_the_end_is_not_sent_again() {
        let (mut output, mut buffers) = (Output::default(), Buffers::default());
        output.head(&mut buffers).extend_from_slice(b"head");
        let Some(Op::Send { out, .. }) = output.next(1) else { panic!() };
        output.abandon(&mut buffers);
        output.on_sent(out, &mut buffers);
        assert!(output.is_flushed() && output.next(1).is_none());

        let mut output = Output::default();
        output.push(part_of_file(10));
        assert!(output.next(1).is_some());
        output.abandon(&mut buffers);
        assert!(output.on_file_sent(3));
        assert!(output.is_flushed() && output.next(1).is_none());
    }
}
