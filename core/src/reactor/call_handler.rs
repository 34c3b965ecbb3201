//! Calls of an embedder's handlers.
//!
//! Owns the conversion of a whole request, and what happens when a handler panics or dawdles.

use super::Reactor;
use crate::conn::{Whole, World};
use crate::handler::{Deliver, Handler, Reply, Request, dispose};
use crate::http;
use crate::io::{Backend, Budget, Share, Token};
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// A handler that takes longer has kept everybody else on this core waiting.
const BUDGET: Duration = Duration::from_millis(1);

impl<B: Backend> Reactor<B> {
    /// Lets a handler answer.
    pub(super) fn call_handler(&mut self, client: Token, handler: &Arc<dyn Handler>, whole: Whole) {
        let before = self.backend.now();
        let by: Arc<dyn Deliver> = Arc::clone(self.mailbox()) as _;
        if !call(&**handler, whole, client, by, &mut self.world) {
            self.world.counters.handler_panics.count();
        }
        if self.backend.now().since(before) > BUDGET {
            self.world.counters.handler_overruns.count();
        }
    }
}

/// False: it panicked.
fn call(
    handler: &dyn Handler,
    whole: Whole,
    client: Token,
    by: Arc<dyn Deliver>,
    w: &mut World,
) -> bool {
    debug_assert!(whole.file.is_none(), "a handler's content is in memory");
    let (head, peer) = http::without_facts(&whole.head);
    let Some(peer) = str::from_utf8(peer).ok().and_then(|address| address.parse().ok()) else {
        unreachable!("we wrote this address");
    };
    let content = content(whole.content, w.memory.budget());
    let share = share(head, w.memory.budget());
    let request = Request::new(head, share, whole.meta.version, content, peer);
    w.buffers.give(whole.head);
    let reply = Reply::new(client, by);
    // A handler that panics has dropped its reply, which answers 500.
    catch_unwind(AssertUnwindSafe(|| handler.call(request, reply))).map_err(dispose).is_ok()
}

/// A head counts as long as its request; a small one is not worth it.
fn share(head: &[u8], memory: &Budget) -> Option<Share> {
    (head.len() > SMALL_HEAD).then(|| memory.share_of(head.len() as u64))
}

const SMALL_HEAD: usize = 1 << 10;

/// It counts in `memory_budget` for as long as anybody has any of it.
fn content(bytes: Vec<u8>, memory: &Budget) -> Bytes {
    if bytes.is_empty() {
        return Bytes::new();
    }
    let share = memory.share_of(bytes.capacity() as u64);
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
