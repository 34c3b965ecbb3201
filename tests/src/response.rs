//! A strict reader of responses: what is not RFC 9112 is an error, not an interpretation.

use crate::client::Failure;
use serde_json::Value;

/// A response as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `HTTP/1.1`
    pub version: String,
    /// 100–599
    pub status: u16,
    /// Names and values in order.
    pub fields: Vec<(String, String)>,
    /// The content, without its transfer coding.
    pub content: Vec<u8>,
}

impl Response {
    /// The value of the only field of this name.
    ///
    /// # Panics
    /// When there are several.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values =
            self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v);
        let first = values.next();
        assert_eq!(values.next(), None, "{name} occurs twice in {:?}", self.fields);
        first.map(String::as_str)
    }

    /// Whether the sender ends the connection after it.
    pub fn closes(&self) -> bool {
        match self.field("Connection") {
            Some(value) => !value.eq_ignore_ascii_case("keep-alive"),
            None => self.version == "HTTP/1.0",
        }
    }

    /// The content as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.content).expect("the content is text")
    }

    /// The content as JSON.
    ///
    /// # Panics
    /// When it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.content)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {:?}", self.text()))
    }

    /// Reads a head, without the empty line at its end.
    pub(crate) fn parse_head(head: &[u8]) -> Result<Response, String> {
        let text = std::str::from_utf8(head).map_err(|e| e.to_string())?;
        let mut lines = text.split("\r\n");
        let (version, status) = parse_status_line(lines.next().unwrap_or_default())?;
        let fields = lines.map(parse_field).collect::<Result<_, _>>()?;
        Ok(Response { version, status, fields, content: Vec::new() })
    }

    /// Reads all that came on a connection which has ended: one response that is not chunked.
    pub(crate) fn parse_whole(bytes: &[u8]) -> Result<Response, Failure> {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or(match bytes {
            [] => Failure::Closed,
            _ => Failure::Truncated,
        })?;
        let mut response = Response::parse_head(&bytes[..end]).map_err(Failure::Other)?;
        response.content = bytes[end + 4..].to_vec();
        match response.framing(false).map_err(Failure::Other)? {
            Framing::Length(length) if response.content.len() < length => Err(Failure::Truncated),
            Framing::Length(length) if response.content.len() > length => {
                Err(Failure::Other(format!("more than {length} bytes")))
            }
            Framing::Length(_) | Framing::UntilClose => Ok(response),
            Framing::Chunked => Err(Failure::Other("a chunked response".into())),
        }
    }

    /// How the content ends (RFC 9112 §6.3).
    pub(crate) fn framing(&self, to_head: bool) -> Result<Framing, String> {
        let length = self.field("Content-Length");
        let coding = self.field("Transfer-Encoding");
        if length.is_some() && coding.is_some() {
            return Err("both Content-Length and Transfer-Encoding".into());
        }
        if to_head || self.status < 200 || self.status == 204 || self.status == 304 {
            return Ok(Framing::Length(0));
        }
        match (length, coding) {
            (Some(digits), _) => {
                digits.parse().map(Framing::Length).map_err(|e| format!("{digits:?}: {e}"))
            }
            (_, Some("chunked")) => Ok(Framing::Chunked),
            (_, Some(other)) => Err(format!("transfer coding {other:?}")),
            (None, None) => Ok(Framing::UntilClose),
        }
    }
}

pub(crate) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// The length that a chunk's first line announces.
pub(crate) fn parse_chunk_size(line: &[u8]) -> Result<usize, String> {
    let digits = std::str::from_utf8(line).map_err(|e| e.to_string())?;
    usize::from_str_radix(digits, 16).map_err(|e| format!("chunk size {digits:?}: {e}"))
}

fn parse_status_line(line: &str) -> Result<(String, u16), String> {
    let bad = || format!("status line {line:?}");
    let (version, rest) = line.split_once(' ').ok_or_else(bad)?;
    let (digits, _reason) = rest.split_once(' ').ok_or_else(bad)?;
    let status = digits.parse().map_err(|_| bad())?;
    let is_good = matches!(version, "HTTP/1.1" | "HTTP/1.0")
        && digits.len() == 3
        && (100..600).contains(&status);
    if is_good { Ok((version.to_owned(), status)) } else { Err(bad()) }
}

fn parse_field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("field line {line:?}"))?;
    let is_token = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !is_token || value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!("field line {line:?}"));
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let response = Response::parse_head(b"HTTP/1.1 200 OK\r\nA: b\r\nC:\t d ").unwrap();
        assert_eq!((response.status, response.field("c")), (200, Some("d")));
    }

    #[test]
    fn whole_responses_are_as_long_as_they_say() {
        let of = |content| {
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{content}");
            Response::parse_whole(text.as_bytes())
        };
        assert_eq!(of("ok").unwrap().text(), "ok");
        assert_eq!(of("o"), Err(Failure::Truncated));
        assert!(matches!(of("oks"), Err(Failure::Other(_))));
        assert_eq!(Response::parse_whole(b""), Err(Failure::Closed));
        assert_eq!(Response::parse_whole(b"HTTP/1.1 200 OK\r\n"), Err(Failure::Truncated));
    }

    #[test]
    fn bad_heads_are_errors() {
        for head in [
            "HTTP/1.1 200",
            "HTTP/2.0 200 OK",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 700 OK",
            "HTTP/1.1 200 OK\r\nno colon",
            "HTTP/1.1 200 OK\r\nname : value",
            "HTTP/1.1 200 OK\r\nA: b\nC: d",
        ] {
            assert!(Response::parse_head(head.as_bytes()).is_err(), "{head:?}");
        }
    }
}
