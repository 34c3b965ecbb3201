//! What fuzzers call: each function takes any bytes, and panics if a rule does not hold for them.
//!
//! Owns the rules. Must not know where the bytes come from: `core/fuzz` has them from libFuzzer,
//! the tests below from the corpus and a seed. Not part of the public interface.

use crate::conn::loan::Receipt;
use crate::files::name;
use crate::http::{
    ChunkedDecoder, FIELDS_MOST, FieldRoom, Forwarded, Framing, HeadLimits, HeadSearch, LAST_CHUNK,
    Piece, RequestHead, ResponseHead, Version, clean_and_look, clean_target, finish_request,
    parse_request, parse_response, parse_whole_request, parse_whole_response, path_meaning,
    split_query, write_chunk_head, write_request, write_response,
};

pub use crate::reactor::simulation::corpus::{connection, response};
pub use crate::reactor::simulation::random::operations;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 100, target_bytes: 1024 };

/// A request head: the same however it arrives; what the edge writes of it means the same.
pub fn head(data: &[u8]) {
    let mut room = FieldRoom::default();
    let parsed = parse_request(data, &mut room, &LIMITS);
    let mut search = HeadSearch::default();
    let ends = (0..=data.len()).map(|end| search.is_complete(&data[..end], &LIMITS));
    match ends.into_iter().find(|found| *found != Ok(false)) {
        None => assert!(matches!(parsed, Ok(None)), "{parsed:?}"),
        Some(Err(reject)) => assert_eq!(parsed.err(), Some(reject)),
        Some(Ok(_)) => assert!(!matches!(parsed, Ok(None))),
    }
    if let Ok(Some(head)) = parsed {
        rewritten(&head);
    }
    let mut room = FieldRoom::default();
    if let Some(whole) = parse_whole_request(data, &mut room, &LIMITS) {
        assert_eq!(format!("{:?}", parsed), format!("Ok(Some({whole:?}))"));
    }
}

fn rewritten(head: &RequestHead<'_, '_>) {
    let Ok(target) = clean_target(head.target) else { return };
    let facts = Forwarded {
        peer_ip: b"192.0.2.1",
        peer_port: 1,
        local: b"192.0.2.2:80",
        scheme: "http",
        host: None,
        request_id: b"id",
    };
    let mut written = Vec::new();
    write_request(&mut written, head, &target, &facts);
    finish_request(&mut written, Some(7), 1);
    let mut room = FieldRoom::default();
    let limits = HeadLimits { bytes: 1 << 20, fields: FIELDS_MOST, target_bytes: 1 << 20 };
    let again = parse_request(&written, &mut room, &limits);
    let again = again.expect("the edge writes what it would read").expect("the whole of it");
    assert_eq!(again.len, written.len());
    assert_eq!((again.method, again.target), (head.method, &*target));
    assert_eq!((again.version, again.framing), (Version::Http11, Framing::Length(7)));
    let host = if head.host.is_empty() { facts.local } else { head.host.as_bytes() };
    assert_eq!(again.host.as_bytes(), host);
    assert!(again.keep_alive && !again.expects_continue);
    assert_eq!(again.field("x-forwarded-for"), Some(facts.peer_ip));
}

/// A target: in normal form it stays as it is, the path that it means is wholly decoded, and no
/// name of a file leaves its root.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(clean) = clean_target(text) {
        assert_eq!(clean_target(&clean).as_deref(), Ok(&*clean), "cleaned twice");
        let (path, _) = split_query(&clean);
        assert!(clean == "*" || path.starts_with('/'));
        assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{clean}");
        meaning(path, clean_and_look(text).is_ok_and(|clean| clean.is_literal));
    }
    file_name(text.strip_prefix('/').unwrap_or(text));
}

/// What is behind the path of a files route, as the name of a file.
fn file_name(path: &str) {
    let Some(name) = name::resolve(path, "index") else { return };
    let name = name.to_bytes();
    assert!(name.iter().all(|byte| !byte.is_ascii_control() && *byte != b'\\'), "{path}");
    let mut segments = name.split(|byte| *byte == b'/');
    assert!(segments.all(|segment| !matches!(segment, b"" | b"." | b"..")), "{path}");
    assert_eq!(slashes(name), slashes(path.as_bytes()), "an encoded slash is no slash");
    let index: &[u8] = if name::is_directory(path) { b"index" } else { b"" };
    assert_eq!(name, [&decoded_once(path.as_bytes()), index].concat());
}

