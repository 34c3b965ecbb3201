//! Calls of an embedder's handlers.
//!
//! Owns the conversion of a whole request, and what happens when a handler panics or dawdles.

use crate::conn::{Whole, World};
use crate::handler::{Deliver, Handler, Reply, Request};
use crate::http;
use crate::io::{Budget, Share, Token};
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Lets a handler answer. False: it panicked.
pub(super) fn call(
    handler: &dyn Handler,
    whole: Whole,
    client: Token,
    by: Arc<dyn Deliver>,
    w: &mut World,
) -> bool {
    let (head, peer) = http::without_facts(&whole.head);
    let Some(peer) = str::from_utf8(peer).ok().and_then(|address| address.parse().ok()) else {
        unreachable!("we wrote this address");
    };
    let content = content(whole.content, w.memory.budget());
    let request = Request::new(head, whole.meta.version, content, peer);
    w.buffers.give(whole.head);
    let reply = Reply::new(client, by);
    // A handler that panics has dropped its reply, which answers 500.
    catch_unwind(AssertUnwindSafe(|| handler.call(request, reply))).is_ok()
}

/// It counts in `memory_budget` for as long as anybody has any of it.
fn content(bytes: Vec<u8>, memory: &Budget) -> Bytes {
    if bytes.is_empty() {
        return Bytes::new();
    }
    let mut share = memory.share();
    share.force_to(bytes.capacity() as u64);
    Bytes::from_owner(Counted { bytes, _share: share })
}

struct Counted {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
