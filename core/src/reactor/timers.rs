//! One timer wheel for all deadlines of a reactor.
//!
//! Owns when to look at whom again: one moment for each place of each table. Must not know what a
//! deadline means: what fires says only that whoever is there should compare its deadline with the
//! clock.
//!
//! Three levels of 256 slots of 4 ms, 1.024 s and 4.4 minutes. Deadlines move later all the time
//! and are almost never reached, so moving one later costs nothing: the place fires when it would
//! have, and is set again. For the same reason a moment belongs to the place, not to the life of
//! an entry: an exchange that is over leaves it to the next one. Places fire up to 4 ms late,
//! never early.

use crate::growth;
use crate::io::{Time, Token};

const TICK: u64 = 4_000_000; // nanoseconds
const BITS: u32 = 8;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 3;
/// Of tokens.
const KINDS: usize = 4;

/// The wheel.
pub(crate) struct Timers {
    /// Ticks before this one have fired.
    tick: u64,
    levels: [Level; LEVELS],
    /// By kind and index.
    places: [Vec<Place>; KINDS],
    /// Places that will fire.
    len: usize,
}

struct Level {
    /// The first of each slot's list.
    heads: Box<[Link; SLOTS]>,
    /// One bit per slot that is not empty.
    occupied: [u64; SLOTS / 64],
}

/// A place, in the list of a slot if it is to fire.
#[derive(Clone, Copy)]
struct Place {
    /// When it fires.
    at: Time,
    next: Link,
    previous: Link,
}

/// A place, the head of a slot's list, or nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link(u32);

const NEVER: Time = Time(u64::MAX);

impl Timers {
    /// Bytes for a place.
    pub(crate) const ENTRY: usize = size_of::<Place>();

    pub(crate) fn new(now: Time) -> Timers {
        let level = || Level { heads: Box::new([Link::NONE; SLOTS]), occupied: [0; SLOTS / 64] };
        let levels = [level(), level(), level()];
        Timers { tick: now.0 / TICK, levels, places: Default::default(), len: 0 }
    }

    /// The place of `token` fires at `at` or within a tick after it, unless it fires before that.
    #[inline]
    pub(crate) fn set(&mut self, token: Token, at: Time) {
        let places = &self.places[usize::from(token.kind())];
        let place = places.get(token.index() as usize);
        if place.is_none_or(|place| at < place.at) {
            self.set_sooner(token, at);
        }
    }

    fn set_sooner(&mut self, token: Token, at: Time) {
        let places = &mut self.places[usize::from(token.kind())];
        while places.len() <= token.index() as usize {
            growth::make_room_in(places);
            places.push(Place { at: NEVER, next: Link::NONE, previous: Link::NONE });
        }
        let link = Link::of(token);
        match std::mem::replace(&mut self.place(link).at, at) {
            NEVER => self.len += 1,
            _ => self.unlink(link),
        }
        self.link(link);
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

    /// Appends to `fired` the places that are due by `now`, as tokens whose generation says
    /// nothing.
    pub(crate) fn expire(&mut self, now: Time, fired: &mut Vec<Token>) {
        let until = now.0 / TICK;
        while self.tick <= until {
            if self.len == 0 {
                self.tick = until + 1;
                return;
            }
            self.cascade();
            let mut link = self.levels[0].take(self.tick as usize % SLOTS);
            while link != Link::NONE {
                fired.push(link.token());
                self.len -= 1;
                let place = self.place(link);
                place.at = NEVER;
                link = place.next;
            }
            self.tick = self.skip_to(until + 1);
        }
    }

    /// Of all places.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.places.iter().map(|places| places.capacity() * Timers::ENTRY).sum()
    }

    /// The next tick at which anything can happen, at most `limit`.
    fn skip_to(&self, limit: u64) -> u64 {
        let next = self.tick + 1;
        let boundary = (next + SLOTS as u64 - 1) & !(SLOTS as u64 - 1);
        let ahead = self.levels[0].first_from(next as usize % SLOTS).map(|n| next + n as u64);
        ahead.unwrap_or(boundary).min(boundary).min(limit).max(next)
    }

    /// At the start of a higher level's slot, spreads its places over the level below.
    fn cascade(&mut self) {
        for level in (1..LEVELS).rev() {
            let shift = level as u32 * BITS;
            if self.tick.trailing_zeros() >= shift {
                let slot = (self.tick >> shift) as usize % SLOTS;
                let mut link = self.levels[level].take(slot);
                while link != Link::NONE {
                    let next = self.place(link).next;
                    self.link(link);
                    link = next;
                }
            }
        }
    }

