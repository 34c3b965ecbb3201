//! For tests: a served directory, and a kernel that performs file operations at once.
//!
//! Owns its open files. Must not know what is to be tested.

use crate::files::{
    Ask, AskFields, CacheLimits, FileCache, FileContent, FileReply, Files, FilesRoute, Pending,
    Root, Step,
};
use crate::io::{Done, Errno, Fd, FileKind, Graveyard, Op, SharedFile, Stat, Time};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

/// The directory.
pub(super) struct Disk {
    directory: tempfile::TempDir,
    open: RefCell<HashMap<Fd, File>>,
    pub(super) graveyard: Graveyard,
    /// Most bytes of one read.
    pub(super) read_most: usize,
}

impl Disk {
    pub(super) fn new() -> Disk {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("root")).unwrap();
        let (open, graveyard) = (RefCell::default(), Graveyard::default());
        Disk { directory, open, graveyard, read_most: usize::MAX }
    }

    /// A place beneath the root that is served.
    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join("root").join(name)
    }

    pub(super) fn write(&self, name: &str, content: &[u8]) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), content).unwrap();
    }

    /// The directory of this name, open. Beneath the root if it is relative.
    pub(super) fn open_root(&self, id: u32, name: &str) -> Root {
        let path = CString::new(self.path(name).into_os_string().into_vec()).unwrap();
        let (fd, stat) = self.open(&path).unwrap();
        let dir = SharedFile::new(fd, &self.graveyard);
        Root::new(id, path.into(), dir, (stat.device, stat.inode))
    }

    /// How many files are open after all closing is done.
    pub(super) fn open_files(&self) -> usize {
        while let Some(fd) = self.graveyard.pop() {
            self.open.borrow_mut().remove(&fd).expect("a file is closed once");
        }
        self.open.borrow().len()
    }

    pub(super) fn perform(&self, op: Op) -> Done {
        match op {
            Op::OpenFile { root, path, .. } => {
                Done::OpenFile { result: self.open(&self.beneath(&root, &path)).map_err(errno) }
            }
            Op::OpenDirectory { path } => {
                Done::OpenFile { result: self.open(&path).map_err(errno) }
            }
            Op::StatFile { root, path, .. } => {
                let path = self.beneath(&root, &path);
                let metadata = std::fs::metadata(OsStr::from_bytes(path.to_bytes()));
                Done::StatFile { result: metadata.map(stat).map_err(errno) }
            }
            Op::ReadFile { file, mut buf, offset } => {
                let len = buf.len();
                assert!(buf.capacity() > len, "a read without room");
                buf.resize(len + (buf.capacity() - len).min(self.read_most), 0);
                let read = self.open.borrow()[&file.fd()].read_at(&mut buf[len..], offset);
                buf.truncate(len + read.as_ref().unwrap_or(&0));
                Done::ReadFile { buf, result: read.map_err(errno) }
            }
            Op::StatOpen { file } => {
                let metadata = self.open.borrow()[&file.fd()].metadata();
                Done::StatOpen { result: metadata.map(stat).map_err(errno) }
            }
            op => panic!("{op:?} is no file operation"),
        }
    }

    fn beneath(&self, root: &SharedFile, name: &CStr) -> CString {
        let name = name.to_str().unwrap();
        CString::new(format!("/proc/self/fd/{}/{name}", root.fd())).unwrap()
    }

    fn open(&self, path: &CStr) -> io::Result<(Fd, Stat)> {
        let path = OsStr::from_bytes(path.to_bytes());
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let (fd, metadata) = (file.as_raw_fd(), file.metadata()?);
        self.open.borrow_mut().insert(fd, file);
        Ok((fd, stat(metadata)))
    }
}

/// A served directory, long after its files were written.
pub(super) struct Site {
    pub(super) disk: Disk,
    pub(super) cache: FileCache,
    pub(super) route: FilesRoute,
    pub(super) milliseconds: u64,
}

pub(super) const GET: Ask<'_> = Ask {
    method: Cow::Borrowed("GET"),
    original_path: Cow::Borrowed("/r/"),
    query: None,
    boundary: *b"0123456789abcdef",
    fields: AskFields {
        accept_encoding: None,
        if_match: None,
        if_none_match: None,
        if_modified_since: None,
        if_unmodified_since: None,
        if_range: None,
        range: None,
    },
};

