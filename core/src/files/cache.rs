//! One reactor's memory of files, and the way of a request through it.
//!
//! Owns freshness and what may be remembered. Must not know how operations are performed.

use super::lookup::{Pending, Question, Stage, Wanted, status_of};
use super::reply::{FileContent, FileReply};
use super::representation::Representation;
use super::store::{Bounds, Found, Store};
use super::walk::Walk;
use super::{Ask, FilesRoute, Step};
use crate::io::{Done, Errno, Fd, Graveyard, SharedFile, Stat, Time};
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
    /// Descriptors have run out since the reactor last asked.
    is_short: bool,
    /// When to look for open files that nobody asks for, while there are any.
    sweep_at: Option<Time>,
}

impl FileCache {
    /// Files that are no longer used join `graveyard`.
    pub(crate) fn new(limits: CacheLimits, graveyard: Graveyard) -> FileCache {
        let store = limits.empty_store();
        FileCache { store, limits, graveyard, first_root: 0, is_short: false, sweep_at: None }
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

    /// Closes files that are only kept for the next request, if it was for want of a descriptor
    /// that something failed. True: they are closed before anything is submitted.
    pub(crate) fn give_way(&mut self, errno: Errno) -> bool {
        let is_short = matches!(errno.0, libc::EMFILE | libc::ENFILE);
        self.is_short |= is_short;
        is_short && self.close_open_files()
    }

    /// Closes files that are only kept for the next request. False: there was none.
    pub(crate) fn close_open_files(&mut self) -> bool {
        self.store.forget_open()
    }

    /// Whether descriptors have run out: what is closed now is to be closed at once.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short
    }

    /// Whether descriptors have run out since the last call.
    pub(crate) fn take_shortage(&mut self) -> bool {
        std::mem::take(&mut self.is_short)
    }

    /// Closes files that nobody has asked for in half a minute to a minute. One that has been
    /// deleted keeps its place on the disk until then.
    pub(crate) fn sweep(&mut self, now: Time) {
        if self.sweep_at.is_some_and(|due| due <= now) {
            self.store.sweep_open();
            self.sweep_at = self.store.has_open().then(|| now.after(SWEEP_PERIOD));
        }
    }

    /// When [`FileCache::sweep`] has something to do.
    pub(crate) fn sweep_at(&self) -> Option<Time> {
        self.sweep_at
    }

