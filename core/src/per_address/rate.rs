//! How many things an address does per second.
//!
//! The generic cell rate algorithm (ITU-T I.371): a cell holds the moment when all that it has
//! let pass would have come at the even rate. What is ahead of that by more than the burst is too
//! much. It needs no timer, and one number per cell.

use super::{Cells, Places, ROWS, WIDTH};
use crate::io::Time;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lets each address do something every `interval` on average.
pub(crate) struct Rate {
    places: Places,
    interval: Duration,
    /// How far one may be ahead of the even rate.
    ahead: Duration,
    rows: Mutex<[Box<[Time]>; ROWS]>,
}

/// Whether something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Now,
    /// Not before so much time has passed.
    After(Duration),
}

impl Rate {
    /// `burst` may be done at once.
    pub(crate) fn new(seed: u64, interval: Duration, burst: u32) -> Rate {
        let row = |_| vec![Time::default(); WIDTH].into_boxed_slice();
        Rate {
            places: Places { seed },
            interval,
            ahead: ahead(interval, burst),
            rows: Mutex::new(std::array::from_fn(row)),
        }
    }

    /// Whether it lets as much pass.
    pub(crate) fn is_of(&self, interval: Duration, burst: u32) -> bool {
        (self.interval, self.ahead) == (interval, ahead(interval, burst))
    }

    /// Whether this address may do one more, which then counts.
    pub(crate) fn pass(&self, address: IpAddr, now: Time) -> Pass {
        let cells = self.places.of(address);
        // A few loads and stores, nothing else, happen under the lock.
        let mut rows = self.lock();
        let due = at(&mut rows, cells).map(|cell| *cell).min().unwrap_or(now).max(now);
        let wait = due.since(now).saturating_sub(self.ahead);
        if !wait.is_zero() {
            return Pass::After(wait);
        }
        let next = due.after(self.interval);
        at(&mut rows, cells).for_each(|cell| *cell = (*cell).max(next));
        Pass::Now
    }

    fn lock(&self) -> MutexGuard<'_, [Box<[Time]>; ROWS]> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ahead(interval: Duration, burst: u32) -> Duration {
    interval.saturating_mul(burst.saturating_sub(1))
}

fn at(rows: &mut [Box<[Time]>; ROWS], cells: Cells) -> impl Iterator<Item = &mut Time> {
    rows.iter_mut().zip(cells).map(|(row, cell)| &mut row[usize::from(cell)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn address(last: u32) -> IpAddr {
        IpAddr::V4((0xc000_0200 + last).into())
    }

    #[test]
    fn a_burst_passes_and_then_the_even_rate() {
        let rate = Rate::new(1, Duration::from_millis(100), 3);
        let pass = |ms: u64| rate.pass(address(1), Time(ms * MS));
        assert_eq!([pass(5_000), pass(5_000), pass(5_000)], [Pass::Now; 3]);
        assert_eq!(pass(5_000), Pass::After(Duration::from_millis(100)));
        assert_eq!(pass(5_040), Pass::After(Duration::from_millis(60)));
        assert_eq!(pass(5_100), Pass::Now);
        assert_eq!(pass(5_100), Pass::After(Duration::from_millis(100)));
        // The burst has come back, no more than that.
        assert_eq!([pass(60_000), pass(60_000), pass(60_000)], [Pass::Now; 3]);
        assert_ne!(pass(60_000), Pass::Now);
    }

    #[test]
    fn others_are_not_kept_waiting() {
        let rate = Rate::new(1, Duration::from_secs(1), 1);
        for other in 2..10_000 {
            while rate.pass(address(other), Time(MS)) == Pass::Now {}
        }
        assert_eq!(rate.pass(address(1), Time(MS)), Pass::Now);
        assert_ne!(rate.pass(address(1), Time(MS)), Pass::Now);
    }
}
