//! `echo`: what has arrived, as JSON.

use crate::app::Request;
use crate::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forebay::http::Version;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Status 200 and a description of the request, whatever is asked. Field values are read as
/// Latin-1, so that no byte is lost.
pub(super) fn echo(request: &Request) -> Response {
    let content = request.content();
    let description = Description {
        method: request.method(),
        target: request.target(),
        version: match request.version() {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        },
        fields: request.fields().map(|(name, value)| (name, latin1(value))).collect(),
        content_length: content.len(),
        content_sha256: hex(&Sha256::digest(content)),
        content: (content.len() <= MOST_CONTENT).then(|| STANDARD.encode(content)),
    };
    match serde_json::to_vec(&description) {
        Ok(json) => Response::new(json).with_field("Content-Type", "application/json"),
        Err(error) => Response::text(format!("cannot write JSON: {error}\n")).with_status(500),
    }
}

#[derive(Serialize)]
struct Description<'a> {
    method: &'a str,
    target: &'a str,
    version: &'a str,
    fields: Vec<(&'a str, String)>,
    content_length: usize,
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

const MOST_CONTENT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::Body;
    use serde_json::{Value, json};

    fn described(request: &Request) -> Value {
        let response = echo(request);
        assert_eq!(response.status(), 200);
        assert_eq!(response.field("content-type"), Some("application/json"));
        match response.into_body() {
            Body::Bytes(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Body::Stream(_) => panic!("JSON is sent whole"),
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
        let of = |len| described(&Request::new("PUT", "/").with_content(vec![0; len]));
        assert!(of(MOST_CONTENT)["content"].is_string());
        let large = of(MOST_CONTENT + 1);
        assert!(large["content"].is_null());
        assert_eq!(large["content_length"], MOST_CONTENT + 1);
    }
}
