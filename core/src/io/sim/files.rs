//! The simulated file system: one tree in memory.
//!
//! Owns names, inodes and their times, and how a name is resolved beneath a directory. Must not
//! know descriptors. An inode lives as long as a name or a descriptor has it.

use super::super::{Errno, FileKind, Stat};
use super::SimKernel;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Seconds and nanoseconds since 1970.
pub(super) type Timestamp = (i64, u32);

/// Changing the tree. Paths are relative to [`SimKernel::root`]; a leading `/` is ignored, and
/// directories on the way are made. A path that the change cannot apply to is a panic.
impl SimKernel {
    /// Device and inode of the root directory.
    pub(crate) const ROOT: (u64, u64) = (DEVICE, ROOT_INODE);

    /// Makes a file; the name must be free.
    pub(crate) fn add_file(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.change_files(|files, now| {
            let (directory, name) = files.parent(path, now);
            let inode = files.inode(Node::Regular(bytes.into()), now);
            let former = directory.link(name, inode, now);
            assert!(former.is_none(), "simulator: {path} exists");
        });
    }

    /// Puts a new file under the name, as rename(2) does; the old one remains for who has it
    /// open.
    pub(crate) fn replace_file(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.change_files(|files, now| {
            let (directory, name) = files.parent(path, now);
            let inode = files.inode(Node::Regular(bytes.into()), now);
            let former = directory.link(name, inode, now);
            assert!(former.is_some(), "simulator: {path} is not there");
        });
    }

    /// The same with a file that was modified when the old one was, as cp(1) with `-p` makes it.
    #[cfg(test)]
    pub(crate) fn replace_file_by_as_old(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.change_files(|files, now| {
            let (directory, name) = files.parent(path, now);
            let inode = files.inode(Node::Regular(bytes.into()), now);
            let former = directory.link(name, Rc::clone(&inode), now);
            let former = former.unwrap_or_else(|| panic!("simulator: {path} is not there"));
            inode.content.borrow_mut().mtime = former.content.borrow().mtime;
        });
    }

    /// Sets the file's size in place; new bytes are 0.
    pub(crate) fn truncate_file(&self, path: &str, size: usize) {
        self.change_files(|files, now| {
            let inode = files.existing(path);
            let mut content = inode.content.borrow_mut();
            let Node::Regular(bytes) = &mut content.node else {
                panic!("simulator: {path} is no regular file");
            };
            bytes.resize(size, 0);
            (content.mtime, content.ctime) = (now, now);
        });
    }

    /// Removes the name of a file.
    pub(crate) fn remove_file(&self, path: &str) {
        self.change_files(|files, now| {
            let (directory, name) = files.parent(path, now);
            directory.unlink(name, now).unwrap_or_else(|| panic!("simulator: no {path}"));
        });
    }

    /// Makes a FIFO: something that must not be served.
    pub(crate) fn add_fifo(&self, path: &str) {
        self.change_files(|files, now| {
            let (directory, name) = files.parent(path, now);
            let inode = files.inode(Node::Other, now);
            directory.link(name, inode, now);
        });
    }

    /// A file without a name, for a peer to pass on; `readable`: it is open for reading.
    pub(crate) fn loose_file(&self, bytes: impl Into<Vec<u8>>, readable: bool) -> SimFile {
        let mut kernel = self.kernel_mut();
        let now = kernel.timestamp();
        SimFile { inode: kernel.files.inode(Node::Regular(bytes.into()), now), readable }
    }

    /// Something to pass on that is no regular file.
    pub(crate) fn loose_directory(&self) -> SimFile {
        SimFile { inode: self.kernel().files.root(), readable: true }
    }

    /// Writes to a file that the other end of a connection has got (pwrite(2)); may end short.
    pub(crate) fn write_to(&self, file: &SimFile, at: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let mut kernel = self.kernel_mut();
        let now = kernel.timestamp();
        kernel.files.write(&file.inode, at, bytes, now)
    }

    /// How many more bytes can be written to files; without end at first.
    pub(crate) fn set_disk_space(&self, bytes: u64) {
        self.kernel_mut().files.space = bytes;
    }

    fn change_files(&self, change: impl FnOnce(&mut FileSystem, Timestamp)) {
        let mut kernel = self.kernel_mut();
        let now = kernel.timestamp();
        change(&mut kernel.files, now);
    }
}

/// A file that somebody has open on the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct SimFile {
    pub(super) inode: Rc<Inode>,
    pub(super) readable: bool,
}

impl SimFile {
    /// At most `len` bytes from `offset` on (pread(2)).
    pub(crate) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        self.inode.read(offset, len, <[u8]>::to_vec).expect("a regular file")
    }
}

pub(super) struct FileSystem {
    root: Rc<Inode>,
    inodes: u64,
    /// Bytes that can still be written.
    space: u64,
}

