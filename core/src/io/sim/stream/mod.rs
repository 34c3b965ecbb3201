//! A simulated stream connection: two bounded pipes, and how its ends end.
//!
//! Owns the semantics of Linux's TCP and Unix stream sockets, seen from our end ("local") and
//! from the test's ("peer"). Must not know operations; it only keeps who waits.

mod peer;

use super::super::{Death, Direction, Errno, PeerEnd};
use super::files::SimFile;
use super::pipe::Pipe;
use super::ring::Waiter;
use std::cell::Cell;
use std::rc::Rc;

/// What the two socket families do differently when a connection is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// A reset discards what is queued; data for a closed socket is answered by a reset.
    Tcp,
    /// What is queued can be read before a reset shows; sending to a closed socket is `EPIPE`.
    Unix,
}

#[derive(Debug)]
pub(super) struct Stream {
    kind: StreamKind,
    /// From the peer to us.
    inbound: Pipe,
    /// From us to the peer.
    outbound: Pipe,
    /// Reported once, like `sk_err`.
    error: Option<Errno>,
    /// We receive no more.
    read_shut: bool,
    /// Nothing passes any more.
    dead: bool,
    peer_reset: bool,
    /// A fault has ended it, or an operation on it. Outlives the connection.
    pub(super) faulted: Rc<Cell<bool>>,
    peer_open: bool,
    /// The number of the peer's process.
    pub(super) process: u32,
    /// What has killed the peer's process, while somebody else keeps its end open.
    peer_killed_by: Option<i32>,
    /// Its parent never asks for that.
    peer_unreaped: bool,
    local_open: bool,
    /// The test still has its handle.
    pub(super) peer_held: bool,
    pub(super) receivers: Vec<Waiter>,
    pub(super) senders: Vec<Waiter>,
    pub(super) pollers: Vec<Waiter>,
}

impl Stream {
    pub(super) fn new(kind: StreamKind, capacity: usize) -> Stream {
        let pipe = || Pipe::new(capacity);
        Stream {
            kind,
            inbound: pipe(),
            outbound: pipe(),
            error: None,
            read_shut: false,
            dead: false,
            peer_reset: false,
            faulted: Rc::default(),
            peer_open: true,
            process: 0,
            peer_killed_by: None,
            peer_unreaped: false,
            local_open: true,
            peer_held: true,
            receivers: Vec::new(),
            senders: Vec::new(),
            pollers: Vec::new(),
        }
    }

    /// A receive would not wait.
    pub(super) fn readable(&self) -> bool {
        !self.inbound.bytes.is_empty() || self.hung_up()
    }

    /// `POLLRDHUP`, `POLLHUP` or `POLLERR`.
    pub(super) fn hung_up(&self) -> bool {
        self.inbound.finished || self.read_shut || self.dead || self.error.is_some()
    }

    /// How the peer's process has ended, if it has: one that closes the connection does.
    pub(super) fn death(&mut self, end: &mut PeerEnd) -> Option<Death> {
        if self.peer_open && self.peer_killed_by.is_none() {
            return None;
        }
        if !end.with_cause {
            return Some(Death::default());
        }
        end.left_unread |= !self.outbound.bytes.is_empty() || self.take_reset().is_some();
        let death = Death { signal: self.peer_killed_by, left_unread: end.left_unread };
        (!self.peer_unreaped).then_some(death)
    }

    fn take_reset(&mut self) -> Option<Errno> {
        self.error.take_if(|error| error.0 == libc::ECONNRESET)
    }

    /// A send would not wait.
    pub(super) fn writable(&self) -> bool {
        self.outbound.free() > 0 || self.outbound.finished || self.dead || !self.peer_open
    }

    /// Receives at most `most` bytes, in pieces; 0 is end of file. Only if readable.
    pub(super) fn receive(&mut self, most: usize, sink: impl FnMut(&[u8])) -> Result<usize, Errno> {
        if !self.inbound.bytes.is_empty() {
            let most = most.min(self.inbound.to_end_of_file_message());
            return Ok(self.inbound.read(most, sink));
        }
        // A socket that had seen the FIN says EPIPE to senders and end of file to receivers.
        match self.take_reset() {
            Some(error) => Err(error),
            None => Ok(0),
        }
    }

    /// The files of the bytes received; who does not ask loses them in the next call.
    pub(super) fn take_files(&mut self) -> Vec<SimFile> {
        self.inbound.take_files()
    }

    /// A file goes with the next bytes sent.
    pub(super) fn attach(&mut self, file: SimFile) {
        self.outbound.attach([file]);
    }

