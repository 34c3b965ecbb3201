//! Heads of answers, to the letter.

use super::super::coding::Coding;
use super::super::settings::Files;
use super::*;
use crate::io::{FileKind, Stat};
use std::ffi::CStr;

const DATE: &str = "Thu, 01 Jan 1970 00:01:00 GMT";

fn head(reply: &FileReply, version: Version, keep_alive: bool) -> String {
    let mut out = Vec::new();
    reply.write_head(&mut out, version, keep_alive, DATE.as_bytes());
    String::from_utf8(out).unwrap()
}

fn ask(lines: &[(&str, &'static str)]) -> Ask<'static> {
    let mut ask = Ask { method: "GET".into(), ..Ask::default() };
    lines.iter().for_each(|(name, value)| ask.fields.add(name, value.as_bytes()));
    ask
}

fn representation(name: &CStr, mtime: (i64, u32)) -> Rc<Representation> {
    let kind = FileKind::Regular;
    let stat = Stat { kind, size: 5, mtime, ctime: mtime, device: 1, inode: 2 };
    let settings = Files::new("").cache_control("max-age=9");
    Representation::new(stat, None, name, Coding::Identity, &settings, 60)
}

#[test]
fn says_what_the_file_is() {
    let content = FileContent::Memory(Bytes::from_static(b"hello"));
    let reply = FileReply::of(&representation(c"a.css", (10, 11)), content, &ask(&[]), 60);
    assert_eq!(reply.content_length(), 5);
    assert_eq!(
        head(&reply, Version::Http11, true),
        "HTTP/1.1 200 OK\r\nContent-Type: text/css; charset=utf-8\r\n\
         Accept-Ranges: bytes\r\nContent-Length: 5\r\n\
         ETag: \"2540be40b-5\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:10 GMT\r\n\
         Cache-Control: max-age=9\r\nDate: Thu, 01 Jan 1970 00:01:00 GMT\r\n\r\n"
    );
}

#[test]
fn says_only_validators_if_not_modified() {
    let ask = ask(&[("If-None-Match", "\"2540be40b-5\"")]);
    let content = FileContent::Memory(Bytes::from_static(b"hello"));
    let reply = FileReply::of(&representation(c"a.css", (10, 11)), content, &ask, 60);
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
        let reply = FileReply::of(&of, FileContent::None, &ask(&[]), 60);
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
        "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD, OPTIONS\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: 23\r\n\
         Date: Thu, 01 Jan 1970 00:01:00 GMT\r\n\r\n"
    );
    assert_eq!(reply.content_length(), 23);
}

#[test]
fn redirects_stay_on_this_host() {
    let ask = Ask {
        original_path: "//evil.example/a".into(),
        query: Some("q=1".into()),
        ..Ask::default()
    };
    let head = head(&FileReply::redirect_to_directory(&ask), Version::Http11, true);
    assert!(head.contains("\r\nLocation: /evil.example/a/?q=1\r\n"), "{head}");
}

#[test]
fn says_which_part_it_is_rfc_9110_15_3_7() {
    let content = || FileContent::Memory(Bytes::from_static(b"hello"));
    let of = |range: &'static str| {
        let ask = ask(&[("Range", range)]);
        let reply = FileReply::of(&representation(c"a.css", (10, 11)), content(), &ask, 60);
        head(&reply, Version::Http11, true)
    };
    assert_eq!(
        of("bytes=-2"),
        "HTTP/1.1 206 Partial Content\r\nContent-Type: text/css; charset=utf-8\r\n\
         Content-Range: bytes 3-4/5\r\nContent-Length: 2\r\n\
         ETag: \"2540be40b-5\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:10 GMT\r\n\
         Cache-Control: max-age=9\r\nDate: Thu, 01 Jan 1970 00:01:00 GMT\r\n\r\n"
    );
    let unsatisfiable = of("bytes=5-");
    assert!(unsatisfiable.starts_with("HTTP/1.1 416 Range Not Satisfiable\r\n"));
    assert!(unsatisfiable.contains("\r\nContent-Range: bytes */5\r\n"), "{unsatisfiable}");
}

#[test]
fn says_how_the_content_is_coded() {
    let stat = representation(c"a.css", (10, 11)).stat;
    let settings = Files::new("").precompressed(true).field("X-A", "b");
    let of = Representation::new(stat, None, c"a.css", Coding::Brotli, &settings, 60);
    let reply = FileReply::of(&of, FileContent::None, &ask(&[]), 60);
    let head = head(&reply, Version::Http11, true);
    for line in [
        "Content-Type: text/css; charset=utf-8",
        "Content-Encoding: br",
        "Vary: Accept-Encoding",
        "ETag: \"2540be40b-5-br\"",
        "X-A: b",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
}

#[test]
fn options_has_no_content_rfc_9110_9_3_7() {
    let head = head(&FileReply::options(), Version::Http11, true);
    assert!(head.starts_with("HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, OPTIONS\r\n"));
    assert!(!head.contains("Content-"), "{head}");
}
