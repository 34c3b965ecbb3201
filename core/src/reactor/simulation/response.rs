//! Responses as a client reads them: a small, strict parser of the test's own.
//!
//! Owns nothing of the edge, so that no fault of its parser is shared.

/// A whole response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) status: u16,
    /// The head, as text.
    pub(super) head: String,
    pub(super) content: Vec<u8>,
    /// The connection ends behind it.
    pub(super) is_last: bool,
    /// Its bytes.
    pub(super) len: usize,
}

/// The response at the start of `bytes`, if it is whole. `ended`: no more bytes come.
pub(super) fn parse(bytes: &[u8], to_head: bool, ended: bool) -> Option<Seen> {
    let (status, head, end) = head(bytes)?;
    let rest = &bytes[end..];
    let length = field(&head, "content-length").map(|value| value.parse::<usize>().unwrap());
    let chunked = field(&head, "transfer-encoding").is_some();
    assert!(length.is_none() || !chunked, "two framings: {head}");
    let (content, len) = if to_head || status < 200 || matches!(status, 204 | 304) {
        (Vec::new(), 0)
    } else if chunked {
        chunks(rest)?
    } else if let Some(length) = length {
        (rest.get(..length)?.to_vec(), length)
    } else {
        ended.then(|| (rest.to_vec(), rest.len()))?
    };
    let is_last = field(&head, "connection").is_some_and(|value| value == "close");
    Some(Seen { status, head, content, is_last, len: end + len })
}

/// The status of the response at the start of `bytes`, if its head is whole.
pub(super) fn begun(bytes: &[u8]) -> Option<u16> {
    head(bytes).map(|(status, ..)| status)
}

fn head(bytes: &[u8]) -> Option<(u16, String, usize)> {
    let end = find(bytes, b"\r\n\r\n")? + 4;
    // Values may be of any encoding.
    let head: String = bytes[..end].iter().copied().map(char::from).collect();
    let status_line = head.split("\r\n").next().unwrap();
    assert!(status_line.starts_with("HTTP/1.1 "), "not a status line: {status_line:?}");
    let status = status_line[9..12].parse().expect("a status");
    Some((status, head, end))
}

/// The value of the only field of that name, in lower case.
pub(super) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut values = head.split("\r\n").skip(1).filter_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    let value = values.next();
    assert!(values.next().is_none(), "{name} is repeated: {head}");
    value
}

pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).unwrap();
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        at += line + 2;
        let end = at + size;
        if bytes.len() < end + 2 {
            return None;
        }
        assert_eq!(&bytes[end..end + 2], b"\r\n", "behind a chunk");
        content.extend_from_slice(&bytes[at..end]);
        at = end + 2;
        if size == 0 {
            return Some((content, at));
        }
    }
}

#[test]
fn responses_are_read_as_they_are() {
    let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nHTTP";
    let seen = parse(bytes, false, false).unwrap();
    assert_eq!((seen.content.as_slice(), seen.len), (&b"ab"[..], bytes.len() - 4));
    for end in 0..bytes.len() - 4 {
        assert_eq!(parse(&bytes[..end], false, true), None);
    }
    let bytes = b"HTTP/1.1 404 No\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    let seen = parse(bytes, false, false).unwrap();
    assert!(seen.is_last && seen.status == 404 && seen.content == b"abc");
    assert_eq!(parse(bytes, true, false).unwrap().len, bytes.len() - 3);
}
