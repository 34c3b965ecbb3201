//! How the simulated kernel performs operations.
//!
//! Owns the step from an operation to its outcome, and waking who waits for one. Must not know
//! when completions are delivered.

use super::super::{Direction, Done, Fd, Op};
use super::descriptors::{Descriptors, Object};
use super::files::Inode;
use super::operation::{self, Stage};
use super::ring::{Ring, Waiter};
use super::transfer::{fill, recv, send, send_file};
use super::transit::TransitPool;
use super::{Errno, Faults, Kernel, disk};
use std::mem;
use std::rc::Rc;

impl Kernel {
    /// Performs a pending operation, or lets it wait.
    pub(super) fn attempt(&mut self, ring: usize, index: usize, pool: &mut TransitPool) {
        let op = &self.rings[ring].operations[index].op;
        if let Op::Accept { listener } = *op {
            return self.accept_all(ring, index, listener);
        }
        let is_spared = matches!(op, Op::AcceptNow { .. } | Op::PeerEnd(_));
        if !is_spared && self.random.chance(self.faults.no_memory) {
            if let Some(fd) = self.connection_of(ring, index) {
                self.streams[stream_index(&self.descriptors, fd)].faulted.set(true);
            }
            return self.fail(ring, index, Errno(libc::ENOMEM));
        }
        self.maybe_sever(ring, index);
        if matches!(self.rings[ring].operations[index].op, Op::Recv { repeat: true, .. }) {
            return self.receive_all(ring, index, pool);
        }
        match self.perform(ring, index, pool) {
            Some(done) => {
                let delay = self.cold_turns(&done);
                self.complete(ring, index, done, delay);
            }
            None => self.wait_for_event(ring, index),
        }
    }

    /// Ends an operation by an error.
    pub(super) fn fail(&mut self, ring: usize, index: usize, errno: Errno) {
        let operation = &mut self.rings[ring].operations[index];
        let done = operation::failure(&mut operation.op, errno);
        match operation.op {
            Op::Accept { .. } | Op::Recv { repeat: true, .. } => {
                self.shoot(ring, index, done, false);
            }
            _ => self.complete(ring, index, done, 0),
        }
    }

    pub(super) fn shutdown(&mut self, fd: Fd, direction: Direction) {
        match *self.descriptors.object(fd) {
            Object::Stream(stream) => {
                self.streams[stream].shutdown(direction);
                self.wake(stream, Event::End);
            }
            Object::Listener(listener) => {
                self.listeners[listener].shut = true;
                wake_all(&mut self.listeners[listener].waiters, &mut self.rings);
            }
            Object::File(_) => panic!("simulator: Shutdown on descriptor {fd}, which is a file"),
        }
    }

    pub(super) fn close(&mut self, fd: Fd) {
        match self.descriptors.close(fd) {
            Object::Stream(stream) => self.close_stream(stream),
            Object::Listener(listener) => {
                let listener = self.listeners.remove(listener);
                for stream in listener.backlog {
                    self.streams[stream].refuse();
                    self.drop_stream_if_gone(stream);
                }
            }
            Object::File(_) => {}
        }
    }

    pub(super) fn drop_stream_if_gone(&mut self, stream: usize) {
        if self.streams[stream].is_gone() {
            self.streams.remove(stream);
        }
    }

    /// Something has happened to the stream: who waits for it is tried again.
    pub(super) fn wake(&mut self, stream: usize, event: Event) {
        let stream = &mut self.streams[stream];
        if event != Event::Room {
            wake_all(&mut stream.receivers, &mut self.rings);
            wake_all(&mut stream.pollers, &mut self.rings);
        }
        if event != Event::Data {
            wake_all(&mut stream.senders, &mut self.rings);
        }
    }

    fn close_stream(&mut self, stream: usize) {
        self.streams[stream].close();
        self.drop_stream_if_gone(stream);
    }

    /// The fault "reset": on any occasion to send or receive.
    fn maybe_sever(&mut self, ring: usize, index: usize) {
        let Some(fd) = self.connection_of(ring, index) else { return };
        if !self.random.chance(self.faults.reset) {
            return;
        }
        let stream = stream_index(&self.descriptors, fd);
        if self.streams[stream].is_severable() {
            self.streams[stream].sever();
            self.wake(stream, Event::End);
        }
    }

