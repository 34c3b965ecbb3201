//! One direction of a simulated connection: a bounded queue of bytes.
//!
//! Owns the bound, and the files that travel with the bytes. Must not know what the ends of a
//! connection mean.

use super::files::SimFile;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) bytes: VecDeque<u8>,
    capacity: usize,
    /// Its writer has ended it.
    pub(super) finished: bool,
    /// Bytes that have been read.
    read: u64,
    files: VecDeque<Passing>,
}

/// A file on its way.
#[derive(Debug)]
struct Passing {
    /// The byte that it comes with.
    at: u64,
    /// Where the message ends that it came with, once that is written.
    end: Option<u64>,
    file: SimFile,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Pipe {
        let (bytes, files) = (VecDeque::new(), VecDeque::new());
        Pipe { bytes, capacity, finished: false, read: 0, files }
    }

    pub(super) fn free(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len())
    }

    /// Takes at most `most` bytes, as many as there is room for.
    pub(super) fn write(&mut self, bytes: &[u8], most: usize) -> usize {
        let count = bytes.len().min(most).min(self.free());
        self.bytes.extend(&bytes[..count]);
        let end = self.read + self.bytes.len() as u64;
        self.files.iter_mut().rev().take_while(|p| p.end.is_none()).for_each(|p| p.end = Some(end));
        count
    }

    /// The files come with the next byte that is written.
    pub(super) fn attach(&mut self, files: impl IntoIterator<Item = SimFile>) {
        let at = self.read + self.bytes.len() as u64;
        self.files.extend(files.into_iter().map(|file| Passing { at, end: None, file }));
    }

    /// Bytes up to the end of the next message that has brought a file: there a receive ends, so
    /// it does not bring the files of two sends.
    pub(super) fn to_end_of_file_message(&self) -> usize {
        let next = self.files.iter().find(|passing| passing.at >= self.read);
        next.and_then(|passing| passing.end).map_or(usize::MAX, |end| (end - self.read) as usize)
    }

    /// The files of the bytes that have been read.
    pub(super) fn take_files(&mut self) -> Vec<SimFile> {
        let count = self.files.iter().take_while(|passing| passing.at < self.read).count();
        self.files.drain(..count).map(|passing| passing.file).collect()
    }

    /// Gives at most `most` bytes to `sink`, in two pieces, either of which may be empty.
    pub(super) fn read(&mut self, most: usize, mut sink: impl FnMut(&[u8])) -> usize {
        let count = self.bytes.len().min(most);
        let (first, second) = self.bytes.as_slices();
        let of_first = first.len().min(count);
        sink(&first[..of_first]);
        sink(&second[..count - of_first]);
        self.bytes.drain(..count);
        self.read += count as u64;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_in_order_around_the_bend() {
        let mut pipe = Pipe::new(5);
        let mut seen = Vec::new();
        let mut given = 0;
        for step in 1..200 {
            let bytes: Vec<u8> = (given..given + step % 7).map(|byte| byte as u8).collect();
            given += pipe.write(&bytes, usize::MAX);
            assert!(pipe.bytes.len() <= 5);
            pipe.read(step % 4, |piece| seen.extend_from_slice(piece));
        }
        pipe.read(usize::MAX, |piece| seen.extend_from_slice(piece));
        assert_eq!(seen, (0..given).map(|byte| byte as u8).collect::<Vec<_>>());
    }
}
