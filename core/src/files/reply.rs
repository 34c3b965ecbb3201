//! The answer: its head, and where its content is.
//!
//! Owns the decision between whole, part and none. Must not know caches or names beneath a root.

use super::ask::Ask;
use super::conditional::Verdict;
use super::range::{self, Ranges};
use super::representation::{Representation, push};
use crate::http::{self, Version};
use crate::io::SharedFile;
use bytes::Bytes;
use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

/// A complete answer.
#[derive(Debug)]
pub(crate) struct FileReply {
    pub(crate) status: u16,
    pub(super) head: ReplyHead,
    /// Not to be sent in answer to HEAD.
    pub(crate) content: FileContent,
}

/// What the head of a [`FileReply`] is made from.
#[derive(Debug)]
pub(super) enum ReplyHead {
    /// 200 and 304.
    Representation(Rc<Representation>),
    /// 206 with one part.
    Part(Rc<Representation>, Range<u64>),
    /// 206 with several, and what is between them.
    Parts(Rc<Representation>, Boundary),
    /// The content, if any, is plain text. With a field that says more.
    Text(Option<(&'static str, Cow<'static, str>)>),
}

type Boundary = [u8; 16];

/// Where the content of a [`FileReply`] is.
#[derive(Clone, Debug)]
pub(crate) enum FileContent {
    None,
    Memory(Bytes),
    /// A part of a file, which may have become shorter meanwhile.
    File {
        file: Rc<SharedFile>,
        offset: u64,
        len: u64,
    },
    /// Each behind a few bytes of its own.
    Parts(Vec<(Vec<u8>, FileContent)>),
}

impl FileContent {
    pub(super) fn file(file: &Rc<SharedFile>, len: u64) -> FileContent {
        FileContent::File { file: Rc::clone(file), offset: 0, len }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            FileContent::None => 0,
            FileContent::Memory(bytes) => bytes.len() as u64,
            FileContent::File { len, .. } => *len,
            FileContent::Parts(parts) => {
                parts.iter().map(|(head, content)| head.len() as u64 + content.len()).sum()
            }
        }
    }

    /// A part of a whole content.
    fn part(&self, range: &Range<u64>) -> FileContent {
        match self {
            FileContent::Memory(bytes) => {
                FileContent::Memory(bytes.slice(range.start as usize..range.end as usize))
            }
            FileContent::File { file, offset, .. } => {
                let (offset, len) = (offset + range.start, range.end - range.start);
                FileContent::File { file: Rc::clone(file), offset, len }
            }
            FileContent::None | FileContent::Parts(_) => FileContent::None,
        }
    }
}

impl FileReply {
    /// What a file's `content` is answered with: 200, 206, 304, 412 or 416 (RFC 9110 §13.2.2).
    pub(super) fn of(
        representation: &Rc<Representation>,
        content: FileContent,
        ask: &Ask<'_>,
        unix_seconds: u64,
    ) -> FileReply {
        let validators = representation.validators();
        match validators.judge(&ask.fields) {
            Verdict::Perform => {}
            Verdict::Failed => return FileReply::error(412),
            Verdict::NotModified => {
                let head = ReplyHead::Representation(Rc::clone(representation));
                return FileReply { status: 304, head, content: FileContent::None };
            }
        }
        match &ask.fields.range {
            // For no other method ranges are defined (§14.2).
            Some(field)
                if ask.method == "GET"
                    && validators.allow_range(ask.fields.if_range.as_deref(), unix_seconds) =>
            {
                let ranges = range::parse(field, representation.stat.size);
                FileReply::ranges(representation, content, ranges, ask.boundary)
            }
            _ => FileReply::whole(representation, content),
        }
    }

    fn whole(representation: &Rc<Representation>, content: FileContent) -> FileReply {
        let head = ReplyHead::Representation(Rc::clone(representation));
        FileReply { status: 200, head, content }
    }

    fn ranges(
        representation: &Rc<Representation>,
        whole: FileContent,
        ranges: Ranges,
        boundary: Boundary,
    ) -> FileReply {
        let of = || Rc::clone(representation);
        let size = representation.stat.size;
        let (head, content) = match ranges {
            Ranges::Whole => return FileReply::whole(representation, whole),
            Ranges::Unsatisfiable => {
                let head = text_with("Content-Range", format!("bytes */{size}"));
                return FileReply { head, ..FileReply::error(416) };
            }
            Ranges::One(range) => {
                let content = whole.part(&range);
                (ReplyHead::Part(of(), range), content)
            }
            Ranges::Several(ranges) => {
                let mut parts: Vec<_> = ranges
                    .iter()
                    .map(|range| (part_head(representation, &boundary, range), whole.part(range)))
                    .collect();
                let end = [b"\r\n--", &boundary[..], b"--\r\n"].concat();
                parts.push((end, FileContent::None));
                (ReplyHead::Parts(of(), boundary), FileContent::Parts(parts))
            }
        };
        FileReply { status: 206, head, content }
    }

