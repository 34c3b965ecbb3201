//! Blocking stream sockets, with the two calls that std lacks: peeking on Unix sockets and
//! waiting for several descriptors.
//!
//! Owns those system calls. Must not know HTTP.
#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A connected stream socket in blocking mode, TCP or Unix.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn new(stream: impl Into<OwnedFd>) -> Socket {
        Socket(stream.into())
    }

    /// What has arrived, left where it is. 0 is the end of the stream.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the pointer and the length are those of `buffer`.
        unsafe { self.receive_with(buffer.as_mut_ptr(), buffer.len(), libc::MSG_PEEK) }
    }

    /// Takes what has arrived. 0 is the end of the stream.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the pointer and the length are those of `buffer`.
        unsafe { self.receive_with(buffer.as_mut_ptr(), buffer.len(), 0) }
    }

    /// Takes exactly this much; the bytes were peeked, so they are there.
    pub(crate) fn take(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.receive(buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => buffer = &mut buffer[count..],
            }
        }
        Ok(())
    }

    /// Appends at most `most` received bytes, and no more than `buffer` has spare room for.
    pub(crate) fn receive_onto(&self, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let spare = buffer.spare_capacity_mut();
        let most = most.min(spare.len());
        // SAFETY: `most` is at most the length of `spare`.
        let count = unsafe { self.receive_with(spare.as_mut_ptr().cast(), most, 0)? };
        // SAFETY: recv(2) has initialised `count` bytes of the spare capacity.
        unsafe { buffer.set_len(buffer.len() + count) };
        Ok(count)
    }

    /// Sends everything, with as few system calls as the socket buffer allows.
    pub(crate) fn send_all(&self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.send(slices) {
                Ok(count) => IoSlice::advance_slices(&mut slices, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that nothing more will be sent. A peer that is gone already is no news.
    pub(crate) fn shutdown_write(&self) {
        // SAFETY: a system call on a descriptor that we own.
        unsafe { libc::shutdown(self.0.as_raw_fd(), libc::SHUT_WR) };
    }

    /// Sends fail with `WouldBlock` when the peer takes nothing for this long.
    pub(crate) fn set_send_timeout(&self, timeout: Duration) -> io::Result<()> {
        let value = libc::timeval {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_usec: timeout.subsec_micros().into(),
        };
        // SAFETY: `value` lives through the call, and its size is given.
        check(unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_SNDTIMEO,
                (&raw const value).cast(),
                size_of_val(&value) as libc::socklen_t,
            )
        })
    }

    /// # Safety
    /// `at` points to `len` bytes that the caller may write to.
    unsafe fn receive_with(
        &self,
        at: *mut u8,
        len: usize,
        flags: libc::c_int,
    ) -> io::Result<usize> {
        loop {
            // SAFETY: the caller's promise.
            let count = unsafe { libc::recv(self.0.as_raw_fd(), at.cast(), len, flags) };
            match usize::try_from(count) {
                Ok(count) => return Ok(count),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // SAFETY: all-zero is a valid msghdr: no name, no vectors, no control data.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        // IoSlice has the layout of iovec (std documents it), and sendmsg(2) only reads them.
        message.msg_iov = slices.as_ptr().cast_mut().cast();
        message.msg_iovlen = slices.len().min(libc::UIO_MAXIOV as usize);
        // SAFETY: `message` points to slices that live through the call.
        let count =
            unsafe { libc::sendmsg(self.0.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of these is readable or has hung up, and says which. All false: the time is up.
pub(crate) fn wait_readable<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polls = fds.map(poll_of);
    poll(&mut polls, timeout)?;
    Ok(polls.map(|poll| poll.revents != 0))
}

/// The same for any number of descriptors.
pub(crate) fn wait_any_readable(
    fds: &[BorrowedFd<'_>],
    timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let mut polls: Vec<_> = fds.iter().copied().map(poll_of).collect();
    poll(&mut polls, timeout)?;
    Ok(polls.iter().map(|poll| poll.revents != 0).collect())
}

/// Lets more connections wait for `accept` than std asks for.
pub(crate) fn set_backlog(listener: BorrowedFd<'_>, connections: i32) -> io::Result<()> {
    // SAFETY: a system call on a borrowed, open descriptor; listening again only sets the backlog.
    check(unsafe { libc::listen(listener.as_raw_fd(), connections) })
}

fn poll_of(fd: BorrowedFd<'_>) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }
}

fn poll(polls: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let until = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let len = polls.len() as libc::nfds_t;
        // SAFETY: `polls` has `len` entries that live through the call.
        let count = unsafe { libc::poll(polls.as_mut_ptr(), len, milliseconds(until)) };
        if count >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Rounded up, so that a wait never ends before its time; -1 is for ever.
fn milliseconds(until: Option<Instant>) -> libc::c_int {
    let Some(until) = until else { return -1 };
    let left = until.saturating_duration_since(Instant::now());
    libc::c_int::try_from(left.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn peeked_bytes_stay() {
        let (mut far, near) = UnixStream::pair().unwrap();
        let socket = Socket::new(near);
        far.write_all(b"abc").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(socket.peek(&mut buffer).unwrap(), 3);
        assert_eq!(socket.receive(&mut buffer[..2]).unwrap(), 2);
        let mut rest = Vec::with_capacity(8);
        assert_eq!(socket.receive_onto(&mut rest, 8).unwrap(), 1);
        assert_eq!(rest, b"c");
        drop(far);
        assert_eq!(socket.peek(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn everything_is_sent_through_a_small_buffer() {
        let (mut far, near) = UnixStream::pair().unwrap();
        let socket = Socket::new(near);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            far.read_to_end(&mut all).unwrap();
            all
        });
        let (head, content) = (vec![1; 3], vec![2; 3 << 20]);
        socket.send_all(&mut [IoSlice::new(&head), IoSlice::new(&content)]).unwrap();
        drop(socket);
        let all = reader.join().unwrap();
        assert_eq!(all.len(), head.len() + content.len());
        assert_eq!((all[2], all[3]), (1, 2));
    }

    #[test]
    fn waiting_says_who_is_ready() {
        let (mut far, near) = UnixStream::pair().unwrap();
        let (_quiet, silent) = UnixStream::pair().unwrap();
        let fds = [silent.as_fd(), near.as_fd()];
        assert_eq!(wait_readable(fds, Some(Duration::ZERO)).unwrap(), [false, false]);
        far.write_all(b"x").unwrap();
        assert_eq!(wait_readable(fds, None).unwrap(), [false, true]);
    }
}
