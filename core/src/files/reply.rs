//! The answer: its head, and where its content is.
//!
//! Owns the fields of a files answer. Must not know caches or names beneath the root.

use super::{Ask, Files, conditional};
use crate::http::Version;
use crate::io::{SharedFile, Stat};
use bytes::Bytes;
use std::ffi::CStr;
use std::io::Write;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

/// A complete answer.
#[derive(Debug)]
pub(crate) struct FileReply {
    pub(crate) status: u16,
    pub(crate) head: ReplyHead,
    /// Not to be sent in answer to HEAD.
    pub(crate) content: FileContent,
}

/// What the head of a [`FileReply`] is made from.
#[derive(Debug)]
pub(crate) enum ReplyHead {
    /// 200 and 304.
    Representation(Rc<Representation>),
    /// Ends in these field lines, content is text.
    Text(String),
}

/// Where the content of a [`FileReply`] is.
#[derive(Clone, Debug)]
pub(crate) enum FileContent {
    None,
    Memory(Bytes),
    /// The first `len` bytes of a file, which may have become shorter meanwhile.
    File {
        file: Rc<SharedFile>,
        len: u64,
    },
}

impl FileReply {
    /// 200 with the content, or 304 if the client has it already. Ranges (206, 416) and
    /// precompressed neighbours are decided here as well once there are some.
    pub(super) fn of(
        representation: &Rc<Representation>,
        content: FileContent,
        ask: &Ask<'_>,
    ) -> FileReply {
        let head = ReplyHead::Representation(Rc::clone(representation));
        match representation.is_not_modified(ask) {
            true => FileReply { status: 304, head, content: FileContent::None },
            false => FileReply { status: 200, head, content },
        }
    }

    /// An error, its name as content.
    pub(super) fn error(status: u16) -> FileReply {
        let head = ReplyHead::Text(String::new());
        let text = Bytes::from_static(error_text(status).as_bytes());
        FileReply { status, head, content: FileContent::Memory(text) }
    }

    pub(super) fn method_not_allowed() -> FileReply {
        let head = ReplyHead::Text("Allow: GET, HEAD\r\n".into());
        FileReply { head, ..FileReply::error(405) }
    }

    /// 301 to the same path with a slash behind it.
    pub(super) fn redirect_to_directory(ask: &Ask<'_>) -> FileReply {
        // `//host/` would lead to another host (RFC 3986 §4.2).
        let path = ask.original_path.trim_start_matches('/');
        let (mark, query) = ask.query.map_or(("", ""), |query| ("?", query));
        let head = ReplyHead::Text(format!("Location: /{path}/{mark}{query}\r\n"));
        FileReply { head, ..FileReply::error(301) }
    }

    /// The content's length, as said in answer to GET and HEAD; 0 if there is none.
    pub(crate) fn content_length(&self) -> u64 {
        match &self.content {
            FileContent::None => 0,
            FileContent::Memory(bytes) => bytes.len() as u64,
            FileContent::File { len, .. } => *len,
        }
    }

    /// Appends the head, including the empty line. `date` is the value of `Date`.
    pub(crate) fn write_head(
        &self,
        out: &mut Vec<u8>,
        version: Version,
        keep_alive: bool,
        date: &str,
    ) {
        match &self.head {
            ReplyHead::Representation(of) if self.status == 304 => {
                out.extend_from_slice(b"HTTP/1.1 304 Not Modified\r\n");
                out.extend_from_slice(&of.head[of.validators..]);
            }
            ReplyHead::Representation(of) => out.extend_from_slice(&of.head),
            ReplyHead::Text(fields) => self.write_text_head(out, fields),
        }
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(date.as_bytes());
        out.extend_from_slice(match (version, keep_alive) {
            (Version::Http11, false) => b"\r\nConnection: close\r\n\r\n",
            (Version::Http10, true) => b"\r\nConnection: keep-alive\r\n\r\n",
            _ => b"\r\n\r\n",
        });
    }

    fn write_text_head(&self, out: &mut Vec<u8>, fields: &str) {
        let line = error_text(self.status).trim_end();
        let length = self.content_length();
        write!(
            out,
            "HTTP/1.1 {line}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\n{fields}"
        )
        .expect("a Vec takes everything");
    }
}

/// A file in one state of its life, ready to be answered with.
#[derive(Debug)]
pub(crate) struct Representation {
    pub(super) stat: Stat,
    /// Status line and fields of a 200; from `validators` on those of a 304 as well.
    head: Vec<u8>,
    validators: usize,
    etag: Range<usize>,
    /// Seconds since 1970, as `Last-Modified` says.
    modified: u64,
}

