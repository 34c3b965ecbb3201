//! How the content of a message ends, and whether its connection goes on (RFC 9112 §6, §9.3).
//!
//! Owns the reading of `Content-Length`, `Transfer-Encoding` and `Connection`. Must not know
//! whether they came in a request or in a response, beyond what its caller says.

use super::syntax::{is_token, list};
use super::version::Version;

/// How a message's content ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, or it has this many bytes (0 for a request without content).
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Responses only: until the connection is closed.
    UntilClose,
}

/// What is wrong with the framing of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    ContentLength,
    RepeatedContentLength,
    Both,
    OnHttp10,
    TransferEncoding,
    UnknownCoding,
    ConnectionOptions,
}

/// What the fields about framing and connection say, read one by one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FramingFields {
    pub(super) content_length: Option<u64>,
    pub(super) chunked: bool,
    close: bool,
    keep_alive: bool,
    /// Members of `Connection`, empty ones included.
    options: usize,
}

impl FramingFields {
    /// Takes notice of a field if it is one of the three.
    #[inline]
    pub(super) fn read(&mut self, name: &str, value: &[u8]) -> Result<(), Fault> {
        match name.len() {
            10 if name.eq_ignore_ascii_case("connection") => self.read_connection(value)?,
            14 if name.eq_ignore_ascii_case("content-length") => {
                if self.content_length.is_some() {
                    return Err(Fault::RepeatedContentLength);
                }
                self.content_length = Some(parse_content_length(value)?);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                if self.chunked {
                    return Err(Fault::TransferEncoding);
                }
                check_transfer_encoding(value)?;
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// The framing declared, if any.
    pub(super) fn declared(&self, version: Version) -> Result<Option<Framing>, Fault> {
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err(Fault::Both),
            (true, None) if version == Version::Http10 => Err(Fault::OnHttp10),
            (true, None) => Ok(Some(Framing::Chunked)),
            (false, length) => Ok(length.map(Framing::Length)),
        }
    }

    /// Whether the sender means to keep the connection (RFC 9112 §9.3).
    pub(super) fn keeps_alive(&self, version: Version) -> bool {
        !self.close && (self.keep_alive || version == Version::Http11)
    }

    fn read_connection(&mut self, value: &[u8]) -> Result<(), Fault> {
        for option in list(value) {
            self.options += 1;
            if self.options > CONNECTION_OPTIONS_MOST {
                return Err(Fault::ConnectionOptions);
            }
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
        Ok(())
    }
}

fn parse_content_length(value: &[u8]) -> Result<u64, Fault> {
    if value.is_empty() || value.len() > CONTENT_LENGTH_DIGITS {
        return Err(Fault::ContentLength);
    }
    value.iter().try_fold(0, |length: u64, &byte| match byte {
        b'0'..=b'9' => Ok(length * 10 + u64::from(byte - b'0')),
        _ => Err(Fault::ContentLength),
    })
}

/// Exactly `chunked`. A list that is well-formed but names another coding is told apart, because
/// its status is 501 (RFC 9112 §6.1).
fn check_transfer_encoding(value: &[u8]) -> Result<(), Fault> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let codings = value.split(|&b| b == b',').count();
    for (index, coding) in list(value).enumerate() {
        let misplaced = coding.eq_ignore_ascii_case(b"chunked") && index + 1 != codings;
        if !is_token(coding) || misplaced {
            return Err(Fault::TransferEncoding);
        }
    }
    Err(Fault::UnknownCoding)
}

/// Each may name a field, and is compared with all of them.
const CONNECTION_OPTIONS_MOST: usize = 64;

/// 19 digits always fit in 64 bits.
const CONTENT_LENGTH_DIGITS: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(fields: &[(&str, &str)], version: Version) -> Result<Option<Framing>, Fault> {
        let mut framing = FramingFields::default();
        for (name, value) in fields {
            framing.read(name, value.as_bytes())?;
        }
        framing.declared(version)
    }

    #[test]
    fn connection_options_are_bounded_rfc_9110_5_6_1_2() {
        let of = |value: &str| {
            declared(&[("Connection", value), ("Connection", "close")], Version::Http11)
        };
        assert_eq!(of(&"a,".repeat(62)), Ok(None), "62, an empty one, and close");
        for many in ["a,", ",", ", "] {
            assert_eq!(of(&many.repeat(63)), Err(Fault::ConnectionOptions), "{many:?}");
        }
    }

    #[test]
    fn content_length_is_digits_only_rfc_9110_8_6() {
        let of = |value| declared(&[("Content-Length", value)], Version::Http11);
        assert_eq!(of("0"), Ok(Some(Framing::Length(0))));
        assert_eq!(of("007"), Ok(Some(Framing::Length(7))));
        assert_eq!(of("9999999999999999999"), Ok(Some(Framing::Length(9_999_999_999_999_999_999))));
        for bad in ["", "+1", "-1", "0x1", "1 1", "5, 5", "5,", "1.0", "1e3", "\u{0661}"] {
            assert_eq!(of(bad), Err(Fault::ContentLength), "{bad:?}");
        }
        assert_eq!(of("10000000000000000000"), Err(Fault::ContentLength));
    }

    #[test]
    fn content_length_once_even_if_equal_rfc_9112_6_3() {
        let twice = [("Content-Length", "5"), ("content-length", "5")];
        assert_eq!(declared(&twice, Version::Http11), Err(Fault::RepeatedContentLength));
    }

    #[test]
    fn transfer_encoding_is_exactly_chunked_rfc_9112_6_1() {
        let of = |value| declared(&[("Transfer-Encoding", value)], Version::Http11);
        assert_eq!(of("chunked"), Ok(Some(Framing::Chunked)));
        assert_eq!(of("ChunKed"), Ok(Some(Framing::Chunked)));
        for unknown in ["xchunked", "gzip", "identity", "gzip, chunked", "gzip , x"] {
            assert_eq!(of(unknown), Err(Fault::UnknownCoding), "{unknown:?}");
        }
        for bad in [
            "",
            ",chunked",
            "chunked,",
            "chunked, identity",
            "chunked, chunked",
            "\"chunked\"",
            "chunked;q=1",
            "chunked\u{b}",
            "\u{a0}chunked",
        ] {
            assert_eq!(of(bad), Err(Fault::TransferEncoding), "{bad:?}");
        }
    }

    #[test]
    fn transfer_encoding_stands_alone_rfc_9112_6_1() {
        let te = ("Transfer-Encoding", "chunked");
        let cl = ("Content-Length", "3");
        assert_eq!(declared(&[te, te], Version::Http11), Err(Fault::TransferEncoding));
        assert_eq!(declared(&[te, cl], Version::Http11), Err(Fault::Both));
        assert_eq!(declared(&[cl, te], Version::Http11), Err(Fault::Both));
        assert_eq!(declared(&[te], Version::Http10), Err(Fault::OnHttp10));
    }

    #[test]
    fn persistence_follows_version_and_options_rfc_9112_9_3() {
        let keeps = |value: &str, version| {
            let mut framing = FramingFields::default();
            framing.read("Connection", value.as_bytes()).unwrap();
            framing.keeps_alive(version)
        };
        assert!(keeps("", Version::Http11));
        assert!(!keeps("", Version::Http10));
        assert!(keeps("Keep-Alive", Version::Http10));
        assert!(keeps("upgrade, keep-alive", Version::Http10));
        assert!(!keeps("x, CLOSE", Version::Http11));
        assert!(!keeps("keep-alive, close", Version::Http10));
        assert!(keeps("closed", Version::Http11));
    }
}