    /// An error, its name as content.
    pub(super) fn error(status: u16) -> FileReply {
        let text = Bytes::from_static(http::status_text(status).as_bytes());
        FileReply { status, head: ReplyHead::Text(None), content: FileContent::Memory(text) }
    }

    pub(super) fn method_not_allowed() -> FileReply {
        FileReply { head: allow(), ..FileReply::error(405) }
    }

    /// What can be done with files (RFC 9110 §9.3.7).
    pub(super) fn options() -> FileReply {
        FileReply { status: 204, head: allow(), content: FileContent::None }
    }

    /// 301 to the same path with a slash behind it.
    pub(super) fn redirect_to_directory(ask: &Ask<'_>) -> FileReply {
        // `//host/` would lead to another host (RFC 3986 §4.2).
        let path = ask.original_path.trim_start_matches('/');
        let (mark, query) = ask.query.as_deref().map_or(("", ""), |query| ("?", query));
        let head = text_with("Location", format!("/{path}/{mark}{query}"));
        FileReply { head, ..FileReply::error(301) }
    }

    /// The content's length, as said in answer to GET and HEAD; 0 if there is none.
    pub(crate) fn content_length(&self) -> u64 {
        self.content.len()
    }

    /// Appends the head, including the empty line. `date` is the value of `Date`.
    pub(crate) fn write_head(
        &self,
        out: &mut Vec<u8>,
        version: Version,
        keep_alive: bool,
        date: &[u8],
    ) {
        match &self.head {
            ReplyHead::Representation(of) if self.status == 304 => {
                out.extend_from_slice(b"HTTP/1.1 304 Not Modified\r\n");
                out.extend_from_slice(of.validator_lines());
            }
            ReplyHead::Representation(of) => out.extend_from_slice(of.head()),
            ReplyHead::Part(of, range) => {
                out.extend_from_slice(b"HTTP/1.1 206 Partial Content\r\n");
                out.extend_from_slice(of.content_lines());
                push_content_range(out, range, of.stat.size);
                push(out, format_args!("Content-Length: {}\r\n", self.content_length()));
                out.extend_from_slice(of.validator_lines());
            }
            ReplyHead::Parts(of, boundary) => {
                out.extend_from_slice(b"HTTP/1.1 206 Partial Content\r\n");
                out.extend_from_slice(b"Content-Type: multipart/byteranges; boundary=");
                out.extend_from_slice(boundary);
                push(out, format_args!("\r\nContent-Length: {}\r\n", self.content_length()));
                out.extend_from_slice(of.validator_lines());
            }
            ReplyHead::Text(field) => {
                let field = field.as_ref().map(|(name, value)| (*name, &**value));
                let has_content = !matches!(self.content, FileContent::None);
                let most = [field.unwrap_or(PLAIN), PLAIN];
                let fields = &most[..usize::from(field.is_some()) + usize::from(has_content)];
                let length = Some(self.content_length());
                let status = self.status;
                http::write_own_response(out, status, fields, length, version, keep_alive, date);
                return;
            }
        }
        http::finish_own_head(out, version, keep_alive, date);
    }
}

fn allow() -> ReplyHead {
    text_with("Allow", "GET, HEAD, OPTIONS")
}

fn text_with(name: &'static str, value: impl Into<Cow<'static, str>>) -> ReplyHead {
    ReplyHead::Text(Some((name, value.into())))
}

/// What is before a part (RFC 9110 §14.6). It is the content of a 206 that is coded, not the
/// multipart around it.
fn part_head(of: &Representation, boundary: &Boundary, range: &Range<u64>) -> Vec<u8> {
    let mut head = [b"\r\n--", &boundary[..], b"\r\n", of.content_lines()].concat();
    push_content_range(&mut head, range, of.stat.size);
    head.extend_from_slice(b"\r\n");
    head
}

fn push_content_range(out: &mut Vec<u8>, range: &Range<u64>, size: u64) {
    let (first, last) = (range.start, range.end - 1);
    push(out, format_args!("Content-Range: bytes {first}-{last}/{size}\r\n"));
}

const PLAIN: (&str, &str) = ("Content-Type", "text/plain; charset=utf-8");

#[cfg(test)]
mod tests;
