//! The `Date` field's value (RFC 9110 §5.6.7).
//!
//! Owns the formatted second. Must not know where the time comes from.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

/// Formats a date once a second at most.
#[derive(Clone, Debug, Default)]
pub struct DateCache {
    unix_seconds: u64,
    text: String,
}

impl DateCache {
    /// The date at this many seconds since 1970-01-01T00:00:00Z, in IMF-fixdate form. Seconds
    /// beyond the year 9999 count as its last.
    pub fn at(&mut self, unix_seconds: u64) -> &str {
        let unix_seconds = unix_seconds.min(LAST_SECOND);
        if self.text.is_empty() || self.unix_seconds != unix_seconds {
            let time = UNIX_EPOCH + Duration::from_secs(unix_seconds);
            self.unix_seconds = unix_seconds;
            self.text.clear();
            write!(self.text, "{}", httpdate::HttpDate::from(time))
                .expect("writing to a string succeeds");
        }
        &self.text
    }
}

/// 9999-12-31T23:59:59Z: the form has four digits for the year.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_imf_fixdate_rfc_9110_5_6_7() {
        let mut date = DateCache::default();
        assert_eq!(date.at(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.at(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.at(784_111_778), "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(date.at(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date.at(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
