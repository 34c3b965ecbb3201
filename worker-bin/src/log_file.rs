//! Files in place of standard error, and for the access log; opened anew when they were moved away.
//!
//! Owns their descriptors. Must not know what is written to them.
#![allow(unsafe_code)]

use crate::outlet::Outlet;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{CString, c_char};
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

/// From now on standard error is this file, appended to. Children inherit it.
pub(crate) fn use_file(path: &Path) -> io::Result<()> {
    use_open_file(path, None)
}

/// The same of one that may be open already.
pub(crate) fn use_open_file(path: &Path, open: Option<File>) -> io::Result<()> {
    ERRORS.use_file(path, open)
}

/// The file, made if it is not there. None: the path leads over symbolic links, the file has other
/// names, or it is a device or a pipe; whoever gives it away would not know what it gives.
pub(crate) fn make(path: &Path) -> io::Result<Option<File>> {
    // A pipe that is opened and closed would lose its reader.
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Ok(None);
    }
    let append = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
    let flags = append | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let (mode, resolve) = (Mode::from_raw_mode(MODE), ResolveFlags::NO_SYMLINKS);
    let file = match rustix::fs::openat2(CWD, path, flags, mode, resolve) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    Ok((found.is_file() && found.nlink() == 1).then_some(file))
}

/// From now on the access log is this file, appended to; `-` is standard output. None: there is no
/// access log.
pub(crate) fn use_access_file(path: Option<&Path>) -> io::Result<()> {
    match path {
        None => ACCESS.use_inherited(NONE),
        Some(path) if path.as_os_str() == "-" => ACCESS.use_inherited(libc::STDOUT_FILENO),
        Some(path) => return ACCESS.use_file(path, None),
    }
    Ok(())
}

/// Why one cannot be opened.
pub(crate) fn reason(error: &io::Error) -> String {
    match is_unread(error) {
        true => "nobody reads this pipe: start its reader first".into(),
        false => error.to_string(),
    }
}

/// It is a pipe without a reader (`ENXIO` in fifo(7)).
pub(crate) fn is_unread(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

/// What standard error or the access log is.
pub(crate) struct LogFile {
    /// Null: none.
    path: AtomicPtr<c_char>,
    /// [`NONE`]: not yet one.
    descriptor: AtomicI32,
    outlet: Outlet,
}

impl LogFile {
    const fn new(descriptor: i32) -> LogFile {
        let path = AtomicPtr::new(std::ptr::null_mut());
        LogFile { path, descriptor: AtomicI32::new(descriptor), outlet: Outlet::new() }
    }

    /// Writes lines, and waits for nobody. False: so many messages are lost.
    pub(crate) fn write(&self, lines: &[u8], messages: u64) -> bool {
        let descriptor = self.descriptor.load(Ordering::Acquire);
        if descriptor == NONE {
            self.outlet.lose(messages);
            return false;
        }
        // SAFETY: it is replaced by others, but not closed while there are messages.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        self.outlet.write(descriptor, lines, messages)
    }

    /// How many messages are lost since this was asked last.
    pub(crate) fn take_lost(&self) -> u64 {
        self.outlet.take_lost()
    }

    fn use_file(&self, path: &Path, open: Option<File>) -> io::Result<()> {
        let path = std::path::absolute(path)?;
        let path = CString::new(path.as_os_str().as_bytes())?;
        // Signal handlers may read it at any time: it is never freed.
        self.path.store(path.into_raw(), Ordering::Release);
        match open {
            Some(file) => self.put(file.into_raw_fd()),
            None => self.reopen(),
        }
    }

    /// From now on it is this descriptor, which is not opened anew. Nobody writes meanwhile.
    fn use_inherited(&self, descriptor: RawFd) {
        self.path.store(std::ptr::null_mut(), Ordering::Release);
        let old = self.descriptor.swap(descriptor, Ordering::AcqRel);
        if old > libc::STDERR_FILENO {
            // SAFETY: it was opened here, and nobody else has it.
            unsafe { libc::close(old) };
        }
    }

    /// Opens the file anew, if there is one. It goes on as before if that fails. Signal handlers
    /// may call this.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let path = self.path.load(Ordering::Acquire);
        if path.is_null() {
            return Ok(());
        }
        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
        // Nobody waits for the reader of a pipe.
        let flags = flags | libc::O_NOCTTY | libc::O_NONBLOCK;
        // SAFETY: async-signal-safe, and `path` is a C string that is never freed.
        let fd = unsafe { libc::open(path, flags, MODE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // Programs that inherit it do not expect the flag. SAFETY: async-signal-safe, and no
        // memory is passed.
        unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_APPEND) };
        self.put(fd)
    }

    /// `fd` is the file from now on.
    fn put(&self, fd: RawFd) -> io::Result<()> {
        let old = self.descriptor.load(Ordering::Acquire);
        // Standard output is not the log's alone.
        if old == NONE || old == libc::STDOUT_FILENO {
            self.descriptor.store(fd, Ordering::Release);
            return Ok(());
        }
        // Standard error is for programs that the application starts, too.
        let cloexec = if old == libc::STDERR_FILENO { 0 } else { libc::O_CLOEXEC };
        // SAFETY: async-signal-safe; `fd` is ours alone. dup3(2) replaces the old file in one step.
        let result = unsafe {
            let result = libc::dup3(fd, old, cloexec);
            libc::close(fd);
            result
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

const MODE: u32 = 0o644;
const NONE: RawFd = -1;

/// Standard error.
pub(crate) static ERRORS: LogFile = LogFile::new(libc::STDERR_FILENO);
/// The access log.
pub(crate) static ACCESS: LogFile = LogFile::new(NONE);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::wait_readable;
    use rustix::fs::{FileType, mknodat, open};
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn a_pipe_is_not_opened_by_who_gives_files_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let reader = open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
        assert!(make(&path).unwrap().is_none());
        let [has_ended] = wait_readable([reader.as_fd()], Some(Duration::ZERO)).unwrap();
        assert!(!has_ended);
    }
}