/// What routes are chosen by: all of one decoding, and nothing that an application might resolve.
fn meaning(path: &str, is_literal: bool) {
    let decoded = decoded_once(path.as_bytes());
    let mut segments = decoded.split(|byte| *byte == b'/');
    let Ok(meaning) = path_meaning(path) else {
        assert!(path == "*" || segments.any(|segment| segment == b".."), "{path}");
        return;
    };
    assert!(!is_literal || meaning == path.as_bytes(), "{path}");
    if path == "*" {
        return;
    }
    let is_last_empty = decoded.ends_with(b"/") || decoded.ends_with(b"/.");
    let expected: Vec<&[u8]> =
        segments.filter(|segment| !segment.is_empty() && *segment != b".").collect();
    assert!(!expected.contains(&&b".."[..]), "{path}");
    let mut found: Vec<&[u8]> = meaning.split(|byte| *byte == b'/').collect();
    assert!(found.remove(0).is_empty(), "{path}");
    assert_eq!(found.pop_if(|last| last.is_empty()).is_some(), is_last_empty, "{path}");
    assert_eq!(found, expected, "{path}");
}

fn decoded_once(path: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), path);
    while let [byte, tail @ ..] = rest {
        let (byte, tail) = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digits = [char::from(*high), char::from(*low)];
                let [high, low] = digits.map(|c| c.to_digit(16).expect("it was accepted"));
                ((high << 4 | low) as u8, tail)
            }
            _ => (*byte, tail),
        };
        decoded.push(byte);
        rest = tail;
    }
    decoded
}

fn slashes(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'/').count()
}

/// Chunked content: the same however it arrives, and what is written anew means the same. The
/// first byte says how it is split.
pub fn chunked(data: &[u8]) {
    let [cut, coded @ ..] = data else { return };
    let whole = decoded(&[coded]);
    let pieces: Vec<&[u8]> = coded.chunks(usize::from(*cut).max(1)).collect();
    assert_eq!(decoded(&pieces), whole);
    let mut buf = coded.to_vec();
    let compacted = ChunkedDecoder::default().compact(&mut buf, 0);
    let Ok((content, used, ended)) = whole else {
        assert!(compacted.is_err());
        return;
    };
    let compacted = compacted.expect("the same in place");
    assert_eq!((&buf, compacted.ended, compacted.surplus), (&content, ended, coded.len() - used));
    let mut anew = Vec::new();
    for chunk in content.chunks(100) {
        write_chunk_head(&mut anew, chunk.len());
        anew.extend_from_slice(chunk);
        anew.extend_from_slice(b"\r\n");
    }
    anew.extend_from_slice(LAST_CHUNK);
    assert_eq!(decoded(&[&anew]), Ok((content, anew.len(), true)));
}

/// Content, bytes used, and whether it ended.
fn decoded(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), crate::http::Reject> {
    let mut decoder = ChunkedDecoder::default();
    let (mut content, mut used) = (Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let (count, found) = decoder.step(rest)?;
            (used, rest) = (used + count, &rest[count..]);
            match found {
                Piece::Data(data) => content.extend_from_slice(data),
                Piece::More => break,
                Piece::End => return Ok((content, used, true)),
            }
        }
    }
    Ok((content, used, false))
}

/// What a worker says when it gives a spool file back: digits, few enough for a number, and a line
/// feed, however it is split. The first byte says how.
pub fn receipt(data: &[u8]) {
    let [cut, said @ ..] = data else { return };
    let digits = said.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let expected = match said.get(digits) {
        _ if digits > 19 => Err(()),
        None => Ok(None),
        Some(b'\n') if digits > 0 => {
            let text = std::str::from_utf8(&said[..digits]).expect("digits");
            Ok(Some((digits + 1, text.parse::<u64>().expect("19 digits are few enough"))))
        }
        Some(_) => Err(()),
    };
    for piece in [usize::from(*cut).max(1), said.len().max(1)] {
        assert_eq!(received(said.chunks(piece)), expected);
    }
}