    /// The connection that an operation sends or receives on.
    fn connection_of(&self, ring: usize, index: usize) -> Option<Fd> {
        match self.rings[ring].operations[index].op {
            Op::Recv { fd, .. }
            | Op::Fill { fd, .. }
            | Op::FillWithFile { fd, .. }
            | Op::Send { fd, .. }
            | Op::SendIfSilent { fd, .. }
            | Op::SendFile { fd, .. } => Some(fd),
            _ => None,
        }
    }

    /// Turns that the answer takes because the file was not in memory.
    fn cold_turns(&mut self, done: &Done) -> usize {
        let touches_files = matches!(
            done,
            Done::OpenFile { .. }
                | Done::StatFile { .. }
                | Done::ReadFile { .. }
                | Done::SendFile { .. }
                | Done::CreateFile { .. }
                | Done::WriteFile { .. }
        );
        if touches_files && self.random.chance(self.faults.cold) {
            return self.random.within(Faults::COLD);
        }
        0
    }

    fn accept_all(&mut self, ring: usize, index: usize, listener: Fd) {
        let Object::Listener(key) = *self.descriptors.object(listener) else {
            unreachable!("checked when submitted");
        };
        loop {
            if self.listeners[key].shut {
                return self.accepted(ring, index, Err(Errno(libc::EINVAL)), false);
            }
            if self.listeners[key].backlog.is_empty() {
                return self.wait_for_event(ring, index);
            }
            if self.random.chance(self.faults.no_descriptors) {
                return self.accepted(ring, index, Err(Errno(libc::EMFILE)), false);
            }
            let stream = self.listeners[key].backlog.pop_front().expect("not empty");
            let fd = self.descriptors.open(Object::Stream(stream));
            let armed = !self.random.chance(self.faults.multishot_end);
            self.accepted(ring, index, Ok(fd), armed);
            if !armed {
                return;
            }
        }
    }

    fn accepted(&mut self, ring: usize, index: usize, result: Result<Fd, Errno>, armed: bool) {
        self.shoot(ring, index, Done::Accept { result, armed }, armed);
    }

    /// Piece by piece, until nothing is there.
    fn receive_all(&mut self, ring: usize, index: usize, pool: &mut TransitPool) {
        loop {
            let done = self.perform(ring, index, pool);
            // After its first try it chooses a buffer only where there is something to receive.
            if let Op::Recv { poll_first, .. } = &mut self.rings[ring].operations[index].op {
                *poll_first = true;
            }
            let Some(Done::Recv { result, .. }) = done else {
                return self.wait_for_event(ring, index);
            };
            let goes_on = matches!(result, Ok(Some(_)));
            let armed = goes_on && !self.random.chance(self.faults.multishot_end);
            self.shoot(ring, index, Done::Recv { result, armed }, armed);
            if !armed {
                return;
            }
        }
    }

    /// One completion of a multishot operation.
    fn shoot(&mut self, ring: usize, index: usize, done: Done, armed: bool) {
        let operation = &mut self.rings[ring].operations[index];
        operation.shots.push_back(done);
        if !armed {
            operation.stage = Stage::Ended;
        }
        self.queue_completion(ring, index, 0);
    }

