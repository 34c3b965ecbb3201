//! Windows of files that are sent by sendfile(2): so many bytes a turn, the others after everything
//! else that has come meanwhile.
//!
//! Owns the bound, and which operations it has postponed. Must not know how a window is sent.
//!
//! A window costs the reactor as much as a dozen small answers: without a bound, a turn with 64
//! downloads keeps everybody else waiting for all of them.

use super::Uring;
use super::operation::{self, Tried};
use crate::io::{Completion, Done, Errno, Op};
use std::collections::VecDeque;

/// What of a turn's bytes is left, and who waits for the next turn's.
pub(super) struct Windows {
    room: u64,
    /// Windows that have just been read: they go first, before memory loses them again.
    read: VecDeque<Postponed>,
    others: VecDeque<Postponed>,
}

/// An operation in flight that the ring does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Postponed {
    pub(super) key: u32,
    /// What its wait has brought.
    pub(super) count: usize,
}

impl Windows {
    pub(super) fn new() -> Windows {
        Windows { room: BYTES_PER_TURN, read: VecDeque::new(), others: VecDeque::new() }
    }

    /// A turn begins.
    pub(super) fn refill(&mut self) {
        self.room = BYTES_PER_TURN;
    }

    /// Whether a window may be sent now: those that came before it go first.
    pub(super) fn may_go(&self, was_read: bool) -> bool {
        self.room > 0 && self.read.is_empty() && (was_read || self.others.is_empty())
    }

    /// So many bytes have been sent. Trying costs something as well.
    pub(super) fn charge(&mut self, sent: usize) {
        self.room = self.room.saturating_sub((sent as u64).max(LEAST));
    }

    pub(super) fn postpone(&mut self, window: Postponed, was_read: bool) {
        match was_read {
            true => self.read.push_back(window),
            false => self.others.push_back(window),
        }
    }

    /// The next one that may go.
    pub(super) fn next(&mut self) -> Option<Postponed> {
        if self.room == 0 {
            return None;
        }
        self.read.pop_front().or_else(|| self.others.pop_front())
    }

    /// Nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.read.is_empty() && self.others.is_empty()
    }

    pub(super) fn trim(&mut self) {
        self.read.shrink_to(FEW);
        self.others.shrink_to(FEW);
    }
}

impl Uring {
    /// Windows that had to wait for this turn.
    pub(super) fn resume(&mut self, done: &mut Vec<Completion>) {
        self.windows.refill();
        while let Some(Postponed { key, count }) = self.windows.next() {
            if self.in_flight.get_mut(key).expect("postponed by its key").cancelled {
                let (token, op) = self.in_flight.remove(key);
                let result = Err(Errno(libc::ECANCELED));
                let answer = operation::answer(op, result, None, &mut self.transit);
                done.push(Completion { token, done: answer });
            } else {
                done.extend(self.perform_awaited(key, count));
            }
        }
    }
}

/// [`operation::perform`], with what it takes of the turn.
pub(super) fn perform(op: &mut Op, read: Option<u32>, windows: &mut Windows) -> Tried {
    let tried = operation::perform(op, read);
    if let Op::SendFile { .. } = op {
        windows.charge(match &tried {
            Tried::Done(Done::SendFile { result: Ok(sent), .. }) => *sent,
            _ => 0,
        });
    }
    tried
}

/// Four windows that were read, two others.
const BYTES_PER_TURN: u64 = 512 << 10;

/// So that a turn tries 32 at most.
const LEAST: u64 = 16 << 10;

const FEW: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: usize = BYTES_PER_TURN as usize / 4;

    /// Keys of what goes in one turn, a window each.
    fn turn(windows: &mut Windows) -> Vec<u32> {
        windows.refill();
        let sent = std::iter::from_fn(|| {
            let window = windows.next()?;
            windows.charge(WINDOW);
            Some(window.key)
        });
        sent.collect()
    }

    #[test]
    fn a_turn_sends_so_much_and_everybody_has_a_turn() {
        let mut windows = Windows::new();
        assert!(windows.may_go(false));
        (0..4).for_each(|_| windows.charge(WINDOW));
        assert!(!windows.may_go(false) && !windows.may_go(true));
        (0..5).for_each(|key| windows.postpone(Postponed { key, count: 0 }, false));
        assert_eq!(turn(&mut windows), [0, 1, 2, 3]);
        windows.refill();
        assert!(!windows.may_go(false) && windows.may_go(true), "one came before");
        windows.postpone(Postponed { key: 5, count: 7 }, true);
        assert!(!windows.may_go(true) && !windows.is_empty());
        assert_eq!(turn(&mut windows), [5, 4]);
        assert!(windows.is_empty() && windows.may_go(false));
    }

    #[test]
    fn trying_is_bounded_as_well() {
        let mut windows = Windows::new();
        let tries =
            (0..1000).take_while(|_| windows.may_go(false).then(|| windows.charge(0)).is_some());
        assert_eq!(tries.count() as u64, BYTES_PER_TURN / LEAST);
    }
}