/// How long the receipt in these pieces is, and what it says, if it is whole.
fn received<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Option<(usize, u64)>, ()> {
    let (mut receipt, mut used) = (Receipt::default(), 0);
    for piece in pieces {
        let (count, bytes) = receipt.read(piece).map_err(|_| ())?;
        used += count;
        match bytes {
            Some(bytes) => return Ok(Some((used, bytes))),
            None => assert_eq!(count, piece.len()),
        }
    }
    Ok(None)
}

/// Fields about framing and connection, put together from parts: the whole edge frames a request
/// as the standard does. Each byte is a part.
pub fn framing(data: &[u8]) {
    let [seed, parts @ ..] = data else { return };
    let parts = parts.iter().take(60).map(|byte| PARTS[usize::from(*byte) % PARTS.len()]);
    let fields: String = parts.collect();
    let content = "5\r\nhello\r\n0\r\n\r\nGET /app/y HTTP/1.1\r\nHost: x\r\n\r\n";
    let request = format!("POST /app/x HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n{content}");
    connection(&[&[*seed], request.as_bytes()].concat());
}

const PARTS: &[&str] = &[
    "Content-Length: 5",
    "Content-Length:",
    "Content-Length",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding:",
    "Connection: close",
    "Connection: ",
    "Expect: 100-continue",
    "chunked",
    "\r\n",
    "\r\n",
    "\r\n",
    "\r\n",
    " ",
    "\t",
    ",",
    ":",
    ";",
    "\"",
    "\r",
    "\n",
    "\0",
    "0",
    "1",
    "5",
    "9",
    "x",
    "gzip",
    "identity",
    "close",
    "keep-alive",
    "_",
    "-",
    "CHUNKED",
    "HOST: y",
    "\r\nContent-Length: 5\r\n",
    "\r\nTransfer-Encoding: chunked\r\n",
    "content-length",
    "99999999999999999999",
    "Content-Length: 15",
];

/// A response head: the same however it arrives; what the edge writes of it means the same.
pub fn response_head(data: &[u8]) {
    for to_head in [false, true] {
        let whole = outcome(data, &LIMITS, to_head);
        let ends = (0..data.len()).map(|end| outcome(&data[..end], &LIMITS, to_head));
        let first = ends.into_iter().find(|found| found != "Ok(None)");
        assert_eq!(first.unwrap_or_else(|| whole.clone()), whole);
        let mut room = FieldRoom::default();
        if let Ok(Some(head)) = parse_response(data, &mut room, &LIMITS, to_head) {
            written(&head, to_head);
        }
    }
}

/// What a response head comes to, the same both ways, as text: results that borrow different
/// buffers compare.
pub(crate) fn outcome(bytes: &[u8], limits: &HeadLimits, to_head: bool) -> String {
    let mut room = FieldRoom::default();
    let outcome = format!("{:?}", parse_response(bytes, &mut room, limits, to_head));
    let whole = parse_whole_response(bytes, &mut room, limits, to_head);
    let whole = whole.map(|head| format!("Ok(Some({head:?}))"));
    assert_eq!(whole.is_some(), outcome.starts_with("Ok(Some("), "{outcome}");
    assert!(whole.is_none_or(|whole| whole == outcome), "{outcome}");
    outcome
}

