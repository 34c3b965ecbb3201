//! The spool: files without a name that take what memory is too small for.
//!
//! Owns how such a file is made, written and counted. Must not know what is in it. A file is
//! closed, and so deleted, with its last user.

use super::world::World;
use crate::io::{Budget, Creation, Errno, Fd, Graveyard, Op, Outgoing, Share, SharedFile, Token};
use std::ffi::CStr;
use std::rc::Rc;

/// Where a reactor's spool files are made, and how many bytes those of all reactors may have.
pub(crate) struct Spool {
    directory: Rc<CStr>,
    budget: Budget,
    graveyard: Graveyard,
}

/// One spool file, and the one operation on it that may be in flight. Its owner submits
/// operations with its own token, and gets their ends.
pub(crate) struct SpoolFile {
    state: State,
    written: u64,
    /// Bytes of memory that are being written.
    writing: usize,
    /// Of the spool's budget, until the file has it.
    share: Option<Share>,
}

enum State {
    /// Is being made.
    Creating,
    Open(Rc<SharedFile>),
    Writing(Rc<SharedFile>),
    /// Takes nothing more; what has been written is there.
    Failed(Option<Rc<SharedFile>>),
}

impl Spool {
    /// `graveyard` is the reactor's.
    pub(crate) fn new(directory: &CStr, budget: Budget, graveyard: Graveyard) -> Spool {
        Spool { directory: directory.into(), budget, graveyard }
    }

    /// Where files are made from now on.
    pub(crate) fn set_directory(&mut self, directory: &CStr) {
        if *self.directory != *directory {
            self.directory = directory.into();
        }
    }

    /// Room for so many bytes, if the budget has it.
    pub(crate) fn reserve(&self, bytes: u64, most: u64) -> Option<Share> {
        let mut share = self.budget.share();
        share.grow(bytes, most).then_some(share)
    }

    /// The operation that makes a file.
    pub(crate) fn creation(&self) -> Op {
        Op::CreateFile { directory: Rc::clone(&self.directory), creation: Creation::default() }
    }

    /// A file that has been made, for which this has been reserved.
    pub(crate) fn file(&self, fd: Fd, share: Share) -> Rc<SharedFile> {
        SharedFile::counted(fd, &self.graveyard, share)
    }

    /// A descriptor that a worker has passed.
    pub(crate) fn adopt(&self, fd: Fd) -> Rc<SharedFile> {
        SharedFile::new(fd, &self.graveyard)
    }
}

impl SpoolFile {
    /// Asks for a file that will have so many bytes at least. It fails at once if the budget does
    /// not have them.
    pub(crate) fn create(expected: u64, token: Token, w: &mut World) -> SpoolFile {
        let Some(share) = w.spool.reserve(expected, w.limits.spool_budget) else {
            refused(Errno(libc::EDQUOT), w);
            return SpoolFile { state: State::Failed(None), written: 0, writing: 0, share: None };
        };
        w.submit(token, w.spool.creation());
        SpoolFile { state: State::Creating, written: 0, writing: 0, share: Some(share) }
    }

    /// An operation is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.state, State::Creating | State::Writing(_))
    }

    pub(crate) fn is_writing(&self) -> bool {
        matches!(self.state, State::Writing(_))
    }

    /// Bytes of memory that are being written.
    pub(crate) fn writing_bytes(&self) -> usize {
        self.writing
    }

    /// Something can be written now.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed(_))
    }

    /// Bytes that can be read from it.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The file, once it has been made.
    pub(crate) fn file(&self) -> Option<&Rc<SharedFile>> {
        match &self.state {
            State::Creating => None,
            State::Open(file) | State::Writing(file) => Some(file),
            State::Failed(file) => file.as_ref(),
        }
    }

    /// The end of the making.
    pub(crate) fn on_created(&mut self, result: Result<Fd, Errno>, w: &mut World) {
        let share = self.share.take();
        self.state = match result {
            Ok(fd) => {
                let share = share.unwrap_or_else(|| w.spool.budget.share());
                State::Open(w.spool.file(fd, share))
            }
            Err(errno) => {
                // Too late for this one.
                w.files.give_way(errno);
                refused(errno, w);
                State::Failed(None)
            }
        };
    }

    /// Appends `out` to a file that is ready. Given back is what the budget does not have.
    pub(crate) fn write(
        &mut self,
        out: Outgoing,
        token: Token,
        w: &mut World,
    ) -> Result<(), Outgoing> {
        let State::Open(file) = &self.state else { unreachable!("the file is ready") };
        let file = Rc::clone(file);
        if !file.count(self.written + out.remaining() as u64, w.limits.spool_budget) {
            refused(Errno(libc::EDQUOT), w);
            self.state = State::Failed(Some(file));
            return Err(out);
        }
        self.submit(file, out, token, w);
        Ok(())
    }

    /// The end of a write; goes on if that was short. Given back is what cannot be written.
    pub(crate) fn on_written(
        &mut self,
        mut out: Outgoing,
        result: Result<usize, Errno>,
        token: Token,
        w: &mut World,
    ) -> Option<Outgoing> {
        let State::Writing(file) = std::mem::replace(&mut self.state, State::Creating) else {
            unreachable!("a write was in flight");
        };
        out.file = None;
        self.writing = 0;
        self.written += result.unwrap_or(0) as u64;
        match result {
            Ok(_) if out.remaining() == 0 => {
                self.state = State::Open(file);
                w.buffers.give_outgoing(out);
                None
            }
            Ok(count) if count > 0 => {
                self.submit(file, out, token, w);
                None
            }
            result => {
                refused(result.err().unwrap_or(Errno(libc::ENOSPC)), w);
                self.state = State::Failed(Some(file));
                Some(out)
            }
        }
    }

    fn submit(&mut self, file: Rc<SharedFile>, out: Outgoing, token: Token, w: &mut World) {
        let offset = self.written;
        self.writing = out.capacity();
        w.submit(token, Op::WriteFile { file: Rc::clone(&file), out, offset });
        self.state = State::Writing(file);
    }
}

/// Counts what could not be spooled. What follows is its owner's business.
fn refused(errno: Errno, w: &mut World) {
    w.counters.spool_refused.count();
    if w.may_warn() {
        let why = match errno {
            Errno(libc::EDQUOT) => "spool_budget is used up".to_string(),
            errno => errno.to_string(),
        };
        let directory = w.spool.directory.to_string_lossy();
        tracing::warn!(why, %directory, "cannot spool: requests get 503, workers have to wait");
    }
}
