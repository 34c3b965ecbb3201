//! A directory that files are served from, and what is in its place now.
//!
//! Owns the open directory and its generations. Must not know files.
//!
//! The directory's own path is looked up again every second: a symbolic link in it may have been
//! renamed over, the way releases are switched. Each directory found there is a generation of its
//! own, so that nothing known of one is taken for the other; who has begun in one ends in it.

use super::settings::Files;
use crate::io::{Errno, Fd, Graveyard, SharedFile, Stat, Time};
use std::cell::RefCell;
use std::ffi::CStr;
use std::rc::Rc;
use std::time::Duration;

/// A files route as one reactor holds it.
#[derive(Clone, Debug)]
pub(crate) struct FilesRoute {
    pub(super) settings: Rc<Files>,
    /// In the order in which they are searched; at least one.
    pub(super) roots: Rc<[Root]>,
}

impl FilesRoute {
    pub(crate) fn new(settings: Files, roots: Vec<Root>) -> FilesRoute {
        assert_eq!(settings.directories.len(), roots.len(), "a root is an open directory");
        FilesRoute { settings: Rc::new(settings), roots: roots.into() }
    }
}

/// One directory.
#[derive(Debug)]
pub(crate) struct Root {
    /// Unique among all roots that use the same cache, replaced ones included.
    id: u32,
    path: Rc<CStr>,
    current: RefCell<Current>,
}

/// What is at the path now.
#[derive(Debug)]
struct Current {
    generation: u32,
    dir: Rc<SharedFile>,
    identity: Identity,
    /// When the kernel was last asked.
    asked: Time,
}

/// Device and inode.
pub(crate) type Identity = (u64, u64);

/// Which directory: a root in one of its generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tree {
    pub(super) root: u32,
    pub(super) generation: u32,
}

impl Root {
    /// `dir` was found at `path`, which is absolute.
    pub(crate) fn new(id: u32, path: Rc<CStr>, dir: Rc<SharedFile>, identity: Identity) -> Root {
        let current = Current { generation: 0, dir, identity, asked: Time::default() };
        Root { id, path, current: RefCell::new(current) }
    }

    pub(super) fn path(&self) -> Rc<CStr> {
        Rc::clone(&self.path)
    }

    pub(super) fn tree(&self) -> Tree {
        Tree { root: self.id, generation: self.current.borrow().generation }
    }

    pub(super) fn dir(&self) -> Rc<SharedFile> {
        Rc::clone(&self.current.borrow().dir)
    }

    pub(super) fn is_fresh(&self, now: Time, revalidate: Duration) -> bool {
        now < self.current.borrow().asked.after(revalidate)
    }

    /// What the kernel, asked then, has found at the path. Says which tree is not there any more.
    pub(super) fn learn(
        &self,
        found: Result<(Fd, Stat), Errno>,
        asked: Time,
        graveyard: &Graveyard,
    ) -> Option<Tree> {
        let old = self.tree();
        let found = found.map(|(fd, stat)| (SharedFile::new(fd, graveyard), stat));
        let mut current = self.current.borrow_mut();
        if asked < current.asked {
            return None;
        }
        current.asked = asked;
        // While nothing is there the old one is better than nothing.
        let (dir, stat) = found.ok()?;
        let identity = (stat.device, stat.inode);
        if identity == current.identity {
            return None;
        }
        let generation = old.generation.wrapping_add(1);
        *current = Current { generation, dir, identity, asked };
        Some(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::FileKind;

    #[test]
    fn another_directory_is_another_generation() {
        let graveyard = Graveyard::default();
        let found = |inode| {
            let (kind, time) = (FileKind::Directory, (0, 0));
            Ok((inode as Fd, Stat { kind, size: 0, mtime: time, ctime: time, device: 1, inode }))
        };
        let root = Root::new(7, c"/r".into(), SharedFile::new(1, &graveyard), (1, 1));
        let first = root.tree();
        assert_eq!(root.learn(found(1), Time(1), &graveyard), None);
        assert_eq!(root.learn(Err(Errno(libc::ENOENT)), Time(2), &graveyard), None);
        assert_eq!((root.tree(), root.dir().fd()), (first, 1));
        assert_eq!(root.learn(found(3), Time(3), &graveyard), Some(first));
        assert_ne!(root.tree(), first);
        assert_eq!(root.dir().fd(), 3);
        let late = root.learn(found(2), Time(2), &graveyard);
        assert_eq!((late, root.dir().fd()), (None, 3), "an older answer that comes late");
        let closed: Vec<_> = std::iter::from_fn(|| graveyard.pop()).collect();
        assert_eq!(closed.len(), 3, "one that is the same, the first, and the late one");
    }
}
