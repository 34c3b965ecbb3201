//! Static files: which file answers a request, and from where its bytes come.
//!
//! Owns the names beneath a root, the caches of one reactor and the decision what to answer. Must
//! not know connections or descriptors' system calls: it says which [`Op`] to perform and goes on
//! with its [`Done`](crate::io::Done).
//!
//! A request is answered, fastest first, from the response cache (head and content in memory),
//! from an open file, or by opening the name.

mod cache;
mod conditional;
#[cfg(test)]
mod disk;
mod lookup;
mod name;
mod reply;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use cache::{CacheLimits, FileCache};
pub(crate) use lookup::Pending;
pub(crate) use reply::{FileContent, FileReply};

use crate::io::{Op, SharedFile};
use std::path::PathBuf;
use std::rc::Rc;

/// A directory that a route serves files from.
///
/// The part of a request's path after the route's prefix, percent-decoded once, names a regular
/// file beneath the directory; the kernel makes sure of *beneath* (openat2(2),
/// `RESOLVE_BENEATH`), so symbolic links that leave it, and absolute ones, are not found. Names
/// that start with a dot are not found either, except `.well-known` at the top. A file that we
/// may not read is 403, everything else that cannot be served 404.
///
/// A changed file is seen within a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub(crate) directory: PathBuf,
    pub(crate) index: String,
    pub(crate) cache_control: Option<String>,
}

impl Files {
    /// Serves what is beneath `directory`. A relative one is relative to the working directory
    /// at the time the server is built.
    pub fn new(directory: impl Into<PathBuf>) -> Files {
        Files { directory: directory.into(), index: "index.html".into(), cache_control: None }
    }

    /// The file that answers for a directory, default `index.html`: one name, without `/`.
    pub fn index(mut self, name: impl Into<String>) -> Files {
        self.index = name.into();
        self
    }

    /// The value of `Cache-Control` for every file (RFC 9111 §5.2), default none.
    pub fn cache_control(mut self, value: impl Into<String>) -> Files {
        self.cache_control = Some(value.into());
        self
    }

    /// Whether the settings can be used; if not, what is wrong with them.
    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        let is_plain = |byte: u8| byte != b'/' && !byte.is_ascii_control();
        if self.index.is_empty() || self.index.starts_with('.') || !self.index.bytes().all(is_plain)
        {
            return Err("the index of a directory is one file name that starts without a dot");
        }
        if self.cache_control.iter().flat_map(|v| v.bytes()).any(|b| b.is_ascii_control()) {
            return Err("the value of Cache-Control contains a control character");
        }
        Ok(())
    }
}

/// A files route as one reactor holds it.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// Unique among all roots that use the same [`FileCache`], replaced ones included.
    pub(crate) id: u32,
    pub(crate) dir: Rc<SharedFile>,
    pub(crate) settings: Rc<Files>,
}

impl Root {
    pub(crate) fn new(id: u32, dir: Rc<SharedFile>, settings: Rc<Files>) -> Root {
        Root { id, dir, settings }
    }
}

/// What a request asks for, besides the name of the file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    /// The whole path, for redirects: clean, percent-encoded, starting with `/`.
    pub(crate) original_path: &'a str,
    pub(crate) query: Option<&'a str>,
    /// Several field lines are to be joined by commas (RFC 9110 §5.3).
    pub(crate) if_none_match: Option<&'a [u8]>,
    pub(crate) if_modified_since: Option<&'a [u8]>,
}

/// How a request goes on.
#[derive(Debug)]
pub(crate) enum Step {
    Reply(FileReply),
    /// Perform the operation, then [`FileCache::resume`].
    Do(Op, Pending),
}
