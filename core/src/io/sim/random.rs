//! Randomness from a seed, or from bytes that a fuzzer has chosen.
//!
//! Owns the generator. Must not know what is decided by it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::rc::Rc;

/// SplitMix64: a small generator that any seed is good for.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
    /// Two bytes decide a draw, as long as there are any. All children draw on the same.
    tape: Option<Rc<RefCell<VecDeque<u8>>>>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random { state: seed, tape: None }
    }

    /// Decides as these bytes say, then by a seed that is always the same.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Random {
        Random { state: 0, tape: Some(Rc::new(RefCell::new(bytes.to_vec().into()))) }
    }

    /// Another generator for somebody else.
    pub(crate) fn child(&mut self) -> Random {
        Random { state: self.seeded(), tape: self.tape.clone() }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.taped().unwrap_or_else(|| self.seeded())
    }

    fn taped(&self) -> Option<u64> {
        let mut tape = self.tape.as_ref()?.borrow_mut();
        let (low, high) = (tape.pop_front()?, tape.pop_front()?);
        Some(u64::from(u16::from_le_bytes([low, high])))
    }

    fn seeded(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of the range, each about equally likely.
    pub(crate) fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        let width = range.end().saturating_sub(*range.start()) as u64 + 1;
        range.start() + (self.next() % width) as usize
    }

    /// True in `per_mille` of a thousand cases. Impossible cases draw nothing.
    pub(crate) fn chance(&mut self, per_mille: u16) -> bool {
        per_mille > 0 && self.next() % 1000 < u64::from(per_mille)
    }

    /// `whole`, or with that probability a part of it: at least 1, if `whole` is.
    pub(super) fn maybe_part(&mut self, per_mille: u16, whole: usize) -> usize {
        if whole > 1 && self.chance(per_mille) { self.within(1..=whole - 1) } else { whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_about_right() {
        let mut random = Random::new(1);
        let hits = (0..100_000).filter(|_| random.chance(250)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| !random.chance(0)));
        assert!((0..1000).all(|_| random.chance(1000)));
    }

    #[test]
    fn parts_are_neither_empty_nor_whole() {
        let mut random = Random::new(2);
        assert_eq!(random.maybe_part(1000, 0), 0);
        assert_eq!(random.maybe_part(1000, 1), 1);
        assert!((0..1000).all(|_| (1..=9).contains(&random.maybe_part(1000, 10))));
    }
}
