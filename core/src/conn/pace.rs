//! How fast a client sends its content, and takes its answers.
//!
//! Owns when it counts as too slow or as gone. Must not know connections or the kernel: how much
//! has been received, and how much is still unsent, is said.
//!
//! A send that the kernel has accepted does not mean that the client has taken anything, and one
//! that waits does not mean that it takes nothing: it waits until a third of the socket's buffer,
//! which may be megabytes, is free. So of clients that do not take an answer at once the kernel
//! is asked now and then how much is still in that buffer.

use crate::io::Time;
use crate::limits::Limits;
use std::time::Duration;

/// The arrival of one request's content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    since: Time,
    /// It is not the client that is waited for, since then.
    held: Option<Time>,
}

/// What a client still has to take.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// Bytes that the kernel has accepted since the connection began.
    accepted: u64,
    /// Only of a client that has not taken everything at once.
    slow: Option<Box<Slow>>,
}

#[derive(Debug)]
struct Slow {
    /// The first look: when, and how many bytes it had taken.
    first: (Time, u64),
    /// The last look that found it taking something.
    last: (Time, u64),
}

/// What is wrong with how a client takes its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooSlow {
    /// Nothing for `send_timeout`.
    Stalled,
    /// Less than `rate_min` on average.
    Drips,
}

/// Averages say nothing before.
const GRACE: Duration = Duration::from_secs(10);

impl Arrival {
    pub(super) fn begin(now: Time) -> Arrival {
        Arrival { since: now, held: None }
    }

    /// Until [`Arrival::go_on`], time does not count.
    pub(super) fn hold(&mut self, now: Time) {
        self.held.get_or_insert(now);
    }

    /// The client is waited for again.
    pub(super) fn go_on(&mut self, now: Time) {
        if let Some(held) = self.held.take() {
            self.since = self.since.after(now.since(held));
        }
    }

    /// When `bytes` will have been less than `rate_min`, if no more come.
    pub(super) fn late_at(&self, bytes: u64, rate_min: u64) -> Time {
        let enough_for = Duration::from_millis(bytes.saturating_mul(1_000) / rate_min);
        self.since.after(GRACE.max(enough_for))
    }

    /// `bytes` are less than `rate_min` on average, of a second at least.
    pub(super) fn is_slow(&self, bytes: u64, rate_min: u64, now: Time) -> bool {
        let seconds = self.held.unwrap_or(now).since(self.since).as_secs();
        seconds > 0 && bytes < rate_min.saturating_mul(seconds)
    }
}

impl Delivery {
    /// How often to look.
    pub(super) fn interval(limits: &Limits) -> Duration {
        limits.send_timeout.min(GRACE) / 4
    }

    /// Of a connection that goes on after it had taken everything.
    pub(super) fn after(accepted: u64) -> Delivery {
        Delivery { accepted, slow: None }
    }

    pub(super) fn bytes_accepted(&self) -> u64 {
        self.accepted
    }

    /// The kernel has accepted so many bytes more.
    pub(super) fn accepted(&mut self, bytes: usize) {
        self.accepted += bytes as u64;
    }

    /// It has taken everything, as far as we can tell without asking.
    pub(super) fn caught_up(&mut self) {
        self.slow = None;
    }

    /// A look: `unsent` bytes are still in the socket's buffer. `patience`: for one who takes
    /// nothing.
    pub(super) fn look(
        &mut self,
        unsent: u64,
        patience: Duration,
        rate_min: u64,
        now: Time,
    ) -> Option<TooSlow> {
        let taken = self.accepted.saturating_sub(unsent);
        let Some(slow) = &mut self.slow else {
            self.slow = Some(Box::new(Slow { first: (now, taken), last: (now, taken) }));
            return None;
        };
        if taken > slow.last.1 {
            slow.last = (now, taken);
        }
        let (time, bytes) = (now.since(slow.first.0), taken.saturating_sub(slow.first.1));
        if now.since(slow.last.0) >= patience {
            Some(TooSlow::Stalled)
        } else if time >= GRACE && bytes < rate_min.saturating_mul(time.as_secs()) {
            Some(TooSlow::Drips)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    #[test]
    fn content_is_late_when_its_average_falls_below_the_minimum() {
        let mut arrival = Arrival::begin(at(100));
        assert_eq!(arrival.late_at(0, 500), at(110));
        assert_eq!(arrival.late_at(5_000, 500), at(110));
        assert_eq!(arrival.late_at(10_000, 500), at(120));
        arrival.hold(at(105));
        arrival.hold(at(130));
        arrival.go_on(at(145));
        arrival.go_on(at(150));
        assert_eq!(arrival.late_at(0, 500), at(150), "40 s were not its fault");
    }

    #[test]
    fn content_is_slow_before_it_is_late() {
        let mut arrival = Arrival::begin(at(100));
        assert!(!arrival.is_slow(0, 500, at(100)) && arrival.is_slow(499, 500, at(101)));
        assert!(!arrival.is_slow(1_000, 500, at(102)) && arrival.is_slow(1_000, 500, at(103)));
        arrival.hold(at(102));
        assert!(!arrival.is_slow(1_000, 500, at(103)));
    }

    fn looks(delivery: &mut Delivery, looks: &[(u64, u64)]) -> Option<TooSlow> {
        let limits = Limits::default();
        looks.iter().find_map(|&(second, unsent)| {
            delivery.look(unsent, limits.send_timeout, limits.rate_min, at(second))
        })
    }

    #[test]
    fn who_takes_nothing_is_stalled_after_send_timeout() {
        let mut delivery = Delivery::default();
        delivery.accepted(1_000_000);
        // Slow, but never too slow; then nothing more.
        assert_eq!(looks(&mut delivery, &[(3, 900_000), (8, 500_000), (37, 500_000)]), None);
        assert_eq!(looks(&mut delivery, &[(38, 500_000)]), Some(TooSlow::Stalled));
    }

    #[test]
    fn who_drips_is_too_slow_once_the_average_counts() {
        let mut delivery = Delivery::default();
        delivery.accepted(1_000_000);
        assert_eq!(looks(&mut delivery, &[(3, 900_000), (12, 899_900)]), None);
        assert_eq!(looks(&mut delivery, &[(13, 899_800)]), Some(TooSlow::Drips));
    }

    #[test]
    fn who_has_taken_everything_begins_anew() {
        let mut delivery = Delivery::default();
        delivery.accepted(1_000);
        assert_eq!(looks(&mut delivery, &[(3, 1_000)]), None);
        delivery.caught_up();
        assert_eq!(looks(&mut delivery, &[(100, 1_000), (109, 1_000)]), None);
    }
}
