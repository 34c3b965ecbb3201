//! Paths in normal form (RFC 3986 §5.2.4, §6.2.2).
//!
//! Owns what two spellings of one path have in common. Must not know routes or file systems.

use super::Reject;
use super::syntax::{PLAIN, TARGET, UNRESERVED, all, hex_value, is, span};
use std::borrow::Cow;

/// The target with its path in normal form: percent-encoded unreserved characters decoded, then
/// dot segments resolved; the hexadecimal digits of what stays encoded in upper case. `//` and
/// `%2F` stay, and so does the query. `*` stays as it is. Borrows if nothing changes.
///
/// # Errors
/// 400: a malformed percent-encoding in the path, `..` above the root, or a character that no
/// target has, a fragment's `#` among them.
pub fn clean_target(target: &str) -> Result<Cow<'_, str>, Reject> {
    clean_and_look(target).map(|clean| clean.target)
}

/// What [`clean_target`] returns, and what it has seen.
pub(crate) struct CleanTarget<'t> {
    pub(crate) target: Cow<'t, str>,
    /// Where the path ends.
    pub(crate) path_len: usize,
    /// Nothing in the path is to be decoded, and it has no `//`.
    pub(crate) is_literal: bool,
}

/// As [`clean_target`].
pub(crate) fn clean_and_look(target: &str) -> Result<CleanTarget<'_>, Reject> {
    let bytes = target.as_bytes();
    let plain = span(bytes, PLAIN);
    if !all(&bytes[plain..], TARGET) {
        return Err(Reject::BadTarget);
    }
    let path_len = match bytes.get(plain) {
        Some(b'%') => split_query(target).0.len(),
        _ => plain,
    };
    let (path, query) = target.split_at(path_len);
    let as_it_is = |is_literal| CleanTarget { target: Cow::Borrowed(target), path_len, is_literal };
    match path {
        "*" if query.is_empty() => return Ok(as_it_is(true)),
        "" => {
            let target = Cow::Owned(format!("/{query}"));
            return Ok(CleanTarget { target, path_len: 1, is_literal: true });
        }
        _ if !path.starts_with('/') => return Err(Reject::BadTarget),
        _ => {}
    }
    let has_encoded = plain < path.len();
    let decoded = match has_encoded {
        true => decode_unreserved(path)?,
        false => Cow::Borrowed(path),
    };
    let is_simple = has_simple_segments(&decoded);
    if matches!(decoded, Cow::Borrowed(_)) && (is_simple || !has_dot_segment(&decoded)) {
        return Ok(as_it_is(!has_encoded && (is_simple || !decoded.contains("//"))));
    }
    let mut clean = String::with_capacity(target.len());
    resolve_dot_segments(&decoded, &mut clean)?;
    let (path_len, is_literal) = (clean.len(), !has_encoded && !clean.contains("//"));
    clean.push_str(query);
    Ok(CleanTarget { target: Cow::Owned(clean), path_len, is_literal })
}

/// The path of a target, and the rest, which is empty or begins with `?`.
pub fn split_query(target: &str) -> (&str, &str) {
    let end = target.bytes().position(|b| b == b'?').unwrap_or(target.len());
    target.split_at(end)
}

fn decode_unreserved(path: &str) -> Result<Cow<'_, str>, Reject> {
    let mut decoded = String::new();
    let mut rest = path;
    let mut changed = false;
    // What lies before `rest` is in `decoded` only once something has changed.
    while let Some(at) = memchr::memchr(b'%', rest.as_bytes()) {
        let digits = &rest.as_bytes()[at + 1..];
        let byte = encoded(digits).ok_or(Reject::BadPercentEncoding)?;
        let is_lower = digits[..2].iter().any(u8::is_ascii_lowercase);
        if !changed && (is(byte, UNRESERVED) || is_lower) {
            changed = true;
            decoded.reserve(path.len());
            decoded.push_str(&path[..path.len() - rest.len()]);
        }
        if changed {
            decoded.push_str(&rest[..at]);
            push_normal(&mut decoded, byte);
        }
        rest = &rest[at + 3..];
    }
    if !changed {
        return Ok(Cow::Borrowed(path));
    }
    decoded.push_str(rest);
    Ok(Cow::Owned(decoded))
}

