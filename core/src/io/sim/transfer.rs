//! How bytes move between the simulated sockets, buffers and files.
//!
//! Owns the faults on the way. Must not know operations.

use super::super::{Outgoing, Transit};
use super::attempt::inode;
use super::descriptors::Descriptors;
use super::files::{Inode, SimFile};
use super::stream::Stream;
use super::transit::TransitPool;
use super::{Errno, Faults, Random};
use std::mem;
use std::rc::Rc;

pub(super) fn recv(
    stream: &mut Stream,
    pool: &mut TransitPool,
    poll_first: bool,
    random: &mut Random,
    faults: &Faults,
) -> Option<Result<Option<Transit>, Errno>> {
    let readable = stream.readable();
    // Linux chooses the buffer before it looks for data, unless it polls first.
    if !readable && (poll_first || !pool.is_empty()) {
        return None;
    }
    if pool.is_empty() || random.chance(faults.no_buffers) {
        return Some(Err(Errno(libc::ENOBUFS)));
    }
    let most = random.maybe_part(faults.short_receive, pool.bytes());
    Some(pool.fill(|buf| {
        let mut rest = buf;
        stream.receive(most, |piece| {
            let (start, end) = mem::take(&mut rest).split_at_mut(piece.len());
            start.copy_from_slice(piece);
            rest = end;
        })
    }))
}

pub(super) fn fill(
    stream: &mut Stream,
    buf: &mut Vec<u8>,
    random: &mut Random,
    faults: &Faults,
) -> Option<Result<usize, Errno>> {
    if !stream.readable() {
        return None;
    }
    let most = random.maybe_part(faults.short_receive, buf.capacity() - buf.len());
    // What no receive has asked for is lost.
    stream.take_files();
    Some(stream.receive(most, |piece| buf.extend_from_slice(piece)))
}

pub(super) fn send(
    stream: &mut Stream,
    out: &mut Outgoing,
    descriptors: &Descriptors,
    random: &mut Random,
    faults: &Faults,
) -> Option<Result<usize, Errno>> {
    if out.remaining() == 0 {
        return Some(Ok(0));
    }
    if !stream.writable() {
        return None;
    }
    let most = random.maybe_part(faults.short_send, out.remaining().min(stream.room()));
    if let Some(file) = out.file_due() {
        let inode = Rc::clone(inode(descriptors, file.fd()));
        stream.attach(SimFile { inode, readable: true });
    }
    let result = stream.send(&out.slices(), most);
    if let Ok(count) = result {
        out.advance(count);
    }
    Some(result)
}

pub(super) fn send_file(
    stream: &mut Stream,
    inode: &Inode,
    offset: u64,
    most: usize,
) -> Option<Result<usize, Errno>> {
    let moved = inode.read(offset, most, |bytes| match bytes {
        [] => Some(Ok(0)),
        _ if !stream.writable() => None,
        _ => Some(stream.send(&[bytes], bytes.len())),
    });
    // sendfile(2) says EINVAL of what it cannot read.
    moved.unwrap_or(Some(Err(Errno(libc::EINVAL))))
}
