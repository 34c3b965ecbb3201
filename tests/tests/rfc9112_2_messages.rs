//! RFC 9112 §2: where lines and heads end, and which versions there are.

use forebay_tests::Strict;

/// §2.2: "a recipient MAY recognize a single LF as a line terminator": we do not.
#[test]
fn a_line_feed_alone_ends_no_line_rfc_9112_2_2() {
    let mut edge = Strict::edge();
    for (what, request) in [
        ("behind the request line", "GET /once/bad HTTP/1.1\nHost: a\r\n\r\n"),
        ("behind a field", "GET /once/bad HTTP/1.1\r\nHost: a\nB: c\r\n\r\n"),
        ("behind the last field", "GET /once/bad HTTP/1.1\r\nHost: a\n\r\n"),
        ("at the end", "GET /once/bad HTTP/1.1\r\nHost: a\r\n\n"),
        ("everywhere", "GET /once/bad HTTP/1.1\nHost: a\n\n"),
        ("before the request line", "\nGET /once/bad HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("in a value", "GET /once/bad HTTP/1.1\r\nHost: a\r\nB: c\nd\r\n\r\n"),
        ("in a name", "GET /once/bad HTTP/1.1\r\nHost: a\r\nB\nc: d\r\n\r\n"),
        ("in the target", "GET /once/bad\n HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "before a field about framing",
            "POST /once/bad HTTP/1.1\r\nHost: a\r\nB: c\nContent-Length: 3\r\n\r\nabc",
        ),
    ] {
        edge.refuses(what, request, 400);
    }
    edge.finish();
}

/// §2.2: a bare CR is "invalid" or becomes SP: it is invalid.
#[test]
fn a_carriage_return_alone_is_refused_rfc_9112_2_2() {
    let mut edge = Strict::edge();
    for (what, request) in [
        ("in a value", "GET /once/bad HTTP/1.1\r\nHost: a\r\nB: c\rd\r\n\r\n"),
        ("at the end of a value", "GET /once/bad HTTP/1.1\r\nHost: a\r\nB: c\r\r\n\r\n"),
        ("in a name", "GET /once/bad HTTP/1.1\r\nHost: a\r\nB\rc: d\r\n\r\n"),
        ("for a line end", "GET /once/bad HTTP/1.1\rHost: a\r\n\r\n"),
        ("before a line end", "GET /once/bad HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        ("in the method", "G\rET /once/bad HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("in the target", "GET /once/\rbad HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("in the version", "GET /once/bad HTTP/1\r.1\r\nHost: a\r\n\r\n"),
        ("for a space", "GET\r/once/bad HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("before the request line", "\r\rGET /once/bad HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("before the end", "GET /once/bad HTTP/1.1\r\nHost: a\r\n\r\r\n"),
        (
            "before a field about framing",
            "POST /once/bad HTTP/1.1\r\nHost: a\r\nB: c\rContent-Length: 3\r\n\r\nabc",
        ),
    ] {
        edge.refuses(what, request, 400);
    }
    edge.finish();
}

/// §2.2: at least one empty line before the request line is ignored; only one is.
#[test]
fn one_empty_line_may_come_first_rfc_9112_2_2() {
    let mut edge = Strict::edge();
    edge.serves("one", "\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n", b"");
    edge.serves(
        "between two",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab\r\n",
        b"ab",
    );
    edge.refuses("two", "\r\n\r\nGET /once/bad HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    edge.refuses("a space", " \r\nGET /once/bad HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    edge.finish();
}

/// §2.2: white space between the request line and the first field: refuse, or lose those lines.
#[test]
fn no_space_comes_before_the_first_field_rfc_9112_2_2() {
    let mut edge = Strict::edge();
    for space in [" ", "\t", " \t ", "\x0b", "\x0c", "\u{a0}"] {
        let request = format!("GET /once/bad HTTP/1.1\r\n{space}Host: a\r\n\r\n");
        edge.refuses(format_args!("{space:?}"), request, 400);
        let request = format!("GET /once/bad HTTP/1.1\r\n{space}B: c\r\nHost: a\r\n\r\n");
        edge.refuses(format_args!("{space:?} before Host"), request, 400);
    }
    edge.finish();
}

/// §2.3: the version is eight octets and "case-sensitive".
#[test]
fn versions_are_exact_rfc_9112_2_3() {
    let mut edge = Strict::edge();
    for version in [
        "http/1.1",
        "Http/1.1",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/1.1.1",
        "HTTP/1.10",
        "HTTP/11",
        "HTTP/1,1",
        "HTTP 1.1",
        "HTTP/ 1.1",
        "HTTP/01.1",
        "HTTP/+1.1",
        "HTTP/1.1x",
        "HTTPS/1.1",
        "XTTP/1.1",
        "HTTP\\1.1",
        "HTTP/1.\u{661}",
        "HTTP/1.1\t",
        "HTTP/1.1 ",
    ] {
        let request = format!("GET /once/bad {version}\r\nHost: a\r\n\r\n");
        edge.refuses(format_args!("{version:?}"), request, 400);
    }
    edge.finish();
}

/// RFC 9110 §15.6.6, and the connection preface of RFC 9113 §3.4.
#[test]
fn other_versions_are_505_rfc_9110_15_6_6() {
    let mut edge = Strict::edge();
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9"] {
        let request = format!("GET /once/bad {version}\r\nHost: a\r\n\r\n");
        edge.refuses(version, request, 505);
    }
    edge.refuses("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    edge.refuses("HTTP/0.9", "GET /once/bad\r\n\r\n", 400);
    edge.finish();
}

/// What is no HTTP at all is refused at its first byte, without waiting for more.
#[test]
fn other_protocols_are_refused_at_once_rfc_9112_2_1() {
    let site = Strict::edge();
    for hello in [&b"\x16\x03\x01\x02\x00"[..], b"\x80\x2e\x01", b"\0", b"\xff", b"{", b"(", b" "] {
        let mut client = site.site().client();
        let response = client.exchange(hello);
        assert_eq!(response.status, 400, "{}", hello.escape_ascii());
        assert!(response.closes());
        client.half_close();
        assert_eq!(client.read_to_end(), b"");
    }
    site.finish();
}
