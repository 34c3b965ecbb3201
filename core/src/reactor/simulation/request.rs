//! Requests that clients send, and what must come back.
//!
//! Owns their forms. Must not know connections.

use super::oracle::Oracle;
use super::{FIXED, LARGE_FILE, POOLS, SMALL_FILE, pattern};
use crate::io::sim::Random;

/// How a worker is to answer a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) len: usize,
    pub(super) form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Length,
    Chunked,
    UntilClose,
}

/// A request as it is sent, and what is known about its answer.
pub(super) struct Planned {
    pub(super) bytes: Vec<u8>,
    pub(super) to_head: bool,
    /// The edge ends the connection behind the answer.
    pub(super) ends: bool,
    pub(super) expected: Expected,
}

pub(super) enum Expected {
    /// Of the pools' request with this number.
    Pool(usize),
    Content(u16, Vec<u8>),
    Status(u16),
}

/// The content of request number `id`, and of its answer.
pub(super) fn request_content(id: usize, len: usize) -> Vec<u8> {
    pattern(id as u64 * 2 + 1_000_001, len)
}

pub(super) fn answer_content(id: usize, len: usize) -> Vec<u8> {
    pattern(id as u64 * 2 + 1_000_000, len)
}

/// Any request; if `is_last` also one that ends the connection.
pub(super) fn any(random: &mut Random, oracle: &mut Oracle, is_last: bool) -> Planned {
    if is_last && random.chance(300) {
        return ending(random, oracle);
    }
    match random.within(0..=9) {
        0 => get("GET", "/files/small.txt", "", 200, pattern(SMALL_FILE.1 as u64, SMALL_FILE.1)),
        1 => get("GET", "/files/large.bin", "", 200, pattern(LARGE_FILE.1 as u64, LARGE_FILE.1)),
        2 => match random.within(0..=3) {
            0 => get("HEAD", "/files/small.txt", "", 200, Vec::new()),
            1 => get("GET", "/files/large.bin", "If-None-Match: *\r\n", 304, Vec::new()),
            2 => get("GET", "/fixed", "", 200, FIXED.into()),
            _ => planned("GET", "/files/none", "", "1.1", Expected::Status(404)),
        },
        3 => {
            let content = pattern(random.next(), random.within(0..=3_000));
            let (fields, coded) = coded(random, &content);
            let mut planned =
                planned("POST", "/echo", &fields, "1.1", Expected::Content(200, content));
            planned.bytes.extend_from_slice(&coded);
            planned
        }
        _ => pool(random, oracle, "1.1", ""),
    }
}

/// A request with or without content for a pool.
pub(super) fn pool(
    random: &mut Random,
    oracle: &mut Oracle,
    version: &str,
    fields: &str,
) -> Planned {
    let method = ["GET", "GET", "HEAD", "PUT", "POST", "POST", "PATCH", "DELETE"];
    let method = method[random.within(0..=method.len() - 1)];
    let has_content = matches!(method, "PUT" | "POST" | "PATCH");
    let most = [200, 5_000, 40_000, 40_000, 200_000][random.within(0..=4)];
    let content_len = if has_content { random.within(0..=most) } else { 0 };
    let most = [0, 300, 5_000, 70_000, 70_000, 400_000][random.within(0..=5)];
    let form = [Form::Length, Form::Length, Form::Chunked, Form::Chunked, Form::UntilClose];
    let answer = Answer {
        status: [200, 200, 200, 201, 204, 304, 500, 503][random.within(0..=7)],
        len: random.within(0..=most),
        form: form[random.within(0..=4)],
    };
    let pool = usize::from(random.chance(200));
    let id = oracle.add(method, Vec::new(), answer, pool);
    let content = request_content(id, content_len);
    let (mut fields, mut body) = (fields.to_string(), Vec::new());
    if has_content {
        let (framing, coded) = match version {
            "1.1" => coded(random, &content),
            _ => (format!("Content-Length: {}\r\n", content.len()), content.clone()),
        };
        fields += &framing;
        body = coded;
    }
    if random.chance(200) {
        fields += "Forebay-Peer: evil\r\nX-Forwarded-For: evil\r\n";
    }
    oracle.set_content(id, content);
    let target = format!("{}{id}", POOLS[pool]);
    let mut planned = planned(method, &target, &fields, version, Expected::Pool(id));
    planned.bytes.extend_from_slice(&body);
    planned
}

/// A request after which the edge ends the connection.
fn ending(random: &mut Random, oracle: &mut Oracle) -> Planned {
    let bad = |text: &str, status| Planned {
        bytes: text.into(),
        to_head: false,
        ends: true,
        expected: Expected::Status(status),
    };
    match random.within(0..=7) {
        0 => bad("GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        1 => bad("GET /\n", 400),
        2 => bad("POST /app/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        3 => bad("POST /app/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 400),
        4 => bad("POST /files/small.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123", 405),
        5 => Planned { ends: true, ..pool(random, oracle, "1.0", "") },
        6 => pool(random, oracle, "1.0", "Connection: keep-alive\r\n").maybe_ending(oracle),
        _ => Planned { ends: true, ..pool(random, oracle, "1.1", "Connection: close\r\n") },
    }
}

fn get(method: &str, target: &str, fields: &str, status: u16, content: Vec<u8>) -> Planned {
    planned(method, target, fields, "1.1", Expected::Content(status, content))
}

fn planned(method: &str, target: &str, fields: &str, version: &str, expected: Expected) -> Planned {
    let head = format!("{method} {target} HTTP/{version}\r\nHost: site\r\n{fields}\r\n");
    Planned { bytes: head.into(), to_head: method == "HEAD", ends: false, expected }
}

/// The fields and the bytes of content with a length or in chunks.
fn coded(random: &mut Random, content: &[u8]) -> (String, Vec<u8>) {
    if random.chance(500) {
        return (format!("Content-Length: {}\r\n", content.len()), content.to_vec());
    }
    let (mut bytes, mut rest) = (Vec::new(), content);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(random.within(1..=rest.len()));
        let extension = if random.chance(100) { ";x=y" } else { "" };
        bytes.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        rest = after;
    }
    let trailer = if random.chance(100) { "X-Trailer: 1\r\n" } else { "" };
    bytes.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
    ("Transfer-Encoding: chunked\r\n".into(), bytes)
}

impl Planned {
    /// Its first line.
    pub(super) fn describe(&self) -> String {
        String::from_utf8_lossy(&self.bytes).lines().next().unwrap_or_default().to_string()
    }

    /// HTTP/1.0 knows no chunks, so content of unknown length ends the connection.
    fn maybe_ending(mut self, oracle: &Oracle) -> Planned {
        if let Expected::Pool(id) = self.expected {
            let known = oracle.request(id);
            self.ends = known.answer.has_unknown_length(known.method);
        }
        self
    }
}

impl Answer {
    pub(super) fn has_unknown_length(&self, method: &str) -> bool {
        let without_content = method == "HEAD" || matches!(self.status, 204 | 304);
        self.form != Form::Length && !without_content
    }
}
