//! Content on its way to an edge that may lend a file for it.
//!
//! Owns what is said about such a file, and the writing. Must not know what the content is.
//!
//! The edge offers a file when its client is slower than we are, by a byte that brings the
//! descriptor. Taking it we send a byte with a descriptor, and no content from then on; giving it
//! back we send how much of it there is, as a line. What follows is content again. Until the file
//! is recalled, or cannot be written, nothing has to be sent, and the edge is not woken.

use crate::private::Private;
use crate::socket::Socket;
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
    /// Bytes for which the disk has found a place.
    reserved: u64,
}

/// Sends these slices to an edge, or writes them to what it lends. `behind`: bytes of content that
/// will follow.
pub(super) fn send(
    socket: &Socket,
    loan: &mut Option<Loan>,
    mut slices: &mut [IoSlice<'_>],
    behind: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match loan {
            Some(lent) => {
                // What cannot be written has to be sent.
                if lent.write(&mut slices).is_err() {
                    give_back(socket, loan)?;
                }
            }
            None => send_some(socket, &mut slices)?,
        }
        let due = behind + slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
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
    let mut some = Vec::with_capacity(slices.len());
    let mut room = PIECE;
    for slice in slices.iter() {
        let len = slice.len().min(room);
        some.push(IoSlice::new(&slice[..len]));
        room -= len;
        if room == 0 {
            break;
        }
    }
    socket.send_all(&mut some)?;
    IoSlice::advance_slices(slices, PIECE - room);
    Ok(())
}

/// Says how much of the file there is, if one has been taken.
pub(super) fn give_back(socket: &Socket, loan: &mut Option<Loan>) -> io::Result<()> {
    let Some(Loan { file, written, reserved }) = loan.take() else { return Ok(()) };
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

/// Takes the file that is offered, unless it has no room.
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
    if reserve(&file, due) == Err(Errno::NOSPC) {
        return Ok(None);
    }
    socket.send_with(&[TAKEN], file.as_fd())?;
    Ok(Some(Loan { file, written: 0, reserved: due }))
}

/// The disk finds the place once, and not for each page. In memory that would take it all at once.
/// Who writes beyond a limit is killed (setrlimit(2)).
fn reserve(file: &File, due: u64) -> Result<(), Errno> {
    if getrlimit(Resource::Fsize).current.is_some_and(|most| most < due) {
        return Err(Errno::NOSPC);
    }
    match rustix::fs::fstatfs(file) {
        Ok(stat) if stat.f_type == libc::TMPFS_MAGIC => Ok(()),
        _ => retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, due)),
    }
}

impl Loan {
    /// As much as the file takes.
    fn write(&mut self, slices: &mut &mut [IoSlice<'_>]) -> io::Result<()> {
        while !slices.is_empty() {
            let count = retry_on_intr(|| rustix::io::pwritev(&*self.file, slices, self.written))?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += count as u64;
            IoSlice::advance_slices(slices, count);
        }
        Ok(())
    }
}

/// From the edge: this descriptor may take content.
const OFFER: u8 = b'(';
/// From the edge: no more of it.
const RECALL: u8 = b')';
/// To the edge: it does.
const TAKEN: u8 = b'(';
/// Bytes that are sent before it is asked again whether a file is offered. No more than this waits
/// with what the socket holds.
const PIECE: usize = 64 << 10;
