//! A line for each request, for who listens without an edge, which would write it.
//!
//! Owns its form, the combined one of Apache and nginx. Must not know where it goes.

use crate::app::Request;
use forebay::http::DateCache;
use std::io::Write;
use std::net::SocketAddr;

/// What is known of a request before it is answered.
#[derive(Debug)]
pub(crate) struct Record {
    peer: String,
    /// The request line.
    line: Vec<u8>,
    /// The quoted `Referer` and `User-Agent`.
    fields: Vec<u8>,
}

impl Record {
    pub(crate) fn new(request: &Request) -> Record {
        let version = request.version().as_str();
        let mut line = Vec::new();
        for part in [request.method(), " ", request.target(), " ", version] {
            escape(&mut line, part.as_bytes());
        }
        let mut fields = Vec::new();
        for name in ["referer", "user-agent"] {
            fields.extend_from_slice(b" \"");
            escape(&mut fields, request.field(name).unwrap_or(b"-"));
            fields.push(b'"');
        }
        Record { peer: address(request.peer()), line, fields }
    }

    /// Of a request that is refused before it is understood.
    pub(crate) fn unreadable(peer: Option<SocketAddr>) -> Record {
        Record { peer: address(peer), line: b"-".into(), fields: br#" "-" "-""#.into() }
    }

    /// Its line when it is answered with so many bytes of content.
    pub(crate) fn finish(
        self,
        status: u16,
        content: u64,
        date: &mut DateCache,
        unix_seconds: u64,
    ) -> Vec<u8> {
        // `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7)
        let date = date.at(unix_seconds);
        let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or("-");
        let (day, month, year, time) = (part(5..7), part(8..11), part(12..16), part(17..25));
        let mut line = Vec::with_capacity(self.line.len() + self.fields.len() + 100);
        // Writing to memory succeeds.
        let _ = write!(line, "{} - - [{day}/{month}/{year}:{time} +0000] \"", self.peer);
        line.extend_from_slice(&self.line);
        let _ = write!(line, "\" {status} {content}");
        line.extend_from_slice(&self.fields);
        line.push(b'\n');
        line
    }
}

fn address(peer: Option<SocketAddr>) -> String {
    peer.map_or("-".into(), |peer| peer.ip().to_canonical().to_string())
}

/// Nothing from a client can end its field, or the line.
fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_in_the_combined_format() {
        let mut request = Request::new("GET", "/a?b")
            .with_field("User-Agent", "quote \" and \n line")
            .with_field("Referer", "http://r/");
        request.set_peer("[::ffff:192.0.2.7]:80".parse().unwrap());
        let line = Record::new(&request).finish(404, 9, &mut DateCache::default(), 784_111_777);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b HTTP/1.1\" 404 9 \
             \"http://r/\" \"quote \\x22 and \\x0A line\"\n"
        );
    }
}
