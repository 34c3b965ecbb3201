//! Whether the client has it already (RFC 9110 §13).
//!
//! Owns the comparison of validators. Must not know files.

use std::time::{Duration, UNIX_EPOCH};

/// Whether a GET or HEAD is answered with 304, in the order of RFC 9110 §13.2.2: `If-None-Match`,
/// and only without it `If-Modified-Since`. `modified` is in seconds since 1970.
pub(super) fn is_not_modified(
    etag: &[u8],
    modified: u64,
    if_none_match: Option<&[u8]>,
    if_modified_since: Option<&[u8]>,
) -> bool {
    match (if_none_match, if_modified_since) {
        (Some(list), _) => matches_any(list, etag),
        (None, Some(date)) => is_unmodified_since(date, modified),
        (None, None) => false,
    }
}

/// Weak comparison (§8.8.3.2) with each entity tag of a list; tags may contain commas. What comes
/// after a syntax error is ignored.
fn matches_any(list: &[u8], etag: &[u8]) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let tag = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(opaque) = tag.strip_prefix(b"\"") else { return false };
        let Some(len) = memchr::memchr(b'"', opaque) else { return false };
        if &tag[..len + 2] == etag {
            return true;
        }
        rest = &opaque[len + 1..];
    }
}

/// A date that is not valid counts as not sent (§13.1.3).
fn is_unmodified_since(date: &[u8], modified: u64) -> bool {
    std::str::from_utf8(date)
        .ok()
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .is_some_and(|date| UNIX_EPOCH + Duration::from_secs(modified) <= date)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH_PLUS_10: &[u8] = b"Thu, 01 Jan 1970 00:00:10 GMT";

    fn by_tag(list: &str) -> bool {
        is_not_modified(b"\"a-1\"", 0, Some(list.as_bytes()), None)
    }

    #[test]
    fn compares_entity_tags_weakly_within_a_list() {
        for list in
            ["\"a-1\"", "W/\"a-1\"", "\"x\", \"a-1\"", "\"x,\",W/\"a-1\"", " * ", ", \"a-1\""]
        {
            assert!(by_tag(list), "{list}");
        }
        for list in
            ["", "\"a-2\"", "a-1", "\"a-1", "\"*\"", "\"x, \"a-1\"", "w/\"a-1\"", "W/", "\""]
        {
            assert!(!by_tag(list), "{list}");
        }
    }

    #[test]
    fn the_date_counts_only_without_entity_tags() {
        assert!(is_not_modified(b"\"a\"", 10, None, Some(EPOCH_PLUS_10)));
        assert!(!is_not_modified(b"\"a\"", 11, None, Some(EPOCH_PLUS_10)));
        assert!(!is_not_modified(b"\"a\"", 10, Some(b"\"b\""), Some(EPOCH_PLUS_10)));
        assert!(!is_not_modified(b"\"a\"", 10, None, Some(b"yesterday")));
        assert!(!is_not_modified(b"\"a\"", 10, None, Some(b"\xff")));
        assert!(!is_not_modified(b"\"a\"", 10, None, None));
    }
}
