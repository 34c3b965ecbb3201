//! A bound on bytes that several threads share.
//!
//! Owns the count. Must not know what the bytes are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes in all; clones are the same budget.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    most: u64,
    used: Arc<AtomicU64>,
}

/// A part of a budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(most: u64) -> Budget {
        Budget { most, used: Arc::default() }
    }

    /// A share without any bytes yet.
    pub(crate) fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }

    /// Bytes that shares hold.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes `more` bytes; false: the budget does not have them.
    pub(crate) fn grow(&mut self, more: u64) -> bool {
        let Budget { most, used } = &self.budget;
        let grown = |used: u64| used.checked_add(more).filter(|sum| sum <= most);
        let fits = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok();
        if fits {
            self.bytes += more;
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_end_at_the_bound_and_come_back() {
        let budget = Budget::new(10);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.grow(4) && two.grow(6));
        assert!(!one.grow(1) && !one.grow(u64::MAX));
        drop(two);
        assert!(one.grow(6));
        drop(one);
        assert_eq!(budget.used(), 0);
    }
}
