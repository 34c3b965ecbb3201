//! Conditions of requests (RFC 9110 §13).
//!
//! Owns the comparison of validators and the order of conditions. Must not know files.

use super::ask::AskFields;
use std::time::{Duration, UNIX_EPOCH};

/// What a client can compare a representation with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validators<'a> {
    /// A strong one, with its quotation marks.
    pub(super) etag: &'a [u8],
    /// Seconds since 1970, as `Last-Modified` says.
    pub(super) modified: u64,
}

/// What the conditions of a GET or HEAD come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer as if there were no conditions.
    Perform,
    /// The client has it already: 304.
    NotModified,
    /// 412.
    Failed,
}

impl Validators<'_> {
    /// In the order of RFC 9110 §13.2.2; `Range` and `If-Range` come after it.
    pub(super) fn judge(&self, fields: &AskFields<'_>) -> Verdict {
        let holds = match (&fields.if_match, &fields.if_unmodified_since) {
            (Some(list), _) => matches_any(list, self.etag, Comparison::Strong),
            (None, Some(date)) => parse_date(date).is_none_or(|date| self.modified <= date),
            (None, None) => true,
        };
        if !holds {
            return Verdict::Failed;
        }
        let has_it = match (&fields.if_none_match, &fields.if_modified_since) {
            (Some(list), _) => matches_any(list, self.etag, Comparison::Weak),
            (None, Some(date)) => parse_date(date).is_some_and(|date| self.modified <= date),
            (None, None) => false,
        };
        if has_it { Verdict::NotModified } else { Verdict::Perform }
    }

    /// Whether `Range` counts: the client has parts of exactly this representation (§13.1.5).
    /// `unix_seconds`: now. A file that changed within the last two seconds may have changed twice
    /// within one, so that its date is no strong validator (§8.8.2.2).
    pub(super) fn allow_range(&self, if_range: Option<&[u8]>, unix_seconds: u64) -> bool {
        let Some(validator) = if_range.map(<[u8]>::trim_ascii) else { return true };
        if validator.starts_with(b"\"") || validator.starts_with(b"W/") {
            return validator == self.etag;
        }
        let is_strong = self.modified + STRONG_AFTER_SECONDS <= unix_seconds;
        is_strong && parse_date(validator) == Some(self.modified)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Compares (§8.8.3.2) with each entity tag of a list; tags may contain commas. What comes after a
/// syntax error is ignored.
fn matches_any(list: &[u8], etag: &[u8], comparison: Comparison) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let weak = rest.strip_prefix(b"W/");
        let tag = weak.unwrap_or(rest);
        let Some(opaque) = tag.strip_prefix(b"\"") else { return false };
        let Some(len) = memchr::memchr(b'"', opaque) else { return false };
        let is_comparable = weak.is_none() || comparison == Comparison::Weak;
        if is_comparable && &tag[..len + 2] == etag {
            return true;
        }
        rest = &opaque[len + 1..];
    }
}

/// Seconds since 1970. A date that is not valid counts as not sent (§13.1.3, §13.1.4).
fn parse_date(date: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(date).ok()?).ok()?;
    Some(date.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs())
}

const STRONG_AFTER_SECONDS: u64 = 2;

#[cfg(test)]
mod tests {
    use super::Verdict::{Failed, NotModified, Perform};
    use super::*;

    const SECOND_10: &str = "Thu, 01 Jan 1970 00:00:10 GMT";
    const OF_10: Validators<'_> = Validators { etag: b"\"a-1\"", modified: 10 };
    const OF_11: Validators<'_> = Validators { etag: b"\"a-1\"", modified: 11 };

