//! How a spool file without a name is made: at once where the file system can do that
//! (`O_TMPFILE`, open(2)), else with a name that is removed again.
//!
//! Owns the steps. Must not know who performs them.

use super::{Errno, Fd};
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the making of a file is.
#[derive(Debug, Default)]
pub(crate) enum Creation {
    #[default]
    Unnamed,
    /// Made under this path; how often that has been tried.
    Named(CString, u32),
    /// Open, and its name is to be removed.
    Unlinking(CString, Fd),
}

/// What comes after a step.
pub(super) enum Next {
    /// Another step.
    Step,
    Finished(Result<Fd, Errno>),
    /// The file is open, but its name remains: it is to be closed.
    Failed(Fd, Errno),
}

impl Creation {
    /// The step has ended so.
    pub(super) fn advance(&mut self, directory: &CStr, result: Result<usize, Errno>) -> Next {
        match (std::mem::take(self), result) {
            // EISDIR: the kernel does not know O_TMPFILE.
            (Creation::Unnamed, Err(Errno(libc::EOPNOTSUPP | libc::EISDIR))) => {
                *self = Creation::Named(path(directory), 1);
                Next::Step
            }
            (Creation::Unnamed, result) => Next::Finished(result.map(|fd| fd as Fd)),
            (Creation::Named(name, _), Ok(fd)) => {
                *self = Creation::Unlinking(name, fd as Fd);
                Next::Step
            }
            (Creation::Named(_, tries), Err(Errno(libc::EEXIST))) if tries < TRIES => {
                *self = Creation::Named(path(directory), tries + 1);
                Next::Step
            }
            (Creation::Named(..), Err(errno)) => Next::Finished(Err(errno)),
            (Creation::Unlinking(_, fd), Ok(_)) => Next::Finished(Ok(fd)),
            (Creation::Unlinking(_, fd), Err(errno)) => Next::Failed(fd, errno),
        }
    }
}

const TRIES: u32 = 16;

/// A path that is most likely free.
fn path(directory: &CStr) -> CString {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("/.forebay-spool-{}-{number}", std::process::id());
    let path = [directory.to_bytes(), name.as_bytes()].concat();
    CString::new(path).expect("neither a C string nor digits contain a zero byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_over_to_names_where_it_must_and_removes_them() {
        let mut creation = Creation::default();
        let mut step = |result| creation.advance(c"/spool", result);
        assert!(matches!(step(Err(Errno(libc::EOPNOTSUPP))), Next::Step));
        assert!(matches!(step(Err(Errno(libc::EEXIST))), Next::Step));
        assert!(matches!(step(Ok(7)), Next::Step));
        assert!(matches!(step(Ok(0)), Next::Finished(Ok(7))));
    }

    #[test]
    fn ends_with_what_is_wrong() {
        let full = Err(Errno(libc::ENOSPC));
        assert!(matches!(Creation::Unnamed.advance(c"/", full), Next::Finished(Err(_))));
        let mut creation = Creation::Unlinking(c"/x".into(), 7);
        assert!(matches!(creation.advance(c"/", Err(Errno(libc::EIO))), Next::Failed(7, _)));
        let mut creation = Creation::Unnamed;
        let mut exists = 0;
        let mut result = Err(Errno(libc::EISDIR));
        while let Next::Step = creation.advance(c"/", result) {
            (result, exists) = (Err(Errno(libc::EEXIST)), exists + 1);
        }
        assert_eq!(exists, TRIES);
    }
}
