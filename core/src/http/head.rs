//! Request heads (RFC 9112 §2–3, §5).
//!
//! Owns the parsed form of a request. Must not know what becomes of it.

use super::Reject;
use super::framing::{Fault, Framing, FramingFields};
use super::room::FieldRoom;
use super::search::{HeadLimits, HeadSearch};
use super::syntax::{TOKEN, is};
use super::target::{Target, check_host};
use super::version::Version;

/// A request head, parsed and found strict. Borrows the bytes that it was parsed from.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'s, 'b> {
    /// Bytes of the head, including the empty line, and one empty line before it if there was.
    pub len: usize,
    /// The method, a token.
    pub method: &'b str,
    /// Path and query as sent, or the path and query part of an absolute-form target (beginning
    /// with `?` if its path is empty). `*` for the asterisk form, `host:port` for CONNECT.
    pub target: &'b str,
    /// The version.
    pub version: Version,
    /// Authority without user information: the target's if in absolute form, else `Host`.
    /// Empty if an HTTP/1.0 request has none.
    pub host: &'b str,
    pub(crate) fields: &'s [httparse::Header<'b>],
    /// How the content ends.
    pub framing: Framing,
    /// Whether the client expects another response on this connection (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// `Expect: 100-continue` was sent and content follows. Never with HTTP/1.0
    /// (RFC 9110 §10.1.1).
    pub expects_continue: bool,
}

impl<'b> RequestHead<'_, 'b> {
    /// The fields in order: names, and values without white space around them.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&'b str, &'b [u8])> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// The value of the first field of this name, compared without case.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.iter().find(|f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }
}

/// Parses a request head. `None`: incomplete.
///
/// One empty line before the request line is part of the head (RFC 9112 §2.2).
///
/// # Errors
/// Whatever [`Reject`] names that can be wrong with a head.
pub fn parse_request<'s, 'b>(
    bytes: &'b [u8],
    room: &'s mut FieldRoom<'b>,
    limits: &HeadLimits,
) -> Result<Option<RequestHead<'s, 'b>>, Reject> {
    parse_arriving_request(&mut HeadSearch::default(), bytes, room, limits)
}

/// As [`parse_request`], of all that has arrived so far; `search` looks only at what is new. The
/// next head needs another one.
///
/// # Errors
/// As [`parse_request`].
pub fn parse_arriving_request<'s, 'b>(
    search: &mut HeadSearch,
    bytes: &'b [u8],
    room: &'s mut FieldRoom<'b>,
    limits: &HeadLimits,
) -> Result<Option<RequestHead<'s, 'b>>, Reject> {
    let Some(len) = search.find(bytes, limits)? else { return Ok(None) };
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let bytes = &bytes[start..len];
    if bytes.starts_with(b"\r") {
        return Err(Reject::BadRequestLine);
    }
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, room.of(limits.fields));
    parsed.map_err(|error| reject_of(error, bytes))?;
    head_of(request, len, limits).map(Some)
}

/// As [`parse_request`], where a whole head has probably arrived at once, and in less time. `None`:
/// it has not, it begins with an empty line, or something is wrong with it;
/// [`parse_arriving_request`] tells which.
pub fn parse_whole_request<'s, 'b>(
    bytes: &'b [u8],
    room: &'s mut FieldRoom<'b>,
    limits: &HeadLimits,
) -> Option<RequestHead<'s, 'b>> {
    // httparse would take any number of empty lines.
    if !bytes.first().is_some_and(|&b| is(b, TOKEN)) {
        return None;
    }
    let mut request = httparse::Request::new(&mut []);
    let room = room.of(limits.fields);
    let Ok(httparse::Status::Complete(len)) = request.parse_with_uninit_headers(bytes, room) else {
        return None;
    };
    if !limits.allow(&bytes[..len], request.headers) {
        return None;
    }
    head_of(request, len, limits).ok()
}

/// What has been parsed, if it is what a request may be. `len`: bytes of the head.
fn head_of<'s, 'b>(
    request: httparse::Request<'s, 'b>,
    len: usize,
    limits: &HeadLimits,
) -> Result<RequestHead<'s, 'b>, Reject> {
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(Reject::BadRequestLine);
    };
    if target.len() > limits.target_bytes {
        return Err(Reject::TargetTooLong);
    }
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let fields: &'s [httparse::Header<'b>] = request.headers;
    let said = Said::by(fields)?;
    let target = Target::parse(method, target)?;
    let framing = said.framing.declared(version)?.unwrap_or(Framing::Length(0));
    Ok(RequestHead {
        len,
        method,
        target: target.path_and_query,
        version,
        host: check_host(&target, said.host, version)?,
        fields,
        framing,
        keep_alive: said.framing.keeps_alive(version),
        expects_continue: said.continue_expected
            && framing != Framing::Length(0)
            && version == Version::Http11,
    })
}

/// Whether a request may be sent again without asking (RFC 9110 §9.2.2).
pub fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