fn written(head: &ResponseHead<'_, '_>, to_head: bool) {
    for framing in [head.framing, Framing::Chunked, Framing::UntilClose] {
        let mut out = Vec::new();
        write_response(
            &mut out,
            head,
            framing,
            Version::Http11,
            true,
            b"Thu, 01 Jan 1970 00:00:00 GMT",
        );
        let mut room = FieldRoom::default();
        let limits = HeadLimits { bytes: 1 << 20, fields: FIELDS_MOST, target_bytes: 0 };
        let again = parse_response(&out, &mut room, &limits, to_head);
        let again = again.expect("the edge writes what it would read").expect("the whole of it");
        assert_eq!((again.len, again.status), (out.len(), head.status));
        let expected = if head.without_content { Framing::Length(0) } else { framing };
        assert_eq!(again.framing, expected);
        for gone in
            ["keep-alive", "upgrade", "te", "trailer", "x-accel-redirect", "forebay-body-fd"]
        {
            assert_eq!(again.field(gone), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sim::Random;
    use crate::reactor::simulation::corpus::Message;

    /// Any corpus with something done to it, so often; with `FOREBAY_FULL=1` a hundred times that.
    fn mutated(seed: u64, corpus: &[Vec<u8>], count: usize, target: impl Fn(&[u8])) {
        let is_full = std::env::var("FOREBAY_FULL").is_ok_and(|value| value == "1");
        let mut random = Random::new(seed);
        corpus.iter().for_each(|bytes| target(bytes));
        for _ in 0..if is_full { count * 100 } else { count } {
            let mut bytes = corpus[random.within(0..=corpus.len() - 1)].clone();
            for _ in 0..random.within(1..=4) {
                mutate(&mut bytes, &mut random, corpus);
            }
            target(&bytes);
        }
    }

    fn mutate(bytes: &mut Vec<u8>, random: &mut Random, corpus: &[Vec<u8>]) {
        const LIKED: &[u8] = b"\r\n \t:;,\0\"0aA/%.\x7f\x80\xff-_";
        let at = random.within(0..=bytes.len());
        let to = (at + random.within(0..=20)).min(bytes.len());
        match random.within(0..=4) {
            0 => bytes.insert(at, random.next() as u8),
            1 => bytes.insert(at, LIKED[random.within(0..=LIKED.len() - 1)]),
            2 => drop(bytes.drain(at..to)),
            3 => bytes.extend_from_within(at..to),
            _ => {
                let other = &corpus[random.within(0..=corpus.len() - 1)];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at.min(other.len())..]);
            }
        }
    }

    /// Requests, without the largest; before each a byte that says how it is split.
    fn requests() -> Vec<Vec<u8>> {
        let all = ["valid", "invalid"].into_iter().flat_map(Message::all);
        let small = all.filter(|message| message.bytes.len() < 1000);
        small.map(|message| [b"\x01", &message.bytes[..]].concat()).collect()
    }

    fn responses() -> Vec<Vec<u8>> {
        ["200 OK", "204 No", "304 No", "103 Early", "101 Switch", "600 X"]
            .into_iter()
            .flat_map(|status| {
                [
                    "Content-Length: 2\r\n\r\nok",
                    "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n",
                    "Connection: close, A\r\nA: b\r\n\r\nok",
                    "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                ]
                .map(|rest| format!("\x01HTTP/1.1 {status}\r\n{rest}").into_bytes())
            })
            .collect()
    }

    fn without_first(corpus: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        corpus.into_iter().map(|bytes| bytes[1..].to_vec()).collect()
    }

    #[test]
    fn heads() {
        mutated(1, &without_first(requests()), 3_000, head);
    }

    #[test]
    fn targets() {
        let corpus = [
            "/a/../b?c",
            "/%2e%2E/%2f",
            "*",
            "?q",
            "/a//./%00",
            "/%c0%ae/..;/x",
            "/a%2F.%2f/",
            "/a%25b/%5C/",
            ".well-known/%41",
        ];
        mutated(2, &corpus.map(|text| text.as_bytes().to_vec()), 20_000, target);
    }

    #[test]
    fn chunks() {
        let corpus =
            ["\x011 \t;a=\"b\"\r\nx\r\n0\r\nA: b\r\n\r\n", "\x02a\r\n0123456789\r\n00\r\n\r\nx"];
        mutated(3, &corpus.map(|text| text.as_bytes().to_vec()), 20_000, chunked);
    }

    #[test]
    fn receipts() {
        let corpus = ["\x010\n", "\x021234567\nHTTP/1.1", "\x039999999999999999999\n"];
        mutated(9, &corpus.map(|text| text.as_bytes().to_vec()), 20_000, receipt);
    }

    #[test]
    fn framings() {
        let corpus: Vec<Vec<u8>> = (0..40).map(|part| vec![1, part, 9, 39 - part, 3]).collect();
        mutated(4, &corpus, 200, framing);
    }

    #[test]
    fn response_heads() {
        mutated(5, &without_first(responses()), 2_000, response_head);
    }

    #[test]
    fn whole_responses() {
        mutated(6, &responses(), 200, response);
    }

    #[test]
    fn a_handler_waits_for_its_whole_content() {
        let head = "\0POST /echo/app/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        for content in ["0\r\nA: b", "0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "x"] {
            connection(format!("{head}{content}").as_bytes());
        }
    }

    #[test]
    fn connections() {
        mutated(7, &requests(), 200, connection);
    }

    #[test]
    fn any_operations() {
        let corpus: Vec<Vec<u8>> = (0..5).map(|kind| vec![kind; 400]).collect();
        mutated(8, &corpus, 30, operations);
    }
}
