//! What an application does when its answer has left: the `close()` of its response.
//!
//! Owns how long that has taken, and what to expect. Must not know what it is.

use std::cell::Cell;
use std::time::Duration;

/// Of one thread. While it is at that, whoever has a connection to it would wait for it, although
/// other workers may be idle.
#[derive(Debug)]
pub(crate) struct Afterwork {
    /// There is nobody else whom a request could go to.
    is_alone: bool,
    /// Requests to come that are better the last ones on their connections.
    due: Cell<u32>,
}

impl Afterwork {
    pub(crate) fn new(is_alone: bool) -> Afterwork {
        Afterwork { is_alone, due: Cell::new(0) }
    }

    /// Whether this request should be the last one on its connection.
    pub(crate) fn is_expected(&self) -> bool {
        let due = self.due.get();
        self.due.set(due.saturating_sub(1));
        due > 0
    }

    /// It has taken so long. So much may be spent on new connections to spare a request that again:
    /// that is never much more than twice what the best choice would have cost.
    pub(crate) fn took(&self, time: Duration) {
        if time >= NOTICEABLE && !self.is_alone {
            let due = (time.as_micros() / CONNECTION.as_micros()).min(MOST.into()) as u32;
            self.due.set(due.max(self.due.get()));
        }
    }
}

/// Requests wait longer than that for other reasons, too.
const NOTICEABLE: Duration = Duration::from_millis(10);
/// What a new connection costs both ends.
const CONNECTION: Duration = Duration::from_micros(200);
const MOST: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ones_are_expected_again_for_a_while() {
        let afterwork = Afterwork::new(false);
        afterwork.took(NOTICEABLE - Duration::from_micros(1));
        assert!(!afterwork.is_expected());
        afterwork.took(NOTICEABLE);
        assert_eq!((0..100).filter(|_| afterwork.is_expected()).count(), 50);
        afterwork.took(Duration::from_secs(3600));
        afterwork.took(NOTICEABLE);
        assert_eq!((0..2000).filter(|_| afterwork.is_expected()).count(), 1000);
    }

    #[test]
    fn who_is_alone_keeps_its_place() {
        let afterwork = Afterwork::new(true);
        afterwork.took(Duration::from_secs(3600));
        assert!(!afterwork.is_expected());
    }
}
