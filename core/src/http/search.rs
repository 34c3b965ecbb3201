//! Where a head ends (RFC 9112 §2.1).
//!
//! Owns the bounds of a head and the search for its end as bytes arrive. Must not know what is in
//! it.

use super::Reject;
use super::syntax::{TOKEN, is};
use httparse::Header;
use memchr::memchr;

/// Bounds of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of the whole head.
    pub bytes: usize,
    /// Number of fields, at most [`FIELDS_MOST`](super::FIELDS_MOST).
    pub fields: usize,
    /// Bytes of the request target; the request line may have 64 more. Nothing to responses.
    pub target_bytes: usize,
}

/// Finds where a head ends, `\r\n\r\n`, looking from where the last look ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadSearch {
    /// End of the last line found, or of what held no line end.
    searched: usize,
    /// End of the request line; 0 until it has arrived.
    request_line: usize,
}

impl HeadSearch {
    /// Whether `bytes`, all that has arrived, holds a whole head; O(new bytes).
    ///
    /// # Errors
    /// The head is too large or the target too long already, a line ends in a bare line feed, or
    /// this cannot be HTTP by its first byte.
    pub fn is_complete(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<bool, Reject> {
        self.find(bytes, limits).map(|end| end.is_some())
    }

    /// No byte of the head has been looked at; an empty line before it is none.
    pub fn is_new(&self) -> bool {
        self.searched == 0
    }

    /// The end of the head, if it has arrived.
    pub(super) fn find(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<usize>, Reject> {
        if bytes.first().is_some_and(|&b| !is(b, TOKEN) && b != b'\r') {
            return Err(Reject::BadRequestLine);
        }
        if matches!(bytes, b"\r" | b"\r\n") {
            return Ok(None);
        }
        while let Some(end) = line_end(bytes, self.searched) {
            self.check_size(end, limits)?;
            match line_ending(&bytes[..end]) {
                LineEnding::Bare => return Err(Reject::BareLineFeed),
                LineEnding::OfHead => return Ok(Some(end)),
                LineEnding::OfLine => self.searched = end,
            }
            // An end at 2 is that of an empty line before the request line.
            if self.request_line == 0 && end > 2 {
                self.request_line = end;
            }
        }
        self.check_size(bytes.len(), limits)?;
        self.searched = bytes.len();
        Ok(None)
    }

    fn check_size(&self, arrived: usize, limits: &HeadLimits) -> Result<(), Reject> {
        if self.request_line == 0 && arrived > limits.line_most() {
            return Err(Reject::TargetTooLong);
        }
        if arrived > limits.bytes {
            return Err(Reject::HeadTooLarge);
        }
        Ok(())
    }
}

impl HeadLimits {
    /// Bytes of the request line.
    fn line_most(&self) -> usize {
        self.target_bytes.saturating_add(REQUEST_LINE_MORE).min(self.bytes)
    }

    /// Whether `head`, in which httparse has found `fields`, is one that a [`HeadSearch`] finds,
    /// too: within the bounds, and no line ends in a bare line feed, which httparse takes.
    pub(super) fn allow(&self, head: &[u8], fields: &[Header<'_>]) -> bool {
        let start_of = |field: &Header<'_>| head.element_offset(field.name.as_bytes().first()?);
        let follows_a_line = |at: usize| head[..at].ends_with(b"\r\n");
        let first = fields.first().map_or(Some(head.len().saturating_sub(2)), start_of);
        head.len() <= self.bytes
            && first.is_some_and(|at| at <= self.line_most())
            && head.ends_with(b"\r\n\r\n")
            && fields.iter().all(|field| start_of(field).is_some_and(follows_a_line))
    }
}

/// How a line ends.
pub(super) enum LineEnding {
    /// Without carriage return.
    Bare,
    /// As it should.
    OfLine,
    /// As it should, and it is empty.
    OfHead,
}

/// The end of the line that begins at `from`, behind its line feed.
#[inline]
pub(super) fn line_end(bytes: &[u8], from: usize) -> Option<usize> {
    memchr(b'\n', bytes.get(from..)?).map(|at| from + at + 1)
}

/// How the last line of `bytes`, which ends in a line feed, ends.
#[inline]
pub(super) fn line_ending(bytes: &[u8]) -> LineEnding {
    match bytes {
        [.., b'\r', b'\n', b'\r', b'\n'] => LineEnding::OfHead,
        [.., b'\r', b'\n'] => LineEnding::OfLine,
        _ => LineEnding::Bare,
    }
}

/// What a request line may have beyond its target: method, version, spaces, line end, and the
/// empty line before it.
const REQUEST_LINE_MORE: usize = 64;

#[cfg(test)]
pub(super) mod tests {
    use super::super::{FieldRoom, parse_request, parse_whole_request};
    use super::*;
    use proptest::prelude::*;

    pub(in super::super) const LIMITS: HeadLimits =
        HeadLimits { bytes: 1024, fields: 8, target_bytes: 200 };

    /// The outcome as text, so that results that borrow different buffers compare.
    pub(in super::super) fn outcome(bytes: &[u8]) -> String {
        let mut room = FieldRoom::default();
        let outcome = format!("{:?}", parse_request(bytes, &mut room, &LIMITS));
        if let Some(whole) = parse_whole_request(bytes, &mut room, &LIMITS) {
            assert_eq!(format!("Ok(Some({whole:?}))"), outcome);
        } else if outcome.starts_with("Ok(Some(") {
            assert!(bytes.starts_with(b"\r\n"), "{} is whole", bytes.escape_ascii());
        }
        outcome
    }

    /// As a connection does it: what has arrived grows by `cut` bytes until the head is complete.
    pub(in super::super) fn fed(bytes: &[u8], cut: usize) -> String {
        let mut search = HeadSearch::default();
        let mut arrived = 0;
        while arrived < bytes.len() {
            arrived = (arrived + cut).min(bytes.len());
            match search.is_complete(&bytes[..arrived], &LIMITS) {
                Ok(false) => {}
                Ok(true) => return outcome(&bytes[..arrived]),
                Err(reject) => return format!("Err({reject:?})"),
            }
        }
        "Ok(None)".into()
    }

    #[test]
    fn targets_are_bounded_rfc_9112_3() {
        let of = |target: String| {
            let head = format!("GET /{target} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
            assert_eq!(fed(&head, 1), outcome(&head));
            outcome(&head)
        };
        assert!(of("a".repeat(LIMITS.target_bytes - 1)).starts_with("Ok(Some"));
        assert_eq!(of("a".repeat(LIMITS.target_bytes)), "Err(TargetTooLong)");
        let endless = format!("GET /{}", "a".repeat(1000)).into_bytes();
        assert_eq!(fed(&endless, 1), "Err(TargetTooLong)");
        assert_eq!(fed(&endless, 5000), "Err(TargetTooLong)");
    }

    #[test]
    fn heads_are_bounded_rfc_6585_5() {
        let start = "GET / HTTP/1.1\r\nHost: x\r\nA: ";
        let of = |len: usize| {
            let head = format!("{start}{}\r\n\r\n", "b".repeat(len - start.len() - 4));
            assert_eq!(fed(head.as_bytes(), 1), outcome(head.as_bytes()));
            outcome(&[head.as_bytes(), b"content".repeat(500).as_slice()].concat())
        };
        assert!(of(LIMITS.bytes).starts_with("Ok(Some"));
        assert_eq!(of(LIMITS.bytes + 1), "Err(HeadTooLarge)");
        let fields = |n| format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(n - 1));
        assert!(outcome(fields(LIMITS.fields).as_bytes()).starts_with("Ok(Some"));
        assert_eq!(outcome(fields(LIMITS.fields + 1).as_bytes()), "Err(TooManyFields)");
    }

    #[test]
    fn a_complete_head_stays_complete() {
        let head = b"GET / HTTP/1.0\r\n\r\n";
        let mut search = HeadSearch::default();
        assert_eq!(search.is_complete(&head[..17], &LIMITS), Ok(false));
        assert_eq!(search.is_complete(head, &LIMITS), Ok(true));
        assert_eq!(search.is_complete(head, &LIMITS), Ok(true));
    }

    fn piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "GET ",
            "POST ",
            "/",
            "*",
            "http://x/",
            " HTTP/1.1\r\n",
            " HTTP/1.0\r\n",
            "\r\n",
            "\r",
            "\n",
            " ",
            "\0",
            "\u{e4}",
            ":",
            "Host: x\r\n",
            "Content-Length: 3\r\n",
            "A: b\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close\r\n",
            "Expect: 100-continue\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n",
            "A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        ])
    }

    proptest! {
        #[test]
        fn heads_are_parsed_alike_however_split(
            pieces in prop::collection::vec(piece(), 0..16),
            cut in 1_usize..60,
        ) {
            let bytes = pieces.concat().into_bytes();
            let expected = fed(&bytes, bytes.len().max(1));
            prop_assert_eq!(&fed(&bytes, 1), &expected);
            prop_assert_eq!(&fed(&bytes, cut), &expected);
            prop_assert_eq!(&outcome(&bytes), &expected);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            outcome(&bytes);
        }
    }
}
