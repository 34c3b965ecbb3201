//! `echo`: what has arrived, as JSON.

use crate::app::Request;
use crate::content::Content;
use crate::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::io::{self, Read};

/// Status 200 and a description of the request, whatever is asked. Field values are read as
/// Latin-1, so that no byte is lost.
pub(super) fn echo(request: &Request) -> Response {
    match described(request) {
        Ok(json) => Response::new(json).with_field("Content-Type", "application/json"),
        Err(error) => Response::text(format!("cannot describe it: {error}\n")).with_status(500),
    }
}

fn described(request: &Request) -> io::Result<Vec<u8>> {
    let body = request.body();
    let small = (body.len() <= MOST_CONTENT).then(|| body.bytes()).transpose()?;
    let description = Description {
        method: request.method(),
        target: request.target(),
        version: request.version().as_str(),
        fields: request.fields().map(|(name, value)| (name, latin1(value))).collect(),
        content_length: body.len(),
        content_sha256: hex(&sha256(body)?),
        content: small.map(|content| STANDARD.encode(content)),
    };
    Ok(serde_json::to_vec(&description)?)
}

/// In pieces: large content is in a file, and need not be in memory as well.
fn sha256(content: &Content) -> io::Result<[u8; 32]> {
    let (mut hash, mut reader) = (Sha256::new(), content.reader());
    let mut piece = vec![0; PIECE.min(content.len()) as usize];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(hash.finalize().into()),
            count => hash.update(&piece[..count]),
        }
    }
}

#[derive(Serialize)]
struct Description<'a> {
    method: &'a str,
    target: &'a str,
    version: &'a str,
    fields: Vec<(&'a str, String)>,
    content_length: u64,
    content_sha256: String,
    /// In base64; null above [`MOST_CONTENT`].
    content: Option<String>,
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}

const MOST_CONTENT: u64 = 1 << 20;
const PIECE: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::FileRange;
    use crate::response::Body;
    use serde_json::{Value, json};
    use std::io::Write as _;

    fn described(request: &Request) -> Value {
        let response = echo(request);
        assert_eq!(response.status(), 200);
        assert_eq!(response.field("content-type"), Some("application/json"));
        match response.into_body() {
            Body::Bytes(bytes) => serde_json::from_slice(&bytes).unwrap(),
            _ => panic!("JSON is sent whole"),
        }
    }

    #[test]
    fn everything_is_described() {
        let request = Request::new("POST", "/a?b=c")
            .with_field("Host", "example.com")
            .with_field("x-Bytes", b"\xe9")
            .with_content("abc");
        assert_eq!(
            described(&request),
            json!({
                "method": "POST",
                "target": "/a?b=c",
                "version": "HTTP/1.1",
                "fields": [["Host", "example.com"], ["x-Bytes", "é"]],
                "content_length": 3,
                "content_sha256":
                    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                "content": "YWJj",
            })
        );
    }

    #[test]
    fn no_content_is_empty_content() {
        let description = described(&Request::new("GET", "/"));
        assert_eq!(description["content_length"], 0);
        assert_eq!(description["content"], "");
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(description["content_sha256"], empty);
    }

    #[test]
    fn content_is_left_out_above_one_mebibyte() {
        let of = |len| described(&Request::new("PUT", "/").with_content(vec![0; len as usize]));
        assert!(of(MOST_CONTENT)["content"].is_string());
        let large = of(MOST_CONTENT + 1);
        assert!(large["content"].is_null());
        assert_eq!(large["content_length"], MOST_CONTENT + 1);
    }

    #[test]
    fn content_in_a_file_is_described_alike() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        for part in [5..8, 7..2_999_999] {
            let (offset, length) = (part.start as u64, part.len() as u64);
            let range = FileRange::new(file.try_clone().unwrap(), offset, length).unwrap();
            let request = Request::new("PUT", "/");
            let inline = described(&request.clone().with_content(bytes[part].to_vec()));
            assert_eq!(described(&request.with_body(Content::File(range))), inline);
        }
    }
}