    fn fields(lines: &[(&str, &'static str)]) -> AskFields<'static> {
        let mut fields = AskFields::default();
        lines.iter().for_each(|(name, value)| fields.add(name, value.as_bytes()));
        fields
    }

    fn judge(lines: &[(&str, &'static str)]) -> Verdict {
        OF_10.judge(&fields(lines))
    }

    #[test]
    fn if_none_match_compares_weakly_rfc_9110_13_1_2() {
        for list in
            ["\"a-1\"", "W/\"a-1\"", "\"x\", \"a-1\"", "\"x,\",W/\"a-1\"", " * ", ", \"a-1\""]
        {
            assert_eq!(judge(&[("If-None-Match", list)]), NotModified, "{list}");
        }
        for list in
            ["", "\"a-2\"", "a-1", "\"a-1", "\"*\"", "\"x, \"a-1\"", "w/\"a-1\"", "W/", "\""]
        {
            assert_eq!(judge(&[("If-None-Match", list)]), Perform, "{list}");
        }
    }

    #[test]
    fn if_match_compares_strongly_rfc_9110_13_1_1() {
        for list in ["\"a-1\"", "*", "\"x\", \"a-1\"", "W/\"a-1\", \"a-1\""] {
            assert_eq!(judge(&[("If-Match", list)]), Perform, "{list}");
        }
        for list in ["", "W/\"a-1\"", "\"x\"", "a-1"] {
            assert_eq!(judge(&[("If-Match", list)]), Failed, "{list}");
        }
    }

    #[test]
    fn dates_count_to_the_second_rfc_9110_13_1_3_and_13_1_4() {
        let since = fields(&[("If-Modified-Since", SECOND_10)]);
        assert_eq!((OF_10.judge(&since), OF_11.judge(&since)), (NotModified, Perform));
        let unmodified = fields(&[("If-Unmodified-Since", SECOND_10)]);
        assert_eq!((OF_10.judge(&unmodified), OF_11.judge(&unmodified)), (Perform, Failed));
        for name in ["If-Modified-Since", "If-Unmodified-Since"] {
            for no_date in ["yesterday", ""] {
                assert_eq!(judge(&[(name, no_date)]), Perform, "{name}: {no_date}");
            }
        }
        let mut odd = AskFields::default();
        odd.add("If-Modified-Since", b"\xff");
        assert_eq!(OF_10.judge(&odd), Perform);
    }

    #[test]
    fn conditions_have_an_order_rfc_9110_13_2_2() {
        let old = "Thu, 01 Jan 1970 00:00:01 GMT";
        for (lines, verdict) in [
            // If-Match decides, not If-Unmodified-Since.
            (&[("If-Match", "\"a-1\""), ("If-Unmodified-Since", old)][..], Perform),
            (&[("If-Match", "\"x\""), ("If-Unmodified-Since", SECOND_10)], Failed),
            // If-None-Match decides, not If-Modified-Since.
            (&[("If-None-Match", "\"x\""), ("If-Modified-Since", SECOND_10)], Perform),
            (&[("If-None-Match", "\"a-1\""), ("If-Modified-Since", old)], NotModified),
            // 412 comes before 304.
            (&[("If-Match", "\"x\""), ("If-None-Match", "\"a-1\"")], Failed),
            (&[("If-Unmodified-Since", old), ("If-None-Match", "*")], Failed),
            (&[("If-Match", "*"), ("If-None-Match", "\"a-1\"")], NotModified),
            (&[("If-Unmodified-Since", SECOND_10), ("If-Modified-Since", SECOND_10)], NotModified),
        ] {
            assert_eq!(judge(lines), verdict, "{lines:?}");
        }
    }

    #[test]
    fn if_range_wants_exactly_this_representation_rfc_9110_13_1_5() {
        let allows = |validator: &str| OF_10.allow_range(Some(validator.as_bytes()), 100);
        assert!(OF_10.allow_range(None, 100));
        assert!(allows("\"a-1\"") && allows(SECOND_10));
        for other in ["W/\"a-1\"", "\"a-2\"", "\"x\", \"a-1\"", "*", "", "a-1", "yesterday"] {
            assert!(!allows(other), "{other}");
        }
        assert!(!OF_11.allow_range(Some(SECOND_10.as_bytes()), 100));
        assert!(!allows("Thu, 01 Jan 1970 00:00:11 GMT"), "not at or before, but exactly");
        assert!(!OF_10.allow_range(Some(SECOND_10.as_bytes()), 11), "it may change once more");
    }
}
