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
}

/// What some bytes held.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Answers that end within them.
    pub(super) answers: usize,
    /// Of which with another status or length than expected.
    pub(super) wrong: usize,
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
                found.wrong += usize::from(head != *expected);
                self.content_left = head.length;
            }
            let here = self.content_left.min(bytes.len());
            bytes = &bytes[here..];
            self.content_left -= here;
            found.answers += usize::from(self.content_left == 0);
        }
        Ok(found)
    }

    /// None while it is incomplete.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(Expected, &'a [u8])>, Nonsense> {
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

/// Status and length of an answer, and how long its head is.
fn parse(bytes: &[u8]) -> Result<Option<(Expected, usize)>, Nonsense> {
    let (mut at, mut status, mut length) = (0, None, None);
    while let Some(end) = memchr(b'\n', &bytes[at..]) {
        let line = bytes[at..at + end].trim_ascii_end();
        at += end + 1;
        match (status, line) {
            (None, line) => status = Some(status_of(line).ok_or(Nonsense)?),
            (Some(status), []) => {
                let length = if status == 304 { Some(0) } else { length };
                let length = length.ok_or(Nonsense)?;
                return Ok(Some((Expected { status, length }, at)));
            }
            (Some(_), line) => length = length.or_else(|| length_of(line)),
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
        assert_eq!(found, Ok(Found { answers: 2, wrong: 0 }));
    }

    #[test]
    fn what_has_no_length_is_nonsense() {
        let expected = Expected { status: 200, length: 0 };
        for answer in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"SSH-2.0\r\n"] {
            assert_eq!(Reading::default().feed(answer, &expected), Err(Nonsense));
        }
    }
}
