//! The content of a request: in memory, or in a file that the edge has passed.
//!
//! Owns reading it, and what makes a file fit to be content. Must not know where it comes from.

use bytes::Bytes;
use rustix::fs::{FileType, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The content of a request, decoded from its transfer coding.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Content {
    /// In memory.
    Inline(Bytes),
    /// In a file: what the edge has spooled because it is large.
    File(FileRange),
}

impl Content {
    /// Its bytes.
    pub fn len(&self) -> u64 {
        match self {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::File(range) => range.len(),
        }
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads behind its first `at` bytes. 0 is its end.
    ///
    /// # Errors
    /// The file cannot be read; also that it has become shorter.
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Content::Inline(bytes) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                (&bytes[at..]).read(buffer)
            }
            Content::File(range) => range.read_at(at, buffer),
        }
    }

    /// Reads it from its start. Readers do not disturb one another.
    pub fn reader(&self) -> ContentReader<'_> {
        ContentReader { content: self, at: 0 }
    }

    /// All of it in memory.
    ///
    /// # Errors
    /// The file cannot be read, or there is not enough memory.
    pub fn bytes(&self) -> io::Result<Bytes> {
        let range = match self {
            Content::Inline(bytes) => return Ok(bytes.clone()),
            Content::File(range) => range,
        };
        let length = usize::try_from(range.length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.reader().read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Content::Inline(bytes)
    }
}

/// A part of a regular file. Copies share the descriptor, and others may have it as well: it is
/// read with pread(2) only, because they share its position.
#[derive(Clone, Debug)]
pub struct FileRange {
    file: Arc<File>,
    offset: u64,
    length: u64,
}

impl FileRange {
    /// `length` bytes from `offset`.
    ///
    /// # Errors
    /// The file is not regular, not open for reading, or shorter than that.
    pub fn new(file: File, offset: u64, length: u64) -> io::Result<FileRange> {
        check_range(&file, offset, length)?;
        Ok(FileRange { file: Arc::new(file), offset, length })
    }

    /// The file; its position means nothing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where the part begins, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes of the part; never less than the file had when this was made.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Reads behind `at` bytes of the part. 0 is its end.
    ///
    /// # Errors
    /// Also that the file has become shorter.
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(at);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        match self.file.read_at(&mut buffer[..most], self.offset + at)? {
            0 => Err(truncated()),
            count => Ok(count),
        }
    }
}

/// Reads a [`Content`] in pieces.
#[derive(Clone, Debug)]
pub struct ContentReader<'a> {
    content: &'a Content,
    at: u64,
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read_at(self.at, buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Whether these bytes can be read from the file.
pub(crate) fn check_range(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let stat = rustix::fs::fstat(file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(invalid("it is not a regular file"));
    }
    let flags = rustix::fs::fcntl_getfl(file)?;
    if flags.contains(OFlags::PATH) || flags & OFlags::ACCMODE == OFlags::WRONLY {
        return Err(invalid("the file is not open for reading"));
    }
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(()),
        _ => Err(invalid("the file is shorter than its content is said to be")),
    }
}

/// What reading says of a file that has become shorter.
pub(crate) fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter")
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn both_kinds_read_alike() {
        let range = FileRange::new(file(b"0123456789"), 2, 5).unwrap();
        for content in [Content::File(range), Content::Inline("23456".into())] {
            assert_eq!(content.len(), 5);
            assert_eq!(content.bytes().unwrap(), "23456");
            let (mut one, mut two) = (content.reader(), content.reader());
            let mut piece = [0; 3];
            assert_eq!(one.read(&mut piece).unwrap(), 3);
            assert_eq!(&piece, b"234");
            assert_eq!(two.read(&mut piece).unwrap(), 3);
            assert_eq!(one.read(&mut piece).unwrap(), 2);
            assert_eq!(&piece, b"564");
            assert_eq!(one.read(&mut piece).unwrap(), 0);
        }
    }

    #[test]
    fn only_what_can_be_read_is_content() {
        assert!(FileRange::new(file(b"abc"), 1, 2).is_ok());
        assert!(FileRange::new(file(b"abc"), 3, 0).is_ok());
        assert!(FileRange::new(file(b"abc"), 1, 3).is_err());
        assert!(FileRange::new(file(b"abc"), u64::MAX, 2).is_err());
        assert!(FileRange::new(File::open("/").unwrap(), 0, 0).is_err());
        assert!(FileRange::new(File::open("/dev/null").unwrap(), 0, 0).is_err());
        let named = tempfile::NamedTempFile::new().unwrap();
        let blind = File::options().write(true).open(named.path()).unwrap();
        assert!(FileRange::new(blind, 0, 0).is_err());
        let nothing = rustix::fs::open(named.path(), OFlags::PATH, rustix::fs::Mode::empty());
        assert!(FileRange::new(nothing.unwrap().into(), 0, 0).is_err());
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let file = file(b"abcdef");
        let content = Content::File(FileRange::new(file.try_clone().unwrap(), 0, 6).unwrap());
        file.set_len(3).unwrap();
        assert_eq!(content.bytes().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