impl Representation {
    /// `name` decides about the type. `unix_seconds` was the time at most when `stat` was taken.
    pub(super) fn new(
        stat: Stat,
        name: &CStr,
        settings: &Files,
        unix_seconds: u64,
    ) -> Rc<Representation> {
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Type: ");
        push_content_type(&mut head, name);
        push(&mut head, format_args!("\r\nContent-Length: {}\r\n", stat.size));
        let validators = head.len();
        head.extend_from_slice(b"ETag: ");
        let start = head.len();
        push(&mut head, format_args!("\"{:x}-{:x}\"", nanoseconds(stat.mtime), stat.size));
        let etag = start..head.len();
        // Never in the future (RFC 9110 §8.8.2.1).
        let modified = u64::try_from(stat.mtime.0).unwrap_or(0).min(unix_seconds);
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(modified));
        push(&mut head, format_args!("\r\nLast-Modified: {date}\r\n"));
        if let Some(value) = &settings.cache_control {
            push(&mut head, format_args!("Cache-Control: {value}\r\n"));
        }
        head.shrink_to_fit();
        Rc::new(Representation { stat, head, validators, etag, modified })
    }

    /// Bytes of memory held.
    pub(super) fn cost(&self) -> usize {
        size_of::<Representation>() + self.head.len()
    }

    fn is_not_modified(&self, ask: &Ask<'_>) -> bool {
        let etag = &self.head[self.etag.clone()];
        conditional::is_not_modified(etag, self.modified, ask.if_none_match, ask.if_modified_since)
    }
}

fn push_content_type(head: &mut Vec<u8>, name: &CStr) {
    let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let mime = mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream");
    head.extend_from_slice(mime.as_bytes());
    if mime.starts_with("text/") || mime == "application/javascript" {
        head.extend_from_slice(b"; charset=utf-8");
    }
}

fn push(head: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    head.write_fmt(text).expect("a Vec takes everything");
}

/// Since 1970, modulo 2⁶⁴: a file from before has an entity tag too.
fn nanoseconds(time: (i64, u32)) -> u64 {
    (time.0 as u64).wrapping_mul(1_000_000_000).wrapping_add(u64::from(time.1))
}

fn error_text(status: u16) -> &'static str {
    match status {
        301 => "301 Moved Permanently\n",
        403 => "403 Forbidden\n",
        404 => "404 Not Found\n",
        405 => "405 Method Not Allowed\n",
        503 => "503 Service Unavailable\n",
        _ => "500 Internal Server Error\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::FileKind;

    const DATE: &str = "Thu, 01 Jan 1970 00:01:00 GMT";

    fn head(reply: &FileReply, version: Version, keep_alive: bool) -> String {
        let mut out = Vec::new();
        reply.write_head(&mut out, version, keep_alive, DATE);
        String::from_utf8(out).unwrap()
    }

    fn representation(name: &CStr, mtime: (i64, u32)) -> Rc<Representation> {
        let kind = FileKind::Regular;
        let stat = Stat { kind, size: 5, mtime, ctime: mtime, device: 1, inode: 2 };
        Representation::new(stat, name, &Files::new("").cache_control("max-age=9"), 60)
    }

    #[test]
    fn says_what_the_file_is() {
        let content = FileContent::Memory(Bytes::from_static(b"hello"));
        let reply = FileReply::of(&representation(c"a.css", (10, 11)), content, &Ask::default());
        assert_eq!(reply.content_length(), 5);
        assert_eq!(
            head(&reply, Version::Http11, true),
            "HTTP/1.1 200 OK\r\nContent-Type: text/css; charset=utf-8\r\nContent-Length: 5\r\n\
             ETag: \"2540be40b-5\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:10 GMT\r\n\
             Cache-Control: max-age=9\r\nDate: Thu, 01 Jan 1970 00:01:00 GMT\r\n\r\n"
        );
    }

    #[test]
    fn says_only_validators_if_not_modified() {
        let ask = Ask { if_none_match: Some(b"\"2540be40b-5\""), ..Ask::default() };
        let content = FileContent::Memory(Bytes::from_static(b"hello"));
        let reply = FileReply::of(&representation(c"a.css", (10, 11)), content, &ask);
        assert_eq!((reply.status, reply.content_length()), (304, 0));
        assert_eq!(
            head(&reply, Version::Http10, true),
            "HTTP/1.1 304 Not Modified\r\n\
             ETag: \"2540be40b-5\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:10 GMT\r\n\
             Cache-Control: max-age=9\r\nDate: Thu, 01 Jan 1970 00:01:00 GMT\r\n\
             Connection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn any_time_and_any_name_has_a_head() {
        for seconds in [i64::MIN, -1, 0, 61, i64::MAX] {
            let of = representation(c"\xff.\xfe", (seconds, 999_999_999));
            let reply = FileReply::of(&of, FileContent::None, &Ask::default());
            let head = head(&reply, Version::Http11, false);
            assert!(head.contains("Content-Type: application/octet-stream\r\n"));
            assert!(head.contains("Last-Modified: Thu, 01 Jan 1970 00:0"));
            assert!(head.ends_with("Connection: close\r\n\r\n"));
        }
    }

    #[test]
    fn errors_have_text() {
        let reply = FileReply::method_not_allowed();
        assert_eq!(
            head(&reply, Version::Http11, true),
            "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 23\r\nAllow: GET, HEAD\r\nDate: Thu, 01 Jan 1970 00:01:00 GMT\r\n\r\n"
        );
        assert_eq!(reply.content_length(), 23);
    }

    #[test]
    fn redirects_stay_on_this_host() {
        let ask = Ask { original_path: "//evil.example/a", query: Some("q=1"), ..Ask::default() };
        let head = head(&FileReply::redirect_to_directory(&ask), Version::Http11, true);
        assert!(head.contains("\r\nLocation: /evil.example/a/?q=1\r\n"), "{head}");
    }
}
