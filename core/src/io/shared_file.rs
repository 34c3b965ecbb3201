//! An open file with several users in one reactor: cache entries and operations in flight.
//!
//! Owns the descriptor until the last user lets go; then it joins the reactor's [`Graveyard`],
//! from which the loop closes it through the backend.

use super::{Fd, Share};
use std::cell::RefCell;
use std::rc::Rc;

/// Descriptors whose last user is gone, to be closed by the loop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graveyard(Rc<RefCell<Vec<Fd>>>);

impl Graveyard {
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
}

impl SharedFile {
    pub(crate) fn new(fd: Fd, graveyard: &Graveyard) -> Rc<SharedFile> {
        Rc::new(SharedFile { fd, graveyard: graveyard.clone(), share: RefCell::default() })
    }

    /// One whose bytes are counted; `share` is given back when it is closed.
    pub(crate) fn counted(fd: Fd, graveyard: &Graveyard, share: Share) -> Rc<SharedFile> {
        let share = RefCell::new(Some(share));
        Rc::new(SharedFile { fd, graveyard: graveyard.clone(), share })
    }

    /// Counts that it will have `bytes`; false: the budget would exceed `most`.
    pub(crate) fn count(&self, bytes: u64, most: u64) -> bool {
        self.share.borrow_mut().as_mut().is_none_or(|share| share.grow_to(bytes, most))
    }

    pub(crate) fn fd(&self) -> Fd {
        self.fd
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
