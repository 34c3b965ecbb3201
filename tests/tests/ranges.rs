//! Clients get the parts of files that they ask for, under their conditions.

use forebay_tests::{Client, Response, Site, SiteBuilder, pattern, sha256};

/// Small enough for memory, and too large for it.
const SIZES: [usize; 2] = [10_000, 1_000_000];

#[test]
fn one_part_rfc_9110_15_3_7_1() {
    let site = site().start();
    let mut client = site.client();
    for size in SIZES {
        let content = pattern(size);
        for _ in 0..2 {
            for (range, part) in [
                ("bytes=0-0", 0..1),
                ("bytes=100-4999", 100..5000),
                ("bytes=5000-", 5000..size),
                ("bytes=-10", size - 10..size),
                ("bytes=9999-99999999", 9999..size),
            ] {
                let response = get(&mut client, size, &[("Range", range)]);
                assert_eq!(response.status, 206, "{range}");
                let said = format!("bytes {}-{}/{size}", part.start, part.end - 1);
                assert_eq!(response.field("Content-Range"), Some(said.as_str()));
                assert_eq!(sha256(&response.content), sha256(&content[part]), "{range}");
            }
        }
    }
}

#[test]
fn several_parts_rfc_9110_14_6() {
    let site = site().start();
    let mut client = site.client();
    for size in SIZES {
        let content = pattern(size);
        let response = get(&mut client, size, &[("Range", "bytes=0-9, -5, 5000-8999")]);
        assert_eq!(response.status, 206);
        assert_eq!(response.field("Content-Range"), None);
        let whole_type = response.field("Content-Type").unwrap();
        let boundary = whole_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let parts = parts(&response.content, boundary);
        let expected = [0..10, size - 5..size, 5000..9000].map(|part| {
            let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            (range, content[part].to_vec())
        });
        assert_eq!(parts, expected);
        let again = get(&mut client, size, &[("Range", "bytes=0-9,-5")]);
        assert_ne!(
            again.field("Content-Type"),
            Some(whole_type),
            "boundaries are not known before"
        );
    }
}

#[test]
fn what_cannot_be_had_is_said_and_what_is_too_much_is_ignored() {
    let site = site().start();
    let mut client = site.client();
    let missing = get(&mut client, SIZES[0], &[("Range", "bytes=10000-")]);
    assert_eq!((missing.status, missing.field("Content-Range")), (416, Some("bytes */10000")));
    let many: Vec<_> = (0..17).map(|nth| format!("{0}-{0}", nth * 500)).collect();
    let many = format!("bytes={}", many.join(","));
    for range in ["bytes=0-,0-", "bytes=x", "lines=0-1", "bytes=5-1", &many] {
        let whole = get(&mut client, SIZES[0], &[("Range", range)]);
        assert_eq!((whole.status, whole.content.len()), (200, SIZES[0]), "{range}");
    }
    let joined = get(&mut client, SIZES[0], &[("Range", "bytes=0-99,50-199,200-299")]);
    assert_eq!(joined.field("Content-Range"), Some("bytes 0-299/10000"));
    client.send("HEAD /f/10000 HTTP/1.1\r\nHost: test\r\nRange: bytes=0-9\r\n\r\n");
    let head = client.read_response_to_head();
    assert_eq!((head.status, head.field("Content-Length")), (200, Some("10000")));
    assert_eq!(head.field("Accept-Ranges"), Some("bytes"));
}

#[test]
fn conditions_come_before_ranges_rfc_9110_13_2_2() {
    let site = site().start();
    let mut client = site.client();
    let first = get(&mut client, SIZES[0], &[]);
    let (tag, date) = (first.field("ETag").unwrap(), first.field("Last-Modified").unwrap());
    let (old, range) = ("Sun, 06 Nov 1994 08:49:37 GMT", ("Range", "bytes=0-9"));
    for (fields, status) in [
        (&[("If-Match", tag), range][..], 206),
        (&[("If-Match", "\"x\""), range], 412),
        (&[("If-Match", "\"x\""), ("If-None-Match", tag)], 412),
        (&[("If-Unmodified-Since", old)], 412),
        (&[("If-Match", "*"), ("If-Unmodified-Since", old)], 200),
        (&[("If-Unmodified-Since", date), range], 206),
        (&[("If-None-Match", tag), range], 304),
        (&[("If-None-Match", "\"x\""), ("If-None-Match", tag)], 304),
        (&[("If-Range", tag), range], 206),
        (&[("If-Range", "\"x\""), range], 200),
        (&[("If-Range", &format!("W/{tag}")), range], 200),
        (&[("If-Range", old), range], 200),
    ] {
        let response = get(&mut client, SIZES[0], fields);
        assert_eq!(response.status, status, "{fields:?}");
    }
}

#[test]
fn options_and_405_say_what_is_allowed_rfc_9110_10_2_1() {
    let site = site().start();
    let mut client = site.client();
    for (method, status) in [("OPTIONS", 204), ("DELETE", 405), ("OPTIONS", 204)] {
        let request = format!("{method} /f/10000 HTTP/1.1\r\nHost: test\r\n\r\n");
        let response = client.exchange(request);
        assert_eq!(
            (response.status, response.field("Allow")),
            (status, Some("GET, HEAD, OPTIONS"))
        );
    }
    assert_eq!(get(&mut client, SIZES[0], &[]).status, 200);
}

fn site() -> SiteBuilder {
    SIZES.into_iter().fold(Site::builder().files("/f/", "f"), |site, size| {
        site.file(&format!("f/{size}"), pattern(size))
    })
}

fn get(client: &mut Client, size: usize, fields: &[(&str, &str)]) -> Response {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    client.exchange(format!("GET /f/{size} HTTP/1.1\r\nHost: test\r\n{lines}\r\n"))
}

/// `Content-Range` and content of each part.
fn parts(content: &[u8], boundary: &str) -> Vec<(String, Vec<u8>)> {
    let find = |rest: &[u8], what: &str| {
        rest.windows(what.len()).position(|window| window == what.as_bytes())
    };
    let (delimiter, mut rest) = (format!("\r\n--{boundary}"), content);
    let mut parts = Vec::new();
    assert_eq!(find(rest, &delimiter), Some(0));
    rest = &rest[delimiter.len()..];
    while let Some(head) = rest.strip_prefix(b"\r\n") {
        let end = find(head, "\r\n\r\n").expect("a part has a head");
        let fields = std::str::from_utf8(&head[..end]).expect("a part has its fields");
        assert!(fields.contains("Content-Type: application/octet-stream"), "{fields}");
        let range = fields
            .lines()
            .find_map(|line| line.strip_prefix("Content-Range: "))
            .expect("a part has its fields");
        let body = &head[end + 4..];
        let end = find(body, &delimiter).expect("a part ends");
        parts.push((range.to_owned(), body[..end].to_vec()));
        rest = &body[end + delimiter.len()..];
    }
    assert_eq!(rest, b"--\r\n");
    parts
}
