//! What workers tell the arbiter, through a pipe that they share.
//!
//! Owns the form: eight bytes, written at once, so that words of several workers do not mix.

use super::events::Pid;
use std::io::{PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A worker's end of the pipe.
#[derive(Debug)]
pub(crate) struct Words(PipeWriter);

/// What a worker has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// It has its application.
    Booted,
    /// It can take requests.
    Ready,
    /// It has answered as many requests as it should.
    Spent,
    /// A mold can make workers.
    Loaded,
    /// The worker with this number has been made by a mold.
    Born(usize),
    /// A mold could not make it.
    Unborn(usize),
    /// A mold has seen that the application's sources have changed.
    Changed,
}

impl Word {
    fn to_bits(self) -> u32 {
        let (word, number) = match self {
            Word::Booted => (0, 0),
            Word::Ready => (1, 0),
            Word::Spent => (2, 0),
            Word::Loaded => (3, 0),
            Word::Born(number) => (4, number),
            Word::Unborn(number) => (5, number),
            Word::Changed => (6, 0),
        };
        u32::try_from(number).unwrap_or(u32::MAX) << 8 | word
    }

    fn from_bits(bits: u32) -> Option<Word> {
        let number = (bits >> 8) as usize;
        Some(match bits & 0xff {
            0 => Word::Booted,
            1 => Word::Ready,
            2 => Word::Spent,
            3 => Word::Loaded,
            4 => Word::Born(number),
            5 => Word::Unborn(number),
            6 => Word::Changed,
            _ => return None,
        })
    }
}

impl Words {
    pub(crate) fn new(pipe: impl Into<OwnedFd>) -> Words {
        Words(PipeWriter::from(pipe.into()))
    }

    pub(crate) fn say(&self, word: Word) {
        let pid = std::process::id();
        let bytes = u64::from(pid) << 32 | u64::from(word.to_bits());
        // Without a reader the arbiter is gone, and a signal about that is on its way.
        let _ = (&self.0).write_all(&bytes.to_ne_bytes());
    }

    /// What such bytes say, and who says so.
    pub(crate) fn understand(bytes: [u8; 8]) -> Option<(Pid, Word)> {
        let bytes = u64::from_ne_bytes(bytes);
        let word = Word::from_bits((bytes & 0xffff_ffff) as u32)?;
        Some((Pid::try_from(bytes >> 32).ok()?, word))
    }
}

impl AsFd for Words {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
