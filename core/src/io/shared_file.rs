//! An open file with several users in one reactor: cache entries and operations in flight.
//!
//! Owns the descriptor until the last user lets go; then it joins the reactor's [`Graveyard`],
//! from which the loop closes it through the backend.

use super::{Fd, Share, Time};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Descriptors whose last user is gone, to be closed by the loop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graveyard(Rc<RefCell<Vec<Fd>>>);

impl Graveyard {
    /// Nothing is to be closed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// A descriptor to close, if there is one.
    pub(crate) fn pop(&self) -> Option<Fd> {
        self.0.borrow_mut().pop()
    }
}

/// A descriptor that is closed after the last `Rc` of it is gone.
#[derive(Debug)]
pub(crate) struct SharedFile {
    fd: Fd,
    graveyard: Graveyard,
    /// What it may take of a budget, if it is counted.
    share: RefCell<Option<Share>>,
    seen: Cell<Seen>,
}

/// The part of a file that was in memory, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) at: Time,
}

impl SharedFile {
    pub(crate) fn new(fd: Fd, graveyard: &Graveyard) -> Rc<SharedFile> {
        SharedFile::with_share(fd, graveyard, None)
    }

    /// One whose bytes are counted; `share` is given back when it is closed.
    pub(crate) fn counted(fd: Fd, graveyard: &Graveyard, share: Share) -> Rc<SharedFile> {
        SharedFile::with_share(fd, graveyard, Some(share))
    }

    fn with_share(fd: Fd, graveyard: &Graveyard, share: Option<Share>) -> Rc<SharedFile> {
        let (graveyard, share) = (graveyard.clone(), RefCell::new(share));
        Rc::new(SharedFile { fd, graveyard, share, seen: Cell::default() })
    }

    /// Counts that it will have `bytes`; false: the budget would exceed `most`.
    pub(crate) fn count(&self, bytes: u64, most: u64) -> bool {
        self.share.borrow_mut().as_mut().is_none_or(|share| share.grow_to(bytes, most))
    }

    /// Counts that it will not have more than `bytes`.
    pub(crate) fn count_no_more_than(&self, bytes: u64) {
        if let Some(share) = self.share.borrow_mut().as_mut() {
            share.shrink_to(bytes);
        }
    }

    pub(crate) fn fd(&self) -> Fd {
        self.fd
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.get()
    }

    pub(super) fn set_seen(&self, seen: Seen) {
        self.seen.set(seen);
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        self.graveyard.0.borrow_mut().push(self.fd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_closed_after_the_last_user() {
        let graveyard = Graveyard::default();
        let cached = SharedFile::new(7, &graveyard);
        let in_flight = Rc::clone(&cached);
        drop(cached);
        assert_eq!(graveyard.pop(), None);
        drop(in_flight);
        assert_eq!(graveyard.pop(), Some(7));
    }
}