    /// Sends at most `most` bytes of `pieces`. Only if writable.
    pub(super) fn send(&mut self, pieces: &[&[u8]], most: usize) -> Result<usize, Errno> {
        self.check_sendable()?;
        if !self.peer_open {
            return Ok(self.send_to_nobody(pieces.iter().map(|piece| piece.len()).sum()));
        }
        Ok(pieces.iter().fold(0, |sent, piece| sent + self.outbound.write(piece, most - sent)))
    }

    /// Bytes that a send would take now.
    pub(super) fn room(&self) -> usize {
        if self.peer_open { self.outbound.free() } else { usize::MAX }
    }

    /// The errors of tcp_sendmsg and unix_stream_sendmsg, in their order.
    fn check_sendable(&mut self) -> Result<(), Errno> {
        let gone = match self.kind {
            StreamKind::Tcp => {
                if let Some(error) = self.error.take() {
                    return Err(error);
                }
                self.dead
            }
            StreamKind::Unix => self.dead || !self.peer_open,
        };
        if gone || self.outbound.finished { Err(Errno(libc::EPIPE)) } else { Ok(()) }
    }

    /// TCP accepts data for a peer that has closed; the peer's answer is a reset.
    fn send_to_nobody(&mut self, count: usize) -> usize {
        self.fail_local();
        count
    }

    /// shutdown(2) at our end.
    pub(super) fn shutdown(&mut self, direction: Direction) {
        if direction == Direction::Abort {
            self.fail_peer();
            self.inbound.bytes.clear();
        }
        self.outbound.finished = true;
        self.read_shut |= direction != Direction::Write;
    }

    /// close(2) at our end. Unread data resets the connection.
    pub(super) fn close(&mut self) {
        self.local_open = false;
        if self.inbound.bytes.is_empty() {
            self.outbound.finished = true;
        } else {
            self.fail_peer();
        }
        self.inbound.bytes.clear();
    }

    /// The listener was closed before the connection was accepted.
    pub(super) fn refuse(&mut self) {
        self.local_open = false;
        self.inbound.bytes.clear();
        self.fail_peer();
    }

    /// Neither end needs it any more.
    pub(super) fn is_gone(&self) -> bool {
        !self.local_open && !self.peer_held
    }

    fn fail_local(&mut self) {
        let had_fin = self.kind == StreamKind::Tcp && self.inbound.finished;
        self.error = Some(Errno(if had_fin { libc::EPIPE } else { libc::ECONNRESET }));
        self.dead = true;
        self.inbound.finished = true;
        self.outbound.bytes.clear();
        if self.kind == StreamKind::Tcp {
            self.inbound.bytes.clear();
        }
    }

