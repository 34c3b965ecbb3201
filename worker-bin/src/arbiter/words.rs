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
}

impl Words {
    pub(crate) fn new(pipe: impl Into<OwnedFd>) -> Words {
        Words(PipeWriter::from(pipe.into()))
    }

    pub(crate) fn say(&self, word: Word) {
        let pid = std::process::id();
        let bytes = u64::from(pid) << 32 | word as u64;
        // Without a reader the arbiter is gone, and a signal about that is on its way.
        let _ = (&self.0).write_all(&bytes.to_ne_bytes());
    }

    /// What such bytes say, and who says so.
    pub(crate) fn understand(bytes: [u8; 8]) -> Option<(Pid, Word)> {
        let bytes = u64::from_ne_bytes(bytes);
        let word = [Word::Booted, Word::Ready, Word::Spent]
            .into_iter()
            .find(|&word| word as u64 == bytes & 0xffff_ffff)?;
        Some((Pid::try_from(bytes >> 32).ok()?, word))
    }
}

impl AsFd for Words {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
