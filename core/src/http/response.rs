//! Response heads of applications (RFC 9112 §4, §6.3).
//!
//! Owns the parsed form of a response. Must not know clients, nor what becomes of it.

use super::Reject;
use super::framing::{Fault, Framing, FramingFields};
use super::room::FieldRoom;
use super::search::{HeadLimits, HeadSearch};
use super::status::is_without_content;
use super::version::Version;
use std::fmt;

/// Why an application's response is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadResponse {
    /// Not `HTTP/1.0` or `HTTP/1.1`, a space and three digits.
    StatusLine,
    /// A status outside 100–599.
    Status,
    /// A line feed without carriage return, or the reverse.
    LineEnd,
    /// The head is over its limit of bytes.
    HeadTooLarge,
    /// The head is over its limit of fields.
    TooManyFields,
    /// A field line without colon or name, folded, or with something else than a token before
    /// the colon.
    FieldLine,
    /// A control character in a field value.
    FieldValue,
    /// `Content-Length` is not 1 to 19 digits.
    ContentLength,
    /// More than one `Content-Length`.
    RepeatedContentLength,
    /// Both `Content-Length` and `Transfer-Encoding`.
    ContentLengthAndTransferEncoding,
    /// Anything but exactly one `chunked`, or in HTTP/1.0.
    TransferEncoding,
    /// More than 64 members in `Connection`.
    ConnectionOptions,
}

impl BadResponse {
    /// What was wrong, for the log.
    pub fn reason(self) -> &'static str {
        match self {
            BadResponse::StatusLine => "malformed status line",
            BadResponse::Status => "status outside 100-599",
            BadResponse::LineEnd => "carriage return or line feed alone",
            BadResponse::HeadTooLarge => "response head too large",
            BadResponse::TooManyFields => "too many header fields",
            BadResponse::FieldLine => "malformed header field line",
            BadResponse::FieldValue => "control character in a header field",
            BadResponse::ContentLength => "invalid Content-Length",
            BadResponse::RepeatedContentLength => "more than one Content-Length",
            BadResponse::ContentLengthAndTransferEncoding => {
                "both Content-Length and Transfer-Encoding"
            }
            BadResponse::TransferEncoding => "invalid Transfer-Encoding",
            BadResponse::ConnectionOptions => "too many members in Connection",
        }
    }
}

impl fmt::Display for BadResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for BadResponse {}

/// The head of a response, parsed and found strict.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'s, 'b> {
    /// Bytes of the head, including the empty line.
    pub len: usize,
    /// 100–599.
    pub status: u16,
    /// The reason phrase as sent, perhaps empty.
    pub reason: &'b str,
    pub(crate) fields: &'s [httparse::Header<'b>],
    /// How the content ends: `Length(0)` for HEAD, 1xx, 204, 304 whatever the fields say.
    pub framing: Framing,
    /// What `Content-Length` said, also where there is no content.
    pub content_length: Option<u64>,
    /// There is no content whatever the fields say: HEAD, 1xx, 204, 304.
    pub without_content: bool,
    /// Whether the sender keeps the connection.
    pub keep_alive: bool,
}

impl<'b> ResponseHead<'_, 'b> {
    /// The fields in order: names, and values without white space around them.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&'b str, &'b [u8])> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// The value of the first field of this name, compared without case.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.iter().find(|f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }
}

/// Parses a response head to a request whose method was HEAD or not. `None`: incomplete.
///
/// # Errors
/// Whatever [`BadResponse`] names that can be wrong with a head.
pub fn parse_response<'s, 'b>(
    bytes: &'b [u8],
    room: &'s mut FieldRoom<'b>,
    limits: &HeadLimits,
    to_head: bool,
) -> Result<Option<ResponseHead<'s, 'b>>, BadResponse> {
    parse_arriving_response(&mut HeadSearch::default(), bytes, room, limits, to_head)
}

/// As [`parse_response`], of all that has arrived so far; `search` looks only at what is new. The
/// next head needs another one.
///
/// # Errors
/// As [`parse_response`].
pub fn parse_arriving_response<'s, 'b>(
    search: &mut HeadSearch,
    bytes: &'b [u8],
    room: &'s mut FieldRoom<'b>,
    limits: &HeadLimits,
    to_head: bool,
) -> Result<Option<ResponseHead<'s, 'b>>, BadResponse> {
    if bytes.first().is_some_and(|&b| b != b'H') {
        return Err(BadResponse::StatusLine);
    }
    let without_target = HeadLimits { target_bytes: usize::MAX, ..*limits };
    let found = search.find(bytes, &without_target).map_err(|reject| match reject {
        Reject::BareLineFeed => BadResponse::LineEnd,
        _ => BadResponse::HeadTooLarge,
    });
    let Some(len) = found? else { return Ok(None) };
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        &bytes[..len],
        room.of(limits.fields),
    );
    parsed.map_err(fault_of)?;
    head_of(response, len, to_head).map(Some)
}

