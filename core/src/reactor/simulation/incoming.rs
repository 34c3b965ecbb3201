//! Requests as workers get them.
//!
//! Owns the check that nothing has been changed, added or passed on.

use super::oracle::Oracle;
use super::response::{field, find};

/// A request whose head has arrived.
pub(super) struct Incoming {
    pub(super) id: usize,
    head: usize,
    /// Bytes, content included.
    pub(super) len: usize,
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
        Some(Incoming { id, head, len: head + length })
    }

    /// Exactly what the client has sent, and nothing that it must not say.
    pub(super) fn check(&self, bytes: &[u8], oracle: &Oracle) {
        let text = std::str::from_utf8(&bytes[..self.head]).unwrap();
        assert!(!text.contains("evil"), "{text}");
        assert!(field(text, "forebay-peer").is_some() && field(text, "host").is_some());
        assert!(field(text, "forebay-deadline-ms").is_some());
        let content = &oracle.request(self.id).content;
        assert!(bytes[self.head..self.len] == content[..], "request {}: content", self.id);
    }
}
