//! Waiting for the end of the process behind a Unix socket.
//!
//! Owns the descriptor by which the process is watched (pidfd_open(2)), and what the kernel says
//! of its end. Must not know rings, nor decide anything.

#![allow(unsafe_code)]

use super::sys::{errno_of, retried, unsent, was_reset};
use super::{Errno, Fd};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// How a process has ended that had connected a Unix socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Death {
    /// The signal that killed it (signal(7)); none if it exited, or nobody asked.
    pub(crate) signal: Option<i32>,
    /// It has not received all that we sent: bytes lie in the socket, which somebody else keeps
    /// open, or did when that was closed. Only with the cause: it takes the socket's error.
    pub(crate) left_unread: bool,
}

/// The wait for that. See [`super::Op::PeerEnd`].
#[derive(Debug)]
pub(crate) struct PeerEnd {
    pub(super) socket: Fd,
    /// Wait until its parent has reaped it, too: the kernel tells others the cause only then.
    pub(super) with_cause: bool,
    /// As in [`Death`], seen since it ended: whoever keeps the socket may close it any time.
    pub(super) left_unread: bool,
    /// Once it is known.
    process: Option<OwnedFd>,
}

impl PeerEnd {
    /// Of the process behind `socket`.
    pub(crate) fn new(socket: Fd) -> PeerEnd {
        PeerEnd { socket, with_cause: false, left_unread: false, process: None }
    }

    /// Likewise, and what killed it, and what it left. Nobody else may receive from the socket.
    pub(crate) fn with_cause(socket: Fd) -> PeerEnd {
        PeerEnd { with_cause: true, ..PeerEnd::new(socket) }
    }

    /// The end, if it has come. `None`: wait for the event, see [`PeerEnd::event`].
    pub(super) fn perform(&mut self) -> Option<Result<Death, Errno>> {
        match self.look() {
            Err(Errno(libc::EAGAIN)) => None,
            known => Some(known),
        }
    }

    /// The wait has been cancelled, or has failed: what has been seen is known all the same.
    pub(super) fn given_up(&self, errno: Errno) -> Result<Death, Errno> {
        match self.left_unread {
            true => Ok(Death { signal: None, left_unread: true }),
            false => Err(errno),
        }
    }

    /// What says that there may be more to see.
    pub(super) fn event(&self) -> (Fd, libc::c_short) {
        let process = self.process.as_ref().expect("somebody has looked at it").as_raw_fd();
        // POLLIN: it has ended. POLLHUP, which needs no asking: it has been reaped.
        (process, if self.with_cause { 0 } else { libc::POLLIN })
    }

    fn look(&mut self) -> Result<Death, Errno> {
        let process = match &self.process {
            Some(process) => process,
            None => self.process.insert(process_behind(self.socket)?),
        }
        .as_raw_fd();
        if !self.with_cause {
            return if has_ended(process)? {
                Ok(Death::default())
            } else {
                Err(Errno(libc::EAGAIN))
            };
        }
        // Before the look at the socket, so that the cause of an end never comes without that.
        let cause = cause(process);
        let ended = has_ended(process)?;
        self.left_unread |= ended && left_unread(self.socket);
        match cause {
            Err(errno) if !ended || errno.0 == libc::EAGAIN => Err(errno),
            known => Ok(Death { signal: known.unwrap_or(None), left_unread: self.left_unread }),
        }
    }
}

/// Whether bytes of ours lie in the socket, or did when its other end was closed. In this order:
/// a socket says `ECONNRESET` before it forgets them.
fn left_unread(socket: Fd) -> bool {
    unsent(socket) > 0 || was_reset(socket)
}

/// Linux 6.5, and 6.16 if the process has been reaped; earlier ones answer an error.
fn process_behind(socket: Fd) -> Result<OwnedFd, Errno> {
    let mut process: Fd = -1;
    let mut len = size_of::<Fd>() as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, SO_PEERPIDFD);
    // SAFETY: `len` bytes may be written to `process`, and both outlive the call.
    retried(|| unsafe {
        i64::from(libc::getsockopt(socket, level, name, (&raw mut process).cast(), &mut len))
    })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(process) })
}

