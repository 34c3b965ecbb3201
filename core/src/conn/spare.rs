//! Things that are kept to be used again.
//!
//! Owns how many: as many as have been in use at once lately. Must not know what they are.

use crate::growth;

/// Things that nobody uses. The one that was used last is the first to be used again.
pub(super) struct Spare<T> {
    items: Vec<T>,
    /// More are never kept.
    most: usize,
    /// The fewest that there have been since the last [`Spare::trim`].
    low: usize,
}

impl<T> Spare<T> {
    pub(super) const fn new(most: usize) -> Spare<T> {
        Spare { items: Vec::new(), most, low: 0 }
    }

    pub(super) fn take(&mut self) -> Option<T> {
        let item = self.items.pop();
        self.low = self.low.min(self.items.len());
        item
    }

    /// Keeps `item`. False: there are enough, it is dropped.
    pub(super) fn give(&mut self, item: T) -> bool {
        let keeps = self.items.len() < self.most;
        if keeps {
            self.items.push(item);
        }
        keeps
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Drops what nobody has needed since the last call. Bytes, of which each has so many.
    pub(super) fn trim(&mut self, bytes: impl Fn(&T) -> usize) -> usize {
        let dropped = self.items.drain(..self.low).map(|item| bytes(&item)).sum();
        growth::trim(&mut self.items);
        self.low = self.items.len();
        dropped
    }

    /// The same of all.
    pub(super) fn clear(&mut self, bytes: impl Fn(&T) -> usize) -> usize {
        self.low = self.items.len();
        self.trim(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_is_used_first_and_too_many_are_dropped() {
        let mut spare = Spare::new(2);
        assert!(spare.give(1) && spare.give(2) && !spare.give(3));
        assert_eq!((spare.take(), spare.take(), spare.take()), (Some(2), Some(1), None));
    }

    #[test]
    fn what_nobody_has_needed_meanwhile_goes() {
        let mut spare = Spare::new(10);
        assert!((0..8).all(|n| spare.give(n)));
        assert_eq!(spare.trim(|_| 2), 0, "they have just come");
        let used: Vec<_> = (0..3).filter_map(|_| spare.take()).collect();
        assert!(used.into_iter().all(|n| spare.give(n)));
        assert_eq!(spare.trim(|_| 2), 10);
        assert_eq!(spare.items, [7, 6, 5], "three were in use at once");
        assert_eq!(spare.trim(|_| 2), 6);
        assert!(spare.is_empty());
    }
}