/// The byte that the two hexadecimal digits at the start stand for.
pub(super) fn encoded(digits: &[u8]) -> Option<u8> {
    let [high, low, ..] = digits else { return None };
    Some(hex_value(*high)? << 4 | hex_value(*low)?)
}

fn push_normal(out: &mut String, byte: u8) {
    if is(byte, UNRESERVED) {
        out.push(char::from(byte));
    } else {
        out.push('%');
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

/// Whether no segment begins with a dot and only the last may be empty, as in most paths.
fn has_simple_segments(path: &str) -> bool {
    !path.as_bytes().windows(2).any(|two| two[0] == b'/' && matches!(two[1], b'.' | b'/'))
}

fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// RFC 3986 §5.2.4, but `..` above the root is an error and not ignored.
fn resolve_dot_segments(path: &str, out: &mut String) -> Result<(), Reject> {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." if is_last => out.push('/'),
            "." => {}
            ".." => {
                let parent = out.rfind('/').ok_or(Reject::ParentEscape)?;
                out.truncate(parent);
                if is_last {
                    out.push('/');
                }
            }
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    Ok(())
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clean(target: &str) -> Result<String, Reject> {
        clean_target(target).map(Cow::into_owned)
    }

    #[test]
    fn clean_targets_are_borrowed() {
        for target in ["/", "/a", "//a//", "/a.b/..c/.d/...", "/%2F", "/a%C3%A4?x=%zz/../%2e", "*"]
        {
            assert!(
                matches!(clean_target(target), Ok(Cow::Borrowed(t)) if t == target),
                "{target}"
            );
        }
    }

    #[test]
    fn dot_segments_are_resolved_rfc_3986_5_2_4() {
        for (target, expected) in [
            ("/a/b/c/./../../g", "/a/g"),
            ("/./a", "/a"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/.", "/"),
            ("/a/b/..", "/a/"),
            ("/a/./b/", "/a/b/"),
            ("/a//../b", "/a/b"),
            ("//..", "/"),
            ("/a/../b?c/../d", "/b?c/../d"),
            ("?q", "/?q"),
        ] {
            assert_eq!(clean(target).as_deref(), Ok(expected), "{target}");
        }
    }

    #[test]
    fn unreserved_characters_are_decoded_first_rfc_3986_6_2_2() {
        for (target, expected) in [
            ("/%61%2D%7e", "/a-~"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e", "/"),
            ("/%c3%a4", "/%C3%A4"),
            ("/%C3%a4/x%2f%61", "/%C3%A4/x%2Fa"),
            ("/a/..%2fb", "/a/..%2Fb"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/%25%32%65", "/%252e"),
            ("/a;/..;/b", "/a;/..;/b"),
        ] {
            assert_eq!(clean(target).as_deref(), Ok(expected), "{target}");
        }
    }

    #[test]
    fn bad_targets_are_refused() {
        for target in ["/%", "/%4", "/%4g", "/%g4", "/a%", "/%%41", "/%+1"] {
            assert_eq!(clean(target), Err(Reject::BadPercentEncoding), "{target}");
        }
        for target in ["/..", "/../a", "/a/../..", "/a/../../b", "/%2e%2e/x", "/./..", "/.%2E/"] {
            assert_eq!(clean(target), Err(Reject::ParentEscape), "{target}");
        }
        for target in ["/a#b", "/a?b#c", "a", "/\u{e4}", "/ ", "/\0", "*?q", "*a"] {
            assert_eq!(clean(target), Err(Reject::BadTarget), "{target}");
        }
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing(path in "/(%2[eEfF]|%6[1-4]|[./a%c3?]){0,20}") {
            if let Ok(once) = clean(&path) {
                prop_assert_eq!(clean(&once), Ok(once.clone()));
                let path = once.split('?').next().unwrap();
                prop_assert!(path.starts_with('/') && !has_dot_segment(path));
            }
        }
    }
}