/// As [`parse_response`], where a whole head has probably arrived at once, and in less time.
/// `None`: it has not, or something is wrong with it; [`parse_arriving_response`] tells which.
pub fn parse_whole_response<'s, 'b>(
    bytes: &'b [u8],
    room: &'s mut FieldRoom<'b>,
    limits: &HeadLimits,
    to_head: bool,
) -> Option<ResponseHead<'s, 'b>> {
    if bytes.first() != Some(&b'H') {
        return None;
    }
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        room.of(limits.fields),
    );
    let Ok(httparse::Status::Complete(len)) = parsed else { return None };
    let without_target = HeadLimits { target_bytes: usize::MAX, ..*limits };
    if !without_target.allow(&bytes[..len], response.headers) {
        return None;
    }
    head_of(response, len, to_head).ok()
}

/// What has been parsed, if it is what a response may be. `len`: bytes of the head.
fn head_of<'s, 'b>(
    response: httparse::Response<'s, 'b>,
    len: usize,
    to_head: bool,
) -> Result<ResponseHead<'s, 'b>, BadResponse> {
    let (Some(status), Some(version)) = (response.code, response.version) else {
        return Err(BadResponse::StatusLine);
    };
    if !(100..=599).contains(&status) {
        return Err(BadResponse::Status);
    }
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let fields: &'s [httparse::Header<'b>] = response.headers;
    let mut said = FramingFields::default();
    for field in fields {
        said.read(field.name, field.value)?;
    }
    let declared = said.declared(version)?;
    let without_content = to_head || is_without_content(status);
    let framing = match declared {
        _ if without_content => Framing::Length(0),
        Some(declared) => declared,
        None => Framing::UntilClose,
    };
    Ok(ResponseHead {
        len,
        status,
        reason: response.reason.unwrap_or_default(),
        fields,
        framing,
        content_length: said.content_length,
        without_content,
        keep_alive: said.keeps_alive(version) && framing != Framing::UntilClose,
    })
}

#[cold]
fn fault_of(error: httparse::Error) -> BadResponse {
    match error {
        httparse::Error::HeaderName => BadResponse::FieldLine,
        httparse::Error::HeaderValue => BadResponse::FieldValue,
        httparse::Error::NewLine => BadResponse::LineEnd,
        httparse::Error::TooManyHeaders => BadResponse::TooManyFields,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => {
            BadResponse::StatusLine
        }
    }
}

