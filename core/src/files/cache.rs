//! One reactor's memory of files, and the way of a request through it.
//!
//! Owns freshness and what may be remembered. Must not know how operations are performed.

use super::lookup::{Pending, Stage, Wanted, status_of};
use super::name::resolve;
use super::reply::{FileContent, FileReply, Representation};
use super::store::{Bounds, Found, Store};
use super::{Ask, Root, Step};
use crate::io::{Done, Errno, Graveyard, SharedFile, Stat, Time};
use bytes::Bytes;
use std::rc::Rc;
use std::time::Duration;

/// Bounds of a [`FileCache`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheLimits {
    /// Bytes of all content in memory, with heads and names. Default 64 MiB.
    pub(crate) memory_total: usize,
    /// Bytes of a file that is kept in memory; larger ones are kept open. Default 64 KiB.
    pub(crate) memory_object: usize,
    /// Number of files kept open. Default 1,024.
    pub(crate) open_files: usize,
    /// Bytes of names known to be missing, or directories. Default 1 MiB.
    pub(crate) missing_total: usize,
    /// How long an entry is used without asking the kernel. Default 1 s.
    pub(crate) revalidate: Duration,
    /// Of the hash of names; random in production, so that clients cannot make names collide.
    pub(crate) seed: u64,
}

impl Default for CacheLimits {
    fn default() -> Self {
        CacheLimits {
            memory_total: 64 << 20,
            memory_object: 64 << 10,
            open_files: 1024,
            missing_total: 1 << 20,
            revalidate: Duration::from_secs(1),
            seed: 0,
        }
    }
}

impl CacheLimits {
    fn empty_store(&self) -> Store {
        let bounds = Bounds {
            missing: self.missing_total,
            open: self.open_files,
            memory: self.memory_total,
        };
        Store::new(bounds, self.seed)
    }
}

/// One reactor's caches of responses, open files and missing names.
#[derive(Debug)]
pub(crate) struct FileCache {
    store: Store,
    limits: CacheLimits,
    graveyard: Graveyard,
    /// Roots with smaller ids are only used by requests that have begun.
    first_root: u32,
}

impl FileCache {
    /// Files that are no longer used join `graveyard`.
    pub(crate) fn new(limits: CacheLimits, graveyard: Graveyard) -> FileCache {
        FileCache { store: limits.empty_store(), limits, graveyard, first_root: 0 }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.store = self.limits.empty_store();
    }

    /// Forgets everything; from now on nothing of roots with smaller ids is remembered.
    pub(crate) fn forget_roots_before(&mut self, id: u32) {
        self.first_root = id;
        self.clear();
    }

    /// Answers for `path`, the clean percent-encoded path after the route's prefix, without
    /// leading slash. Does not allocate when it is fresh in memory.
    pub(crate) fn begin(
        &mut self,
        root: &Root,
        path: &str,
        ask: &Ask<'_>,
        now: Time,
        unix_seconds: u64,
    ) -> Step {
        if !matches!(ask.method, "GET" | "HEAD") {
            return Step::Reply(FileReply::method_not_allowed());
        }
        if path.is_empty() && !ask.original_path.ends_with('/') {
            return Step::Reply(FileReply::redirect_to_directory(ask));
        }
        let stale = match self.store.find(root.id, path.as_bytes()) {
            Some(entry) if now < entry.fresh_until => {
                return Step::Reply(answer(&entry.found, ask));
            }
            stale => stale.map(|entry| entry.found.clone()),
        };
        let Some(name) = resolve(path, &root.settings.index) else {
            return Step::Reply(FileReply::error(404));
        };
        let wanted = Wanted::new(root, path, name, ask, (now, unix_seconds));
        match stale {
            Some(found) => wanted.check(found),
            None => wanted.open(),
        }
    }

