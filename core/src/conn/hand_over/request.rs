//! The request of an exchange: what is sent, and sent again to another worker.
//!
//! Owns it until it cannot be needed again, and how far the sending got. Must not know slots.

use crate::conn::buffers::Buffers;
use crate::conn::world::{Meta, Whole};
use crate::http;
use crate::io::{Body, Outgoing};
use std::time::Duration;

/// See the module's documentation.
pub(super) struct Request {
    whole: Whole,
    /// Bytes of the canonical head without what each dispatch adds.
    head_len: usize,
    /// Bytes of memory that are being sent.
    lent: usize,
    /// The worker's kernel has taken any byte, every byte.
    pub(super) is_begun: bool,
    pub(super) is_sent: bool,
}

impl Request {
    pub(super) fn new(whole: Whole) -> Request {
        let head_len = whole.head.len();
        Request { whole, head_len, lent: 0, is_begun: false, is_sent: false }
    }

    pub(super) fn meta(&self) -> &Meta {
        &self.whole.meta
    }

    /// What is sent: small content behind the head, in one piece; large content as a descriptor
    /// beside it.
    pub(super) fn outgoing(&mut self, patience: Duration) -> Outgoing {
        (self.is_begun, self.is_sent) = (false, false);
        let mut head = std::mem::take(&mut self.whole.head);
        head.truncate(self.head_len);
        let milliseconds = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        http::finish_request(&mut head, self.whole.content_length, milliseconds);
        let body = match self.whole.content.len() {
            0 => Body::None,
            len => Body::Owned(std::mem::take(&mut self.whole.content), 0..len),
        };
        let mut out = Outgoing::new(head, body);
        out.file = self.whole.file.clone();
        self.lent = out.capacity();
        out
    }

    /// Keeps the request for the case that it must be sent again.
    pub(super) fn take_back(&mut self, out: Outgoing) {
        self.lent = 0;
        self.whole.head = out.head;
        if let Body::Owned(content, _) = out.body {
            self.whole.content = content;
        }
    }

    /// Bytes of memory that it owns.
    pub(super) fn footprint(&self) -> usize {
        self.whole.head.capacity() + self.whole.content.capacity() + self.lent
    }

    /// It will not be sent again.
    pub(super) fn let_go(&mut self, buffers: &mut Buffers) {
        debug_assert_eq!(self.lent, 0, "it is being sent");
        buffers.give(std::mem::take(&mut self.whole.head));
        buffers.give(std::mem::take(&mut self.whole.content));
        self.whole.file = None;
    }
}
