//! A request whose answer is not at hand: what it waits for and what it remembers meanwhile.
//!
//! Owns the stages between request and answer. Must not know the caches.

use super::Step;
use super::ask::Ask;
use super::name;
use super::root::FilesRoute;
use super::settings::Symlinks;
use super::store::{Found, Place};
use super::walk::Walk;
use crate::io::{Errno, FileKind, Links, Op, SharedFile, Stat, Time};
use std::ffi::{CStr, CString};
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
    /// `OpenDirectory`: what is in the root's place? With the status of a name that was not found
    /// in it before.
    Root(Option<u16>),
    /// `StatFile`: is the name still what was found?
    Check(Found),
    /// `OpenFile`.
    Open,
    /// `ReadFile`, to the end.
    Read { file: Rc<SharedFile>, stat: Stat },
    /// `StatOpen`: was the file the same while it was read?
    Confirm { file: Rc<SharedFile>, stat: Stat, content: Vec<u8> },
}

/// What a search asks the kernel next.
#[derive(Debug)]
pub(super) enum Question {
    Root,
    /// What stands at the name; with what stood there.
    Name(Option<Found>),
}

/// What a request wants, in memory of its own.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) route: FilesRoute,
    pub(super) path: Box<str>,
    pub(super) ask: Ask<'static>,
    pub(super) walk: Walk,
    /// What is being looked for, in which directory.
    pub(super) place: Place,
    pub(super) name: Rc<CStr>,
    dir: Rc<SharedFile>,
    /// When the kernel was last asked about the name; what it says is at least as new. A file
    /// that changes while an operation takes its time is therefore noticed.
    pub(super) asked: Time,
    pub(super) asked_unix_seconds: u64,
}

impl Wanted {
    pub(super) fn new(
        route: &FilesRoute,
        path: &str,
        ask: Ask<'_>,
        walk: Walk,
        (asked, asked_unix_seconds): (Time, u64),
    ) -> Box<Wanted> {
        Box::new(Wanted {
            place: walk.place(route),
            dir: walk.root(route).dir(),
            route: route.clone(),
            path: path.into(),
            ask: ask.into_owned(),
            walk,
            name: Rc::from(CString::default()),
            asked,
            asked_unix_seconds,
        })
    }

    /// Turns to the name where the search has come to. False: no file ever has it, so the kernel is
    /// not to be asked.
    pub(super) fn turn_to_name(&mut self, now: (Time, u64)) -> bool {
        (self.asked, self.asked_unix_seconds) = now;
        (self.place, self.dir) = (self.walk.place(&self.route), self.walk.root(&self.route).dir());
        let path = self.walk.path(&self.route, &self.path);
        let name = name::resolve(path, &self.route.settings.index);
        let is_name = name.is_some();
        self.name = name.unwrap_or_default();
        is_name
    }

    /// Asks the kernel what stands at the name; with what stood there.
    pub(super) fn ask_for_name(self: Box<Self>, found: Option<Found>) -> Step {
        match found {
            Some(found) => self.check(found),
            None => self.open(),
        }
    }

    /// Whether the root has changed since this name was looked for in it.
    pub(super) fn is_outdated(&self) -> bool {
        self.place.tree != self.walk.root(&self.route).tree()
    }

    pub(super) fn look_at_root(
        mut self: Box<Self>,
        missing: Option<u16>,
        now: (Time, u64),
    ) -> Step {
        self.walk.has_asked_root = true;
        (self.asked, self.asked_unix_seconds) = now;
        let op = Op::OpenDirectory { path: self.walk.root(&self.route).path() };
        self.pending(op, Stage::Root(missing))
    }

    fn check(self: Box<Self>, found: Found) -> Step {
        let (root, path, links) = self.coded_name();
        self.pending(Op::StatFile { root, path, links }, Stage::Check(found))
    }

    pub(super) fn open(self: Box<Self>) -> Step {
        let (root, path, links) = self.coded_name();
        self.pending(Op::OpenFile { root, path, links }, Stage::Open)
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

    fn coded_name(&self) -> (Rc<SharedFile>, Rc<CStr>, Links) {
        let suffix = self.place.coding.suffix();
        let name = match suffix {
            "" => Rc::clone(&self.name),
            _ => {
                let coded = [self.name.to_bytes(), suffix.as_bytes()].concat();
                Rc::from(CString::new(coded).expect("a name and a suffix have no zero byte"))
            }
        };
        let links = match self.route.settings.symlinks {
            Symlinks::Beneath => Links::Beneath,
            Symlinks::Deny => Links::Deny,
        };
        (Rc::clone(&self.dir), name, links)
    }

    fn is_of_directory(&self) -> bool {
        name::is_directory(self.walk.path(&self.route, &self.path))
    }

    /// What a name stands for that is not a regular file; `None` if it is one.
    pub(super) fn found_no_file(&self, stat: &Stat) -> Option<Found> {
        match stat.kind {
            FileKind::Regular => None,
            // The index of a directory must not be a directory.
            FileKind::Directory if !self.is_of_directory() => Some(Found::Directory),
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
