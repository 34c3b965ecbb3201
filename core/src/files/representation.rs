//! A file in one state of its life, ready to be answered with.
//!
//! Owns the fields that describe it. Must not know requests.

use super::coding::Coding;
use super::conditional::Validators;
use super::settings::Files;
use crate::io::Stat;
use std::ffi::CStr;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Representation {
    pub(super) stat: Stat,
    /// Status line and fields of a 200.
    head: Vec<u8>,
    /// Of `head`: what describes the content, in 206 as well.
    content_lines: Range<usize>,
    /// From here on `head` is also that of a 304.
    validators: usize,
    etag: Range<usize>,
    /// Seconds since 1970, as `Last-Modified` says.
    modified: u64,
}

impl Representation {
    /// `content` is all of it, if it is known. `name` is the file's without a coding's suffix.
    /// `unix_seconds` was the time at most when `stat` was taken.
    pub(super) fn new(
        stat: Stat,
        content: Option<&[u8]>,
        name: &CStr,
        coding: Coding,
        settings: &Files,
        unix_seconds: u64,
    ) -> Rc<Representation> {
        let name = name.to_string_lossy();
        let (cache_control, fields) = settings.headers_for(&name);
        let is_type = |name: &str| name.eq_ignore_ascii_case("Content-Type");
        let set_type = fields.iter().find(|(name, _)| is_type(name)).map(|(_, value)| value);
        let mut head = Vec::with_capacity(512);
        head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        let start = head.len();
        match set_type {
            Some(value) => push(&mut head, format_args!("Content-Type: {value}\r\n")),
            None => push_content_type(&mut head, &name),
        }
        if coding != Coding::Identity {
            push(&mut head, format_args!("Content-Encoding: {}\r\n", coding.name()));
        }
        let content_lines = start..head.len();
        push(&mut head, format_args!("Accept-Ranges: bytes\r\nContent-Length: {}\r\n", stat.size));
        let validators = head.len();
        head.extend_from_slice(b"ETag: ");
        let start = head.len();
        push_etag(&mut head, &stat, content, coding);
        let etag = start..head.len();
        // Never in the future (RFC 9110 §8.8.2.1).
        let modified = u64::try_from(stat.mtime.0).unwrap_or(0).min(unix_seconds);
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(modified));
        push(&mut head, format_args!("\r\nLast-Modified: {date}\r\n"));
        if let Some(value) = cache_control {
            push(&mut head, format_args!("Cache-Control: {value}\r\n"));
        }
        if settings.precompressed {
            // Also where there is no coded neighbour: one may come.
            head.extend_from_slice(b"Vary: Accept-Encoding\r\n");
        }
        for (name, value) in fields.iter().filter(|(name, _)| !is_type(name)) {
            push(&mut head, format_args!("{name}: {value}\r\n"));
        }
        head.shrink_to_fit();
        Rc::new(Representation { stat, head, content_lines, validators, etag, modified })
    }

    /// Status line and fields of a 200, without what changes from answer to answer.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The field lines that describe the content.
    pub(super) fn content_lines(&self) -> &[u8] {
        &self.head[self.content_lines.clone()]
    }

    /// The field lines of a 304, which 206 has, too.
    pub(super) fn validator_lines(&self) -> &[u8] {
        &self.head[self.validators..]
    }

    pub(super) fn validators(&self) -> Validators<'_> {
        Validators { etag: &self.head[self.etag.clone()], modified: self.modified }
    }

    /// Bytes of memory held.
    pub(super) fn cost(&self) -> usize {
        size_of::<Representation>() + self.head.len()
    }
}

fn push_content_type(head: &mut Vec<u8>, name: &str) {
    let mime = media_type(Path::new(name));
    // XML says its encoding itself, and would be overridden (RFC 7303 §3).
    let is_xml = mime.ends_with("/xml") || mime.ends_with("+xml");
    let is_text = mime.starts_with("text/") || mime == "application/javascript";
    let charset = if is_text && !is_xml { "; charset=utf-8" } else { "" };
    push(head, format_args!("Content-Type: {mime}{charset}\r\n"));
}

/// What the name suggests. Players know the streams of HLS only by their registered types
/// (RFC 8216 §4).
fn media_type(name: &Path) -> &'static str {
    let is = |extension| name.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension));
    match () {
        () if is("m3u8") => "application/vnd.apple.mpegurl",
        () if is("ts") => "video/mp2t",
        () => mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream"),
    }
}

/// What is known to change with the content, size and coding. Modification times are fixed by
/// reproducible builds, and tools that compress keep them.
fn push_etag(head: &mut Vec<u8>, stat: &Stat, content: Option<&[u8]>, coding: Coding) {
    let version = content.map_or_else(|| nanoseconds(stat.mtime), hash);
    push(head, format_args!("\"{version:x}-{:x}", stat.size));
    if coding != Coding::Identity {
        push(head, format_args!("-{}", coding.name()));
    }
    head.push(b'"');
}

/// Since 1970, modulo 2⁶⁴: a file from before has an entity tag too.
fn nanoseconds(time: (i64, u32)) -> u64 {
    (time.0 as u64).wrapping_mul(1_000_000_000).wrapping_add(u64::from(time.1))
}

/// The same on all machines and in all versions, so that their tags are, too. A word at a time, by
/// a multiplication of which both halves count, as wyhash does it: whoever reads a file waits for
/// it, and so do others.
fn hash(content: &[u8]) -> u64 {
    let step = |hash: u64, word: [u8; 8]| {
        let product = u128::from(hash ^ u64::from_le_bytes(word)) * 0x9e37_79b9_7f4a_7c15;
        product as u64 ^ (product >> 64) as u64
    };
    let (words, rest) = content.as_chunks();
    let hash = words.iter().fold(content.len() as u64, |hash, &word| step(hash, word));
    if rest.is_empty() {
        return hash;
    }
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    step(hash, word)
}

pub(super) fn push(head: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    head.write_fmt(text).expect("a Vec takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content_type(name: &str) -> String {
        let mut head = Vec::new();
        push_content_type(&mut head, name);
        let line = String::from_utf8(head).unwrap();
        line.strip_prefix("Content-Type: ").unwrap().trim_end().to_owned()
    }

    #[test]
    fn the_hash_stays_the_same_and_sees_every_byte() {
        let expected = [
            (&b""[..], 0),
            (b"a", 0x54cd_a58f_bbee_87db),
            (b"12345678", 0x6db4_b281_b01e_5b9a),
            (b"123456789", 0xfc27_f99a_d4e3_ae20),
        ];
        for (content, expected) in expected {
            assert_eq!(hash(content), expected, "{content:?}");
        }
        let content = [7; 100];
        let mut seen = std::collections::HashSet::from([hash(&content)]);
        for (at, bit) in (0..100).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut other = content;
            other[at] ^= 1 << bit;
            assert!(seen.insert(hash(&other)), "bit {bit} of {at}");
        }
        assert!(seen.insert(hash(&content[..99])) && seen.insert(hash(&[7; 101])));
    }

    #[test]
    fn types_are_those_that_names_suggest() {
        for (name, expected) in [
            ("a/b.html", "text/html; charset=utf-8"),
            ("b.js", "text/javascript; charset=utf-8"),
            ("b.json", "application/json"),
            ("feed.xml", "text/xml"),
            ("b.svg", "image/svg+xml"),
            ("live/list.m3u8", "application/vnd.apple.mpegurl"),
            ("live/00001.ts", "video/mp2t"),
            ("live/00001.TS", "video/mp2t"),
            ("ts", "application/octet-stream"),
            ("b", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), expected, "{name}");
        }
    }
}