/// A GET with these fields.
pub(super) fn get_with<'a>(lines: &[(&str, &'a str)]) -> Ask<'a> {
    let mut ask = GET;
    lines.iter().for_each(|(name, value)| ask.fields.add(name, value.as_bytes()));
    ask
}

impl Site {
    pub(super) fn new() -> Site {
        let disk = Disk::new();
        disk.write("small.txt", b"hello");
        disk.write("large.bin", &[b'x'; 100_000]);
        for name in ["small.txt", "large.bin"] {
            // Older kernels' clocks for files advance every few milliseconds only.
            let file = OpenOptions::new().write(true).open(disk.path(name)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        }
        let cache = FileCache::new(CacheLimits::default(), disk.graveyard.clone());
        let route = FilesRoute::new(Files::new("root"), vec![disk.open_root(0, "")]);
        Site { disk, cache, route, milliseconds: 0 }
    }

    /// With these settings, for directories of these names beneath the root.
    pub(super) fn set(&mut self, settings: Files, roots: &[&str]) {
        let roots = roots.iter().zip(1..);
        let roots = roots.map(|(name, id)| self.disk.open_root(id, name)).collect();
        self.route = FilesRoute::new(settings, roots);
    }

    pub(super) fn now(&self) -> (Time, u64) {
        (Time(self.milliseconds * 1_000_000), 10_000_000_000 + self.milliseconds / 1000)
    }

    pub(super) fn begin(&mut self, path: &str, ask: Ask<'_>) -> Step {
        let (now, unix_seconds) = self.now();
        self.cache.begin(&self.route, path, ask, now, unix_seconds)
    }

    pub(super) fn resume(&mut self, pending: Pending, done: Done) -> Step {
        let (now, unix_seconds) = self.now();
        self.cache.resume(pending, done, now, unix_seconds)
    }

    /// Performs everything; also returns the number of operations, looks at roots not counted.
    pub(super) fn finish(&mut self, mut step: Step) -> (FileReply, usize) {
        let mut operations = 0;
        loop {
            match step {
                Step::Reply(reply) => return (reply, operations),
                Step::Do(op, pending) => {
                    operations += usize::from(!matches!(op, Op::OpenDirectory { .. }));
                    step = self.resume(pending, self.disk.perform(op));
                }
            }
        }
    }

    pub(super) fn ask(&mut self, path: &str, ask: Ask<'_>) -> (FileReply, usize) {
        let step = self.begin(path, ask);
        self.finish(step)
    }

    /// Status, content and number of operations.
    pub(super) fn get(&mut self, path: &str) -> (u16, Vec<u8>, usize) {
        let (reply, operations) = self.ask(path, GET);
        (reply.status, self.content(&reply), operations)
    }

    pub(super) fn content(&self, reply: &FileReply) -> Vec<u8> {
        self.bytes(&reply.content)
    }

    fn bytes(&self, content: &FileContent) -> Vec<u8> {
        match content {
            FileContent::None => Vec::new(),
            FileContent::Memory(bytes) => bytes.to_vec(),
            FileContent::File { file, offset, len } => {
                let op = |buf| Op::ReadFile { file: Rc::clone(file), buf, offset: *offset };
                match self.disk.perform(op(Vec::with_capacity(*len as usize))) {
                    Done::ReadFile { buf, result: Ok(_) } => buf,
                    done => panic!("{done:?}"),
                }
            }
            FileContent::Parts(parts) => {
                let part = |(head, content): &(Vec<u8>, FileContent)| {
                    [head.clone(), self.bytes(content)].concat()
                };
                parts.iter().flat_map(part).collect()
            }
        }
    }

    /// Without clients and cache, all files are closed.
    pub(super) fn assert_no_leak(self) {
        let Site { disk, cache, route, .. } = self;
        drop((cache, route));
        assert_eq!(disk.open_files(), 0);
    }
}

fn stat(of: Metadata) -> Stat {
    let kind = match (of.is_file(), of.is_dir()) {
        (true, _) => FileKind::Regular,
        (_, true) => FileKind::Directory,
        _ => FileKind::Other,
    };
    Stat {
        kind,
        size: of.size(),
        mtime: (of.mtime(), of.mtime_nsec() as u32),
        ctime: (of.ctime(), of.ctime_nsec() as u32),
        device: of.dev(),
        inode: of.ino(),
    }
}

fn errno(error: io::Error) -> Errno {
    Errno(error.raw_os_error().expect("an error of the system"))
}
