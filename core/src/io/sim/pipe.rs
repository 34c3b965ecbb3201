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
    /// Files, each with the byte that it comes with.
    files: VecDeque<(u64, SimFile)>,
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
        count
    }

    /// The files come with the next byte that is written.
    pub(super) fn attach(&mut self, files: impl IntoIterator<Item = SimFile>) {
        let at = self.read + self.bytes.len() as u64;
        self.files.extend(files.into_iter().map(|file| (at, file)));
    }

    /// Bytes before the next file that comes with a later byte than the next one: one receive
    /// does not bring the files of two sends.
    pub(super) fn before_next_file(&self) -> usize {
        let later =
            self.files.iter().map(|(at, _)| at.saturating_sub(self.read)).find(|&at| at > 0);
        later.map_or(usize::MAX, |at| at as usize)
    }

    /// The files of the bytes that have been read.
    pub(super) fn take_files(&mut self) -> Vec<SimFile> {
        let count = self.files.iter().take_while(|(at, _)| *at < self.read).count();
        self.files.drain(..count).map(|(_, file)| file).collect()
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
