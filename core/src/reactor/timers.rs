//! One timer wheel for all deadlines of a reactor.
//!
//! Owns when to look at whom again. Must not know what a deadline means: an entry that fires says
//! only that its receiver should compare its deadline with the clock.
//!
//! Three levels of 256 slots of 4 ms, 1.024 s and 4.4 minutes. Deadlines move later all the time
//! and are almost never reached, so moving one later costs nothing: the entry stays where it is,
//! and whoever it fires for inserts itself again. Entries fire up to 4 ms late, never early.

use crate::io::{Time, Token};
use crate::slack;

const TICK: u64 = 4_000_000; // nanoseconds
const BITS: u32 = 8;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 3;

/// The wheel.
pub(crate) struct Timers {
    /// Ticks before this one have fired.
    tick: u64,
    levels: [Level; LEVELS],
    len: usize,
}

struct Level {
    slots: Vec<Vec<(Token, u64)>>,
    /// One bit per slot that is not empty.
    occupied: [u64; SLOTS / 64],
}

impl Timers {
    /// Bytes for an entry.
    pub(crate) const ENTRY: usize = size_of::<(Token, u64)>();

    pub(crate) fn new(now: Time) -> Timers {
        let level = || Level { slots: vec![Vec::new(); SLOTS], occupied: [0; SLOTS / 64] };
        Timers { tick: now.0 / TICK, levels: [level(), level(), level()], len: 0 }
    }

    /// Fires for `token` at `at` or within a tick after it.
    pub(crate) fn insert(&mut self, token: Token, at: Time) {
        self.len += 1;
        self.place(token, at.0.div_ceil(TICK));
    }

    /// When [`Timers::expire`] should be called next at the latest.
    pub(crate) fn next(&self) -> Option<Time> {
        if self.len == 0 {
            return None;
        }
        let due = (0..LEVELS as u32).filter_map(|level| {
            let shift = level * BITS;
            let from = self.tick >> shift;
            let ahead = self.levels[level as usize].first_from(from as usize % SLOTS)? as u64;
            // A slot of a higher level is due when it cascades: at its first tick.
            Some(((from + ahead) << shift).max(self.tick))
        });
        due.min().map(|tick| Time(tick * TICK))
    }

    /// Appends to `fired` whoever is due by `now`.
    pub(crate) fn expire(&mut self, now: Time, fired: &mut Vec<Token>) {
        let until = now.0 / TICK;
        while self.tick <= until {
            if self.len == 0 {
                self.tick = until + 1;
                return;
            }
            self.cascade();
            for (token, _) in self.levels[0].take(self.tick as usize % SLOTS) {
                self.len -= 1;
                fired.push(token);
            }
            self.tick = self.skip_to(until + 1);
        }
    }

    /// Of all entries.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let slots = self.levels.iter().flat_map(|level| &level.slots);
        slots.map(|slot| slot.capacity() * Timers::ENTRY).sum()
    }

    /// The next tick at which anything can happen, at most `limit`.
    fn skip_to(&self, limit: u64) -> u64 {
        let next = self.tick + 1;
        let boundary = (next + SLOTS as u64 - 1) & !(SLOTS as u64 - 1);
        let ahead = self.levels[0].first_from(next as usize % SLOTS).map(|n| next + n as u64);
        ahead.unwrap_or(boundary).min(boundary).min(limit).max(next)
    }

    /// At the start of a higher level's slot, spreads its entries over the level below.
    fn cascade(&mut self) {
        for level in (1..LEVELS).rev() {
            let shift = level as u32 * BITS;
            if self.tick.trailing_zeros() >= shift || self.tick == 0 {
                let slot = (self.tick >> shift) as usize % SLOTS;
                for (token, due) in self.levels[level].take(slot) {
                    self.place(token, due);
                }
            }
        }
    }

    fn place(&mut self, token: Token, due: u64) {
        let due = due.max(self.tick);
        let distance = due - self.tick;
        let mut level = 0;
        while level < LEVELS - 1 && distance >> ((level as u32 + 1) * BITS) != 0 {
            level += 1;
        }
        let shift = level as u32 * BITS;
        // Beyond the last level's reach: as late as it can hold; then it is placed again.
        let farthest = (self.tick >> shift) + SLOTS as u64 - 1;
        let slot = (due >> shift).min(farthest) as usize % SLOTS;
        let entries = &mut self.levels[level].slots[slot];
        slack::make_room_in(entries);
        entries.push((token, due));
        self.levels[level].occupied[slot / 64] |= 1 << (slot % 64);
    }
}

impl Level {
    /// How many slots after `slot` the first one lies that is not empty.
    fn first_from(&self, slot: usize) -> Option<usize> {
        (0..=SLOTS / 64).find_map(|step| {
            let word = (slot / 64 + step) % (SLOTS / 64);
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= !0 << (slot % 64);
            } else if step == SLOTS / 64 {
                bits &= !(!0 << (slot % 64));
            }
            let found = word * 64 + bits.trailing_zeros() as usize;
            (bits != 0).then(|| (found + SLOTS - slot) % SLOTS)
        })
    }

    fn take(&mut self, slot: usize) -> Vec<(Token, u64)> {
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        std::mem::take(&mut self.slots[slot])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn token(n: u32) -> Token {
        Token::new(0, n, 0)
    }

    #[test]
    fn fires_in_time_and_never_early() {
        let start = Time(987_654_321_987);
        let mut timers = Timers::new(start);
        let mut due = BTreeMap::new();
        let mut random = 1u64;
        for n in 0..5_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = start.after(Duration::from_millis((random >> 33) % 2_000_000));
            timers.insert(token(n), at);
            due.insert(n, at);
        }
        let (mut now, mut fired, mut waits) = (start, Vec::new(), 0);
        while let Some(next) = timers.next() {
            assert!(next.0 + TICK > now.0, "the wheel looks back");
            now = Time(next.0.max(now.0 + 1));
            waits += 1;
            timers.expire(now, &mut fired);
            for token in fired.drain(..) {
                let at = due.remove(&token.index()).unwrap();
                assert!(now >= at, "fired early");
                assert!(now.since(at) < Duration::from_nanos(2 * TICK), "fired late");
            }
        }
        assert!(due.is_empty());
        assert!(waits < 15_000, "{waits} wake-ups for 5,000 timers");
    }

    #[test]
    fn far_deadlines_survive_the_wheels_reach() {
        let mut timers = Timers::new(Time(0));
        let at = Time(0).after(Duration::from_secs(200_000));
        timers.insert(token(1), at);
        let mut fired = Vec::new();
        timers.expire(Time(at.0 - TICK), &mut fired);
        assert!(fired.is_empty());
        timers.expire(Time(at.0 + TICK), &mut fired);
        assert_eq!(fired, [token(1)]);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_past_deadline_fires_at_once() {
        let mut timers = Timers::new(Time(1_000 * TICK));
        timers.insert(token(1), Time(5));
        let mut fired = Vec::new();
        timers.expire(Time(1_000 * TICK), &mut fired);
        assert_eq!(fired, [token(1)]);
    }
}