fn has_ended(process: Fd) -> Result<bool, Errno> {
    let mut poll = libc::pollfd { fd: process, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd may be written, and outlives the call, which does not wait.
    retried(|| i64::from(unsafe { libc::poll(&raw mut poll, 1, 0) })).map(|ended| ended > 0)
}

/// What has killed a process. `EAGAIN`: it has not been reaped. Linux 6.16; earlier ones, and
/// those that do not know the process in this namespace, answer another error.
fn cause(process: Fd) -> Result<Option<i32>, Errno> {
    // SAFETY: the structure consists of integers, for which zero is a value.
    let mut info: ProcessInfo = unsafe { mem::zeroed() };
    info.mask = INFO_EXIT | INFO_COREDUMP;
    // SAFETY: the structure has the size that the request names, and outlives the call.
    if unsafe { libc::ioctl(process, PIDFD_GET_INFO, &raw mut info) } != 0 {
        return Err(errno_of(&std::io::Error::last_os_error()));
    }
    match info.mask {
        known if known & INFO_EXIT != 0 => {
            let signal = info.exit_code & 0x7f;
            Ok((signal != 0).then_some(signal))
        }
        // Whoever knows this tells the other in time.
        known if known & INFO_COREDUMP != 0 && known & INFO_PID != 0 => Err(Errno(libc::EAGAIN)),
        _ => Err(Errno(libc::ENOTSUP)),
    }
}

// From `<asm-generic/socket.h>` and `<linux/pidfd.h>`.
const SO_PEERPIDFD: libc::c_int = 77;
const INFO_PID: u64 = 1 << 0;
const INFO_EXIT: u64 = 1 << 3;
const INFO_COREDUMP: u64 = 1 << 4;
const PIDFD_GET_INFO: libc::Ioctl = libc::_IOWR::<ProcessInfo>(0xff, 11);

/// `struct pidfd_info` as of Linux 6.16.
#[repr(C)]
struct ProcessInfo {
    mask: u64,
    cgroup: u64,
    processes: [u32; 3],
    credentials: [u32; 8],
    exit_code: i32,
    coredump: [u32; 2],
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    /// Our end of a socket that a shell has connected, which has it as descriptor 3.
    fn behind_shell(script: &str) -> (UnixStream, Child) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        let connect = move || {
            let socket = UnixStream::connect(&path)?;
            // SAFETY: no memory is passed; the shell has not opened anything yet.
            let copied = unsafe { libc::dup2(socket.as_raw_fd(), 3) };
            if copied == 3 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        // SAFETY: only system calls are made, and nothing is allocated.
        let shell = unsafe { shell.pre_exec(connect) }.spawn().unwrap();
        (listener.accept().unwrap().0, shell)
    }

    fn wait_for(end: &mut PeerEnd) -> Result<Death, Errno> {
        loop {
            if let Some(result) = end.perform() {
                return result;
            }
            let (fd, events) = end.event();
            let mut poll = libc::pollfd { fd, events, revents: 0 };
            // SAFETY: one pollfd may be written, and outlives the call.
            assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 20_000) }, 1, "an event");
        }
    }

    /// As on kernels that do not tell.
    fn is_untold<T>(result: Result<T, Errno>) -> bool {
        result.is_err_and(|errno| errno.0 != libc::EAGAIN && errno.0 != libc::EBADF)
    }

    #[test]
    fn the_cause_is_told_when_the_process_has_been_reaped() {
        let scripts = [("kill -SEGV $$", Some(libc::SIGSEGV)), ("exit 7", None)];
        for (script, signal) in scripts {
            let (socket, mut shell) = behind_shell(&format!("read go <&3; {script}"));
            let mut end = PeerEnd::with_cause(socket.as_raw_fd());
            if let Some(result) = end.perform() {
                assert!(is_untold(result), "{script} has not run");
                return eprintln!("this kernel does not tell causes: Linux 6.16 does");
            }
            (&socket).write_all(b"go\n").unwrap();
            assert_eq!(wait_for(&mut PeerEnd::new(socket.as_raw_fd())), Ok(Death::default()));
            assert_eq!(end.perform(), None, "its parent has not asked");
            shell.wait().unwrap();
            let death = Death { signal, left_unread: false };
            assert_eq!(wait_for(&mut end), Ok(death));
            let late = &mut PeerEnd::with_cause(socket.as_raw_fd());
            assert_eq!(wait_for(late), Ok(death), "also to those who ask later");
        }
    }

    #[test]
    fn what_is_unread_is_known_whenever_a_child_lets_go_of_the_socket() {
        for (take, left_unread) in [("", true), ("read go <&3", false)] {
            for (looks_before, looks_after) in [(1, 0), (0, 1), (1, 1)] {
                let (socket, mut shell) = behind_shell(&format!("sleep 60 & echo $! >&3\n{take}"));
                let mut child = String::new();
                (&socket).write_all(b"go\n").unwrap();
                BufReader::new(&socket).read_line(&mut child).unwrap();
                let mut end = PeerEnd::with_cause(socket.as_raw_fd());
                let ended = wait_for(&mut PeerEnd::new(socket.as_raw_fd()));
                for _ in 0..looks_before {
                    end.perform();
                }
                if looks_after > 0 {
                    kill(child.trim(), &socket);
                }
                shell.wait().unwrap();
                let seen = wait_for(&mut end);
                if looks_after == 0 {
                    kill(child.trim(), &socket);
                }
                let told = ended.is_ok() && seen == Ok(Death { signal: None, left_unread });
                assert!(told || is_untold(seen), "{take:?}, {looks_before}, {seen:?}");
            }
        }
    }

    /// Ends the process, and with it the other end of the socket.
    fn kill(process: &str, socket: &UnixStream) {
        // SAFETY: no memory is passed.
        unsafe { libc::kill(process.parse().unwrap(), libc::SIGKILL) };
        let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: one pollfd may be written, and outlives the call.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 20_000) }, 1, "a hang-up");
    }
}
