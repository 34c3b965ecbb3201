//! Listening sockets, and the test's end of a simulated connection.
//!
//! Owns the [`Peer`] handle. Must not know operations.

use super::super::Fd;
use super::attempt::{Event, wake_all};
use super::descriptors::Object;
use super::files::SimFile;
use super::stream::{Stream, StreamKind};
use super::{Kernel, Listener, SimKernel};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

impl SimKernel {
    /// A listening TCP socket. Any backend may accept from it.
    pub(crate) fn listen(&self) -> Fd {
        self.listen_on(StreamKind::Tcp)
    }

    /// A listening Unix socket.
    pub(crate) fn listen_unix(&self) -> Fd {
        self.listen_on(StreamKind::Unix)
    }

    /// Sets how many bytes either direction of connections made from now on holds; 64 KiB at
    /// first. As small as 1, to force partial sends.
    pub(crate) fn set_capacity(&self, bytes: usize) {
        assert!(bytes > 0, "simulator: a connection needs room");
        self.kernel_mut().capacity = bytes;
    }

    /// Connects to a listening socket, as a process of its own; waits to be accepted.
    pub(crate) fn connect(&self, listener: Fd) -> Peer {
        let process = self.kernel().process + 1;
        self.connect_as(process, listener)
    }

    /// Connects as this process.
    pub(crate) fn connect_as(&self, process: u32, listener: Fd) -> Peer {
        let mut kernel = self.kernel_mut();
        kernel.process = kernel.process.max(process);
        let Kernel { descriptors, listeners, streams, rings, capacity, .. } = &mut *kernel;
        let Object::Listener(key) = *descriptors.object(listener) else {
            panic!("simulator: descriptor {listener} does not listen");
        };
        let listener = &mut listeners[key];
        let stream = streams.insert(Stream::new(listener.kind, *capacity));
        streams[stream].process = process;
        listener.backlog.push_back(stream);
        wake_all(&mut listener.waiters, rings);
        Peer { kernel: self.clone(), stream }
    }

    pub(super) fn process_behind(&self, fd: Fd) -> u32 {
        let kernel = self.kernel();
        match kernel.descriptors.object(fd) {
            Object::Stream(stream) => kernel.streams[*stream].process,
            other => panic!("simulator: nobody has connected {other:?}"),
        }
    }

    pub(super) fn listen_on(&self, kind: StreamKind) -> Fd {
        let mut kernel = self.kernel_mut();
        let listener =
            Listener { kind, backlog: VecDeque::new(), waiters: Vec::new(), shut: false };
        let key = kernel.listeners.insert(listener);
        kernel.descriptors.open(Object::Listener(key))
    }
}

/// The test's end of a stream connection: a client or a worker. Dropping it closes it.
pub(crate) struct Peer {
    kernel: SimKernel,
    stream: usize,
}

impl Peer {
    /// Sends what there is room for, and says how much that was; 0 also after the connection has
    /// ended.
    pub(crate) fn send(&self, bytes: &[u8]) -> usize {
        self.with(|stream| {
            let count = stream.peer_send(bytes);
            let event = if stream.hung_up() { Event::End } else { Event::Data };
            (count, (count > 0).then_some(event))
        })
    }

    /// As `send`; the files come with the first byte (`SCM_RIGHTS`), if that is sent.
    pub(crate) fn send_with(&self, bytes: &[u8], files: Vec<SimFile>) -> usize {
        let has_room = self.with(|stream| (stream.peer_has_room(), None));
        if has_room {
            self.with(|stream| (stream.peer_attach(files), None));
        }
        self.send(bytes)
    }

    /// The files that have come with the bytes received so far.
    pub(crate) fn take_files(&self) -> Vec<SimFile> {
        self.with(|stream| (stream.peer_take_files(), None))
    }

    /// Everything that has arrived.
    pub(crate) fn receive(&self) -> Vec<u8> {
        self.receive_at_most(usize::MAX)
    }

    /// At most `most` bytes of what has arrived.
    pub(crate) fn receive_at_most(&self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.receive_into(most, &mut bytes);
        bytes
    }

    /// Appends at most `most` bytes of what has arrived, and says how many that was.
    pub(crate) fn receive_into(&self, most: usize, bytes: &mut Vec<u8>) -> usize {
        self.with(|stream| {
            let count = stream.peer_receive(most, |piece| bytes.extend_from_slice(piece));
            (count, (count > 0).then_some(Event::Room))
        })
    }

    /// A copy of what has arrived, which is not received by that (`MSG_PEEK`).
    pub(crate) fn peek(&self) -> Vec<u8> {
        self.kernel.kernel().streams[self.stream].peer_peek()
    }

    /// Sends no more (`shutdown(SHUT_WR)`).
    pub(crate) fn finish(&self) {
        self.with(|stream| (stream.peer_finish(), Some(Event::End)));
    }

    /// Aborts the connection: our side gets `ECONNRESET`.
    pub(crate) fn reset(&self) {
        self.with(|stream| (stream.peer_abort(), Some(Event::End)));
    }

    /// The peer's process is killed; a child of it keeps the connection open until it is dropped.
    pub(crate) fn kill(&self, signal: i32) {
        self.with(|stream| (stream.peer_kill(signal, true), Some(Event::End)));
    }

    /// Likewise, and the parent never asks how it ended.
    pub(crate) fn kill_unreaped(&self, signal: i32) {
        self.with(|stream| (stream.peer_kill(signal, false), Some(Event::End)));
    }

    /// Everything has been received, and end of file.
    pub(crate) fn at_end(&self) -> bool {
        self.kernel.kernel().streams[self.stream].peer_at_end()
    }

    /// The other side, or a fault, has reset the connection (and, on a Unix socket, everything
    /// before has been received).
    pub(crate) fn was_reset(&self) -> bool {
        self.kernel.kernel().streams[self.stream].peer_was_reset()
    }

    /// Becomes true when a fault ends the connection or an operation on it, also after this end has
    /// been dropped.
    pub(crate) fn faulted(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.kernel.kernel().streams[self.stream].faulted)
    }

    /// Bytes sent that the other side has not received.
    pub(crate) fn unread(&self) -> usize {
        self.kernel.kernel().streams[self.stream].unread()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Stream) -> (T, Option<Event>)) -> T {
        let mut kernel = self.kernel.kernel_mut();
        let (result, event) = act(&mut kernel.streams[self.stream]);
        if let Some(event) = event {
            kernel.wake(self.stream, event);
        }
        result
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut kernel = self.kernel.kernel_mut();
        kernel.streams[self.stream].peer_close();
        kernel.streams[self.stream].peer_held = false;
        kernel.wake(self.stream, Event::End);
        kernel.drop_stream_if_gone(self.stream);
    }
}
