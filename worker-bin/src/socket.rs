//! Blocking stream sockets, with the calls that std lacks: peeking on Unix sockets, passing
//! descriptors, and waiting for several of them.
//!
//! Owns those system calls. Must not know HTTP.

use crate::content::truncated;
use crate::signals::Deferred;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, getsockname, recv, recvmsg, sendmsg, sockopt,
};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A connected stream socket in blocking mode, TCP or Unix.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn new(stream: impl Into<OwnedFd>) -> Socket {
        Socket(stream.into())
    }

    /// What has arrived, left where it is, as are descriptors that have come with it. 0 is the
    /// end of the stream.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| recv(&self.0, &mut *buffer, RecvFlags::PEEK))?.0)
    }

    /// The same without waiting: `WouldBlock` if nothing has arrived.
    pub(crate) fn peek_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        Ok(retry_on_intr(|| recv(&self.0, &mut *buffer, flags))?.0)
    }

    /// Takes what has arrived, and drops descriptors. 0 is the end of the stream.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| recv(&self.0, &mut *buffer, RecvFlags::empty()))?.0)
    }

    /// Throws away a part of what has arrived, without waiting. False: nothing more will come.
    pub(crate) fn discard(&self) -> bool {
        let mut ignored = [0; DISCARDED];
        match retry_on_intr(|| recv(&self.0, &mut ignored, RecvFlags::DONTWAIT)) {
            Ok((count, _)) => count > 0,
            Err(error) => error == Errno::AGAIN,
        }
    }

    /// Throws away what arrives until then, or until the peer has ended.
    pub(crate) fn discard_until(&self, until: Instant) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let arrived = wait_readable([self.as_fd()], Some(left)).is_ok_and(|[arrived]| arrived);
            if !arrived || !self.discard() || left.is_zero() {
                return;
            }
        }
    }

    /// Takes exactly this much; the bytes were peeked, so they are there. A descriptor that has
    /// come with them is put into `passed`; a second one is an error of the kind `InvalidData`, and
    /// one that finds no place because too many are open is `EMFILE`.
    pub(crate) fn take(
        &self,
        mut buffer: &mut [u8],
        passed: &mut Option<OwnedFd>,
    ) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.receive_passed(buffer, passed)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => buffer = &mut buffer[count..],
            }
        }
        Ok(())
    }

    /// Sends everything, with as few system calls as the socket buffer allows.
    pub(crate) fn send_all(&self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.send_flagged(slices, SendFlags::NOSIGNAL)
    }

    /// The same when [`send_file`](Socket::send_file) follows.
    pub(crate) fn send_before_file(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_flagged(&mut [IoSlice::new(bytes)], SendFlags::NOSIGNAL | SendFlags::MORE)
    }

    /// Sends bytes, at least one, and with the first of them a descriptor. Unix sockets only.
    pub(crate) fn send_with(&self, bytes: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let descriptors = [descriptor];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = control.push(SendAncillaryMessage::ScmRights(&descriptors));
        debug_assert!(fits, "the space is made for one");
        let slices = [IoSlice::new(bytes)];
        let count = retry_on_intr(|| sendmsg(&self.0, &slices, &mut control, SendFlags::NOSIGNAL))?;
        // It has gone with the first byte.
        self.send_all(&mut [IoSlice::new(&bytes[count..])])
    }

    /// Sends a part of a file, and leaves its position alone. A file that ends before is an error
    /// of the kind `UnexpectedEof`.
    pub(crate) fn send_file(&self, file: &File, mut offset: u64, length: u64) -> io::Result<()> {
        let end = offset + length;
        while offset < end {
            let most = usize::try_from(end - offset).unwrap_or(usize::MAX).min(SENDFILE_MOST);
            let sent =
                retry_on_intr(|| rustix::fs::sendfile(&self.0, file, Some(&mut offset), most));
            if sent? == 0 {
                return Err(truncated());
            }
        }
        Ok(())
    }

    /// Our address of a TCP connection.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        getsockname(&self.0).ok().and_then(|address| SocketAddr::try_from(address).ok())
    }

    /// Says that nothing more will be sent. A peer that is gone already is no news.
    pub(crate) fn shutdown_write(&self) {
        let _ = rustix::net::shutdown(&self.0, Shutdown::Write);
    }

    /// Sends fail with `WouldBlock` when the peer takes nothing for this long.
    pub(crate) fn set_send_timeout(&self, timeout: Duration) -> io::Result<()> {
        Ok(sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Send, Some(timeout))?)
    }

    /// Every receive that may meet a descriptor has room for it: without, the kernel would drop
    /// it and say nothing (unix(7)).
    fn receive_passed(&self, buffer: &mut [u8], passed: &mut Option<OwnedFd>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = retry_on_intr(|| recvmsg(&self.0, &mut slices, &mut control, flags))?;
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(descriptors) = message else { continue };
            for descriptor in descriptors {
                if passed.replace(descriptor).is_some() {
                    return Err(too_many());
                }
            }
        }
        match (received.flags.contains(ReturnFlags::CTRUNC), &passed) {
            (true, Some(_)) => Err(too_many()),
            (true, None) => Err(Errno::MFILE.into()),
            (false, _) => Ok(received.bytes),
        }
    }

    fn send_flagged(&self, mut slices: &mut [IoSlice<'_>], flags: SendFlags) -> io::Result<()> {
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let count = match slices {
                [one] => retry_on_intr(|| rustix::net::send(&self.0, one, flags))?,
                _ => {
                    let mut nothing = SendAncillaryBuffer::default();
                    retry_on_intr(|| sendmsg(&self.0, slices, &mut nothing, flags))?
                }
            };
            IoSlice::advance_slices(&mut slices, count);
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of these is readable or has hung up, and says which. All false: the time is up.
/// Handlers that signals have are run meanwhile.
pub(crate) fn wait_readable<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    const { assert!(0 < N && N < MOST_WAITED_FOR) };
    let deferred = Deferred::get();
    let last = deferred.map_or(fds[0], Deferred::as_fd);
    let mut polls: [_; MOST_WAITED_FOR] = std::array::from_fn(|place| {
        PollFd::from_borrowed_fd(*fds.get(place).unwrap_or(&last), PollFlags::IN)
    });
    let polls = &mut polls[..N + usize::from(deferred.is_some())];
    let until = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let polled = rustix::event::poll(polls, timespec(until).as_ref());
        let is_signal = polls.get(N).is_some_and(|poll| !poll.revents().is_empty());
        if is_signal || polled == Err(Errno::INTR) {
            deferred.into_iter().for_each(Deferred::run);
        }
        let found = std::array::from_fn(|place| !polls[place].revents().is_empty());
        match polled {
            Ok(_) if !is_signal || found.contains(&true) => return Ok(found),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether what is written there now, no more than a page, is taken without waiting, or not at all.
pub(crate) fn has_room(fd: BorrowedFd<'_>) -> bool {
    let mut polls = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(rustix::event::poll(&mut polls, Some(&now)), Ok(0))
}

/// What is left until then, for a system call.
pub(crate) fn timespec(until: Option<Instant>) -> Option<Timespec> {
    let left = until?.saturating_duration_since(Instant::now());
    Some(Timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    })
}

/// Lets more connections wait than the 128 that std asks for. Listening again only does that.
pub(crate) fn set_backlog(listener: BorrowedFd<'_>, connections: i32) -> io::Result<()> {
    Ok(rustix::net::listen(listener, connections)?)
}

fn too_many() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "more descriptors than one have been passed")
}