impl From<Fault> for BadResponse {
    fn from(fault: Fault) -> BadResponse {
        match fault {
            Fault::ContentLength => BadResponse::ContentLength,
            Fault::RepeatedContentLength => BadResponse::RepeatedContentLength,
            Fault::Both => BadResponse::ContentLengthAndTransferEncoding,
            Fault::OnHttp10 | Fault::TransferEncoding | Fault::UnknownCoding => {
                BadResponse::TransferEncoding
            }
            Fault::ConnectionOptions => BadResponse::ConnectionOptions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 512, fields: 4, target_bytes: 0 };

    fn outcome(bytes: &[u8], to_head: bool) -> String {
        crate::fuzz::outcome(bytes, &LIMITS, to_head)
    }

    fn fed(bytes: &[u8], cut: usize) -> String {
        let ends = (cut..bytes.len()).step_by(cut).chain([bytes.len()]);
        let mut outcomes = ends.map(|end| outcome(&bytes[..end], false));
        outcomes.find(|o| o != "Ok(None)").unwrap_or("Ok(None)".into())
    }

    fn with<T>(bytes: &str, to_head: bool, check: impl FnOnce(ResponseHead<'_, '_>) -> T) -> T {
        let mut room = FieldRoom::default();
        check(parse_response(bytes.as_bytes(), &mut room, &LIMITS, to_head).unwrap().unwrap())
    }

    fn bad(bytes: impl AsRef<[u8]>) -> BadResponse {
        let bytes = bytes.as_ref();
        assert_eq!(fed(bytes, 1), outcome(bytes, false), "byte by byte");
        let mut room = FieldRoom::default();
        parse_response(bytes, &mut room, &LIMITS, false).unwrap_err()
    }

    #[test]
    fn a_head_is_taken_apart_rfc_9112_4() {
        let bytes = "HTTP/1.1 404 Not There\r\nContent-Length: 3\r\nA: b \r\n\r\nabc";
        assert_eq!(fed(bytes.as_bytes(), 1), outcome(bytes.as_bytes(), false));
        with(bytes, false, |head| {
            assert_eq!((head.len, head.status, head.reason), (bytes.len() - 3, 404, "Not There"));
            assert_eq!((head.framing, head.content_length), (Framing::Length(3), Some(3)));
            assert_eq!(head.field("a"), Some(&b"b"[..]));
            assert!(head.keep_alive && !head.without_content);
        });
        assert_eq!(outcome(&bytes.as_bytes()[..50], false), "Ok(None)");
        with("HTTP/1.1 200\r\n\r\n", false, |head| assert_eq!(head.reason, ""));
    }

    #[test]
    fn framing_follows_rfc_9112_6_3() {
        let framing = |head: &str, to_head| {
            with(head, to_head, |h| (h.framing, h.content_length, h.keep_alive))
        };
        let ok = "HTTP/1.1 200 OK\r\n";
        let chunked = format!("{ok}Transfer-Encoding: chunked\r\n\r\n");
        assert_eq!(framing(&chunked, false), (Framing::Chunked, None, true));
        assert_eq!(framing(&chunked, true), (Framing::Length(0), None, true));
        let seven = format!("{ok}Content-Length: 7\r\nConnection: close\r\n\r\n");
        assert_eq!(framing(&seven, false), (Framing::Length(7), Some(7), false));
        assert_eq!(framing(&seven, true), (Framing::Length(0), Some(7), false));
        assert_eq!(framing(&format!("{ok}\r\n"), false), (Framing::UntilClose, None, false));
        for status in [100, 103, 204, 304] {
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 7\r\n\r\n");
            assert_eq!(framing(&head, false), (Framing::Length(0), Some(7), true), "{status}");
        }
        let old = "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n";
        assert!(!framing(&format!("{old}\r\n"), false).2);
        assert!(framing(&format!("{old}Connection: keep-alive\r\n\r\n"), false).2);
    }

    #[test]
    fn status_lines_are_strict_rfc_9112_4() {
        for line in [
            "HTTP/2.0 200 OK",
            "HTTP/1.1  200 OK",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "http/1.1 200 OK",
            "HTTP/1.1 +20 OK",
            "XTTP/1.1 200 OK",
            "HTTP/1.1 200 a\0b",
        ] {
            assert_eq!(bad(format!("{line}\r\n\r\n")), BadResponse::StatusLine, "{line:?}");
        }
        for status in ["000", "099", "600", "999"] {
            assert_eq!(
                bad(format!("HTTP/1.1 {status} X\r\n\r\n")),
                BadResponse::Status,
                "{status}"
            );
        }
        assert_eq!(bad("\r\nHTTP/1.1 200 OK\r\n\r\n"), BadResponse::StatusLine);
    }

    #[test]
    fn fields_are_as_strict_as_in_requests_rfc_9112_5() {
        let of = |lines: &str| bad(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n"));
        for line in ["A : b", ": b", "A", "A: b\r\n c", " A: b", "A B: c", "A\0: b"] {
            assert_eq!(of(line), BadResponse::FieldLine, "{line:?}");
        }
        assert_eq!(of("A: b\0"), BadResponse::FieldValue);
        assert_eq!(of("A: b\rSet-Cookie: c"), BadResponse::FieldValue);
        assert_eq!(of("A: b\nSet-Cookie: c"), BadResponse::LineEnd);
        assert_eq!(
            of("Content-Length: 1\r\nContent-Length: 1"),
            BadResponse::RepeatedContentLength
        );
        assert_eq!(of("Content-Length: -1"), BadResponse::ContentLength);
        assert_eq!(of("Transfer-Encoding: gzip, chunked"), BadResponse::TransferEncoding);
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 1";
        assert_eq!(of(both), BadResponse::ContentLengthAndTransferEncoding);
    }

    #[test]
    fn heads_are_bounded() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(5));
        assert_eq!(bad(many), BadResponse::TooManyFields);
        let large = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(600));
        assert_eq!(bad(large), BadResponse::HeadTooLarge);
    }

    proptest! {
        #[test]
        fn heads_are_parsed_alike_however_split(
            start in "HTTP/1.[01] (200 OK|204|304 |99|101 X)(\r\n|\n)",
            fields in "((A|B ): ?[a\r]?\r\n){0,6}(\r\n)?.?",
            cut in 1_usize..40,
        ) {
            let bytes = start + &fields;
            prop_assert_eq!(fed(bytes.as_bytes(), cut), outcome(bytes.as_bytes(), false));
        }
    }
}
