//! Calls of an embedder's handlers.
//!
//! Owns the conversion of a whole request, and what happens when a handler panics or dawdles.

use super::mailbox::{Mailbox, Message};
use crate::conn::{Meta, Whole};
use crate::handler::{Handler, Reply, Request};
use crate::http::{self, HeadLimits, SLOTS};
use crate::io::{Budget, Share, Token};
use bytes::Bytes;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Lets a handler answer. False: it panicked.
pub(super) fn call(
    handler: &dyn Handler,
    whole: Whole,
    client: Token,
    mailbox: &Arc<Mailbox>,
    memory: &Budget,
) -> bool {
    let mailbox = Arc::clone(mailbox);
    let reply = Reply::new(move |response| mailbox.post(Message::Reply { client, response }));
    let request = request(whole, memory);
    // A handler that panics has dropped its reply, which answers 500.
    catch_unwind(AssertUnwindSafe(|| handler.call(request, reply))).is_ok()
}

/// What a handler sees of a request: the canonical head, without the facts meant for workers.
fn request(mut whole: Whole, memory: &Budget) -> Request {
    let Meta { version, .. } = whole.meta;
    whole.head.extend_from_slice(b"\r\n");
    let limits = HeadLimits { bytes: usize::MAX, fields: SLOTS, target_bytes: usize::MAX };
    let mut slots = [const { MaybeUninit::uninit() }; SLOTS];
    let Ok(Some(head)) = http::parse_request(&whole.head, &mut slots, &limits) else {
        unreachable!("we wrote this head");
    };
    let is_fact =
        |name: &str| name.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case("forebay-"));
    let peer = head.field("Forebay-Peer").and_then(|value| str::from_utf8(value).ok());
    let Some(peer) = peer.and_then(|address| address.parse().ok()) else {
        unreachable!("we wrote this address");
    };
    let fields = head.fields.iter().filter(|f| !is_fact(f.name));
    Request {
        method: head.method.into(),
        target: head.target.into(),
        version,
        fields: fields.map(|f| (f.name.into(), Bytes::copy_from_slice(f.value))).collect(),
        content: content(whole.content, memory),
        peer,
    }
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
