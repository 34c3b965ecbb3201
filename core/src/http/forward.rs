//! Requests as they are handed to an application.
//!
//! Owns the canonical form of a request. Must not know pools, slots, or the client's connection.

use super::fields::{Fate, NamedByConnection, request_fate};
use super::head::RequestHead;
use super::slot::{CONTENT_FD, DEADLINE_MS, LOCAL, PEER, REQUEST_ID, SCHEME};
use super::syntax::{push_decimal, push_field, push_number_field};

/// The client-facing or worker-facing facts that the edge adds to a forwarded request.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// The client's IP address, as text.
    pub peer_ip: &'a [u8],
    /// The client's port.
    pub peer_port: u16,
    /// The local address and port that the client connected to, as text.
    pub local: &'a [u8],
    /// `http` or `https`: how the client sent the request.
    pub scheme: &'a str,
    /// The host that the client asked for, if that is not the request's.
    pub host: Option<&'a str>,
    /// The request's id.
    pub request_id: &'a [u8],
}

/// Appends the canonical form of a request's head, without its end: request line, `Host` first,
/// the client's fields less those that must not pass, `X-Forwarded-For`, `X-Forwarded-Proto`,
/// `X-Forwarded-Host`, `Forwarded` (RFC 7239), `X-Real-IP`, `X-Request-Id` and the reserved
/// `Forebay-*` facts. Whoever dispatches it appends [`finish_request`]. Returns how many fields
/// were left out because of `_` or `.` in their name.
///
/// Each of the added fields names one client, whatever proxies were on the way: applications need
/// not know how many to skip.
///
/// An HTTP/1.0 request without host gets the local address as its `Host`.
pub fn write_request(
    out: &mut Vec<u8>,
    head: &RequestHead<'_, '_>,
    clean_target: &str,
    facts: &Forwarded<'_>,
) -> usize {
    out.reserve(head.len + clean_target.len() + ADDED_BYTES);
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(clean_target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = if head.host.is_empty() { facts.local } else { head.host.as_bytes() };
    push_field(out, "Host", host);
    let ambiguous = write_passing_fields(out, head);
    write_facts(out, facts, facts.host.map_or(host, str::as_bytes));
    ambiguous
}

/// Appends what is known only at dispatch: `Content-Length` (`None`: the client has announced no
/// content, not even an empty one), [`DEADLINE_MS`], and the empty line.
pub fn finish_request(out: &mut Vec<u8>, content_length: Option<u64>, deadline_ms: u64) {
    if let Some(length) = content_length {
        push_number_field(out, "Content-Length", length);
    }
    push_number_field(out, DEADLINE_MS, deadline_ms);
    out.extend_from_slice(b"\r\n");
}

/// Appends the field that says: the content is in the file that comes along, from its first byte
/// on.
pub fn announce_file(out: &mut Vec<u8>) {
    push_number_field(out, CONTENT_FD, 0);
}

/// A head that [`write_request`] has written, for somebody who is not a worker: without the
/// `Forebay-*` facts, of which the first, the client's address, is returned beside it.
pub(crate) fn without_facts(head: &[u8]) -> (&[u8], &[u8]) {
    let mut at = head.len();
    for _ in 0..FACTS {
        at = memchr::memrchr(b'\n', &head[..at.saturating_sub(1)]).map_or(0, |end| end + 1);
    }
    let (head, facts) = head.split_at(at);
    let peer = facts.strip_prefix(PEER.as_bytes()).and_then(|fact| fact.strip_prefix(b": "));
    (head, peer.and_then(|peer| peer.split(|&byte| byte == b'\r').next()).unwrap_or_default())
}

fn write_passing_fields(out: &mut Vec<u8>, head: &RequestHead<'_, '_>) -> usize {
    let named = NamedByConnection::of(head.fields);
    let mut ambiguous = 0;
    for field in head.fields {
        match request_fate(field.name) {
            Fate::Pass if !named.contains(field.name) => push_field(out, field.name, field.value),
            Fate::Pass | Fate::Strip => {}
            Fate::Ambiguous => ambiguous += 1,
        }
    }
    ambiguous
}

fn write_facts(out: &mut Vec<u8>, facts: &Forwarded<'_>, host: &[u8]) {
    push_field(out, "X-Forwarded-For", facts.peer_ip);
    push_field(out, "X-Forwarded-Proto", facts.scheme.as_bytes());
    push_field(out, "X-Forwarded-Host", host);
    write_forwarded(out, facts, host);
    push_field(out, "X-Real-IP", facts.peer_ip);
    push_field(out, "X-Request-Id", facts.request_id);
    out.extend_from_slice(PEER.as_bytes());
    out.extend_from_slice(b": ");
    write_address(out, facts.peer_ip, facts.peer_port);
    out.extend_from_slice(b"\r\n");
    push_field(out, LOCAL, facts.local);
    push_field(out, SCHEME, facts.scheme.as_bytes());
    push_field(out, REQUEST_ID, facts.request_id);
}

/// One element of RFC 7239 §4. IPv6 addresses and ports are in quotes (§6).
fn write_forwarded(out: &mut Vec<u8>, facts: &Forwarded<'_>, host: &[u8]) {
    let is_v6 = facts.peer_ip.contains(&b':');
    let (before, behind): (&[u8], &[u8]) = if is_v6 { (b"\"[", b"]\"") } else { (b"", b"") };
    let parts: [&[u8]; 9] = [
        b"Forwarded: for=",
        before,
        facts.peer_ip,
        behind,
        b";host=\"",
        host,
        b"\";proto=",
        facts.scheme.as_bytes(),
        b"\r\n",
    ];
    parts.into_iter().for_each(|part| out.extend_from_slice(part));
}

/// `IP:PORT`, IPv6 in brackets.
fn write_address(out: &mut Vec<u8>, ip: &[u8], port: u16) {
    let is_v6 = ip.contains(&b':');
    if is_v6 {
        out.push(b'[');
    }
    out.extend_from_slice(ip);
    if is_v6 {
        out.push(b']');
    }
    out.push(b':');
    push_decimal(out, u64::from(port));
}

/// Lines of a head from that with [`PEER`] on.
const FACTS: usize = 4;

/// About what the added fields take, those of [`finish_request`] included.
const ADDED_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::super::{FieldRoom, HeadLimits, clean_target, parse_request};
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 64, target_bytes: 1024 };
    const OF_CLIENT: Forwarded<'_> = Forwarded {
        peer_ip: b"192.0.2.1",
        peer_port: 4711,
        local: b"127.0.0.1:8080",
        scheme: "http",
        host: None,
        request_id: b"r1",
    };
    const ADDED: &str = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n\
        X-Forwarded-Host: x\r\nForwarded: for=192.0.2.1;host=\"x\";proto=http\r\n\
        X-Real-IP: 192.0.2.1\r\nX-Request-Id: r1\r\nForebay-Peer: 192.0.2.1:4711\r\n\
        Forebay-Local: 127.0.0.1:8080\r\nForebay-Scheme: http\r\nForebay-Request-Id: r1\r\n";

    fn forwarded(head: &str, facts: &Forwarded<'_>) -> (String, usize) {
        let mut room = FieldRoom::default();
        let head = parse_request(head.as_bytes(), &mut room, &LIMITS).unwrap().unwrap();
        let mut out = Vec::new();
        let ambiguous = write_request(&mut out, &head, &clean_target(head.target).unwrap(), facts);
        let content_length = (head.method == "POST").then_some(0);
        finish_request(&mut out, content_length, 60_000);
        (String::from_utf8(out).unwrap(), ambiguous)
    }

    #[test]
    fn the_canonical_form() {
        let (out, ambiguous) = forwarded(
            "GET http://x/a/../b?c HTTP/1.1\r\nAccept:  */* \r\nhost: X\r\nCOOKIE: d=e\r\n\r\n",
            &OF_CLIENT,
        );
        let expected = format!(
            "GET /b?c HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nCOOKIE: d=e\r\n{ADDED}\
             Forebay-Deadline-Ms: 60000\r\n\r\n"
        );
        assert_eq!((out, ambiguous), (expected, 0));
    }

    #[test]
    fn nothing_passes_that_clients_must_not_say() {
        let (out, ambiguous) = forwarded(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\
             Connection: close, X-Foo, Cookie\r\nConnection: x-bar\r\nX-Foo: 1\r\nX-Bar: 2\r\n\
             Cookie: c\r\nTE: trailers\r\nTrailer: a\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n\
             Keep-Alive: 5\r\nProxy-Authorization: a\r\nForebay-Peer: 6\r\nforebay-fd: 7\r\n\
             X-Forwarded-For: 8\r\nx-forwarded-host: 9\r\nForwarded: for=1\r\nX-Real-IP: 1\r\n\
             X-Request-ID: 1\r\nProxy: evil\r\nX-Accel-Redirect: /x\r\nX_Forwarded_For: 1\r\n\
             Content_Length: 7\r\nA.B: 1\r\nKept: yes\r\n\r\n",
            &OF_CLIENT,
        );
        let expected = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nCookie: c\r\nKept: yes\r\n{ADDED}\
             Content-Length: 0\r\nForebay-Deadline-Ms: 60000\r\n\r\n"
        );
        assert_eq!((out, ambiguous), (expected, 3));
    }

    #[test]
    fn an_old_request_without_host_gets_the_local_address() {
        let (out, _) = forwarded("GET / HTTP/1.0\r\n\r\n", &OF_CLIENT);
        assert!(out.starts_with("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Forwarded-For"));
    }

    #[test]
    fn ipv6_peers_are_in_brackets_with_their_port() {
        let facts = Forwarded { peer_ip: b"2001:db8::1", local: b"[::1]:80", ..OF_CLIENT };
        let (out, _) = forwarded("GET / HTTP/1.1\r\nHost: x\r\n\r\n", &facts);
        assert!(out.contains("X-Forwarded-For: 2001:db8::1\r\n"));
        assert!(out.contains("Forebay-Peer: [2001:db8::1]:4711\r\n"));
        assert!(out.contains("Forwarded: for=\"[2001:db8::1]\";host=\"x\";proto=http\r\n"));
    }

    #[test]
    fn the_host_that_the_client_asked_for_may_be_another() {
        let facts = Forwarded { host: Some("www.example.com:81"), scheme: "https", ..OF_CLIENT };
        let (out, _) = forwarded("GET / HTTP/1.1\r\nHost: x\r\n\r\n", &facts);
        assert!(out.starts_with("GET / HTTP/1.1\r\nHost: x\r\n"));
        assert!(out.contains("X-Forwarded-Host: www.example.com:81\r\n"));
        assert!(out.contains(";host=\"www.example.com:81\";proto=https\r\n"));
    }

    #[test]
    fn facts_are_taken_off_again() {
        for facts in [OF_CLIENT, Forwarded { peer_ip: b"2001:db8::1", ..OF_CLIENT }] {
            let head = b"GET /a HTTP/1.1\r\nHost: x\r\nForebay-Peer: 6\r\n\r\n";
            let mut room = FieldRoom::default();
            let head = parse_request(head, &mut room, &LIMITS).unwrap().unwrap();
            let mut out = Vec::new();
            write_request(&mut out, &head, "/a", &facts);
            let (before, peer) = without_facts(&out);
            assert!(before.ends_with(b"X-Request-Id: r1\r\n"));
            let facts = out[before.len()..].strip_prefix(b"Forebay-Peer: ").unwrap();
            assert!(peer.ends_with(b":4711") && facts.starts_with(peer));
        }
        assert_eq!(without_facts(b""), (&b""[..], &b""[..]));
    }

    #[test]
    fn what_is_written_is_parsed_again() {
        let (out, _) = forwarded("POST //a HTTP/1.1\r\nHost: x\r\nA:\r\n\r\n", &OF_CLIENT);
        let mut room = FieldRoom::default();
        let head = parse_request(out.as_bytes(), &mut room, &LIMITS).unwrap().unwrap();
        assert_eq!((head.len, head.target, head.host), (out.len(), "//a", "x"));
        assert_eq!(head.field("a"), Some(&b""[..]));
        assert_eq!(head.field("forebay-deadline-ms"), Some(&b"60000"[..]));
    }
}
