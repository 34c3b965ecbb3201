//! Why a request is refused.
//!
//! Owns the one mapping from reason to status and text. Must not know who found the fault.

use std::fmt;

/// Why a request is refused; the connection is closed after the answer, because where the next
/// request would begin is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reject {
    /// A line feed without carriage return before it (RFC 9112 §2.2).
    BareLineFeed,
    /// A carriage return without line feed behind it (RFC 9112 §2.2).
    BareCarriageReturn,
    /// Not `method SP target SP version` (RFC 9112 §3).
    BadRequestLine,
    /// A target of no form, of a form that its method does not allow, or with characters that
    /// none has (RFC 9112 §3.2).
    BadTarget,
    /// `%` without two hexadecimal digits in the path (RFC 3986 §2.1).
    BadPercentEncoding,
    /// `..` above the root.
    ParentEscape,
    /// `..` that is a segment only if an encoded slash beside it is one.
    HiddenParent,
    /// The target, or the request line, is over its limit.
    TargetTooLong,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    UnsupportedVersion,
    /// The head is over its limit of bytes.
    HeadTooLarge,
    /// The head is over its limit of fields.
    TooManyFields,
    /// A line without colon or name, folded, or with something else than a token before the
    /// colon (RFC 9112 §5).
    BadFieldLine,
    /// A control character in a field value (RFC 9110 §5.5).
    BadFieldValue,
    /// HTTP/1.1 without `Host` (RFC 9112 §3.2).
    MissingHost,
    /// More than one `Host`.
    RepeatedHost,
    /// `Host`, or the target's authority, is not `host` or `host:port`.
    BadHost,
    /// `Host` and the target's authority differ.
    HostMismatch,
    /// What trusted front servers say of the scheme is both `http` and `https`.
    SchemeMismatch,
    /// `Content-Length` is not 1 to 19 digits (RFC 9110 §8.6).
    BadContentLength,
    /// More than one `Content-Length`.
    RepeatedContentLength,
    /// Both `Content-Length` and `Transfer-Encoding` (RFC 9112 §6.1).
    ContentLengthAndTransferEncoding,
    /// `Transfer-Encoding` in an HTTP/1.0 request (RFC 9112 §6.1).
    TransferEncodingOnHttp10,
    /// More than one `Transfer-Encoding`, or `chunked` elsewhere than once and last.
    BadTransferEncoding,
    /// A transfer coding other than `chunked`.
    UnknownTransferCoding,
    /// More than 64 members in `Connection`, each of which may name a field.
    TooManyConnectionOptions,
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    BadExpectation,
    /// A chunk's size, extension or end is not as in RFC 9112 §7.1.
    BadChunk,
    /// Much more chunk framing than content.
    ChunkOverhead,
    /// Trailer fields that are malformed.
    BadTrailer,
    /// Trailer fields over their limit of bytes.
    TrailerTooLarge,
    /// The content is over its limit.
    ContentTooLarge,
    /// The head did not arrive in time.
    HeaderTimeout,
    /// The content did not arrive in time.
    BodyTimeout,
}

impl Reject {
    /// The status that answers it.
    pub fn status(self) -> u16 {
        self.status_and_reason().0
    }

    /// What was wrong, for the log and the answer's content.
    pub fn reason(self) -> &'static str {
        self.status_and_reason().1
    }

    fn status_and_reason(self) -> (u16, &'static str) {
        match self {
            Reject::BareLineFeed => (400, "line feed without carriage return"),
            Reject::BareCarriageReturn => (400, "carriage return without line feed"),
            Reject::BadRequestLine => (400, "malformed request line"),
            Reject::BadTarget => (400, "malformed request target"),
            Reject::BadPercentEncoding => (400, "malformed percent-encoding in the path"),
            Reject::ParentEscape => (400, "path leads above the root"),
            Reject::HiddenParent => (400, "`..` beside an encoded slash"),
            Reject::TargetTooLong => (414, "request target too long"),
            Reject::UnsupportedVersion => (505, "HTTP version not supported"),
            Reject::HeadTooLarge => (431, "request head too large"),
            Reject::TooManyFields => (431, "too many header fields"),
            Reject::BadFieldLine => (400, "malformed header field line"),
            Reject::BadFieldValue => (400, "control character in a header field"),
            Reject::MissingHost => (400, "no Host"),
            Reject::RepeatedHost => (400, "more than one Host"),
            Reject::BadHost => (400, "invalid Host"),
            Reject::HostMismatch => (400, "Host contradicts the request target"),
            Reject::SchemeMismatch => (400, "contradictory scheme fields"),
            Reject::BadContentLength => (400, "invalid Content-Length"),
            Reject::RepeatedContentLength => (400, "more than one Content-Length"),
            Reject::ContentLengthAndTransferEncoding => {
                (400, "both Content-Length and Transfer-Encoding")
            }
            Reject::TransferEncodingOnHttp10 => (400, "Transfer-Encoding in HTTP/1.0"),
            Reject::BadTransferEncoding => (400, "invalid Transfer-Encoding"),
            Reject::UnknownTransferCoding => (501, "unknown transfer coding"),
            Reject::TooManyConnectionOptions => (400, "too many members in Connection"),
            Reject::BadExpectation => (417, "unknown expectation"),
            Reject::BadChunk => (400, "malformed chunk"),
            Reject::ChunkOverhead => (400, "chunks too small"),
            Reject::BadTrailer => (400, "malformed trailer field"),
            Reject::TrailerTooLarge => (431, "trailer fields too large"),
            Reject::ContentTooLarge => (413, "content too large"),
            Reject::HeaderTimeout => (408, "request head not complete in time"),
            Reject::BodyTimeout => (408, "content not complete in time"),
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Reject {}
