//! What a reactor has of `memory_budget`: one account for everything that requests hold.
//!
//! Owns the count, and how scarce memory is. Must not know what is counted: whoever has an entry
//! in a table says after every event how many bytes it holds, wherever they come from.
//!
//! What is taken while others wait for it to be given back is taken in this order, as
//! [`Pressure`] rises. Each step goes on where those before it were not enough:
//!
//! 1. More than half is used: buffers that nobody uses are freed. Of new content 4 KiB stay in
//!    memory, the rest goes to the spool in small pieces; so does a response beyond one buffer,
//!    which is a quarter of the usual ones. What clients send is received piece by piece.
//! 2. From 10/16: connections that have waited for their next request for a second end, the oldest
//!    first.
//! 3. From 12/16: clients that are silent inside a request, or take nothing of an answer, have a
//!    quarter of the usual time.
//! 4. From 14/16: requests with content are answered 503. Pipelined ones wait for their turn.
//! 5. From 15/16: uploads below `rate_min` end, content of handlers that does not fit yet is
//!    refused, and so is a head that is not complete; responses come in small pieces, one by one.
//! 6. From 16/16: every new request is answered 503.
//!
//! A request that has been taken is never given up. The last sixteenth is for what is counted and
//! never refused: of a connection its head, pipelined input that has arrived, and the small pieces
//! of its answer that are being sent; of an exchange, with or without its client, the head and
//! three small pieces of the response (one that is received, one that waits, one that is being
//! written); of a worker's connection its greeting. With their own entries that is five small
//! buffers for each of the first two, without the input, and one for the third; more only for heads
//! larger than such a buffer, up to their own bounds.

use crate::io::{Budget, Share};

/// See the module's documentation.
pub(crate) struct Memory {
    budget: Budget,
    /// At least what is used; in steps, so that reactors seldom meet at the budget.
    share: Share,
    used: u64,
    most: u64,
}

/// How scarce memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    #[default]
    None,
    Half,
    Parked,
    Timeouts,
    Content,
    Uploads,
    Requests,
}

impl Memory {
    pub(crate) fn new(budget: Budget, most: u64) -> Memory {
        Memory { share: budget.share(), budget, used: 0, most: most.min(MOST) }
    }

    /// `memory_budget` is another one now.
    pub(crate) fn set_most(&mut self, most: u64) {
        self.most = most.min(MOST);
    }

    /// Where others count what they take over.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Of the server.
    #[inline]
    pub(crate) fn pressure(&self) -> Pressure {
        let used = self.budget.used();
        match used <= self.bound(Pressure::Half) {
            true => Pressure::None,
            false => self.pressure_at(used),
        }
    }

    /// Bytes that this reactor has counted.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Takes `more` bytes, unless that would be so much that the server reached `level`.
    pub(super) fn take(&mut self, more: u64, level: Pressure) -> bool {
        let Some(wanted) = self.used.checked_add(more) else { return false };
        let bound = self.bound(level);
        let fits = match wanted <= self.share.bytes() {
            true => self.budget.used() <= bound,
            false => {
                self.share.grow_to(wanted.saturating_add(self.step()), bound)
                    || self.share.grow_to(wanted, bound)
            }
        };
        if fits {
            self.used = wanted;
        }
        fits
    }

    /// What was `counted` is `now` bytes.
    pub(crate) fn recount(&mut self, counted: &mut u64, now: u64) {
        if now == *counted {
            return;
        }
        self.used = self.used - *counted + now;
        *counted = now;
        let step = self.step();
        if self.used > self.share.bytes() {
            self.share.force_to(self.used + step);
        } else if self.share.bytes() - self.used > 4 * step {
            self.share.shrink_to(self.used + 2 * step);
        }
    }

    #[cold]
    fn pressure_at(&self, used: u64) -> Pressure {
        let reaches = |level: &Pressure| used > self.bound(*level);
        Pressure::LEVELS.into_iter().rev().find(reaches).unwrap_or(Pressure::None)
    }

    fn bound(&self, level: Pressure) -> u64 {
        self.most / 16 * level.sixteenths()
    }

    fn step(&self) -> u64 {
        (self.most / 4096).min(64 << 10)
    }
}

/// A larger budget is this one: sums below it do not overflow.
const MOST: u64 = 1 << 60;

impl Pressure {
    const LEVELS: [Pressure; 6] = [
        Pressure::Half,
        Pressure::Parked,
        Pressure::Timeouts,
        Pressure::Content,
        Pressure::Uploads,
        Pressure::Requests,
    ];

    fn sixteenths(self) -> u64 {
        match self {
            Pressure::None => 0,
            Pressure::Half => 8,
            Pressure::Parked => 10,
            Pressure::Timeouts => 12,
            Pressure::Content => 14,
            Pressure::Uploads => 15,
            Pressure::Requests => 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_ends_at_its_level_and_comes_back() {
        let budget = Budget::default();
        let (mut one, mut two) = (Memory::new(budget.clone(), 1600), Memory::new(budget, 1600));
        let (mut first, mut second) = (0, 0);
        assert_eq!(one.pressure(), Pressure::None);
        assert!(one.take(1000, Pressure::Content) && !two.take(401, Pressure::Content));
        first += 1000;
        assert!(two.take(400, Pressure::Content));
        second += 400;
        assert_eq!(one.pressure(), Pressure::Timeouts);
        assert!(two.take(100, Pressure::Uploads) && !two.take(1, Pressure::Uploads));
        second += 100;
        assert_eq!(one.pressure(), Pressure::Content);
        two.recount(&mut second, 550);
        assert_eq!((one.pressure(), two.pressure()), (Pressure::Uploads, Pressure::Uploads));
        two.recount(&mut second, 0);
        one.recount(&mut first, 700);
        assert_eq!(one.pressure(), Pressure::None);
        one.recount(&mut first, 0);
        assert_eq!(one.budget().used(), 0);
    }

    #[test]
    fn without_a_bound_there_is_still_one() {
        let mut memory = Memory::new(Budget::default(), u64::MAX);
        let mut counted = 0;
        for _ in 0..2 {
            assert!(!memory.take(u64::MAX - 7, Pressure::Content));
            memory.recount(&mut counted, 1 << 40);
        }
        assert!(memory.take(1 << 50, Pressure::Content));
        assert_eq!(memory.pressure(), Pressure::None);
    }

    #[test]
    fn small_changes_leave_the_budget_alone() {
        let mut memory = Memory::new(Budget::default(), 256 << 20);
        let mut counted = 0;
        memory.recount(&mut counted, 1);
        let used = memory.budget().used();
        for now in [60_000, 5, 4_096, 0, 8_192] {
            memory.recount(&mut counted, now);
            assert_eq!(memory.budget().used(), used);
        }
        memory.recount(&mut counted, 10 << 20);
        memory.recount(&mut counted, 0);
        assert!(memory.budget().used() <= 256 << 10, "{}", memory.budget().used());
    }
}