    /// Goes on with the end of the operation that came with `pending`.
    pub(crate) fn resume(
        &mut self,
        pending: Pending,
        done: Done,
        now: Time,
        unix_seconds: u64,
    ) -> Step {
        let Pending { mut wanted, stage } = pending;
        match (stage, done) {
            (Stage::Check(found), Done::StatFile { result }) => {
                if wanted.is_still(&found, &result) {
                    return self.remember(&wanted, found);
                }
                (wanted.asked, wanted.asked_unix_seconds) = (now, unix_seconds);
                wanted.open()
            }
            (Stage::Open, Done::OpenFile { result: Ok((fd, stat)) }) => {
                self.opened(wanted, SharedFile::new(fd, &self.graveyard), stat)
            }
            (Stage::Open, Done::OpenFile { result: Err(errno) }) => self.failed(&wanted, errno),
            (Stage::Read { file, stat }, Done::ReadFile { buf, result }) => match result {
                Ok(0) => wanted.confirm(file, stat, buf),
                Ok(_) => wanted.read(file, stat, buf),
                Err(errno) => Step::Reply(FileReply::error(own_fault(errno))),
            },
            (Stage::Confirm { file, stat, content }, Done::StatOpen { result }) => match result {
                Ok(after) => self.confirmed(&wanted, file, (stat, after), content),
                Err(errno) => Step::Reply(FileReply::error(own_fault(errno))),
            },
            (stage, done) => unreachable!("{done:?} is not the end of {stage:?}"),
        }
    }

    fn opened(&mut self, wanted: Box<Wanted>, file: Rc<SharedFile>, stat: Stat) -> Step {
        if let Some(found) = wanted.found_no_file(&stat) {
            return self.remember(&wanted, found);
        }
        if stat.size <= self.limits.memory_object as u64 {
            return wanted.read(file, stat, Vec::with_capacity(stat.size as usize));
        }
        let representation = represent(&wanted, stat);
        self.remember(&wanted, Found::Open { representation, file })
    }

    /// Content counts only if the file was the same before and after it was read. If not, the
    /// answer comes from the open file, and nothing is remembered.
    fn confirmed(
        &mut self,
        wanted: &Wanted,
        file: Rc<SharedFile>,
        (before, after): (Stat, Stat),
        content: Vec<u8>,
    ) -> Step {
        let representation = represent(wanted, after);
        if before == after && content.len() as u64 == after.size {
            let content = Bytes::from(content);
            return self.remember(wanted, Found::Memory { representation, content });
        }
        Step::Reply(answer(&Found::Open { representation, file }, &wanted.ask()))
    }

    fn failed(&mut self, wanted: &Wanted, errno: Errno) -> Step {
        match status_of(errno) {
            status @ (403 | 404) => self.remember(wanted, Found::Missing(status)),
            status => Step::Reply(FileReply::error(status)),
        }
    }

    fn remember(&mut self, wanted: &Wanted, found: Found) -> Step {
        let reply = answer(&found, &wanted.ask());
        let fresh_until = match is_settled(&found, wanted.asked_unix_seconds) {
            true => wanted.asked.after(self.limits.revalidate),
            false => wanted.asked,
        };
        if wanted.root.id >= self.first_root {
            self.store.insert(wanted.root.id, &wanted.path, found, fresh_until);
        }
        Step::Reply(reply)
    }
}

fn answer(found: &Found, ask: &Ask<'_>) -> FileReply {
    match found {
        Found::Missing(status) => FileReply::error(*status),
        Found::Directory => FileReply::redirect_to_directory(ask),
        Found::Open { representation, file } => {
            let content =
                FileContent::File { file: Rc::clone(file), len: representation.stat.size };
            FileReply::of(representation, content, ask)
        }
        Found::Memory { representation, content } => {
            FileReply::of(representation, FileContent::Memory(content.clone()), ask)
        }
    }
}

fn represent(wanted: &Wanted, stat: Stat) -> Rc<Representation> {
    Representation::new(stat, &wanted.name, &wanted.root.settings, wanted.asked_unix_seconds)
}

/// Whether a later change would show in the file's times: they advance in steps, so within the
/// step of the last change another one can go unseen. The change time, because nobody can set it.
fn is_settled(found: &Found, unix_seconds: u64) -> bool {
    match found {
        Found::Missing(_) | Found::Directory => true,
        Found::Open { representation, .. } | Found::Memory { representation, .. } => {
            let changed = u64::try_from(representation.stat.ctime.0).unwrap_or(0);
            changed.saturating_add(SETTLED_AFTER_SECONDS) < unix_seconds
        }
    }
}

/// The file was there and open: no error about it is the client's.
fn own_fault(errno: Errno) -> u16 {
    status_of(errno).max(500)
}

const SETTLED_AFTER_SECONDS: u64 = 2;
