//! Static files: which file answers a request, and from where its bytes come.
//!
//! Owns the names beneath a root, the caches of one reactor and the decision what to answer. Must
//! not know connections or descriptors' system calls: it says which [`Op`] to perform and goes on
//! with its [`Done`](crate::io::Done).
//!
//! A request is answered, fastest first, from the response cache (head and content in memory),
//! from an open file, or by opening the name.

mod ask;
mod cache;
mod coding;
mod conditional;
mod fingerprint;
mod lookup;
pub(crate) mod name;
mod range;
mod reply;
mod representation;
mod root;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use ask::{Ask, AskFields};
pub(crate) use cache::{CacheLimits, FileCache};
pub(crate) use lookup::Pending;
pub(crate) use reply::{FileContent, FileReply};
pub(crate) use root::{FilesRoute, Identity, Root};
pub use settings::{FileRule, Files, Symlinks};

use crate::io::Op;

/// How a request goes on.
#[derive(Debug)]
pub(crate) enum Step {
    Reply(FileReply),
    /// Perform the operation, then [`FileCache::resume`].
    Do(Op, Pending),
}
