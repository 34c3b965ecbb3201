//! The end of what an embedding program has made.
//!
//! Owns where it ends, and that nobody else is harmed by it. Must not know what it is.

use super::{Handler, Reply, Request};
use bytes::Bytes;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// What is left to the thread that runs a server, where nobody waits.
pub(crate) enum Remains {
    /// To be dropped.
    Thing(Box<dyn Send>),
    /// A reactor has ended, and has left everything else before.
    Reactor,
}

/// What reactors use and do not drop: its end may take its time, or panic.
pub(crate) struct EndsElsewhere<T: Send + 'static> {
    /// None: it has been left.
    it: Option<T>,
    to: Sender<Remains>,
}

impl<T: Send + 'static> EndsElsewhere<T> {
    pub(crate) fn new(it: T, to: &Sender<Remains>) -> EndsElsewhere<T> {
        EndsElsewhere { it: Some(it), to: to.clone() }
    }
}

impl<T: Send + 'static> Drop for EndsElsewhere<T> {
    fn drop(&mut self) {
        if let Some(it) = self.it.take() {
            // Without a server there is no reactor: it may end here.
            let _ = self.to.send(Remains::Thing(Box::new(it)));
        }
    }
}

impl Handler for EndsElsewhere<Arc<dyn Handler>> {
    fn call(&self, request: Request, reply: Reply) {
        if let Some(handler) = &self.it {
            handler.call(request, reply);
        }
    }
}

impl AsRef<[u8]> for EndsElsewhere<Bytes> {
    fn as_ref(&self) -> &[u8] {
        self.it.as_deref().unwrap_or_default()
    }
}

/// Drops it; a panic goes no further.
pub(crate) fn dispose<T>(it: T) {
    // The end of a panic's payload can panic as well, and so on: that one stays.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(it))).map_err(mem::forget);
}
