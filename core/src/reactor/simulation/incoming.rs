//! Requests as workers get them.
//!
//! Owns the check that nothing has been changed, added or passed on.

use super::oracle::Oracle;
use super::response::{field, find};
use crate::io::sim::SimFile;

/// A request whose head has arrived.
pub(super) struct Incoming {
    pub(super) id: usize,
    head: usize,
    /// Bytes, content included that is not in a file.
    pub(super) len: usize,
    /// Of the content, if it is in a file.
    in_file: Option<usize>,
}

impl Incoming {
    pub(super) fn parse(bytes: &[u8], oracle: &Oracle) -> Option<Incoming> {
        let head = find(bytes, b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&bytes[..head]).unwrap();
        let target = text.split(' ').nth(1).unwrap();
        let id: usize = target.rsplit('/').next().unwrap().parse().expect("a number");
        let method = oracle.request(id).method;
        assert!(text.starts_with(&format!("{method} ")), "request {id}: {text}");
        let length = field(text, "content-length").map_or(0, |value| value.parse().unwrap());
        let offset = field(text, "forebay-content-fd");
        assert!(offset.is_none_or(|offset| offset == "0"));
        let in_file = offset.map(|_| length);
        let len = if in_file.is_some() { head } else { head + length };
        Some(Incoming { id, head, len, in_file })
    }

    /// Exactly what the client has sent, and nothing that it must not say.
    pub(super) fn check(&self, bytes: &[u8], files: &[SimFile], oracle: &Oracle) {
        let text = std::str::from_utf8(&bytes[..self.head]).unwrap();
        assert!(!text.contains("evil"), "{text}");
        assert!(field(text, "forebay-peer").is_some() && field(text, "host").is_some());
        assert!(field(text, "forebay-deadline-ms").is_some());
        let content = &oracle.request(self.id).content;
        let is_right = match (self.in_file, files) {
            (None, []) => bytes[self.head..self.len] == content[..],
            (Some(len), [file]) => len == content.len() && file.read(0, len + 1) == *content,
            _ => panic!("request {}: {:?} in {} files", self.id, self.in_file, files.len()),
        };
        assert!(is_right, "request {}: content", self.id);
    }
}
