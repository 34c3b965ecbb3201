//! Durations and sizes as people write them.
//!
//! Owns the units and their messages. Must not know keys or files.

use std::time::Duration;

/// `"500ms"`, `"10s"`, `"1m"` or `"2h"`, at most [`LONGEST`].
///
/// # Errors
/// What is wrong with the text and what to write instead.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => return Err(format!("\"{text}\" has no unit, write for example \"{number}s\"")),
        _ => return Err(format!("\"{text}\": unit `{unit}` is not one of ms, s, m, h")),
    };
    number
        .checked_mul(milliseconds)
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| format!("\"{text}\" is longer than a year, write less"))
}

/// `"5/s"`, `"30/m"` or `"100/h"`: so many in such a time.
///
/// # Errors
/// What is wrong with the text and what to write instead.
pub(crate) fn rate(text: &str) -> Result<(u32, Duration), String> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "/s" => 1,
        "/m" => 60,
        "/h" => 3_600,
        "" => return Err(format!("\"{text}\" has no unit, write for example \"{number}/s\"")),
        _ => return Err(format!("\"{text}\": unit `{unit}` is not one of /s, /m, /h")),
    };
    match u32::try_from(number) {
        Ok(number) if (1..=RATE_MOST).contains(&number) => {
            Ok((number, Duration::from_secs(seconds)))
        }
        _ => Err(format!("\"{text}\" is not between 1 and {RATE_MOST}, write that, or no rate")),
    }
}

/// `"64KiB"`, `"16MiB"`, `"1GiB"` or `"512B"`, in bytes.
///
/// # Errors
/// What is wrong with the text and what to write instead.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" => {
            return Err(format!("\"{text}\" has no unit, write {number} without quotes or a unit"));
        }
        _ => return Err(format!("\"{text}\": unit `{unit}` is not one of B, KiB, MiB, GiB")),
    };
    number
        .checked_mul(bytes)
        .filter(|bytes| *bytes <= LARGEST)
        .ok_or_else(|| format!("\"{text}\" is more than 1024 TiB, write less"))
}

/// The longest duration: far below what overflows a clock.
pub(crate) const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// The largest rate: far below one per nanosecond.
const RATE_MOST: u32 = 1_000_000;

/// The largest size or count: far below what overflows a sum.
pub(crate) const LARGEST: u64 = 1 << 50;

fn split(text: &str) -> Result<(u64, &str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("\"{text}\" does not begin with a whole number"));
    }
    let number = number.parse().map_err(|_| format!("\"{text}\" is too large, write less"))?;
    Ok((number, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for (wrong, says) in [
            ("10", "write for example \"10s\""),
            ("10KiB", "`KiB` is not one of ms, s, m, h"),
            ("1.5s", "`.5s` is not one of"),
            ("s", "does not begin with a whole number"),
            ("-1s", "does not begin with a whole number"),
            ("9000h", "longer than a year"),
            ("18446744073709551615h", "longer than a year"),
            ("99999999999999999999s", "too large"),
        ] {
            let message = duration(wrong).unwrap_err();
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(rate("5/s"), Ok((5, Duration::from_secs(1))));
        assert_eq!(rate("30/m"), Ok((30, Duration::from_secs(60))));
        assert_eq!(rate("1/h"), Ok((1, Duration::from_secs(3_600))));
        for (wrong, says) in [
            ("5", "write for example \"5/s\""),
            ("5/d", "`/d` is not one of /s, /m, /h"),
            ("0/s", "is not between 1 and 1000000"),
            ("9999999999/s", "is not between 1 and 1000000"),
            ("/s", "does not begin with a whole number"),
        ] {
            let message = rate(wrong).unwrap_err();
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("512B"), Ok(512));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        for (wrong, says) in [
            ("16MB", "`MB` is not one of B, KiB, MiB, GiB"),
            ("16", "write 16 without quotes or a unit"),
            ("", "does not begin with a whole number"),
            ("18446744073709551615GiB", "write less"),
        ] {
            let message = size(wrong).unwrap_err();
            assert!(message.contains(says), "{message}");
        }
    }
}
