//! Lines for somebody else, who may not read them: nobody waits for that.
//!
//! Owns what was lost. Must not know what lines say.

use crate::socket::has_room;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::{Errno, ReadWriteFlags, pwritev2, retry_on_intr, write};
use rustix::net::{SendFlags, send};
use std::borrow::Cow;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is known of a place where lines are written, by several processes at a time.
#[derive(Debug)]
pub(crate) struct Outlet {
    lost: AtomicU64,
    /// The last line has no end yet.
    is_cut: AtomicBool,
}

impl Outlet {
    pub(crate) const fn new() -> Outlet {
        Outlet { lost: AtomicU64::new(0), is_cut: AtomicBool::new(false) }
    }

    /// Writes lines in one system call, so that those of several processes do not mix. False: there
    /// was no room for all of them, and so many messages are lost. Only what is longer than
    /// `PIPE_BUF` may then be there in part (pipe(7)).
    pub(crate) fn write(&self, fd: BorrowedFd<'_>, lines: &[u8], messages: u64) -> bool {
        let was_cut = self.is_cut.swap(false, Ordering::Relaxed);
        let bytes = match was_cut {
            true => Cow::from([b"\n", lines].concat()),
            false => Cow::from(lines),
        };
        let written = write_now(fd, &bytes).unwrap_or(0);
        let is_cut = bytes[..written].last().map_or(was_cut, |&last| last != b'\n');
        self.is_cut.fetch_or(is_cut, Ordering::Relaxed);
        let is_whole = written == bytes.len();
        if !is_whole {
            self.lose(messages);
        }
        is_whole
    }

    /// So many messages are not written.
    pub(crate) fn lose(&self, messages: u64) {
        self.lost.fetch_add(messages, Ordering::Relaxed);
    }

    /// How many are lost since this was asked last.
    pub(crate) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

/// Disks are waited for, readers are not.
fn write_now(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    let write = |fd: BorrowedFd<'_>, bytes| retry_on_intr(|| write(fd, bytes));
    if fstat(fd).is_ok_and(|found| FileType::from_raw_mode(found.st_mode).is_file()) {
        return write(fd, bytes);
    }
    match pwritev2(fd, &[IoSlice::new(bytes)], u64::MAX, ReadWriteFlags::NOWAIT) {
        Ok(count) => return Ok(count),
        Err(error @ (Errno::AGAIN | Errno::PIPE)) => return Err(error),
        // A terminal, or pipes and sockets before Linux 6.4.
        Err(_) => {}
    }
    // `O_NONBLOCK` is of the open file, which others have, too: one of our own is opened.
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let page = &bytes[..bytes.len().min(libc::PIPE_BUF)];
    match openat(CWD, path, flags, Mode::empty()) {
        Ok(own) => write(own.as_fd(), bytes),
        // It is a socket.
        Err(Errno::NXIO) => send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
        // As good as it gets.
        Err(_) if has_room(fd) => write(fd, page),
        Err(_) => Err(Errno::AGAIN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::{PipeReader, Read};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    /// Writes lines of `length` bytes until one is lost, and says how many were written before.
    fn fill(outlet: &'static Outlet, fd: impl AsFd + Send + 'static, length: usize) -> usize {
        let (done, ended) = mpsc::channel();
        thread::spawn(move || {
            let line = [vec![b'x'; length - 1], vec![b'\n']].concat();
            let count = (0..).take_while(|_| outlet.write(fd.as_fd(), &line, 1)).count();
            done.send(count)
        });
        ended.recv_timeout(Duration::from_secs(60)).expect("nobody waits")
    }

    fn outlet() -> &'static Outlet {
        Box::leak(Box::new(Outlet::new()))
    }

    fn pipe() -> (PipeReader, OwnedFd) {
        let (reader, writer) = std::io::pipe().unwrap();
        (reader, writer.into())
    }

    fn read(from: &mut impl Read, most: usize) -> String {
        let mut bytes = vec![0; most];
        let count = from.read(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    #[test]
    fn what_nobody_reads_is_lost_and_counted() {
        let (outlet, (mut reader, writer)) = (outlet(), pipe());
        assert!(fill(outlet, writer.try_clone().unwrap(), 1000) > 10);
        assert!(!outlet.write(writer.as_fd(), &[b'y'; 900], 2));
        assert_eq!((outlet.take_lost(), outlet.take_lost()), (3, 0));
        let before = read(&mut reader, 1 << 20);
        assert!(before.ends_with("x\n") && before.lines().all(|line| line.len() == 999));
        assert!(outlet.write(writer.as_fd(), b"z\n", 1));
        assert_eq!(read(&mut reader, 100), "z\n");
    }

    #[test]
    fn a_line_that_is_cut_ends_before_the_next() {
        let (outlet, (mut reader, writer)) = (outlet(), pipe());
        fill(outlet, writer.try_clone().unwrap(), 50_000);
        assert!(!outlet.write(writer.as_fd(), b"lost\n", 1));
        assert!(!read(&mut reader, 1 << 20).ends_with('\n'));
        for text in ["a\n", "b\n"] {
            assert!(outlet.write(writer.as_fd(), text.as_bytes(), 1));
        }
        assert_eq!(read(&mut reader, 100), "\na\nb\n");
    }

    #[test]
    fn sockets_and_terminals_are_not_waited_for_either() {
        let (near, _far) = UnixStream::pair().unwrap();
        assert!(fill(outlet(), near, 1000) > 10);
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let front = rustix::pty::openpt(flags).unwrap();
        rustix::pty::unlockpt(&front).unwrap();
        let name = rustix::pty::ptsname(&front, Vec::new()).unwrap();
        let terminal = OFlags::WRONLY | OFlags::NOCTTY;
        let terminal = openat(CWD, name, terminal, Mode::empty()).unwrap();
        assert!(fill(outlet(), terminal, 1000) > 3);
        drop(front);
    }

    #[test]
    fn a_file_takes_everything_and_a_reader_that_is_gone_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let long = [vec![b'x'; 1 << 20], vec![b'\n']].concat();
        for _ in 0..3 {
            assert!(outlet().write(file.as_fd(), &long, 1));
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 3 * long.len() as u64);
        let (reader, writer) = pipe();
        drop(reader);
        assert!(!outlet().write(writer.as_fd(), b"a\n", 1));
    }
}