    fn fail_peer(&mut self) {
        self.peer_reset = true;
        self.outbound.finished = true;
        if self.kind == StreamKind::Tcp {
            self.outbound.bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESET: Result<usize, Errno> = Err(Errno(libc::ECONNRESET));
    const BROKEN: Result<usize, Errno> = Err(Errno(libc::EPIPE));

    fn receive(stream: &mut Stream) -> Option<Result<Vec<u8>, Errno>> {
        let mut bytes = Vec::new();
        let result = stream
            .readable()
            .then(|| stream.receive(usize::MAX, |piece| bytes.extend_from_slice(piece)))?;
        Some(result.map(|_| bytes))
    }

    fn send(stream: &mut Stream, bytes: &[u8]) -> Result<usize, Errno> {
        stream.send(&[bytes], usize::MAX)
    }

    fn peer_receive(stream: &mut Stream) -> Vec<u8> {
        let mut bytes = Vec::new();
        stream.peer_receive(usize::MAX, |piece| bytes.extend_from_slice(piece));
        bytes
    }

    #[test]
    fn bytes_arrive_in_order_and_within_the_bounds() {
        let mut stream = Stream::new(StreamKind::Tcp, 8);
        assert_eq!(receive(&mut stream), None);
        assert_eq!(stream.peer_send(b"0123456789"), 8);
        assert_eq!(stream.peer_send(b"x"), 0);
        assert_eq!(receive(&mut stream), Some(Ok(b"01234567".to_vec())));
        assert_eq!(stream.send(&[b"abcde", b"fghij"], usize::MAX), Ok(8));
        assert!(!stream.writable());
        assert_eq!(peer_receive(&mut stream), b"abcdefgh");
        assert!(stream.writable());
    }

    #[test]
    fn half_closed_peer_can_be_answered() {
        let mut stream = Stream::new(StreamKind::Tcp, 8);
        stream.peer_send(b"a");
        stream.peer_finish();
        assert!(stream.hung_up());
        assert_eq!(receive(&mut stream), Some(Ok(b"a".to_vec())));
        assert_eq!(receive(&mut stream), Some(Ok(vec![])));
        assert_eq!(send(&mut stream, b"b"), Ok(1));
        stream.close();
        assert!(!stream.peer_at_end());
        assert_eq!(peer_receive(&mut stream), b"b");
        assert!(stream.peer_at_end() && !stream.peer_was_reset());
    }

    #[test]
    fn reset_is_reported_once_and_discards_on_tcp() {
        let mut stream = Stream::new(StreamKind::Tcp, 8);
        stream.peer_send(b"a");
        stream.peer_abort();
        assert_eq!(receive(&mut stream).unwrap().map(|_| 0), RESET);
        assert_eq!(receive(&mut stream), Some(Ok(vec![])));
        assert_eq!(send(&mut stream, b"b"), BROKEN);

        let mut stream = Stream::new(StreamKind::Tcp, 8);
        stream.peer_abort();
        assert_eq!(send(&mut stream, b"b"), RESET);
        assert_eq!(send(&mut stream, b"b"), BROKEN);
        assert_eq!(receive(&mut stream), Some(Ok(vec![])));
    }

    #[test]
    fn reset_comes_after_the_data_on_unix() {
        let mut stream = Stream::new(StreamKind::Unix, 8);
        send(&mut stream, b"request").unwrap();
        stream.peer_send(b"a");
        stream.peer_close();
        assert_eq!(send(&mut stream, b"b"), BROKEN);
        assert_eq!(receive(&mut stream), Some(Ok(b"a".to_vec())));
        assert_eq!(receive(&mut stream).unwrap().map(|_| 0), RESET);
        assert_eq!(receive(&mut stream), Some(Ok(vec![])));
    }

    #[test]
    fn peer_that_has_read_everything_ends_with_end_of_file() {
        for kind in [StreamKind::Tcp, StreamKind::Unix] {
            let mut stream = Stream::new(kind, 8);
            send(&mut stream, b"request").unwrap();
            assert_eq!(peer_receive(&mut stream), b"request");
            stream.peer_close();
            assert_eq!(receive(&mut stream), Some(Ok(vec![])));
        }
    }

    #[test]
    fn tcp_notices_a_closed_peer_only_after_the_next_send() {
        let mut stream = Stream::new(StreamKind::Tcp, 8);
        stream.peer_close();
        assert_eq!(send(&mut stream, b"into the void"), Ok(13));
        assert_eq!(send(&mut stream, b"b"), BROKEN);
        assert_eq!(receive(&mut stream), Some(Ok(vec![])));
    }

    #[test]
    fn closing_with_unread_data_eats_the_answer() {
        for (kind, seen) in [(StreamKind::Tcp, &b""[..]), (StreamKind::Unix, b"answer")] {
            let mut stream = Stream::new(kind, 8);
            stream.peer_send(b"more");
            send(&mut stream, b"answer").unwrap();
            stream.close();
            assert_eq!(peer_receive(&mut stream), seen);
            assert!(stream.peer_was_reset() && !stream.peer_at_end());
        }
    }

    #[test]
    fn data_for_a_closed_socket_is_answered_by_a_reset() {
        let mut stream = Stream::new(StreamKind::Tcp, 8);
        send(&mut stream, b"answer").unwrap();
        stream.close();
        assert_eq!(stream.peer_send(b"more"), 4);
        assert_eq!(peer_receive(&mut stream), b"");
        assert!(stream.peer_was_reset());

        let mut stream = Stream::new(StreamKind::Unix, 8);
        send(&mut stream, b"answer").unwrap();
        stream.close();
        assert_eq!(stream.peer_send(b"more"), 0);
        assert_eq!(peer_receive(&mut stream), b"answer");
        assert!(stream.peer_at_end());
    }

    #[test]
    fn shutdown_ends_our_directions() {
        let mut stream = Stream::new(StreamKind::Tcp, 8);
        stream.shutdown(Direction::Write);
        assert!(stream.peer_at_end() && !stream.hung_up());
        assert_eq!(send(&mut stream, b"b"), BROKEN);
        stream.peer_send(b"late");
        assert_eq!(receive(&mut stream), Some(Ok(b"late".to_vec())));
        stream.shutdown(Direction::Both);
        assert!(stream.hung_up());
        assert_eq!(receive(&mut stream), Some(Ok(vec![])));
    }
}
