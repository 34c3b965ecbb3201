//! RFC 9112 §5, RFC 9110 §5: field lines, names and values.

use forebay_tests::Strict;

#[test]
fn no_space_comes_before_the_colon_rfc_9112_5_1() {
    let mut edge = Strict::edge();
    for space in [" ", "\t", "  ", "\x0b", "\u{a0}"] {
        let host = format!("GET /once/bad HTTP/1.1\r\nHost{space}: a\r\n\r\n");
        edge.refuses(format_args!("Host, {space:?}"), host, 400);
        for field in ["Content-Length", "Transfer-Encoding", "B"] {
            let value = if field == "Transfer-Encoding" { "chunked" } else { "1" };
            let request = format!(
                "POST /once/bad HTTP/1.1\r\nHost: a\r\n{field}{space}: {value}\r\n\r\n0\r\n\r\n"
            );
            edge.refuses(format_args!("{field}, {space:?}"), request, 400);
        }
    }
    edge.finish();
}

#[test]
fn field_lines_have_a_name_and_a_colon_rfc_9112_5() {
    let mut edge = Strict::edge();
    for line in ["abc", "abc def", ":", ": b", " : b", "abc\r\nB: c", "GET / HTTP/1.1", "\0"] {
        let request = format!("GET /once/bad HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
        edge.refuses(format_args!("{line:?}"), request, 400);
    }
    edge.finish();
}

/// §5.2: "reject the message … with a 400".
#[test]
fn folded_lines_are_refused_rfc_9112_5_2() {
    let mut edge = Strict::edge();
    for fold in [
        "B: c\r\n d",
        "B: c\r\n\td",
        "B:\r\n c",
        "B: c\r\n ",
        "B: c\r\n \r\n d",
        "Content-Length: 1\r\n 0",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chunked\r\n , identity",
    ] {
        let request = format!("POST /once/bad HTTP/1.1\r\nHost: a\r\n{fold}\r\n\r\n0\r\n\r\n");
        edge.refuses(format_args!("{fold:?}"), request, 400);
    }
    edge.finish();
}

/// RFC 9110 §5.1, §5.6.2: every byte that is none of a token.
#[test]
fn names_are_tokens_rfc_9110_5_1() {
    let mut edge = Strict::edge();
    for byte in (0..=255_u8).filter(|byte| !is_token(*byte) && *byte != b':') {
        for (before, behind) in [("", "B"), ("B", "c"), ("B", "")] {
            let start = format!("GET /once/bad HTTP/1.1\r\nHost: a\r\n{before}");
            let request = [start.as_bytes(), &[byte], behind.as_bytes(), b": d\r\n\r\n"].concat();
            edge.refuses(format_args!("{byte:#x} behind {before:?}"), request, 400);
        }
    }
    edge.finish();
}

/// RFC 9110 §5.5: CR, LF and NUL are dangerous, and the other controls are of no use.
#[test]
fn values_have_no_control_characters_rfc_9110_5_5() {
    let mut edge = Strict::edge();
    for byte in (0..=255_u8).filter(|byte| byte.is_ascii_control() && *byte != b'\t') {
        for (before, behind) in [("", "c"), ("c", "d"), ("c", "")] {
            let start = format!("GET /once/bad HTTP/1.1\r\nHost: a\r\nB: {before}");
            let request = [start.as_bytes(), &[byte], behind.as_bytes(), b"\r\n\r\n"].concat();
            edge.refuses(format_args!("{byte:#x} behind {before:?}"), request, 400);
        }
    }
    edge.finish();
}

#[test]
fn values_may_hold_anything_else_rfc_9110_5_5() {
    let mut edge = Strict::edge();
    for byte in (0..=255_u8).filter(|byte| !byte.is_ascii_control() || *byte == b'\t') {
        let start: &[u8] = b"GET /echo HTTP/1.1\r\nHost: a\r\nB: c";
        edge.serves(
            format_args!("{byte:#x}"),
            [start, &[byte], b"d\r\nE:\r\nF: \r\n\r\n"].concat(),
            b"",
        );
    }
    edge.finish();
}

/// §5.1: OWS around a value is no part of it; names have no case.
#[test]
fn space_and_case_mean_nothing_rfc_9112_5_1() {
    let mut edge = Strict::edge();
    for (what, request) in [
        ("no space", "POST /echo HTTP/1.1\r\nHost:a\r\nContent-Length:2\r\n\r\nab"),
        ("much", "POST /echo HTTP/1.1\r\nHost: \t a \t\r\nContent-Length: \t 2 \t\r\n\r\nab"),
        ("cases", "POST /echo HTTP/1.1\r\nhOST: a\r\ncOnTeNt-LeNgTh: 2\r\n\r\nab"),
    ] {
        edge.serves(what, request, b"ab");
    }
    edge.finish();
}

/// RFC 9110 §5.4, RFC 6585 §5.
#[test]
fn fields_are_counted_rfc_6585_5() {
    let mut edge = Strict::edge();
    let request = |target, more| {
        let fields = "B: c\r\n".repeat(more);
        format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    };
    edge.serves("100", request("/echo", 99), b"");
    edge.refuses("101", request("/once/bad", 100), 431);
    edge.finish();
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
