//! Bytes on their way out: what one send operation owns.
//!
//! Owns the position within them. Must not know sockets.

use super::SharedFile;
use bytes::Bytes;
use std::ops::Range;
use std::rc::Rc;

/// The second part of an [`Outgoing`].
#[derive(Debug, Default)]
pub(crate) enum Body {
    #[default]
    None,
    /// A pooled buffer and the part of it that is to be sent.
    Owned(Vec<u8>, Range<usize>),
    /// Content shared with a cache or an application.
    Shared(Bytes),
}

/// Up to three pieces sent with one system call: usually a head (and small content copied behind
/// it), then content that is not worth copying, and what ends a chunk.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Body,
    /// Behind the body.
    pub(crate) tail: &'static [u8],
    /// A descriptor that travels with the first byte, on Unix sockets only (`SCM_RIGHTS`).
    pub(crate) file: Option<Rc<SharedFile>>,
    sent: usize,
}

impl Outgoing {
    pub(crate) fn new(head: Vec<u8>, body: Body) -> Outgoing {
        Outgoing { head, body, tail: &[], file: None, sent: 0 }
    }

    /// The descriptor that must go with what is sent next.
    pub(crate) fn file_due(&self) -> Option<&Rc<SharedFile>> {
        self.file.as_ref().filter(|_| self.sent == 0)
    }

    /// Bytes not sent yet.
    pub(crate) fn remaining(&self) -> usize {
        self.head.len() + self.body_bytes().len() + self.tail.len() - self.sent
    }

    /// The bytes not sent yet, in order; each part may be empty.
    pub(crate) fn slices(&self) -> [&[u8]; 3] {
        let mut sent = self.sent;
        [&self.head, self.body_bytes(), self.tail].map(|part| {
            let of_part = sent.min(part.len());
            sent -= of_part;
            &part[of_part..]
        })
    }

    /// Bytes of memory that it owns.
    pub(crate) fn capacity(&self) -> usize {
        self.head.capacity()
            + match &self.body {
                Body::Owned(buf, _) => buf.capacity(),
                Body::None | Body::Shared(_) => 0,
            }
    }

    /// Bytes of memory that nobody else needs.
    pub(crate) fn footprint(&self) -> usize {
        self.capacity()
            + match &self.body {
                Body::Shared(bytes) if bytes.is_unique() => bytes.len(),
                _ => 0,
            }
    }

    /// Copies these bytes behind what is here, if there is room for all of them.
    pub(crate) fn append(&mut self, parts: [&[u8]; 3]) -> bool {
        let buf = match &mut self.body {
            Body::None => &mut self.head,
            Body::Owned(buf, range) => {
                buf.truncate(range.end);
                buf
            }
            Body::Shared(_) => return false,
        };
        let all = [self.tail].into_iter().chain(parts);
        let fits = buf.capacity() - buf.len() >= all.clone().map(<[u8]>::len).sum();
        if fits {
            all.for_each(|part| buf.extend_from_slice(part));
            self.tail = &[];
            if let Body::Owned(buf, range) = &mut self.body {
                range.end = buf.len();
            }
        }
        fits
    }

    /// Marks `count` bytes as sent.
    pub(crate) fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining(), "more sent than there was");
        self.sent += count;
    }

    fn body_bytes(&self) -> &[u8] {
        match &self.body {
            Body::None => &[],
            Body::Owned(buf, range) => &buf[range.clone()],
            Body::Shared(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_across_the_parts() {
        let body = Body::Owned(b"xworldx".to_vec(), 1..6);
        let mut out = Outgoing::new(b"hello ".to_vec(), body);
        out.tail = b"!!";
        let mut seen = Vec::new();
        while out.remaining() > 0 {
            seen.push(*out.slices().into_iter().flatten().next().unwrap());
            out.advance(1);
        }
        assert_eq!(seen, b"hello world!!");
        assert_eq!(out.slices(), [b"", b"", b""]);
    }

    #[test]
    fn takes_more_as_far_as_there_is_room() {
        let mut content = Vec::with_capacity(100);
        content.extend_from_slice(b"xone, surplus");
        let room = content.capacity() - 1 - "one, ".len();
        let mut out = Outgoing::new(b"5 ".to_vec(), Body::Owned(content, 1..6));
        out.tail = b"!";
        out.advance(4);
        assert!(out.append([b"5 ", b"two", b"!"]));
        assert_eq!(out.slices().concat(), b"e, !5 two!");
        assert!(!out.append([&vec![b'x'; room - 6], b"", b""]));
        assert!(out.append([&vec![b'x'; room - 7], b"", b""]));
        assert_eq!((out.remaining(), out.capacity()), (room + 3, 102));
        assert!(
            !Outgoing::new(Vec::new(), Body::Shared("content".into())).append([b"x", b"", b""])
        );
    }
}