#[derive(Debug)]
pub(super) struct Inode {
    number: u64,
    content: RefCell<Content>,
}

#[derive(Debug)]
struct Content {
    node: Node,
    mtime: Timestamp,
    ctime: Timestamp,
}

#[derive(Debug)]
enum Node {
    Regular(Vec<u8>),
    Directory(BTreeMap<Box<[u8]>, Rc<Inode>>),
    Other,
}

impl FileSystem {
    pub(super) fn new(now: Timestamp) -> FileSystem {
        let node = Node::Directory(BTreeMap::new());
        FileSystem { root: Inode::new(ROOT_INODE, node, now), inodes: ROOT_INODE, space: u64::MAX }
    }

    pub(super) fn root(&self) -> Rc<Inode> {
        Rc::clone(&self.root)
    }

    /// What an absolute path leads to.
    pub(super) fn directory_at(&self, path: &[u8]) -> Result<Rc<Inode>, Errno> {
        match path.strip_prefix(b"/") {
            Some(b"") => Ok(self.root()),
            Some(path) => resolve(&self.root, path),
            None => Err(Errno(libc::ENOENT)),
        }
    }

    /// A new file without a name.
    pub(super) fn create(&mut self, now: Timestamp) -> Result<Rc<Inode>, Errno> {
        match self.space {
            0 => Err(Errno(libc::ENOSPC)),
            _ => Ok(self.inode(Node::Regular(Vec::new()), now)),
        }
    }

    /// pwrite(2) of as much as there is space for.
    pub(super) fn write(
        &mut self,
        inode: &Inode,
        offset: u64,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<usize, Errno> {
        let count = bytes.len().min(usize::try_from(self.space).unwrap_or(usize::MAX));
        if count == 0 && !bytes.is_empty() {
            return Err(Errno(libc::ENOSPC));
        }
        self.space -= count as u64;
        let mut content = inode.content.borrow_mut();
        let Node::Regular(old) = &mut content.node else { return Err(Errno(libc::EBADF)) };
        let start = usize::try_from(offset).map_err(|_| Errno(libc::EFBIG))?;
        old.resize(old.len().max(start + count), 0);
        old[start..start + count].copy_from_slice(&bytes[..count]);
        (content.mtime, content.ctime) = (now, now);
        Ok(count)
    }

    fn inode(&mut self, node: Node, now: Timestamp) -> Rc<Inode> {
        self.inodes += 1;
        Inode::new(self.inodes, node, now)
    }

    fn existing(&self, path: &str) -> Rc<Inode> {
        let relative = path.trim_start_matches('/');
        resolve(&self.root, relative.as_bytes())
            .unwrap_or_else(|errno| panic!("simulator: {path}: {errno}"))
    }

    /// The directory that has the name, and the name.
    fn parent<'a>(&mut self, path: &'a str, now: Timestamp) -> (Rc<Inode>, &'a str) {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        assert!(!name.is_empty(), "simulator: {path} names a directory");
        (self.directory(directory, now), name)
    }

    fn directory(&mut self, path: &str, now: Timestamp) -> Rc<Inode> {
        let mut here = self.root();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let there = here.lookup(name.as_bytes());
            let next = there.unwrap_or_else(|_| {
                let made = self.inode(Node::Directory(BTreeMap::new()), now);
                here.link(name, Rc::clone(&made), now);
                made
            });
            here = next;
        }
        here
    }
}

impl Inode {
    fn new(number: u64, node: Node, now: Timestamp) -> Rc<Inode> {
        Rc::new(Inode { number, content: RefCell::new(Content { node, mtime: now, ctime: now }) })
    }

    pub(super) fn stat(&self) -> Stat {
        let content = self.content.borrow();
        let (kind, size) = match &content.node {
            Node::Regular(bytes) => (FileKind::Regular, bytes.len() as u64),
            Node::Directory(_) => (FileKind::Directory, 4096),
            Node::Other => (FileKind::Other, 0),
        };
        let Content { mtime, ctime, .. } = *content;
        Stat { kind, size, mtime, ctime, device: DEVICE, inode: self.number }
    }

