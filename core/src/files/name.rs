//! From the path of a request to the name of a file.
//!
//! Owns what a name may look like. Must not know what exists; that nothing leads out of the root
//! is the kernel's business (openat2).

use crate::http::hex_value;
use std::ffi::{CStr, CString};
use std::rc::Rc;

/// The file beneath a root that `path` stands for: the percent-encoded rest of a request's path,
/// without leading slash. A directory (empty, or ending with a slash) stands for its `index`.
///
/// `None` if no file is ever served under such a path.
pub(crate) fn resolve(path: &str, index: &str) -> Option<Rc<CStr>> {
    let mut name = Vec::with_capacity(path.len() + index.len() + 1);
    let directory = if is_directory(path) { path.strip_suffix('/') } else { Some(path) };
    for (nth, segment) in directory.into_iter().flat_map(|d| d.split('/')).enumerate() {
        let start = name.len();
        decode(segment.as_bytes(), &mut name)?;
        match &name[start..] {
            [] => return None,
            [b'.', ..] if nth > 0 || &name[start..] != b".well-known" => return None,
            _ => name.push(b'/'),
        }
    }
    match is_directory(path) {
        true => name.extend_from_slice(index.as_bytes()),
        false => drop(name.pop()),
    }
    CString::new(name).ok().map(Rc::from)
}

/// Whether a path has the form of a directory's.
pub(crate) fn is_directory(path: &str) -> bool {
    path.is_empty() || path.ends_with('/')
}

/// Decodes a segment once and appends it. `None` if what is encoded is no part of a name.
fn decode(mut segment: &[u8], name: &mut Vec<u8>) -> Option<()> {
    while let [first, rest @ ..] = segment {
        let mut byte = *first;
        segment = rest;
        if byte == b'%' {
            let [high, low, rest @ ..] = rest else { return None };
            byte = hex_value(*high)? << 4 | hex_value(*low)?;
            segment = rest;
        }
        if byte.is_ascii_control() || byte == b'/' || byte == b'\\' {
            return None;
        }
        name.push(byte);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(path: &str) -> Option<Vec<u8>> {
        resolve(path, "index.html").map(|name| name.to_bytes().to_vec())
    }

    #[test]
    fn names_files() {
        assert_eq!(resolved("a/b.css").unwrap(), b"a/b.css");
        assert_eq!(resolved("with%20space%c3%a4").unwrap(), "with spaceä".as_bytes());
        assert_eq!(resolved("a%25").unwrap(), b"a%");
        assert_eq!(resolved(".well-known/acme").unwrap(), b".well-known/acme");
    }

    #[test]
    fn names_the_index_of_directories() {
        assert_eq!(resolved("").unwrap(), b"index.html");
        assert_eq!(resolved("a/b/").unwrap(), b"a/b/index.html");
    }

    #[test]
    fn decodes_once() {
        assert_eq!(resolved("%252e%252e/x").unwrap(), b"%2e%2e/x");
        assert_eq!(resolved("a%252fb").unwrap(), b"a%2fb");
        assert_eq!(resolved("%c0%ae%c0%ae").unwrap(), b"\xc0\xae\xc0\xae");
    }

    #[test]
    fn refuses_what_is_no_name() {
        let refused = [
            "../x",
            "%2e%2e/x",
            "%2E%2e/x",
            "a/../x",
            "a/..",
            "a/./x",
            "..%2fx",
            "a%2fb",
            "a%00b",
            "a\\b",
            "a%5cb",
            "a%5Cb",
            "..\\x",
            "a%0ab",
            "a%7f",
            "/",
            "/etc/passwd",
            "a//b",
            "//",
            "a%",
            "a%4",
            "a%zz",
            "a%+1",
            ".git/config",
            "a/.env",
            "a/.well-known/x",
            ".well-known2/x",
            ".well-known/.x",
            "%2ehtaccess",
            ".",
        ];
        for path in refused {
            assert_eq!(resolved(path), None, "{path}");
        }
    }

    #[test]
    fn no_name_leaves_the_root_or_is_cut_short() {
        proptest::proptest!(|(path in "([a.%/\\\\]|%2e|%2f|%5c|%00|%25){0,12}")| {
            if let Some(name) = resolved(&path) {
                let is_plain = |s: &[u8]| !s.is_empty() && s != b"." && s != b"..";
                assert!(name.split(|b| *b == b'/').all(is_plain), "{path}");
                assert!(!name.contains(&b'\\') && !name.contains(&0), "{path}");
            }
        });
    }
}
