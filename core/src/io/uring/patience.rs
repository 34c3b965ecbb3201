//! For how many completions a wait is, and how long it is for more than one.
//!
//! Owns the rule. Must not know what completes.
//!
//! A wait that ends with the first completion makes a busy reactor sleep, wake up and enter the
//! kernel for hardly more than one event at a time: with 64 clients of a pool that was half a sleep
//! for each request, and a sixth of the reactor's time. So after a turn that has brought many
//! completions, the next one waits for as many, but only for a moment. Fewer in that moment: it
//! waits for fewer the next time. Who has little to do waits for the first completion and nothing
//! else, so that nobody is answered later for it.

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Want {
    /// Completions.
    pub(super) count: u32,
    /// After so long one is enough.
    pub(super) microseconds: u32,
}

impl Want {
    pub(super) const NOTHING: Want = Want { count: 0, microseconds: 0 };
    pub(super) const ONE: Want = Want { count: 1, microseconds: 0 };

    /// After a turn with so many completions.
    pub(super) fn after(count: usize) -> Want {
        if count < MANY {
            return Want::ONE;
        }
        Want { count: count.min(MOST) as u32, microseconds: MOMENT }
    }

    /// As far as the first completion is concerned.
    pub(super) fn at_once(self) -> Want {
        Want { count: self.count.min(1), microseconds: 0 }
    }
}

/// Two requests to a worker at the same time are this many completions.
const MANY: usize = 8;
/// More at a time save hardly anything.
const MOST: usize = 32;
const MOMENT: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_busy_waits_for_more_than_one() {
        assert_eq!(Want::after(0), Want::ONE);
        assert_eq!(Want::after(MANY - 1), Want::ONE);
        assert_eq!(Want::after(9), Want { count: 9, microseconds: MOMENT });
        assert_eq!(Want::after(512).count, 32);
        assert_eq!(Want::after(512).at_once(), Want::ONE);
        assert_eq!(Want::NOTHING.at_once(), Want::NOTHING);
    }
}