    /// Gives the bytes from `offset` on, at most `most`, to `sink`; none at the end.
    pub(super) fn read<T>(
        &self,
        offset: u64,
        most: usize,
        sink: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Errno> {
        match &self.content.borrow().node {
            Node::Regular(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(most).min(bytes.len());
                Ok(sink(&bytes[start..end]))
            }
            Node::Directory(_) => Err(Errno(libc::EISDIR)),
            Node::Other => Err(Errno(libc::EINVAL)),
        }
    }

    fn lookup(&self, name: &[u8]) -> Result<Rc<Inode>, Errno> {
        match &self.content.borrow().node {
            Node::Directory(names) => names.get(name).cloned().ok_or(Errno(libc::ENOENT)),
            _ => Err(Errno(libc::ENOTDIR)),
        }
    }

    fn link(&self, name: &str, inode: Rc<Inode>, now: Timestamp) -> Option<Rc<Inode>> {
        self.names(now, |names| names.insert(name.as_bytes().into(), inode))
    }

    fn unlink(&self, name: &str, now: Timestamp) -> Option<Rc<Inode>> {
        self.names(now, |names| names.remove(name.as_bytes()))
    }

    fn names<T>(
        &self,
        now: Timestamp,
        change: impl FnOnce(&mut BTreeMap<Box<[u8]>, Rc<Inode>>) -> T,
    ) -> T {
        let mut content = self.content.borrow_mut();
        (content.mtime, content.ctime) = (now, now);
        match &mut content.node {
            Node::Directory(names) => change(names),
            _ => panic!("simulator: a file on the way is no directory"),
        }
    }
}

/// openat2(2) with `RESOLVE_BENEATH`; there are no symbolic links.
pub(super) fn resolve(directory: &Rc<Inode>, path: &[u8]) -> Result<Rc<Inode>, Errno> {
    match path.first() {
        None => return Err(Errno(libc::ENOENT)),
        Some(b'/') => return Err(Errno(libc::EXDEV)),
        Some(_) if path.len() >= libc::PATH_MAX as usize => return Err(Errno(libc::ENAMETOOLONG)),
        Some(_) => {}
    }
    let mut above = Vec::new();
    let mut here = Rc::clone(directory);
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." | b".." if here.stat().kind != FileKind::Directory => {
                return Err(Errno(libc::ENOTDIR));
            }
            b"" | b"." => {}
            b".." => here = above.pop().ok_or(Errno(libc::EXDEV))?,
            _ if name.len() > NAME_MAX => return Err(Errno(libc::ENAMETOOLONG)),
            _ => {
                let next = here.lookup(name)?;
                above.push(std::mem::replace(&mut here, next));
            }
        }
    }
    Ok(here)
}

const DEVICE: u64 = 1;
const ROOT_INODE: u64 = 2;
const NAME_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::super::Faults;
    use super::*;
    use std::time::Duration;

    fn errno_of(kernel: &SimKernel, path: &str) -> i32 {
        let root = kernel.kernel_mut().files.root();
        resolve(&root, path.as_bytes()).map(|inode| inode.stat()).unwrap_err().0
    }

    fn stat(kernel: &SimKernel, path: &str) -> Stat {
        let root = kernel.kernel_mut().files.root();
        resolve(&root, path.as_bytes()).unwrap().stat()
    }

    fn kernel() -> SimKernel {
        let kernel = SimKernel::new(1, Faults::none());
        kernel.add_file("a/b/c.txt", "content");
        kernel
    }

    #[test]
    fn names_resolve_beneath_the_root() {
        let kernel = kernel();
        assert_eq!(stat(&kernel, "a/b/c.txt").size, 7);
        assert_eq!(stat(&kernel, "a//./b/../b/c.txt").size, 7);
        for directory in ["a", "a/", ".", "a/.."] {
            assert_eq!(stat(&kernel, directory).kind, FileKind::Directory);
        }
        for path in ["..", "a/../..", "a/../../a/b/c.txt", "/a"] {
            assert_eq!(errno_of(&kernel, path), libc::EXDEV, "{path}");
        }
        for path in ["", "x", "a/x", "a/x/.."] {
            assert_eq!(errno_of(&kernel, path), libc::ENOENT, "{path}");
        }
        for path in ["a/b/c.txt/", "a/b/c.txt/x", "a/b/c.txt/.."] {
            assert_eq!(errno_of(&kernel, path), libc::ENOTDIR, "{path}");
        }
        assert_eq!(errno_of(&kernel, &"x".repeat(256)), libc::ENAMETOOLONG);
        assert_eq!(errno_of(&kernel, &"x/".repeat(2048)), libc::ENAMETOOLONG);
    }

    #[test]
    fn stat_tells_every_change() {
        let kernel = kernel();
        let before = stat(&kernel, "a/b/c.txt");
        kernel.advance(Duration::from_millis(2500));
        kernel.truncate_file("a/b/c.txt", 3);
        let truncated = stat(&kernel, "a/b/c.txt");
        assert_eq!((truncated.inode, truncated.size), (before.inode, 3));
        assert_eq!(truncated.mtime, (before.mtime.0 + 2, before.mtime.1 + 500_000_000));
        kernel.replace_file("a/b/c.txt", "other");
        assert_ne!(stat(&kernel, "a/b/c.txt").inode, before.inode);
        kernel.remove_file("a/b/c.txt");
        assert_eq!(errno_of(&kernel, "a/b/c.txt"), libc::ENOENT);
        kernel.add_fifo("pipe");
        assert_eq!(stat(&kernel, "pipe").kind, FileKind::Other);
    }
}