    fn place(&mut self, link: Link) -> &mut Place {
        let token = link.token();
        &mut self.places[usize::from(token.kind())][token.index() as usize]
    }

    /// Puts a place into the slot of its tick.
    fn link(&mut self, link: Link) {
        let due = self.place(link).at.0.div_ceil(TICK).max(self.tick);
        let distance = due - self.tick;
        let mut level = 0;
        while level < LEVELS - 1 && distance >> ((level as u32 + 1) * BITS) != 0 {
            level += 1;
        }
        let shift = level as u32 * BITS;
        // Beyond the last level's reach: as late as it can hold; then it is placed again.
        let farthest = (self.tick >> shift) + SLOTS as u64 - 1;
        let slot = (due >> shift).min(farthest) as usize % SLOTS;
        let next = self.levels[level].replace_head(slot, link);
        let place = self.place(link);
        (place.next, place.previous) = (next, Link::head(level, slot));
        if next != Link::NONE {
            self.place(next).previous = link;
        }
    }

    /// Takes a place out of its slot.
    fn unlink(&mut self, link: Link) {
        let Place { next, previous, .. } = *self.place(link);
        match previous.as_head() {
            Some((level, slot)) => {
                self.levels[level].replace_head(slot, next);
            }
            None => self.place(previous).next = next,
        }
        if next != Link::NONE {
            self.place(next).previous = previous;
        }
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

    fn take(&mut self, slot: usize) -> Link {
        self.replace_head(slot, Link::NONE)
    }

    fn replace_head(&mut self, slot: usize, head: Link) -> Link {
        let bit = 1 << (slot % 64);
        match head {
            Link::NONE => self.occupied[slot / 64] &= !bit,
            _ => self.occupied[slot / 64] |= bit,
        }
        std::mem::replace(&mut self.heads[slot], head)
    }
}

/// The kind is in the upper bits, so that of heads is [`KINDS`].
impl Link {
    const NONE: Link = Link(u32::MAX);
    const SHIFT: u32 = 29;

    fn of(token: Token) -> Link {
        debug_assert!(usize::from(token.kind()) < KINDS && token.index() >> Link::SHIFT == 0);
        Link(u32::from(token.kind()) << Link::SHIFT | token.index())
    }

    fn head(level: usize, slot: usize) -> Link {
        Link((KINDS as u32) << Link::SHIFT | (level * SLOTS + slot) as u32)
    }

    fn as_head(self) -> Option<(usize, usize)> {
        let (kind, index) =
            (self.0 >> Link::SHIFT, self.0 as usize % (LEVELS * SLOTS).next_power_of_two());
        (kind == KINDS as u32).then_some((index / SLOTS, index % SLOTS))
    }

    fn token(self) -> Token {
        Token::new((self.0 >> Link::SHIFT) as u8, self.0 & ((1 << Link::SHIFT) - 1), 0)
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
            timers.set(token(n), at);
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
    fn a_place_fires_once_as_early_as_it_was_set() {
        let mut timers = Timers::new(Time(0));
        let (mut due, mut fired, mut random) = (BTreeMap::new(), Vec::new(), 1u64);
        let mut next = move || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random >> 33
        };
        for step in 0..50_000 {
            let now = Time(step * TICK / 3);
            let place = Token::new(next() as u8 % KINDS as u8, next() as u32 % 50, 7);
            let at = now.after(Duration::from_millis(next() % (1 << (next() % 20))));
            timers.set(place, at);
            let key = (place.kind(), place.index());
            due.entry(key).and_modify(|due: &mut Time| *due = at.min(*due)).or_insert(at);
            timers.expire(now, &mut fired);
            for place in fired.drain(..) {
                let at = due.remove(&(place.kind(), place.index())).expect("it was set once");
                assert!(now >= at && now.since(at) < Duration::from_nanos(2 * TICK));
            }
            let is_late = |at: &Time| at.0 + 2 * TICK < now.0;
            assert!(!due.values().any(is_late), "one has been forgotten");
            assert_eq!(timers.len, due.len());
            let next = timers.next().map_or(u64::MAX, |at| at.0);
            let first = due.values().map(|at| at.0.saturating_add(2 * TICK)).min();
            assert!(next <= first.unwrap_or(u64::MAX), "it would be looked for too late");
        }
    }

    #[test]
    fn far_deadlines_survive_the_wheels_reach() {
        let mut timers = Timers::new(Time(0));
        let at = Time(0).after(Duration::from_secs(200_000));
        timers.set(token(1), at);
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
        timers.set(token(1), Time(5));
        let mut fired = Vec::new();
        timers.expire(Time(1_000 * TICK), &mut fired);
        assert_eq!(fired, [token(1)]);
    }
}
