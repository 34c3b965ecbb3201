//! RFC 9112 §3: the request line, the four forms of its target, and `Host`.

use forebay_tests::{Site, Strict};

#[test]
fn request_lines_are_exact_rfc_9112_3() {
    let mut edge = Strict::edge();
    for line in [
        "GET  /once/bad HTTP/1.1",
        "GET /once/bad  HTTP/1.1",
        "GET\t/once/bad HTTP/1.1",
        "GET /once/bad\tHTTP/1.1",
        "GET /once/bad\x0bHTTP/1.1",
        "GET /once/bad\u{a0}HTTP/1.1",
        " GET /once/bad HTTP/1.1",
        "GET /once/bad HTTP/1.1 ",
        "GET /once/bad x HTTP/1.1",
        "GET /once/bad",
        "GET HTTP/1.1",
        "GET",
        "/once/bad HTTP/1.1",
        "HTTP/1.1 200 OK",
        "GET /once/bad HTTP/1.1 HTTP/1.1",
    ] {
        edge.refuses(format_args!("{line:?}"), format!("{line}\r\nHost: a\r\n\r\n"), 400);
    }
    edge.finish();
}

/// §3.1, RFC 9110 §9.1: the method is a token, with case.
#[test]
fn methods_are_tokens_rfc_9112_3_1() {
    let mut edge = Strict::edge();
    for byte in (0..=255_u8).filter(|byte| !is_token(*byte) && *byte != b' ') {
        let request = [b"GE", &[byte][..], b"T /once/bad HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        edge.refuses(format_args!("{byte:#x}"), request, 400);
    }
    for method in ["BREW", "get", "GET2", "M-SEARCH", "!#$%&'*+-.^_`|~", "X"] {
        edge.serves(method, format!("{method} /echo HTTP/1.1\r\nHost: a\r\n\r\n"), b"");
    }
    edge.finish();
}

/// §3.2, RFC 3986 §3: what is no character of a target is refused, and so is a fragment.
#[test]
fn targets_have_no_other_characters_rfc_9112_3_2() {
    let mut edge = Strict::edge();
    let bad = (0..=255_u8).filter(|byte| !byte.is_ascii_graphic() || *byte == b'#');
    for byte in bad.filter(|byte| *byte != b' ') {
        for (before, behind) in [("/once/b", "ad"), ("/once/bad?a=", "b"), ("", "/once/bad")] {
            let (start, end) = (format!("GET {before}"), format!("{behind} HTTP/1.1\r\nHost: a"));
            let request = [start.as_bytes(), &[byte], end.as_bytes(), b"\r\n\r\n"].concat();
            edge.refuses(format_args!("{byte:#x} behind {before:?}"), request, 400);
        }
    }
    edge.finish();
}

/// §3.2.1 to §3.2.4: a form for each purpose.
#[test]
fn targets_have_the_form_of_their_method_rfc_9112_3_2() {
    let mut edge = Strict::edge();
    for (method, target) in [
        ("GET", "once/bad"),
        ("GET", "?once/bad"),
        ("GET", "*"),
        ("GET", "a:80"),
        ("GET", "a"),
        ("GET", "http:/once/bad"),
        ("GET", "http:once/bad"),
        ("GET", "http:///once/bad"),
        ("GET", "http://u@a/once/bad"),
        ("GET", "http://u:p@a/once/bad"),
        ("GET", "http://a:b/once/bad"),
        ("GET", "http://a:99999/once/bad"),
        ("GET", "http://a b/once/bad"),
        ("GET", "ftp://a/once/bad"),
        ("GET", "file:///once/bad"),
        ("GET", "://a/once/bad"),
        ("OPTIONS", "once/bad"),
        ("OPTIONS", "*/"),
        ("OPTIONS", "**"),
        ("OPTIONS", "*?"),
        ("CONNECT", "/once/bad"),
        ("CONNECT", "a"),
        ("CONNECT", "a:"),
        ("CONNECT", "http://a:80/"),
        ("CONNECT", "*"),
        ("CONNECT", "u@a:80"),
    ] {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        edge.refuses(format_args!("{method} {target}"), request, 400);
    }
    let absolute = "POST http://A:80/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    edge.serves("the absolute form", absolute, b"x");
    edge.finish();
}

/// Neither a tunnel (RFC 9110 §9.3.6) nor an echo of what others have sent (§9.3.8).
#[test]
fn connect_and_trace_are_not_there_rfc_9110_9_3_6() {
    let mut edge = Strict::edge();
    for (method, target) in [("CONNECT", "a:443"), ("TRACE", "/once/bad"), ("TRACE", "*")] {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: a:443\r\nCookie: c\r\n\r\n");
        let response = edge.site().client().exchange(request);
        let is_refused = matches!(response.status, 400 | 501);
        edge.holds(format_args!("{method} {target} got {}", response.status), is_refused);
        edge.holds(format_args!("{method} echoes"), !response.text().contains("Cookie"));
    }
    edge.finish();
}

#[test]
fn host_is_one_and_a_host_rfc_9112_3_2() {
    let mut edge = Strict::edge();
    for (what, fields) in [
        ("none", ""),
        ("two", "Host: a\r\nHost: b\r\n"),
        ("two equal ones", "Host: a\r\nHost: a\r\n"),
        ("two in other cases", "Host: a\r\nhOST: a\r\n"),
        ("two apart", "Host: a\r\nB: c\r\nHost: a\r\n"),
        ("an empty one", "Host:\r\n"),
        ("a blank one", "Host: \t\r\n"),
        ("a list", "Host: a, b\r\n"),
        ("a list without space", "Host: a,b\r\n"),
        ("two words", "Host: a b\r\n"),
        ("with user", "Host: u@a\r\n"),
        ("with user and password", "Host: u:p@a\r\n"),
        ("with path", "Host: a/once/bad\r\n"),
        ("with query", "Host: a?b\r\n"),
        ("with fragment", "Host: a#b\r\n"),
        ("a URL", "Host: http://a\r\n"),
        ("without name", "Host: :80\r\n"),
        ("with two ports", "Host: a:80:80\r\n"),
        ("with a port that is none", "Host: a:http\r\n"),
        ("with a signed port", "Host: a:+80\r\n"),
        ("with too large a port", "Host: a:65536\r\n"),
        ("an open bracket", "Host: [::1\r\n"),
        ("something in brackets", "Host: [a]\r\n"),
        ("a bare IPv6 address", "Host: ::1\r\n"),
        ("percent-encoded", "Host: %61\r\n"),
        ("with a backslash", "Host: a\\b\r\n"),
        ("with quotes", "Host: \"a\"\r\n"),
        ("beyond ASCII", "Host: \u{e4}\r\n"),
        ("a zone", "Host: [fe80::1%25eth0]\r\n"),
    ] {
        let request = format!("GET /once/bad HTTP/1.1\r\n{fields}\r\n");
        edge.refuses(what, request, 400);
    }
    for host in ["a", "A.b-c_d~", "a:80", "a:", "127.0.0.1", "[::1]", "[::1]:80", "xn--bcher-kva"] {
        edge.serves(host, format!("GET /echo HTTP/1.1\r\nHost: {host}\r\n\r\n"), b"");
    }
    edge.finish();
}

/// §3.2.2: the target's authority replaces `Host`; a `Host` that says otherwise is refused.
#[test]
fn host_does_not_contradict_the_target_rfc_9112_3_2_2() {
    let mut edge = Strict::edge();
    for (target, host) in [
        ("http://b/once/bad", "a"),
        ("http://a:81/once/bad", "a"),
        ("http://a/once/bad", "a:443"),
        ("https://a/once/bad", "a:80"),
        ("http://a.b/once/bad", "a"),
        ("http://a/once/bad", "a."),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        edge.refuses(format_args!("{target} for {host}"), request, 400);
    }
    for (target, host) in
        [("http://a/echo", "A"), ("http://a/echo", "a:80"), ("http://A:/echo", "a")]
    {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        edge.serves(format_args!("{target} for {host}"), request, b"");
    }
    edge.finish();
}

/// §3, RFC 9110 §15.5.15 and RFC 6585 §5.
#[test]
fn what_is_too_long_is_refused_before_it_ends_rfc_9112_3() {
    let site = Site::builder().limit("target_bytes = \"1KiB\"").limit("head_bytes = \"4KiB\"");
    let mut edge = Strict::on(site);
    let long = "b".repeat(1100);
    let request = format!("GET /once/bad?{long} HTTP/1.1\r\nHost: a\r\n\r\n");
    edge.refuses("a target", request, 414);
    edge.refuses("a target without end", format!("GET /once/bad?{}", "b".repeat(9000)), 414);
    edge.refuses("a method without end", "G".repeat(9000), 414);
    let start = "GET /once/bad HTTP/1.1\r\nHost: a\r\n";
    edge.refuses("a value", format!("{start}B: {}\r\n\r\n", "c".repeat(5000)), 431);
    edge.refuses("a value without end", format!("{start}B: {}", "c".repeat(5000)), 431);
    edge.refuses("a name without end", format!("{start}{}", "B".repeat(5000)), 431);
    edge.refuses("many fields", format!("{start}{}\r\n", "B: c\r\n".repeat(100)), 431);
    edge.finish();
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
