//! Content on its way to an edge that may lend a file for it.
//!
//! Owns the writing, and what is said about it meanwhile, by the rules of a
//! [`slot`](forebay::http::slot). Must not know what the content is.
//!
//! The edge offers a file when its client is slower than we are. Until the file is recalled, or
//! cannot be written, nothing has to be sent, and the edge is not woken.

use crate::private::Private;
use crate::socket::Socket;
use forebay::http::slot::{OFFER, RECALL, TAKEN};
use rustix::fs::FallocateFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;

/// A file that has been taken.
#[derive(Debug)]
pub(super) struct Loan {
    file: Private<File>,
    written: u64,
    /// Bytes for which the disk has found a place, or need not.
    reserved: u64,
    /// Bytes that may come.
    most: u64,
    is_in_memory: bool,
}

/// Sends these slices to an edge, or writes them to what it lends, which is given back with the
/// last byte. `behind`: bytes of content that will follow.
pub(super) fn send(
    socket: &Socket,
    loan: &mut Option<Loan>,
    mut slices: &mut [IoSlice<'_>],
    behind: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let is_placed = match loan {
            Some(lent) => lent.write(&mut slices).is_ok(),
            None => send_some(socket, &mut slices).map(|()| true)?,
        };
        let due = behind + slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
        // What cannot be written has to be sent; and a client need not wait for the end of an
        // application that has nothing more to say.
        if !is_placed || due == 0 {
            give_back(socket, loan)?;
        }
        match next_word(socket)? {
            // Else it is found before the next request.
            Some(OFFER) if loan.is_none() && due > 0 => *loan = take(socket, due)?,
            Some(RECALL) => {
                socket.receive(&mut [0])?;
                give_back(socket, loan)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Sends no more than what is worth a look whether there is a better way, in whole slices if they
/// are small: their borders are those of pages in a file then.
fn send_some(socket: &Socket, slices: &mut &mut [IoSlice<'_>]) -> io::Result<()> {
    let (mut some, count) = first_of(slices, SENT_AT_ONCE);
    socket.send_all(&mut some)?;
    IoSlice::advance_slices(slices, count);
    Ok(())
}

/// The first bytes of these, so many at most.
fn first_of<'a>(slices: &'a [IoSlice<'_>], most: usize) -> (Vec<IoSlice<'a>>, usize) {
    let (mut some, mut count) = (Vec::with_capacity(slices.len().min(SLICES)), 0);
    for slice in slices.iter().take(SLICES) {
        let len = slice.len().min(most - count);
        some.push(IoSlice::new(&slice[..len]));
        count += len;
        if count == most {
            break;
        }
    }
    (some, count)
}

/// Says how much of the file there is, if one has been taken.
pub(super) fn give_back(socket: &Socket, loan: &mut Option<Loan>) -> io::Result<()> {
    let Some(Loan { file, written, reserved, .. }) = loan.take() else { return Ok(()) };
    if written < reserved {
        let _ = rustix::fs::ftruncate(&*file, written);
    }
    socket.send_all(&mut [IoSlice::new(format!("{written}\n").as_bytes())])
}

/// Whether what has arrived on a slot before a request is about a file of the response before it,
/// and so too late.
pub(super) fn is_word(byte: u8) -> bool {
    matches!(byte, OFFER | RECALL)
}

/// The first byte of what the edge has said and nobody has received.
fn next_word(socket: &Socket) -> io::Result<Option<u8>> {
    let mut byte = [0];
    match socket.peek_now(&mut byte) {
        Ok(count) => Ok((count > 0).then_some(byte[0])),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes the file that is offered. Whether there is room for it shows when it is written.
fn take(socket: &Socket, due: u64) -> io::Result<Option<Loan>> {
    let file = Private::make(|| {
        let mut passed = None;
        socket.take(&mut [0], &mut passed)?;
        passed.map(File::from).ok_or_else(|| io::ErrorKind::NotFound.into())
    });
    let file = match file {
        Ok(file) => file,
        // Too many are open, or it has brought nothing: that is as good as no offer.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    socket.send_with(&[TAKEN], file.as_fd())?;
    let is_in_memory =
        rustix::fs::fstatfs(&*file).is_ok_and(|stat| stat.f_type == libc::TMPFS_MAGIC);
    Ok(Some(Loan { file, written: 0, reserved: 0, most: due, is_in_memory }))
}

impl Loan {
    /// As much as is worth a look whether more is welcome.
    fn write(&mut self, slices: &mut &mut [IoSlice<'_>]) -> io::Result<()> {
        self.reserve()?;
        let (some, _) = first_of(slices, WRITTEN_AT_ONCE);
        let count = retry_on_intr(|| rustix::io::pwritev(&*self.file, &some, self.written))?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.written += count as u64;
        IoSlice::advance_slices(slices, count);
        Ok(())
    }

    /// The disk finds the place for much at once, and not for each page; memory would take it.
    fn reserve(&mut self) -> io::Result<()> {
        if self.written < self.reserved {
            return Ok(());
        }
        // Who writes beyond such a limit is killed (setrlimit(2)).
        let limit = getrlimit(Resource::Fsize).current;
        if limit.is_some_and(|limit| limit < self.most) {
            return Err(Errno::FBIG.into());
        }
        let bytes = (self.most - self.written).min(RESERVED_AT_ONCE);
        if !self.is_in_memory {
            let (file, keep) = (&*self.file, FallocateFlags::KEEP_SIZE);
            let result = retry_on_intr(|| rustix::fs::fallocate(file, keep, self.written, bytes));
            // Not every file system can do this.
            if result == Err(Errno::NOSPC) {
                return Ok(result?);
            }
        }
        self.reserved = self.written + bytes;
        Ok(())
    }
}

/// Bytes that are sent before it is asked again whether a file is offered. No more than this waits
/// with what the socket holds.
const SENT_AT_ONCE: usize = 64 << 10;
/// Bytes that are written before it is asked again whether more are welcome.
const WRITTEN_AT_ONCE: usize = 1 << 20;
const RESERVED_AT_ONCE: u64 = 64 << 20;
/// In one system call; less than the kernel's most (`IOV_MAX`).
const SLICES: usize = 1000;
