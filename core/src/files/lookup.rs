//! A request whose answer is not at hand: what it waits for and what it remembers meanwhile.
//!
//! Owns the stages between request and answer. Must not know the caches.

use super::store::Found;
use super::{Ask, Root, Step, name};
use crate::io::{Errno, FileKind, Op, SharedFile, Stat, Time};
use std::ffi::CStr;
use std::rc::Rc;

/// A request that waits for the end of an operation. May be dropped when its client has gone; the
/// end of the operation is then disposed of by whoever holds the connection.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) wanted: Box<Wanted>,
    pub(super) stage: Stage,
}

/// Which operation is under way.
#[derive(Debug)]
pub(super) enum Stage {
    /// `StatFile`: is the name still what was found?
    Check(Found),
    /// `OpenFile`.
    Open,
    /// `ReadFile`, to the end.
    Read { file: Rc<SharedFile>, stat: Stat },
    /// `StatOpen`: was the file the same while it was read?
    Confirm { file: Rc<SharedFile>, stat: Stat, content: Vec<u8> },
}

/// What a request wants, in memory of its own.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) root: Root,
    pub(super) path: Box<[u8]>,
    /// Beneath the root.
    pub(super) name: Rc<CStr>,
    /// When the kernel was last asked about the name; what it says is at least as new. A file
    /// that changes while an operation takes its time is therefore noticed.
    pub(super) asked: Time,
    pub(super) asked_unix_seconds: u64,
    is_directory: bool,
    original_path: Box<str>,
    query: Option<Box<str>>,
    if_none_match: Option<Box<[u8]>>,
    if_modified_since: Option<Box<[u8]>>,
}

impl Wanted {
    pub(super) fn new(
        root: &Root,
        path: &str,
        name: Rc<CStr>,
        ask: &Ask<'_>,
        (asked, asked_unix_seconds): (Time, u64),
    ) -> Box<Wanted> {
        Box::new(Wanted {
            root: root.clone(),
            path: path.as_bytes().into(),
            name,
            asked,
            asked_unix_seconds,
            is_directory: name::is_directory(path),
            original_path: ask.original_path.into(),
            query: ask.query.map(Into::into),
            if_none_match: ask.if_none_match.map(Into::into),
            if_modified_since: ask.if_modified_since.map(Into::into),
        })
    }

    /// The request, as far as an answer depends on it.
    pub(super) fn ask(&self) -> Ask<'_> {
        Ask {
            method: "GET",
            original_path: &self.original_path,
            query: self.query.as_deref(),
            if_none_match: self.if_none_match.as_deref(),
            if_modified_since: self.if_modified_since.as_deref(),
        }
    }

    pub(super) fn check(self: Box<Self>, found: Found) -> Step {
        let op = Op::StatFile { root: Rc::clone(&self.root.dir), path: Rc::clone(&self.name) };
        self.pending(op, Stage::Check(found))
    }

    pub(super) fn open(self: Box<Self>) -> Step {
        let op = Op::OpenFile { root: Rc::clone(&self.root.dir), path: Rc::clone(&self.name) };
        self.pending(op, Stage::Open)
    }

    /// Reads what `buf` still lacks of the file; then confirms that it did not change meanwhile.
    pub(super) fn read(self: Box<Self>, file: Rc<SharedFile>, stat: Stat, buf: Vec<u8>) -> Step {
        if buf.len() as u64 >= stat.size {
            return self.confirm(file, stat, buf);
        }
        let offset = buf.len() as u64;
        let op = Op::ReadFile { file: Rc::clone(&file), buf, offset };
        self.pending(op, Stage::Read { file, stat })
    }

    pub(super) fn confirm(
        self: Box<Self>,
        file: Rc<SharedFile>,
        stat: Stat,
        content: Vec<u8>,
    ) -> Step {
        let op = Op::StatOpen { file: Rc::clone(&file) };
        self.pending(op, Stage::Confirm { file, stat, content })
    }

    fn pending(self: Box<Self>, op: Op, stage: Stage) -> Step {
        Step::Do(op, Pending { wanted: self, stage })
    }

    /// What a name stands for that is not a regular file; `None` if it is one.
    pub(super) fn found_no_file(&self, stat: &Stat) -> Option<Found> {
        match stat.kind {
            FileKind::Regular => None,
            // The index of a directory must not be a directory.
            FileKind::Directory if !self.is_directory => Some(Found::Directory),
            FileKind::Directory | FileKind::Other => Some(Found::Missing(404)),
        }
    }

    /// Whether the kernel's answer says that the name still stands for what was found.
    pub(super) fn is_still(&self, found: &Found, answer: &Result<Stat, Errno>) -> bool {
        match (found, answer) {
            (Found::Missing(status), Err(errno)) => *status == status_of(*errno),
            (_, Err(_)) => false,
            (Found::Missing(status), Ok(stat)) => {
                matches!(self.found_no_file(stat), Some(Found::Missing(now)) if now == *status)
            }
            (Found::Directory, Ok(stat)) => {
                matches!(self.found_no_file(stat), Some(Found::Directory))
            }
            (
                Found::Open { representation, .. } | Found::Memory { representation, .. },
                Ok(stat),
            ) => representation.stat == *stat,
        }
    }
}

/// How an error of the kernel is answered. 403 and 404 are the file's, the others ours.
pub(super) fn status_of(errno: Errno) -> u16 {
    match errno.0 {
        libc::EACCES | libc::EPERM => 403,
        // EXDEV: leaves the root. ENXIO, ENODEV: a socket or device. EINVAL, EILSEQ: not a name
        // on this file system.
        libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EXDEV | libc::ENAMETOOLONG => 404,
        libc::ENXIO | libc::ENODEV | libc::EINVAL | libc::EILSEQ => 404,
        // EAGAIN: openat2(2) lost races against renames.
        libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN | libc::EINTR => 503,
        _ => 500,
    }
}