/// What the fields say that the edge itself acts upon.
#[derive(Default)]
struct Said<'b> {
    host: Option<&'b [u8]>,
    continue_expected: bool,
    framing: FramingFields,
}

impl<'b> Said<'b> {
    fn by(fields: &[httparse::Header<'b>]) -> Result<Self, Reject> {
        let mut said = Said::default();
        for field in fields {
            match field.name.len() {
                4 if field.name.eq_ignore_ascii_case("host") => {
                    if said.host.replace(field.value).is_some() {
                        return Err(Reject::RepeatedHost);
                    }
                }
                6 if field.name.eq_ignore_ascii_case("expect") => {
                    if said.continue_expected || !field.value.eq_ignore_ascii_case(b"100-continue")
                    {
                        return Err(Reject::BadExpectation);
                    }
                    said.continue_expected = true;
                }
                _ => said.framing.read(field.name, field.value)?,
            }
        }
        Ok(said)
    }
}

#[cold]
fn reject_of(error: httparse::Error, head: &[u8]) -> Reject {
    match error {
        httparse::Error::HeaderName => Reject::BadFieldLine,
        httparse::Error::HeaderValue => Reject::BadFieldValue,
        httparse::Error::NewLine => Reject::BareCarriageReturn,
        httparse::Error::TooManyHeaders => Reject::TooManyFields,
        httparse::Error::Version if names_other_version(head) => Reject::UnsupportedVersion,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => {
            Reject::BadRequestLine
        }
    }
}

/// Whether the request line is well-formed but for another version than ours.
fn names_other_version(head: &[u8]) -> bool {
    let line = head.split(|&b| b == b'\r').next().unwrap_or_default();
    let mut parts = line.splitn(3, |&b| b == b' ').skip(2);
    let version = parts.next().and_then(|version| version.strip_prefix(b"HTTP/"));
    matches!(version, Some([b'0'..=b'9', b'.', b'0'..=b'9']))
}

impl From<Fault> for Reject {
    fn from(fault: Fault) -> Reject {
        match fault {
            Fault::ContentLength => Reject::BadContentLength,
            Fault::RepeatedContentLength => Reject::RepeatedContentLength,
            Fault::Both => Reject::ContentLengthAndTransferEncoding,
            Fault::OnHttp10 => Reject::TransferEncodingOnHttp10,
            Fault::TransferEncoding => Reject::BadTransferEncoding,
            Fault::UnknownCoding => Reject::UnknownTransferCoding,
            Fault::ConnectionOptions => Reject::TooManyConnectionOptions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::search::tests::{LIMITS, fed, outcome};
    use super::*;

    fn with<T>(bytes: &[u8], check: impl FnOnce(RequestHead<'_, '_>) -> T) -> T {
        assert_eq!(fed(bytes, 1), outcome(bytes), "byte by byte");
        let mut room = FieldRoom::default();
        check(parse_request(bytes, &mut room, &LIMITS).unwrap().unwrap())
    }

    fn rejected(bytes: impl AsRef<[u8]>) -> Reject {
        let bytes = bytes.as_ref();
        assert_eq!(fed(bytes, 1), outcome(bytes), "byte by byte: {}", bytes.escape_ascii());
        let mut room = FieldRoom::default();
        match parse_request(bytes, &mut room, &LIMITS) {
            Err(reject) => reject,
            other => panic!("{} passed: {other:?}", bytes.escape_ascii()),
        }
    }

    #[test]
    fn a_head_is_taken_apart_rfc_9112_2_1() {
        let bytes = b"POST /a?b HTTP/1.1\r\nHost: x:80\r\nContent-Length:  5\t\r\nA:\r\n\r\nhello";
        with(bytes, |head| {
            assert_eq!(head.len, bytes.len() - 5);
            assert_eq!((head.method, head.target, head.host), ("POST", "/a?b", "x:80"));
            assert_eq!((head.version, head.framing), (Version::Http11, Framing::Length(5)));
            assert!(head.keep_alive && !head.expects_continue);
            assert_eq!(head.fields.len(), 3);
            assert_eq!(head.field("content-LENGTH"), Some(&b"5"[..]));
            assert_eq!(head.field("a"), Some(&b""[..]));
        });
        assert_eq!(outcome(b""), "Ok(None)");
        assert_eq!(outcome(&bytes[..bytes.len() - 6]), "Ok(None)");
    }

    #[test]
    fn one_empty_line_may_come_first_rfc_9112_2_2() {
        let bytes = b"\r\nGET / HTTP/1.0\r\n\r\n";
        with(bytes, |head| {
            assert_eq!((head.len, head.method, head.host), (bytes.len(), "GET", ""));
            assert!(!head.keep_alive);
        });
        assert_eq!(rejected(b"\r\n\r\nGET / HTTP/1.0\r\n\r\n"), Reject::BadRequestLine);
    }

    #[test]
    fn line_ends_are_crlf_rfc_9112_2_2() {
        for bare in [
            &b"GET / HTTP/1.1\nHost: x\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nHost: x\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert_eq!(rejected(bare), Reject::BareLineFeed);
        }
        assert_eq!(rejected(b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n"), Reject::BadFieldValue);
        assert_eq!(rejected(b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n"), Reject::BadFieldValue);
        assert_eq!(rejected(b"GET / HTTP/1.1\r\r\nA: b\r\n\r\n"), Reject::BareCarriageReturn);
        assert_eq!(
            rejected(b"GET / HTTP/1.1\r\nHost: x\r\n\r\r\n\r\n"),
            Reject::BareCarriageReturn
        );
    }

    #[test]
    fn request_lines_are_exact_rfc_9112_3() {
        for line in [
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET\t/ HTTP/1.1",
            "GET /",
            "GET / http/1.1",
            "GET / HTTP/1",
            "GET / HTTP/1.10",
            "GET / HTTP/11",
            "GE(T / HTTP/1.1",
            "GET / x HTTP/1.1",
            " GET / HTTP/1.1",
            "\u{16}\u{3}\u{1}",
        ] {
            let head = format!("{line}\r\nHost: x\r\n\r\n");
            let reject = rejected(&head);
            let is_line_fault =
                matches!(reject, Reject::BadRequestLine | Reject::BareCarriageReturn);
            assert!(is_line_fault && reject.status() == 400, "{line:?}: {reject:?}");
        }
        for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3.0"] {
            let head = format!("GET / {version}\r\nHost: x\r\n\r\n");
            assert_eq!(rejected(head), Reject::UnsupportedVersion, "{version}");
        }
    }

    #[test]
    fn field_lines_are_strict_rfc_9112_5_1() {
        for line in
            [": x", "A : x", "A\t: x", " A: x", "A", "A B: x", "A\u{e4}: x", "A\0: x", "(: x"]
        {
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n");
            assert_eq!(rejected(head), Reject::BadFieldLine, "{line:?}");
        }
        for value in ["a\0", "\u{1}", "a\u{7f}b", "a\u{b}", "\u{1b}[0m"] {
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {value}\r\n\r\n");
            assert_eq!(rejected(head), Reject::BadFieldValue, "{value:?}");
        }
        assert_eq!(rejected("GET / HTTP/1.1\r\n Host: x\r\n\r\n"), Reject::BadFieldLine);
    }

    #[test]
    fn folded_lines_are_refused_rfc_9112_5_2() {
        for fold in ["A: b\r\n c", "A: b\r\n\tc", "A:\r\n b", "A: b\r\n "] {
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{fold}\r\n\r\n");
            assert_eq!(rejected(head), Reject::BadFieldLine, "{fold:?}");
        }
    }

    #[test]
    fn host_is_one_and_valid_rfc_9112_3_2() {
        let of = |fields: &str| rejected(format!("GET / HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(of(""), Reject::MissingHost);
        assert_eq!(of("Host: a\r\nHost: a\r\n"), Reject::RepeatedHost);
        assert_eq!(of("Host:\r\n"), Reject::BadHost);
        assert_eq!(of("Host: a b\r\n"), Reject::BadHost);
        assert_eq!(of("Host: \u{e4}\r\n"), Reject::BadHost);
        assert_eq!(rejected("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"), Reject::HostMismatch);
        with(b"GET http://A/x HTTP/1.1\r\nHost: a:80\r\n\r\n", |head| {
            assert_eq!((head.host, head.target), ("A", "/x"));
        });
    }

    #[test]
    fn framing_faults_are_refused_rfc_9112_6_3() {
        let of = |fields: &str| rejected(format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n"));
        let te = "Transfer-Encoding: chunked";
        assert_eq!(of(&format!("{te}\r\nContent-Length: 1")).status(), 400);
        assert_eq!(of(&format!("{te}\r\n{te}")).status(), 400);
        assert_eq!(of("Content-Length: 1\r\nContent-Length: 1"), Reject::RepeatedContentLength);
        assert_eq!(of("Content-Length: 0x1"), Reject::BadContentLength);
        assert_eq!(of("Transfer-Encoding: gzip").status(), 501);
        let old = format!("POST / HTTP/1.0\r\n{te}\r\n\r\n");
        assert_eq!(rejected(old), Reject::TransferEncodingOnHttp10);
    }

    #[test]
    fn expectations_rfc_9110_10_1_1() {
        let expects = |head: &str| with(head.as_bytes(), |head| head.expects_continue);
        let post = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n";
        assert!(expects(&format!("{post}Content-Length: 1\r\n\r\n")));
        assert!(expects(&format!("{post}Transfer-Encoding: chunked\r\n\r\n")));
        assert!(!expects(&format!("{post}\r\n")));
        assert!(!expects("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"));
        let other = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\n\r\n";
        assert_eq!(rejected(other), Reject::BadExpectation);
    }

    #[test]
    fn idempotent_methods_are_those_of_rfc_9110_9_2_2() {
        assert!(
            ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].into_iter().all(is_idempotent)
        );
        assert!(!["POST", "PATCH", "CONNECT", "get", ""].into_iter().any(is_idempotent));
    }
}
