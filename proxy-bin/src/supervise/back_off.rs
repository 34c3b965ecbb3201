//! How long to wait before a command is started again. Pure.

use std::time::Duration;

/// Doubles from [`FIRST`] to [`LONGEST`]; starts anew after a run of [`LONGEST`].
#[derive(Debug)]
pub(crate) struct BackOff(Duration);

impl BackOff {
    /// The first wait is [`FIRST`].
    pub(crate) fn new() -> BackOff {
        BackOff(FIRST)
    }

    /// The wait after a process that lived for `lived`.
    pub(crate) fn after(&mut self, lived: Duration) -> Duration {
        let wait = if lived >= LONGEST { FIRST } else { self.0 };
        self.0 = (wait * 2).min(LONGEST);
        wait
    }
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_ten_seconds_and_recovers() {
        let mut back_off = BackOff::new();
        let mut wait = |lived| back_off.after(Duration::from_secs(lived)).as_millis();
        let waits: Vec<_> = (0..9).map(|_| wait(0)).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!((wait(9), wait(10), wait(0)), (10_000, 100, 200));
    }
}