/// What one call of sendfile(2) transfers at most.
const SENDFILE_MOST: usize = 0x7fff_f000;
/// Descriptors, with that of signals.
const MOST_WAITED_FOR: usize = 4;
/// Bytes thrown away in one go.
const DISCARDED: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn peeked_bytes_stay() {
        let (mut far, near) = UnixStream::pair().unwrap();
        let socket = Socket::new(near);
        far.write_all(b"abc").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(socket.peek(&mut buffer).unwrap(), 3);
        assert_eq!(socket.receive(&mut buffer[..2]).unwrap(), 2);
        assert_eq!(socket.receive(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], b'c');
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
    fn input_is_thrown_away_up_to_its_end() {
        let (mut far, near) = UnixStream::pair().unwrap();
        let socket = Socket::new(near);
        assert!(socket.discard(), "something may come");
        far.write_all(&[1; DISCARDED + 1]).unwrap();
        socket.discard_until(Instant::now() + Duration::from_millis(20));
        assert!(socket.peek_now(&mut [0]).is_err(), "nothing is left");
        drop(far);
        assert!(!socket.discard());
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

    fn pair() -> (Socket, Socket) {
        let (one, two) = UnixStream::pair().unwrap();
        (Socket::new(one), Socket::new(two))
    }

    /// How many descriptors of this process are of that file.
    fn open_copies(file: &File) -> usize {
        let link = |name: &std::path::Path| std::fs::read_link(name).ok();
        let own = link(format!("/proc/self/fd/{}", file.as_raw_fd()).as_ref()).unwrap();
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        all.filter(|entry| link(&entry.as_ref().unwrap().path()).as_ref() == Some(&own)).count()
    }

    #[test]
    fn a_descriptor_survives_peeks_and_is_lost_by_none() {
        let (far, near) = pair();
        let file = tempfile::tempfile().unwrap();
        far.send_with(b"abc", file.as_fd()).unwrap();
        far.send_all(&mut [IoSlice::new(b"def")]).unwrap();
        let mut buffer = [0; 8];
        for _ in 0..3 {
            // A peek ends with the bytes that the descriptor has come with.
            assert_eq!(near.peek(&mut buffer).unwrap(), 3);
        }
        assert_eq!(open_copies(&file), 1, "peeking leaves no copies");
        let mut passed = None;
        near.take(&mut buffer[..6], &mut passed).unwrap();
        assert_eq!(&buffer[..6], b"abcdef");
        assert_eq!(open_copies(&file), 2);
        let flags = rustix::io::fcntl_getfd(passed.as_ref().unwrap()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        drop(passed);
        assert_eq!(open_copies(&file), 1);
    }

    #[test]
    fn more_descriptors_than_one_are_an_error_and_closed() {
        let file = tempfile::tempfile().unwrap();
        for count in [2, 3, 4, 5, 8, 100] {
            let (far, near) = pair();
            let many = vec![file.as_fd(); count];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(100))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
            sendmsg(&far.0, &[IoSlice::new(b"a")], &mut control, SendFlags::empty()).unwrap();
            let mut passed = None;
            let error = near.take(&mut [0], &mut passed).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{count}");
            drop(passed);
            assert_eq!(open_copies(&file), 1, "{count}");
        }
        let (far, near) = pair();
        far.send_with(b"a", file.as_fd()).unwrap();
        far.send_with(b"b", file.as_fd()).unwrap();
        assert!(near.take(&mut [0; 2], &mut None).is_err());
        assert_eq!(open_copies(&file), 1);
    }

    #[test]
    fn what_closes_with_a_descriptor_unread_leaks_nothing() {
        let (far, near) = pair();
        let file = tempfile::tempfile().unwrap();
        far.send_with(b"abc", file.as_fd()).unwrap();
        near.peek(&mut [0; 3]).unwrap();
        drop((far, near));
        assert_eq!(open_copies(&file), 1);
    }

    #[test]
    fn the_rest_of_a_long_send_goes_without_the_descriptor() {
        let (far, near) = pair();
        let file = tempfile::tempfile().unwrap();
        let sender = std::thread::spawn(move || {
            far.send_with(&vec![7; 3 << 20], file.as_fd()).unwrap();
            file
        });
        let (mut buffer, mut passed) = (vec![0; 3 << 20], None);
        near.take(&mut buffer, &mut passed).unwrap();
        assert!(passed.is_some() && buffer.iter().all(|&byte| byte == 7));
        assert_eq!(open_copies(&sender.join().unwrap()), 2);
    }

    #[test]
    fn files_are_sent_in_part_and_their_end_is_seen() {
        let (far, near) = pair();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[[1; 100], [2; 100]].concat()).unwrap();
        far.send_file(&file, 90, 20).unwrap();
        let mut buffer = [0; 32];
        assert_eq!(near.receive(&mut buffer).unwrap(), 20);
        assert_eq!(buffer[..20], [[1; 10], [2; 10]].concat());
        let error = far.send_file(&file, 190, 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