    /// Answers for `path`, the clean percent-encoded path after the route's prefix, without
    /// leading slash. Does not allocate when it is fresh in memory.
    pub(crate) fn begin(
        &mut self,
        route: &FilesRoute,
        path: &str,
        ask: Ask<'_>,
        now: Time,
        unix_seconds: u64,
    ) -> Step {
        match &*ask.method {
            "GET" | "HEAD" => {}
            "OPTIONS" => return Step::Reply(FileReply::options()),
            _ => return Step::Reply(FileReply::method_not_allowed()),
        }
        if path.is_empty() && !ask.original_path.ends_with('/') {
            return Step::Reply(FileReply::redirect_to_directory(&ask));
        }
        let mut walk = Walk::default();
        match self.search(route, path, &ask, &mut walk, now) {
            Ok(found) => Step::Reply(answer(found, &ask, unix_seconds)),
            Err(question) => {
                let now = (now, unix_seconds);
                self.put(Wanted::new(route, path, ask, walk, now), question, now)
            }
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
        let Pending { wanted, stage } = pending;
        let now = (now, unix_seconds);
        match (stage, done) {
            (Stage::Root(missing), Done::OpenFile { result }) => {
                self.learn_root(wanted, result, missing, now)
            }
            (Stage::Check(found), Done::StatFile { result }) => {
                if wanted.is_still(&found, &result) {
                    return self.found(wanted, found, now);
                }
                self.put(wanted, Question::Name(None), now)
            }
            (Stage::Open, Done::OpenFile { result: Ok((fd, stat)) }) => {
                self.opened(wanted, SharedFile::new(fd, &self.graveyard), stat, now)
            }
            (Stage::Open, Done::OpenFile { result: Err(errno) }) => self.failed(wanted, errno, now),
            (Stage::Read { file, stat }, Done::ReadFile { buf, result }) => match result {
                Ok(0) => wanted.confirm(file, stat, buf),
                Ok(_) => wanted.read(file, stat, buf),
                Err(errno) => Step::Reply(FileReply::error(own_fault(errno))),
            },
            (Stage::Confirm { file, stat, content }, Done::StatOpen { result }) => match result {
                Ok(after) => self.confirmed(wanted, file, (stat, after), content, now),
                Err(errno) => Step::Reply(FileReply::error(own_fault(errno))),
            },
            (stage, done) => unreachable!("{done:?} is not the end of {stage:?}"),
        }
    }

    /// Looks where `walk` has come to, and on, as far as everything is fresh in memory.
    fn search(
        &mut self,
        route: &FilesRoute,
        path: &str,
        ask: &Ask<'_>,
        walk: &mut Walk,
        now: Time,
    ) -> Result<Found, Question> {
        loop {
            let is_fresh = walk.root(route).is_fresh(now, self.limits.revalidate);
            if !is_fresh && !walk.has_asked_root {
                return Err(Question::Root);
            }
            let sought = walk.path(route, path).as_bytes();
            let found = match self.store.find(walk.place(route), sought) {
                Some(entry) if now < entry.fresh_until => entry.found.clone(),
                stale => return Err(Question::Name(stale.map(|entry| entry.found.clone()))),
            };
            if let Some(found) = walk.take(found, route, ask) {
                return Ok(found);
            }
        }
    }

    fn go_on(&mut self, mut wanted: Box<Wanted>, now: (Time, u64)) -> Step {
        let Wanted { route, path, ask, walk, .. } = &mut *wanted;
        match self.search(route, path, ask, walk, now.0) {
            Ok(found) => Step::Reply(answer(found, &wanted.ask, now.1)),
            Err(question) => self.put(wanted, question, now),
        }
    }

    /// Asks the kernel what the search wants to know. What is no name of a file is as good as
    /// missing.
    fn put(&mut self, mut wanted: Box<Wanted>, question: Question, now: (Time, u64)) -> Step {
        match question {
            Question::Root => wanted.look_at_root(None, now),
            Question::Name(found) if wanted.turn_to_name(now) => wanted.ask_for_name(found),
            Question::Name(_) => self.found(wanted, Found::Missing(404), now),
        }
    }

    /// The look-up has found this; it may be the answer.
    fn take(&mut self, mut wanted: Box<Wanted>, found: Found, now: (Time, u64)) -> Step {
        let Wanted { route, ask, walk, .. } = &mut *wanted;
        match walk.take(found, route, ask) {
            Some(found) => Step::Reply(answer(found, ask, now.1)),
            None => self.go_on(wanted, now),
        }
    }

    /// The same, and it is worth remembering.
    fn found(&mut self, wanted: Box<Wanted>, found: Found, now: (Time, u64)) -> Step {
        self.remember(&wanted, found.clone(), now.0);
        self.take(wanted, found, now)
    }

    fn learn_root(
        &mut self,
        mut wanted: Box<Wanted>,
        result: Result<(Fd, Stat), Errno>,
        missing: Option<u16>,
        now: (Time, u64),
    ) -> Step {
        let root = wanted.walk.root(&wanted.route);
        if let Some(gone) = root.learn(result, wanted.asked, &self.graveyard) {
            self.store.forget(gone);
        }
        match missing {
            Some(status) if !wanted.is_outdated() => {
                self.found(wanted, Found::Missing(status), now)
            }
            _ => {
                wanted.walk.restart_in_root();
                self.go_on(wanted, now)
            }
        }
    }

    fn opened(
        &mut self,
        wanted: Box<Wanted>,
        file: Rc<SharedFile>,
        stat: Stat,
        now: (Time, u64),
    ) -> Step {
        if let Some(found) = wanted.found_no_file(&stat) {
            return self.found(wanted, found, now);
        }
        if stat.size <= self.limits.memory_object as u64 {
            return wanted.read(file, stat, Vec::with_capacity(stat.size as usize));
        }
        let representation = represent(&wanted, stat, None);
        self.found(wanted, Found::Open { representation, file }, now)
    }

    /// Content counts only if the file was the same before and after it was read. If not, the
    /// answer comes from the open file, and nothing is remembered.
    fn confirmed(
        &mut self,
        wanted: Box<Wanted>,
        file: Rc<SharedFile>,
        (before, after): (Stat, Stat),
        content: Vec<u8>,
        now: (Time, u64),
    ) -> Step {
        if before == after && content.len() as u64 == after.size {
            let representation = represent(&wanted, after, Some(&content));
            let content = Bytes::from(content);
            return self.found(wanted, Found::Memory { representation, content }, now);
        }
        let representation = represent(&wanted, after, None);
        self.take(wanted, Found::Open { representation, file }, now)
    }

    /// What is not there in the root may be there in what has come into its place meanwhile.
    fn failed(&mut self, wanted: Box<Wanted>, errno: Errno, now: (Time, u64)) -> Step {
        if self.give_way(errno) {
            return wanted.open();
        }
        let status = status_of(errno);
        match status {
            404 => wanted.look_at_root(Some(status), now),
            403 => self.found(wanted, Found::Missing(status), now),
            _ if wanted.walk.has_plain() => self.take(wanted, Found::Missing(status), now),
            _ => Step::Reply(FileReply::error(status)),
        }
    }

    fn remember(&mut self, wanted: &Wanted, found: Found, now: Time) {
        let fresh_until = match is_settled(&found, wanted.asked_unix_seconds) {
            true => wanted.asked.after(self.limits.revalidate),
            false => wanted.asked,
        };
        if wanted.place.tree.root >= self.first_root && !wanted.is_outdated() {
            let path = wanted.walk.path(&wanted.route, &wanted.path);
            self.store.insert(wanted.place, path.as_bytes(), found, fresh_until);
            if self.sweep_at.is_none() && self.store.has_open() {
                self.sweep_at = Some(now.after(SWEEP_PERIOD));
            }
        }
    }
}

fn answer(found: Found, ask: &Ask<'_>, unix_seconds: u64) -> FileReply {
    match found {
        Found::Missing(status) => FileReply::error(status),
        Found::Directory => FileReply::redirect_to_directory(ask),
        Found::Open { representation, file } => {
            let content = FileContent::file(&file, representation.stat.size);
            FileReply::of(&representation, content, ask, unix_seconds)
        }
        Found::Memory { representation, content } => {
            FileReply::of(&representation, FileContent::Memory(content), ask, unix_seconds)
        }
    }
}

fn represent(wanted: &Wanted, stat: Stat, content: Option<&[u8]>) -> Rc<Representation> {
    let Wanted { name, asked_unix_seconds: asked, .. } = wanted;
    let (settings, coding) = (&wanted.route.settings, wanted.place.coding);
    Representation::new(stat, content, name, coding, settings, *asked)
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

/// A file that was not asked for between two sweeps is closed by the next one.
const SWEEP_PERIOD: Duration = Duration::from_secs(30);