    /// `None`: it has to wait.
    fn perform(&mut self, ring: usize, index: usize, pool: &mut TransitPool) -> Option<Done> {
        let Kernel { rings, streams, descriptors, random, faults, .. } = self;
        let op = &mut rings[ring].operations[index].op;
        Some(match op {
            Op::Accept { .. } => unreachable!("is multishot"),
            Op::AcceptNow { listener } => {
                let fd = *listener;
                return Some(Done::Accept { result: self.accept_now(fd), armed: false });
            }
            Op::Recv { fd, poll_first, .. } => {
                let stream = &mut streams[stream_index(descriptors, *fd)];
                let result = recv(stream, pool, *poll_first, random, faults)?;
                Done::Recv { result, armed: false }
            }
            Op::Fill { fd, buf, .. } => {
                let stream = &mut streams[stream_index(descriptors, *fd)];
                let result = fill(stream, buf, random, faults)?;
                Done::Fill { buf: mem::take(buf), result }
            }
            Op::FillWithFile { fd, buf, .. } => {
                let stream = &mut streams[stream_index(descriptors, *fd)];
                let result = fill(stream, buf, random, faults)?;
                let passed = disk::accept(&stream.take_files(), descriptors);
                Done::FillWithFile { buf: mem::take(buf), passed, result }
            }
            Op::Send { fd, out, .. } => {
                let stream = &mut streams[stream_index(descriptors, *fd)];
                let result = send(stream, out, descriptors, random, faults)?;
                Done::Send { out: mem::take(out), result }
            }
            Op::SendIfSilent { fd, out } => {
                let stream = &mut streams[stream_index(descriptors, *fd)];
                let result = match stream.unread() {
                    0 => send(stream, out, descriptors, random, faults)?,
                    _ => Err(Errno(libc::EBUSY)),
                };
                Done::Send { out: mem::take(out), result }
            }
            Op::SendFile { fd, file, offset, len } => {
                let stream = &mut streams[stream_index(descriptors, *fd)];
                let inode = inode(descriptors, file.fd());
                let most = random.maybe_part(faults.short_sendfile, *len as usize);
                let result = send_file(stream, inode, *offset, most)?;
                Done::SendFile { _file: Rc::clone(file), result }
            }
            Op::AwaitHangUp { fd } => {
                let stream = &streams[stream_index(descriptors, *fd)];
                stream.hung_up().then_some(Done::Awaited)?
            }
            Op::AwaitInput { fd } => {
                let stream = &streams[stream_index(descriptors, *fd)];
                stream.readable().then_some(Done::Awaited)?
            }
            Op::PeerEnd(end) => {
                let stream = &mut streams[stream_index(descriptors, end.socket)];
                Done::PeerEnd { result: Ok(stream.death(end)?) }
            }
            _ => return Some(self.perform_on_file(ring, index)),
        })
    }

    fn accept_now(&mut self, listener: Fd) -> Result<Fd, Errno> {
        let Object::Listener(key) = *self.descriptors.object(listener) else {
            unreachable!("checked when submitted");
        };
        let stream = self.listeners[key].backlog.pop_front().ok_or(Errno(libc::EAGAIN))?;
        Ok(self.descriptors.open(Object::Stream(stream)))
    }

    fn wait_for_event(&mut self, ring: usize, index: usize) {
        let operation = &mut self.rings[ring].operations[index];
        operation.stage = Stage::Waiting;
        let waiter = Waiter { ring, operation: index };
        let fd = operation.fds[0].expect("only operations on descriptors wait");
        match *self.descriptors.object(fd) {
            Object::Listener(listener) => self.listeners[listener].waiters.push(waiter),
            Object::Stream(stream) => {
                let stream = &mut self.streams[stream];
                let list = match operation.op {
                    Op::Recv { .. } | Op::Fill { .. } | Op::FillWithFile { .. } => {
                        &mut stream.receivers
                    }
                    Op::Send { .. } | Op::SendIfSilent { .. } | Op::SendFile { .. } => {
                        &mut stream.senders
                    }
                    _ => &mut stream.pollers,
                };
                list.push(waiter);
            }
            Object::File(_) => unreachable!("files never let anybody wait"),
        }
    }
}

/// What may end a wait on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Bytes to receive.
    Data,
    /// Room to send.
    Room,
    /// One direction or both have ended.
    End,
}

pub(super) fn wake_all(waiters: &mut Vec<Waiter>, rings: &mut [Ring]) {
    for waiter in waiters.drain(..) {
        let ring = &mut rings[waiter.ring];
        ring.operations[waiter.operation].stage = Stage::Pending;
        ring.candidates.push_back(waiter.operation);
    }
}

fn stream_index(descriptors: &Descriptors, fd: Fd) -> usize {
    match descriptors.object(fd) {
        Object::Stream(stream) => *stream,
        other => unreachable!("{other:?} was checked when submitted"),
    }
}

pub(super) fn inode(descriptors: &Descriptors, fd: Fd) -> &Rc<Inode> {
    match descriptors.object(fd) {
        Object::File(inode) => inode,
        other => unreachable!("{other:?} was checked when submitted"),
    }
}
