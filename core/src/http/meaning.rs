//! What a path means to whoever decodes it, as applications do.
//!
//! Owns that meaning, and how much of the spelling belongs to a part of it. Must not know routes.

use super::Reject;
use super::path::encoded;

/// A path in normal form, as it is spelled and as an application may understand it:
/// percent-decoded once, with one slash for several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestPath<'s, 'm> {
    spelling: &'s str,
    /// As long as the spelling if it is the same; every change makes it shorter.
    meaning: &'m [u8],
    has_same_segments: bool,
}

impl<'p> RequestPath<'p, 'p> {
    /// A path that means what it says: without `%` and `//`.
    #[inline]
    pub(crate) fn literal(path: &'p str) -> Self {
        RequestPath { spelling: path, meaning: path.as_bytes(), has_same_segments: true }
    }
}

impl<'s, 'm> RequestPath<'s, 'm> {
    /// Any path in normal form. Its meaning is written to `room`.
    ///
    /// # Errors
    /// 400: a malformed percent-encoding; `..` beside an encoded slash, which some applications
    /// resolve, before or after they take several slashes for one, and some do not.
    pub(crate) fn read(spelling: &'s str, room: &'m mut Vec<u8>) -> Result<Self, Reject> {
        room.clear();
        let mut has_same_segments = true;
        let mut rest = spelling.as_bytes();
        while let [first, tail @ ..] = rest {
            let (byte, tail) = match first {
                b'%' => (encoded(tail).ok_or(Reject::BadPercentEncoding)?, &tail[2..]),
                _ => (*first, tail),
            };
            rest = tail;
            if byte != b'/' {
                room.push(byte);
                continue;
            }
            end_segment(room)?;
            let is_repeated = room.ends_with(b"/");
            has_same_segments &= *first == b'/' && !is_repeated;
            if !is_repeated {
                room.push(b'/');
            }
        }
        end_segment(room)?;
        Ok(RequestPath { spelling, meaning: room, has_same_segments })
    }

    /// What it means.
    pub(crate) fn meaning(&self) -> &'m [u8] {
        self.meaning
    }

    /// How the segments are spelled that begin at `at` in the meaning. The whole path, if what is
    /// one segment of the spelling is none of the meaning: no part of it stands for these.
    #[inline]
    pub(crate) fn spelling_from(&self, at: usize) -> &'s str {
        match self.spelling.len() == self.meaning.len() {
            true => &self.spelling[at..],
            false => self.spelling_of_as_many(at),
        }
    }

    fn spelling_of_as_many(&self, at: usize) -> &'s str {
        let rest = &self.meaning[at..];
        if !self.has_same_segments {
            return self.spelling;
        } else if rest.is_empty() {
            return "";
        }
        let slashes = rest.iter().filter(|byte| **byte == b'/').count();
        let before = self.spelling.rmatch_indices('/').nth(slashes);
        before.map_or(self.spelling, |(slash, _)| &self.spelling[slash + 1..])
    }
}

/// What an application may understand by a path in normal form: percent-decoded once, with one
/// slash for several, and without `.` segments.
///
/// # Errors
/// 400: a malformed percent-encoding, or `..` beside an encoded slash.
pub fn path_meaning(path: &str) -> Result<Vec<u8>, Reject> {
    let mut meaning = Vec::with_capacity(path.len());
    RequestPath::read(path, &mut meaning)?;
    Ok(meaning)
}

/// A segment ends here. `.` leads nowhere, resolved or not.
fn end_segment(path: &mut Vec<u8>) -> Result<(), Reject> {
    match path[..] {
        [.., b'/', b'.', b'.'] => return Err(Reject::HiddenParent),
        [.., b'/', b'.'] => drop(path.pop()),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::path::clean_and_look;
    use super::*;
    use proptest::prelude::*;

    fn meaning(path: &str) -> Result<Vec<u8>, Reject> {
        path_meaning(path)
    }

    #[test]
    fn paths_are_decoded_once_rfc_9110_17_3() {
        for (path, expected) in [
            ("/", &b"/"[..]),
            ("/a/b.c/..d/...", b"/a/b.c/..d/..."),
            ("/admin%2Fusers", b"/admin/users"),
            ("/%40x/%3F%23%25", b"/@x/?#%"),
            ("/%252Fadmin", b"/%2Fadmin"),
            ("/%C3%A4/%FF%00", b"/\xc3\xa4/\xff\0"),
        ] {
            assert_eq!(meaning(path).as_deref(), Ok(expected), "{path}");
        }
        assert_eq!(meaning("/%4"), Err(Reject::BadPercentEncoding));
    }

    #[test]
    fn several_slashes_are_one() {
        for (path, expected) in [
            ("//admin/users", "/admin/users"),
            ("/a//b///", "/a/b/"),
            ("/%2Fa%2F/b%2F%2F", "/a/b/"),
            ("//", "/"),
        ] {
            assert_eq!(meaning(path).as_deref(), Ok(expected.as_bytes()), "{path}");
        }
    }

    #[test]
    fn dot_segments_are_uncovered_rfc_3986_5_2_4() {
        for (path, expected) in [
            ("/a%2F.", "/a/"),
            ("/.%2Fa", "/a"),
            ("/a%2F./.%2F/b", "/a/b"),
            ("/a%2F..b/.c", "/a/..b/.c"),
        ] {
            assert_eq!(meaning(path).as_deref(), Ok(expected.as_bytes()), "{path}");
        }
        for path in ["/..%2F", "/a%2F..", "/a%2F../b", "/a/..%2Fb", "/a%2F%2F..%2Fb"] {
            assert_eq!(meaning(path), Err(Reject::HiddenParent), "{path}");
        }
    }

    #[test]
    fn parts_are_spelled_as_the_whole() {
        for (path, at, spelling) in [
            ("/a/b%2C%20/c", 3, "b%2C%20/c"),
            ("/%40a/b%20/c", 4, "b%20/c"),
            ("/%40a/b%20/", 7, ""),
            ("/%40a/b", 4, "b"),
            ("/%40a", 3, ""),
            ("/a/b", 3, "b"),
            ("/a%2Fb", 3, "/a%2Fb"),
            ("/a%2F", 3, "/a%2F"),
            ("//a/b", 3, "//a/b"),
            ("/a//b%20", 3, "/a//b%20"),
        ] {
            let mut room = Vec::new();
            let path = RequestPath::read(path, &mut room).unwrap();
            let at = at.min(path.meaning().len());
            assert_eq!(path.spelling_from(at), spelling, "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_literal_means_what_it_says(path in "/([a./]|%2[eEfF0]|%61|//|\\?/){0,12}") {
            let Ok(clean) = clean_and_look(&path) else { return Ok(()) };
            let path = &clean.target[..clean.path_len];
            prop_assert_eq!(path, super::super::split_query(&clean.target).0);
            if clean.is_literal {
                prop_assert_eq!(meaning(path), Ok(path.as_bytes().to_vec()));
            }
        }
    }
}
