//! Doubtful requests are refused and never reach an application; what the RFC allows is served.

use forebay_tests::{Client, Site};
use std::fs;

/// Section, what is wrong, request, status of the answer.
type Refused = (&'static str, &'static str, &'static str, u16);

/// Heads that are refused whatever follows.
#[rustfmt::skip]
const HEADS: &[Refused] = &[
    ("9112 §2.2", "a bare LF ends a line",
     "GET /once/bad HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("9112 §2.2", "bare LFs end all lines",
     "GET /once/bad HTTP/1.1\nHost: a\n\n", 400),
    ("9112 §2.2", "a bare CR in a value",
     "GET /once/bad HTTP/1.1\r\nHost: a\r\nB: c\rd\r\n\r\n", 400),
    ("9112 §2.2", "space before the first field",
     "GET /once/bad HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("9112 §3", "two spaces",
     "GET  /once/bad HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 §3", "no target",
     "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 §3", "no version",
     "GET /once/bad\r\nHost: a\r\n\r\n", 400),
    ("9112 §3", "a method that is no token",
     "G(T /once/bad HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 §2.3", "a lower-case version",
     "GET /once/bad http/1.1\r\nHost: a\r\n\r\n", 400),
    ("9110 §15.6.6", "a major version to come",
     "GET /once/bad HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("9112 §3.2", "no Host",
     "GET /once/bad HTTP/1.1\r\nA: b\r\n\r\n", 400),
    ("9112 §3.2", "two Hosts",
     "GET /once/bad HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("9112 §3.2", "a Host that is none",
     "GET /once/bad HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("9110 §4.2.4", "user information in Host",
     "GET /once/bad HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    ("9112 §3.2.2", "another authority than Host",
     "GET http://b/once/bad HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 §3.2", "a fragment",
     "GET /once/bad#y HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 §3.2", "a target without slash",
     "GET once/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("3986 §5.2.4", "a path above the root",
     "GET /../once/bad HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 §5.1", "space before the colon",
     "GET /once/bad HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ("9112 §5", "no colon",
     "GET /once/bad HTTP/1.1\r\nHost: a\r\nabc\r\n\r\n", 400),
    ("9112 §5", "no field name",
     "GET /once/bad HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
    ("9112 §5.2", "a folded line",
     "GET /once/bad HTTP/1.1\r\nHost: a\r\nB: c\r\n d\r\n\r\n", 400),
    ("9110 §5.5", "NUL in a value",
     "GET /once/bad HTTP/1.1\r\nHost: a\r\nB: c\0d\r\n\r\n", 400),
    ("9110 §5.5", "BEL in a value",
     "GET /once/bad HTTP/1.1\r\nHost: a\r\nB: \x07\r\n\r\n", 400),
    ("9110 §10.1.1", "another expectation",
     "POST /once/bad HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 1\r\n\r\na", 417),
];

/// Section, what is wrong, fields that frame the content, content, status of the answer.
type RefusedContent = (&'static str, &'static str, &'static str, &'static str, u16);

/// Requests whose content is framed in a doubtful way.
#[rustfmt::skip]
const FRAMINGS: &[RefusedContent] = &[
    ("9112 §6.1", "a length and a coding",
     "Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 400),
    ("9112 §6.3", "two lengths",
     "Content-Length: 1\r\nContent-Length: 2", "ab", 400),
    ("9112 §6.3", "two equal lengths",
     "Content-Length: 1\r\nContent-Length: 1", "a", 400),
    ("9112 §6.3", "a list of lengths",
     "Content-Length: 1, 1", "a", 400),
    ("9110 §8.6", "a sign",
     "Content-Length: +1", "a", 400),
    ("9110 §8.6", "a negative length",
     "Content-Length: -1", "a", 400),
    ("9110 §8.6", "a hexadecimal length",
     "Content-Length: 0x1", "a", 400),
    ("9110 §8.6", "two numbers",
     "Content-Length: 1 1", "a", 400),
    ("9110 §8.6", "an empty length",
     "Content-Length: ", "a", 400),
    ("9110 §8.6", "a length beyond all numbers",
     "Content-Length: 99999999999999999999", "a", 400),
    ("9112 §6.1", "an unknown coding",
     "Transfer-Encoding: gzip", "0\r\n\r\n", 501),
    ("9112 §6.1", "a coding before chunked",
     "Transfer-Encoding: gzip, chunked", "0\r\n\r\n", 501),
    ("9112 §6.1", "chunked twice",
     "Transfer-Encoding: chunked, chunked", "0\r\n\r\n", 400),
    ("9112 §6.1", "chunked on two lines",
     "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 400),
    ("9112 §6.1", "a coding after chunked",
     "Transfer-Encoding: chunked, gzip", "0\r\n\r\n", 400),
    ("9112 §6.1", "a coding with a vertical tab",
     "Transfer-Encoding: \x0bchunked", "0\r\n\r\n", 400),
    ("9112 §7.1", "a chunk size that is none",
     "Transfer-Encoding: chunked", "g\r\na\r\n0\r\n\r\n", 400),
    ("9112 §7.1", "a chunk size with prefix",
     "Transfer-Encoding: chunked", "0x1\r\na\r\n0\r\n\r\n", 400),
    ("9112 §7.1", "a signed chunk size",
     "Transfer-Encoding: chunked", "+1\r\na\r\n0\r\n\r\n", 400),
    ("9112 §7.1", "no chunk size",
     "Transfer-Encoding: chunked", "\r\na\r\n0\r\n\r\n", 400),
    ("9112 §7.1", "a chunk size beyond all numbers",
     "Transfer-Encoding: chunked", "fffffffffffffffff\r\na", 400),
    ("9112 §7.1", "a bare LF after the chunk size",
     "Transfer-Encoding: chunked", "1\na\r\n0\r\n\r\n", 400),
    ("9112 §7.1", "a chunk longer than its size",
     "Transfer-Encoding: chunked", "1\r\nab\r\n0\r\n\r\n", 400),
    ("9112 §7.1", "a bare LF after a chunk",
     "Transfer-Encoding: chunked", "1\r\na\n0\r\n\r\n", 400),
    ("9112 §7.1.2", "a trailer without colon",
     "Transfer-Encoding: chunked", "0\r\nabc\r\n\r\n", 400),
];

/// What the standard allows, however odd, and what the application then sees of it as content.
#[rustfmt::skip]
const ACCEPTED: &[(&str, &str, &str, &str)] = &[
    ("9112 §2.2", "an empty line before the request",
     "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
    ("9112 §3.2.2", "the absolute form",
     "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", ""),
    ("9110 §5.1", "names in any case",
     "POST / HTTP/1.1\r\nhOST: a\r\ncOnTeNt-LeNgTh: 2\r\n\r\nab", "ab"),
    ("9112 §5", "no space around values",
     "POST / HTTP/1.1\r\nHost:a\r\nContent-Length:2\r\n\r\nab", "ab"),
    ("9112 §5", "much space around values",
     "POST / HTTP/1.1\r\nHost: \t a \t\r\nContent-Length:  2  \r\n\r\nab", "ab"),
    ("9110 §5.5", "an empty value",
     "GET / HTTP/1.1\r\nHost: a\r\nB:\r\n\r\n", ""),
    ("9110 §5.5", "bytes beyond ASCII in a value",
     "GET / HTTP/1.1\r\nHost: a\r\nB: \u{e9}\r\n\r\n", ""),
    ("9112 §7", "a coding in any case",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n\
      2\r\nab\r\n0\r\n\r\n", "ab"),
    ("9112 §7.1", "chunk sizes with zeros and capitals",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
      000A\r\n0123456789\r\n00\r\n\r\n", "0123456789"),
    ("9112 §7.1.1", "chunk extensions",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
      2;a=b;c=\"d\"\r\nab\r\n0;e\r\n\r\n", "ab"),
    ("9112 §7.1.2", "trailers",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
      2\r\nab\r\n0\r\nA: b\r\n\r\n", "ab"),
    ("9110 §9.1", "an unknown method",
     "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
];

#[test]
fn doubtful_heads_are_refused() {
    let cases = HEADS.iter().map(|(section, what, request, status)| {
        (format!("RFC {section}: {what}"), (*request).to_owned(), *status)
    });
    assert_refused(cases.collect());
}

#[test]
fn doubtful_framing_is_refused() {
    let cases = FRAMINGS.iter().map(|(section, what, fields, content, status)| {
        let request = format!("POST /once/bad HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{content}");
        (format!("RFC {section}: {what}"), request, *status)
    });
    assert_refused(cases.collect());
}

/// RFC 9112 §6.1: HTTP/1.0 knows no transfer codings.
#[test]
fn a_coding_is_refused_from_an_old_client() {
    let request = "POST /once/bad HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   0\r\n\r\n";
    assert_refused(vec![("RFC 9112 §6.1".into(), request.into(), 400)]);
}

#[test]
fn what_the_standard_allows_is_served() {
    let site = Site::with_app("echo", 1);
    let mut offences = Vec::new();
    for (section, what, request, content) in ACCEPTED {
        let mut client = site.client();
        client.send(request);
        let seen = client.try_response(false).map(|response| {
            let content = (response.status == 200).then(|| decoded(&response.json()));
            (response.status, content.unwrap_or_default())
        });
        if seen != Ok((200, content.as_bytes().to_vec())) {
            offences.push(format!("RFC {section}: {what}: {seen:?}"));
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

/// Each request is refused with its status, in a readable answer that ends the connection; neither
/// it nor what follows it is executed.
fn assert_refused(cases: Vec<(String, String, u16)>) {
    let site = Site::builder()
        .app("probe", 1)
        .limit("client_body_timeout = \"2s\"")
        .path_variable("PROBE_LOG", "log")
        .start();
    let mut offences = Vec::new();
    for (name, request, status) in cases {
        let followed = request + "GET /once/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        if let Err(offence) = refusal(site.client(), &followed, status) {
            offences.push(format!("{name}: {offence}"));
        }
    }
    assert_eq!(site.client().get("/once/good").status, 200);
    let log = fs::read_to_string(site.path("log")).unwrap_or_default();
    if log.trim() != "good" {
        offences.push(format!("executed: {log:?}"));
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

fn refusal(mut client: Client, request: &str, status: u16) -> Result<(), String> {
    client.try_send(request).map_err(|failure| failure.to_string())?;
    let response = client.try_response(false).map_err(|failure| failure.to_string())?;
    if response.status != status {
        return Err(format!("status {}, not {status}", response.status));
    }
    if response.field("Connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")) {
        return Err(format!("no Connection: close in {:?}", response.fields));
    }
    client.half_close();
    match client.try_response(false) {
        Err(forebay_tests::Failure::Closed) => Ok(()),
        other => Err(format!("after the answer: {other:?}")),
    }
}

fn decoded(echo: &serde_json::Value) -> Vec<u8> {
    use base64::Engine;
    let content = echo["content"].as_str().unwrap_or_default();
    base64::engine::general_purpose::STANDARD.decode(content).unwrap_or_default()
}
