//! One connection of the load: whole answers out of pieces.
//!
//! Owns the reading of HTTP/1.1 answers with a Content-Length. Must not know clocks, nor who asks.

use super::Expected;
use memchr::memchr;

/// Where in an answer a connection is.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Of a head that came in pieces.
    head: Vec<u8>,
    content_left: usize,
    last: Head,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Head {
    status: u16,
    length: usize,
    closes: bool,
}

/// What some bytes held.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Answers that end within them.
    pub(super) answers: usize,
    /// Of which with another status or length than expected.
    pub(super) wrong: usize,
    /// Of the last answer.
    pub(super) status: u16,
    /// The last answer announces the end of its connection.
    pub(super) closes: bool,
}

/// What follows cannot be told apart any more.
#[derive(Debug, PartialEq)]
pub(super) struct Nonsense;

impl Reading {
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        expected: &Expected,
    ) -> Result<Found, Nonsense> {
        let mut found = Found::default();
        while !bytes.is_empty() {
            if self.content_left == 0 {
                let Some((head, rest)) = self.take_head(bytes)? else { return Ok(found) };
                bytes = rest;
                found.wrong +=
                    usize::from((head.status, head.length) != (expected.status, expected.length));
                self.content_left = head.length;
                self.last = head;
            }
            let here = self.content_left.min(bytes.len());
            bytes = &bytes[here..];
            self.content_left -= here;
            found.answers += usize::from(self.content_left == 0);
        }
        (found.status, found.closes) = (self.last.status, self.last.closes);
        Ok(found)
    }

    /// None while it is incomplete.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(Head, &'a [u8])>, Nonsense> {
        if self.head.is_empty() {
            if let Some((head, length)) = parse(bytes)? {
                return Ok(Some((head, &bytes[length..])));
            }
            self.head.extend_from_slice(bytes);
            return Ok(None);
        }
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some((head, length)) = parse(&self.head)? else { return Ok(None) };
        self.head.clear();
        Ok(Some((head, &bytes[length - before..])))
    }
}

/// What matters of an answer's head, and how long it is.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Nonsense> {
    let (mut at, mut status, mut length, mut closes) = (0, None, None, false);
    while let Some(end) = memchr(b'\n', &bytes[at..]) {
        let line = bytes[at..at + end].trim_ascii_end();
        at += end + 1;
        match (status, line) {
            (None, line) => status = Some(status_of(line).ok_or(Nonsense)?),
            (Some(status), []) => {
                let length = if status == 304 { Some(0) } else { length };
                let length = length.ok_or(Nonsense)?;
                return Ok(Some((Head { status, length, closes }, at)));
            }
            (Some(_), line) => {
                length = length.or_else(|| length_of(line));
                closes |= line.eq_ignore_ascii_case(b"connection: close");
            }
        }
    }
    if at == 0 && bytes.len() > LONGEST { Err(Nonsense) } else { Ok(None) }
}

fn status_of(line: &[u8]) -> Option<u16> {
    let digits = line.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn length_of(line: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let (name, value) = line.split_at_checked(NAME.len())?;
    if !name.eq_ignore_ascii_case(NAME) {
        return None;
    }
    std::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()
}

const LONGEST: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"HTTP/1.1 200 OK\r\nX: y\r\ncontent-Length: 3\r\n\r\nabc\
        HTTP/1.1 404 Not Found\r\nContent-Length:3\r\n\r\nabc";

    #[test]
    fn answers_are_found_wherever_they_are_cut() {
        let expected = Expected { status: 200, length: 3 };
        for cut in 0..TWO.len() {
            let mut reading = Reading::default();
            let first = reading.feed(&TWO[..cut], &expected).unwrap();
            let second = reading.feed(&TWO[cut..], &expected).unwrap();
            assert_eq!(first.answers + second.answers, 2, "cut at {cut}");
            assert_eq!(first.wrong + second.wrong, 1, "cut at {cut}");
        }
    }

    #[test]
    fn not_modified_has_no_content() {
        let answer = b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n\r\n";
        let expected = Expected { status: 304, length: 0 };
        let found = Reading::default().feed(&answer.repeat(2), &expected);
        assert_eq!(found, Ok(Found { answers: 2, wrong: 0, status: 304, closes: false }));
    }

    #[test]
    fn an_end_is_announced() {
        let answer = b"HTTP/1.1 503 Busy\r\nconnection: Close\r\nContent-Length: 1\r\n\r\nx";
        let expected = Expected { status: 200, length: 1 };
        let found = Reading::default().feed(answer, &expected);
        assert_eq!(found, Ok(Found { answers: 1, wrong: 1, status: 503, closes: true }));
    }

    #[test]
    fn what_has_no_length_is_nonsense() {
        let expected = Expected { status: 200, length: 0 };
        for answer in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"SSH-2.0\r\n"] {
            assert_eq!(Reading::default().feed(answer, &expected), Err(Nonsense));
        }
    }
}
