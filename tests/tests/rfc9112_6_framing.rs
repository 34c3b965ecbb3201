//! RFC 9112 §6: how long the content of a request is, beyond doubt.

use forebay_tests::Strict;

fn framed(fields: &str, content: &str) -> String {
    format!("POST /once/bad HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{content}")
}

/// §6.1, §6.3 (3): both a length and a coding "ought to be handled as an error".
#[test]
fn a_length_and_a_coding_are_refused_rfc_9112_6_1() {
    let mut edge = Strict::edge();
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nB: c\r\nTRANSFER-ENCODING: CHUNKED",
        "Connection: Content-Length\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        "Connection: Transfer-Encoding\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
    ] {
        edge.refuses(format_args!("{fields:?}"), framed(fields, "0\r\n\r\n"), 400);
    }
    edge.finish();
}

/// §6.1, §6.3 (4): what is not exactly `chunked` ends in doubt.
#[test]
fn a_coding_is_exactly_chunked_rfc_9112_6_1() {
    let mut edge = Strict::edge();
    for coding in [
        "",
        ",chunked",
        "chunked,",
        ", chunked",
        "chunked, chunked",
        "chunked, identity",
        "chunked, gzip",
        "chunked;q=1",
        "chunked ;",
        "\"chunked\"",
        "chunked chunked",
        "chunk ed",
        "\x0bchunked",
        "chunked\x0b",
        "\x0cchunked",
        "\u{a0}chunked",
        "chunked\u{a0}",
        "chunked\0",
        "chunked\x7f",
        "=chunked",
        "gzip;chunked",
    ] {
        let fields = format!("Transfer-Encoding: {coding}");
        edge.refuses(format_args!("{coding:?}"), framed(&fields, "0\r\n\r\n"), 400);
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked";
    edge.refuses("two lines", framed(twice, "0\r\n\r\n"), 400);
    let other = "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity";
    edge.refuses("another line", framed(other, "0\r\n\r\n"), 400);
    edge.finish();
}

/// §6.1: "SHOULD respond with 501".
#[test]
fn unknown_codings_are_501_rfc_9112_6_1() {
    let mut edge = Strict::edge();
    for coding in [
        "gzip",
        "identity",
        "xchunked",
        "'chunked'",
        "x-chunked",
        "chunkedx",
        "chunke",
        "c",
        "gzip, chunked",
        "identity, chunked",
        "gzip,chunked",
    ] {
        let fields = format!("Transfer-Encoding: {coding}");
        edge.refuses(format_args!("{coding:?}"), framed(&fields, "0\r\n\r\n"), 501);
    }
    let first = "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked";
    edge.refuses("on a first line", framed(first, "0\r\n\r\n"), 501);
    edge.finish();
}

/// §6.1: a coding in HTTP/1.0 means that "the framing is faulty".
#[test]
fn old_requests_have_no_coding_rfc_9112_6_1() {
    let mut edge = Strict::edge();
    for fields in ["", "Connection: keep-alive\r\n", "Host: a\r\n"] {
        let head = format!("POST /once/bad HTTP/1.0\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
        edge.refuses(format_args!("{fields:?}"), head + "0\r\n\r\n", 400);
    }
    edge.finish();
}

/// A name that some take for the coding's, and that we do not: no content follows then.
#[test]
fn names_like_the_codings_are_none_rfc_9112_6_1() {
    let mut edge = Strict::edge();
    for name in
        ["Transfer_Encoding", "Transfer.Encoding", "TransferEncoding", "X-Transfer-Encoding"]
    {
        let request = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{name}: chunked\r\n\r\n");
        edge.serves(name, request, b"");
    }
    let masked = "Content_Length: 50\r\nContent-Length: 1";
    let request = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{masked}\r\n\r\nx");
    edge.serves("Content_Length", request, b"x");
    edge.finish();
}

/// RFC 9110 §8.6: digits, and nothing else.
#[test]
fn lengths_are_digits_rfc_9110_8_6() {
    let mut edge = Strict::edge();
    for length in [
        "",
        " ",
        "+1",
        "-1",
        "-0",
        "0x1",
        "1 1",
        "1,",
        ",1",
        "1;",
        "1.0",
        "1e0",
        "\"1\"",
        "1\x0b",
        "1\0",
        "1\u{a0}",
        "\u{661}",
        "a",
        "1a",
        "0b1",
        "1_0",
        "'1'",
        "99999999999999999999",
        "18446744073709551617",
        "10000000000000000000",
    ] {
        let fields = format!("Content-Length: {length}");
        edge.refuses(format_args!("{length:?}"), framed(&fields, "a"), 400);
    }
    edge.refuses("beyond content_max", framed("Content-Length: 9999999999999999999", "a"), 413);
    for length in ["1", "01", "0000000000000000001"] {
        let request =
            format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nx");
        edge.serves(length, request, b"x");
    }
    edge.finish();
}

/// §6.3 (5): repeated lengths may be merged if they are equal; we refuse them all.
#[test]
fn there_is_one_length_rfc_9112_6_3() {
    let mut edge = Strict::edge();
    for fields in [
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nB: c\r\ncontent-length: 1",
        "Content-Length: 1, 1",
        "Content-Length: 1,1",
        "Content-Length: 1, 2",
        "Content-Length: 1\r\nContent-Length:",
    ] {
        edge.refuses(format_args!("{fields:?}"), framed(fields, "ab"), 400);
    }
    edge.finish();
}

/// RFC 9110 §9.3.1: content of a GET has no meaning, and an end all the same.
#[test]
fn content_belongs_to_its_request_whatever_the_method_rfc_9110_9_3_1() {
    let mut edge = Strict::edge();
    let smuggled = "GET /once/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for method in ["GET", "DELETE", "OPTIONS", "POST", "BREW"] {
        let length = smuggled.len();
        let head =
            format!("{method} /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        edge.serves(method, head + smuggled, smuggled.as_bytes());
        let head = format!("{method} /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n");
        let chunk = format!("\r\n{length:x}\r\n{smuggled}\r\n0\r\n\r\n");
        edge.serves(format_args!("{method}, chunked"), head + &chunk, smuggled.as_bytes());
    }
    edge.finish();
}
