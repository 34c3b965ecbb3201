//! A spool file that a worker writes itself, because its client is slower than it.
//!
//! Owns the file, and how much of it the client may have; what is said of it on the slot is in
//! [`slot`](crate::http::slot). Must not know when it is lent.

use super::piece::Piece;
use super::world::World;
use crate::http::slot::{OFFER, RECALL};
use crate::io::{Body, Errno, Fd, Op, Outgoing, Share, SharedFile, Stat, Token};
use std::rc::Rc;

/// See the module's documentation.
pub(crate) struct Loan {
    state: State,
    /// Bytes of the file that the client has, or will get next.
    put: u64,
    /// The worker may write so many.
    most: u64,
    /// The kernel has been asked how long the file is.
    looking: bool,
    /// The answer will be too old.
    look_again: bool,
    recalled: bool,
}

enum State {
    /// The file is being made, within this share of the budget.
    Creating(Share),
    Offered(Rc<SharedFile>),
    Taken(Rc<SharedFile>),
    /// Nothing more goes there.
    Over,
}

impl Loan {
    /// While an offer waits to be taken so much more may be held for the client: what is on its
    /// way must come before, and a Unix socket with the piece behind it hardly holds more.
    pub(crate) const ON_ITS_WAY: usize = 320 << 10;

    /// Asks for a file of `most` bytes, if the budget has them.
    pub(crate) fn begin(most: u64, token: Token, w: &mut World) -> Option<Loan> {
        let share = w.spool.reserve(most, w.limits.spool_budget)?;
        w.submit(token, w.spool.creation());
        let state = State::Creating(share);
        Some(Loan { state, put: 0, most, looking: false, look_again: false, recalled: false })
    }

    pub(crate) fn is_creating(&self) -> bool {
        matches!(self.state, State::Creating(_))
    }

    pub(crate) fn is_offered(&self) -> bool {
        matches!(self.state, State::Offered(_))
    }

    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.state, State::Taken(_))
    }

    /// It is over, and was of use: another one may be.
    pub(crate) fn may_be_forgotten(&self) -> bool {
        matches!(self.state, State::Over) && !self.looking && self.put > 0
    }

    /// An operation on the file is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_creating() || self.looking
    }

    /// The end of the making; what to say to the worker.
    pub(crate) fn on_created(
        &mut self,
        result: Result<Fd, Errno>,
        w: &mut World,
    ) -> Option<Outgoing> {
        let State::Creating(share) = std::mem::replace(&mut self.state, State::Over) else {
            unreachable!("the file was asked for");
        };
        let file = w.spool.file(result.ok()?, share);
        let mut offer = byte(OFFER, w);
        offer.file = Some(Rc::clone(&file));
        self.state = State::Offered(file);
        Some(offer)
    }

    /// The worker writes to it, at most so many bytes.
    pub(crate) fn on_taken(&mut self, most: u64) {
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Offered(file) => State::Taken(file),
            _ => unreachable!("it was offered"),
        };
        self.most = self.most.min(most);
    }

    /// Asks how much there is.
    pub(crate) fn look(&mut self, token: Token, w: &mut World) {
        let State::Taken(file) = &self.state else { return };
        if std::mem::replace(&mut self.looking, true) {
            self.look_again = true;
        } else {
            w.submit(token, Op::StatOpen { file: Rc::clone(file) });
        }
    }

    /// Somebody has asked since the kernel was asked.
    pub(crate) fn must_look_again(&mut self) -> bool {
        std::mem::take(&mut self.look_again)
    }

    /// The answer: what the client may have now.
    pub(crate) fn on_looked(&mut self, result: Result<Stat, Errno>) -> Option<Piece> {
        self.looking = false;
        let size = result.map_or(0, |stat| stat.size);
        self.up_to(size.min(self.most))
    }

    /// The client has, or gets next, no more than so many bytes of it.
    pub(crate) fn is_put_within(&self, bytes: u64) -> bool {
        self.put <= bytes
    }

    /// Nobody will take it.
    pub(crate) fn withdraw(&mut self) {
        if !self.is_busy() && !self.is_taken() {
            self.state = State::Over;
        }
    }

    /// The worker has given it back with so many bytes: what of them the client has not got.
    pub(crate) fn on_returned(&mut self, bytes: u64) -> Option<Piece> {
        let rest = self.up_to(bytes);
        if let State::Taken(file) = std::mem::replace(&mut self.state, State::Over) {
            file.count_no_more_than(bytes);
        }
        rest
    }

    /// To be said to the worker, once.
    pub(crate) fn recall(&mut self, w: &mut World) -> Option<Outgoing> {
        let is_new = self.is_taken() && !std::mem::replace(&mut self.recalled, true);
        is_new.then(|| byte(RECALL, w))
    }

    fn up_to(&mut self, end: u64) -> Option<Piece> {
        let State::Taken(file) = &self.state else { return None };
        let (offset, len) = (self.put, end.saturating_sub(self.put));
        self.put += len;
        (len > 0).then(|| Piece::File { file: Rc::clone(file), offset, len })
    }
}

fn byte(byte: u8, w: &mut World) -> Outgoing {
    let mut head = w.buffers.small();
    head.push(byte);
    Outgoing::new(head, Body::None)
}

/// What a worker says when it gives a file back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Receipt {
    bytes: u64,
    digits: u32,
}

impl Receipt {
    /// Consumes what belongs to it. How many bytes that was, and how many the file has, if that is
    /// known now.
    pub(crate) fn read(&mut self, input: &[u8]) -> Result<(usize, Option<u64>), &'static str> {
        for (at, &byte) in input.iter().enumerate() {
            match byte {
                b'0'..=b'9' if self.digits < DIGITS_MOST => {
                    self.digits += 1;
                    self.bytes = 10 * self.bytes + u64::from(byte - b'0');
                }
                b'\n' if self.digits > 0 => return Ok((at + 1, Some(self.bytes))),
                _ => return Err("not how a spool file is given back"),
            }
        }
        Ok((input.len(), None))
    }
}

/// No such number is more than a `u64` holds.
const DIGITS_MOST: u32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_a_number_and_a_line_feed_however_cut() {
        let input = b"1234567\nHTTP";
        for cut in 0..=7 {
            let mut receipt = Receipt::default();
            assert_eq!(receipt.read(&input[..cut]), Ok((cut, None)));
            assert_eq!(receipt.read(&input[cut..]), Ok((8 - cut, Some(1_234_567))));
        }
        assert_eq!(Receipt::default().read(b"0\n"), Ok((2, Some(0))));
        for bad in [&b"\n"[..], b"1 \n", b"-1\n", b"1\r\n", b"x", b"12345678901234567890\n"] {
            assert!(Receipt::default().read(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
