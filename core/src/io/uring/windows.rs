//! Windows of files that are sent by sendfile(2): so many bytes a turn, the others after everything
//! else that has come meanwhile.
//!
//! Owns the bound, and which operations it has postponed. Must not know how a window is sent.
//!
//! A window costs the reactor as much as a dozen small answers: without a bound, a turn with 64
//! downloads keeps everybody else waiting for all of them.

use std::collections::VecDeque;

/// What of a turn's bytes is left, and who waits for the next turn's.
pub(super) struct Windows {
    room: u64,
    postponed: VecDeque<Postponed>,
}

/// An operation in flight that the ring does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Postponed {
    pub(super) key: u32,
    /// Bytes of its window.
    pub(super) len: u32,
    /// What its wait has brought.
    pub(super) count: usize,
}

impl Windows {
    pub(super) fn new() -> Windows {
        Windows { room: BYTES_PER_TURN, postponed: VecDeque::new() }
    }

    /// A turn begins.
    pub(super) fn refill(&mut self) {
        self.room = BYTES_PER_TURN;
    }

    /// Whether a window of `len` bytes may be sent now: those that came before it go first.
    pub(super) fn take(&mut self, len: u32) -> bool {
        let may = self.room > 0 && self.postponed.is_empty();
        if may {
            self.room = self.room.saturating_sub(u64::from(len));
        }
        may
    }

    pub(super) fn postpone(&mut self, window: Postponed) {
        self.postponed.push_back(window);
    }

    /// The next one that may go.
    pub(super) fn next(&mut self) -> Option<Postponed> {
        if self.room == 0 {
            return None;
        }
        let window = self.postponed.pop_front()?;
        self.room = self.room.saturating_sub(u64::from(window.len));
        Some(window)
    }

    /// Nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.postponed.is_empty()
    }

    pub(super) fn trim(&mut self) {
        self.postponed.shrink_to_fit();
    }
}

/// Four windows.
const BYTES_PER_TURN: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_sends_so_much_and_everybody_has_a_turn() {
        let mut windows = Windows::new();
        let len = BYTES_PER_TURN as u32 / 4;
        let window = |key| Postponed { key, len, count: 0 };
        let sent = (0..4).filter(|_| windows.take(len)).count();
        assert_eq!((sent, windows.take(1), windows.next()), (4, false, None));
        (0..5).for_each(|key| windows.postpone(window(key)));
        windows.refill();
        assert!(!windows.take(1), "others came before");
        let keys: Vec<_> = std::iter::from_fn(|| windows.next()).map(|w| w.key).collect();
        assert_eq!((keys, windows.is_empty()), (vec![0, 1, 2, 3], false));
        windows.refill();
        assert_eq!((windows.next(), windows.is_empty()), (Some(window(4)), true));
        assert!(windows.take(1));
    }

    #[test]
    fn a_window_that_is_larger_than_a_turn_goes_all_the_same() {
        let mut windows = Windows::new();
        assert!(windows.take(u32::MAX) && !windows.take(1));
    }
}
