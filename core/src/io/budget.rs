//! A bound on bytes that several threads share.
//!
//! Owns the count. Must not know what the bytes are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that its shares have; clones are the same budget. The bound is an argument: it may
/// change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget(Arc<AtomicU64>);

/// A part of a budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// A share without any bytes yet.
    pub(crate) fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }

    /// A share of so many bytes, whatever the bound: they are used already.
    pub(crate) fn share_of(&self, bytes: u64) -> Share {
        let mut share = self.share();
        share.force_to(bytes);
        share
    }

    /// Bytes that shares hold.
    pub(crate) fn used(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes `more` bytes; false: all shares would have more than `most`.
    pub(crate) fn grow(&mut self, more: u64, most: u64) -> bool {
        let grown = |used: u64| used.checked_add(more).filter(|&sum| sum <= most);
        let Budget(used) = &self.budget;
        let fits = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok();
        if fits {
            self.bytes += more;
        }
        fits
    }

    /// Takes what is missing to `bytes`; false as for [`Share::grow`].
    pub(crate) fn grow_to(&mut self, bytes: u64, most: u64) -> bool {
        bytes <= self.bytes || self.grow(bytes - self.bytes, most)
    }

    /// What it has.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes what is missing to `bytes`, whatever the bound: it is used already.
    pub(crate) fn force_to(&mut self, bytes: u64) {
        let more = bytes.saturating_sub(self.bytes);
        self.budget.0.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
    }

    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.budget.0.fetch_sub(surplus, Ordering::Relaxed);
        self.bytes -= surplus;
    }
}

/// The copy counts as well.
impl Clone for Share {
    fn clone(&self) -> Share {
        self.budget.share_of(self.bytes)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_end_at_the_bound_and_come_back() {
        let budget = Budget::default();
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.grow(4, 10) && two.grow(6, 10));
        assert!(!one.grow(1, 10) && !one.grow(u64::MAX, 10));
        drop(two);
        assert!(one.grow(6, 10));
        one.shrink_to(20);
        assert_eq!(budget.used(), 10);
        one.shrink_to(3);
        assert_eq!(budget.used(), 3);
        one.force_to(11);
        one.force_to(5);
        assert_eq!((budget.used(), one.bytes()), (11, 11));
        let copy = one.clone();
        drop(one);
        assert_eq!(budget.used(), 11);
        drop(copy);
        assert_eq!(budget.used(), 0);
    }
}
