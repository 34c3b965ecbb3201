//! The test's end of a simulated stream connection.
//!
//! Owns what its acts mean for our end. Must not know operations.

use super::{Stream, StreamKind};
use crate::io::sim::files::SimFile;

impl Stream {
    /// Bytes taken: fewer if there is no room, none if the connection has ended.
    pub(in crate::io::sim) fn peer_send(&mut self, bytes: &[u8]) -> usize {
        if !self.peer_open || self.dead || self.peer_reset {
            return 0;
        }
        assert!(!self.inbound.finished, "simulator: the peer sends after its finish()");
        if self.local_open && !self.read_shut {
            return self.inbound.write(bytes, usize::MAX);
        }
        if self.kind == StreamKind::Unix || bytes.is_empty() {
            return 0;
        }
        // Nobody will read this: Linux answers with a reset (RFC 1122, section 4.2.2.13).
        self.fail_peer();
        if self.local_open {
            self.fail_local();
        }
        bytes.len()
    }

    /// A byte that the peer sends would be taken.
    pub(in crate::io::sim) fn peer_has_room(&self) -> bool {
        let is_open = self.peer_open && !self.dead && !self.peer_reset;
        is_open && self.local_open && !self.read_shut && self.inbound.free() > 0
    }

    /// Files go with the next bytes that the peer sends.
    pub(in crate::io::sim) fn peer_attach(&mut self, files: Vec<SimFile>) {
        self.inbound.attach(files);
    }

    /// The files of the bytes that the peer has received.
    pub(in crate::io::sim) fn peer_take_files(&mut self) -> Vec<SimFile> {
        self.outbound.take_files()
    }

    pub(in crate::io::sim) fn peer_receive(
        &mut self,
        most: usize,
        sink: impl FnMut(&[u8]),
    ) -> usize {
        if self.peer_open { self.outbound.read(most, sink) } else { 0 }
    }

    pub(in crate::io::sim) fn peer_peek(&self) -> Vec<u8> {
        if self.peer_open { self.outbound.bytes.iter().copied().collect() } else { Vec::new() }
    }

    pub(in crate::io::sim) fn peer_finish(&mut self) {
        self.inbound.finished = true;
    }

    /// The process ends, and the connection does not.
    pub(in crate::io::sim) fn peer_kill(&mut self, signal: i32, reaped: bool) {
        (self.peer_killed_by, self.peer_unreaped) = (Some(signal), !reaped);
    }

    /// An abort, whatever is queued.
    pub(in crate::io::sim) fn peer_abort(&mut self) {
        if std::mem::replace(&mut self.peer_open, false) && self.local_open && !self.dead {
            self.fail_local();
        }
        self.outbound.bytes.clear();
    }

    /// Like close(2): unread data makes it a reset.
    pub(in crate::io::sim) fn peer_close(&mut self) {
        if !self.peer_open {
            return;
        }
        if self.outbound.bytes.is_empty() {
            self.inbound.finished = true;
            self.peer_open = false;
        } else {
            self.peer_abort();
        }
    }

    /// The connection breaks by itself: the network's reset, or the death of the process that
    /// has the other end of a Unix socket.
    pub(in crate::io::sim) fn sever(&mut self) {
        match self.kind {
            StreamKind::Tcp => self.peer_abort(),
            StreamKind::Unix => self.peer_close(),
        }
        self.peer_reset = true;
        self.faulted.set(true);
    }

    pub(in crate::io::sim) fn is_severable(&self) -> bool {
        self.peer_open && !self.dead
    }

    /// The peer has seen our end of file, and everything before.
    pub(in crate::io::sim) fn peer_at_end(&self) -> bool {
        self.outbound.finished && self.outbound.bytes.is_empty() && !self.peer_reset
    }

    pub(in crate::io::sim) fn peer_was_reset(&self) -> bool {
        self.peer_reset && self.outbound.bytes.is_empty()
    }

    /// Bytes that we have sent and the peer has not received.
    pub(in crate::io::sim) fn unsent(&self) -> usize {
        self.outbound.bytes.len()
    }

    /// Bytes that the peer has sent and we have not received.
    pub(in crate::io::sim) fn unread(&self) -> usize {
        self.inbound.bytes.len()
    }
}
