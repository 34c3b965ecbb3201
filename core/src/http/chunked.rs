//! The chunked transfer coding (RFC 9112 §7.1).
//!
//! Owns decoding, piece by piece or in place, and the framing of chunks that are sent. Must not
//! know how much content is allowed. Extensions and trailer fields are checked and dropped.

use super::Reject;
use super::syntax::{TOKEN, VALUE, hex_value, is};

/// Decodes content that arrives in pieces of any size.
///
/// Strict: sizes of 1 to 13 hexadecimal digits; extensions of at most 256 bytes, with the white
/// space before them, without control characters and with whole quoted strings; CRLF everywhere;
/// trailer fields of at most 8 KiB in all. What is not content may be 16 KiB plus eight times the
/// content at most: chunks of one byte are served, but nobody can make us work through megabytes of
/// extensions.
#[derive(Clone, Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes of the current chunk that are still to come.
    chunk: u64,
    /// Digits of the size, or bytes of the extension with the space before it, or of the trailer
    /// section.
    count: usize,
    content: u64,
    overhead: u64,
}

/// What [`ChunkedDecoder::step`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Content, the last of the bytes consumed. There may be more: step on.
    Data(&'a [u8]),
    /// All input is consumed and the content has not ended.
    More,
    /// The content has ended. Input beyond the bytes consumed belongs to the next message.
    End,
}

/// What [`ChunkedDecoder::compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of content, from where decoding began to the end of the buffer.
    pub data_len: usize,
    /// Whether the content has ended.
    pub ended: bool,
    /// Bytes that followed the end; they are cut off. Always 0 unless `ended`.
    pub surplus: usize,
}

impl ChunkedDecoder {
    /// Decodes up to the next piece of content. Returns how many bytes of `input` it consumed.
    /// Call again, with the rest, until `More` or `End`.
    ///
    /// # Errors
    /// [`Reject::BadChunk`], [`Reject::ChunkOverhead`], [`Reject::BadTrailer`] or
    /// [`Reject::TrailerTooLarge`]. The decoder is of no use afterwards.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Piece<'a>), Reject> {
        let mut consumed = 0;
        while self.state != State::Ended {
            let Some(&byte) = input.get(consumed) else { return Ok((consumed, Piece::More)) };
            if self.state == State::Content {
                let (len, data) = self.take_content(&input[consumed..]);
                return Ok((consumed + len, Piece::Data(data)));
            }
            self.state = self.next_state(byte)?;
            self.overhead += 1;
            consumed += 1;
        }
        Ok((consumed, Piece::End))
    }

    /// Decodes `buf[from..]` in place, so that it is plain content afterwards, and nothing else.
    ///
    /// # Errors
    /// As [`step`](ChunkedDecoder::step); what `buf[from..]` holds then is unspecified.
    pub fn compact(&mut self, buf: &mut Vec<u8>, from: usize) -> Result<Compacted, Reject> {
        let (mut read, mut write) = (from, from);
        loop {
            let (consumed, piece) = self.step(&buf[read..])?;
            read += consumed;
            match piece {
                Piece::Data(data) => {
                    let len = data.len();
                    buf.copy_within(read - len..read, write);
                    write += len;
                }
                Piece::More | Piece::End => {
                    let ended = piece == Piece::End;
                    let surplus = buf.len() - read;
                    buf.truncate(write);
                    return Ok(Compacted { data_len: write - from, ended, surplus });
                }
            }
        }
    }

    /// Whether the content has ended.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    fn take_content<'a>(&mut self, input: &'a [u8]) -> (usize, &'a [u8]) {
        let len = usize::try_from(self.chunk).map_or(input.len(), |chunk| chunk.min(input.len()));
        self.chunk -= len as u64;
        self.content += len as u64;
        if self.chunk == 0 {
            self.state = State::ContentCr;
        }
        (len, &input[..len])
    }

    fn next_state(&mut self, byte: u8) -> Result<State, Reject> {
        match (self.state, byte) {
            (State::Size, b'\r') if self.count > 0 => Ok(State::SizeLf),
            (State::Size, b';') if self.count > 0 => {
                self.count = 0;
                Ok(State::Extension)
            }
            (State::Size, b' ' | b'\t') if self.count > 0 => {
                self.count = 1;
                Ok(State::Space)
            }
            (State::Size, _) => self.add_digit(byte),
            (State::Space, b';') => Ok(State::Extension),
            (State::Space, b' ' | b'\t') => self.add_extension(byte),
            (State::Space, _) => Err(Reject::BadChunk),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension | State::Quoted | State::QuotedPair, _) => self.add_extension(byte),
            (State::SizeLf, b'\n') => self.begin_chunk(),
            (State::ContentCr, b'\r') => Ok(State::ContentLf),
            (State::ContentLf, b'\n') => {
                self.count = 0;
                Ok(State::Size)
            }
            (State::SizeLf | State::ContentCr | State::ContentLf, _) => Err(Reject::BadChunk),
            _ => self.next_trailer_state(byte),
        }
    }

    fn add_digit(&mut self, byte: u8) -> Result<State, Reject> {
        let digit = hex_value(byte).ok_or(Reject::BadChunk)?;
        self.count += 1;
        if self.count > SIZE_DIGITS {
            return Err(Reject::BadChunk);
        }
        self.chunk = self.chunk << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn add_extension(&mut self, byte: u8) -> Result<State, Reject> {
        self.count += 1;
        if !is(byte, VALUE) || self.count > EXTENSION_BYTES {
            return Err(Reject::BadChunk);
        }
        Ok(match (self.state, byte) {
            (State::Space, _) => State::Space,
            (State::Quoted, b'"') => State::Extension,
            (State::Quoted, b'\\') => State::QuotedPair,
            (State::Quoted | State::QuotedPair, _) => State::Quoted,
            (_, b'"') => State::Quoted,
            _ => State::Extension,
        })
    }

    fn begin_chunk(&mut self) -> Result<State, Reject> {
        self.count = 0;
        if self.chunk == 0 {
            return Ok(State::TrailerLine);
        }
        if self.overhead > OVERHEAD_BASE + OVERHEAD_FACTOR * self.content {
            return Err(Reject::ChunkOverhead);
        }
        Ok(State::Content)
    }

    fn next_trailer_state(&mut self, byte: u8) -> Result<State, Reject> {
        self.count += 1;
        if self.count > TRAILER_BYTES {
            return Err(Reject::TrailerTooLarge);
        }
        match (self.state, byte) {
            (State::TrailerLine, b'\r') => Ok(State::LastLf),
            (State::TrailerLine, _) if is(byte, TOKEN) => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerName, _) if is(byte, TOKEN) => Ok(State::TrailerName),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is(byte, VALUE) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerLine),
            (State::LastLf, b'\n') => Ok(State::Ended),
            _ => Err(Reject::BadTrailer),
        }
    }
}

/// Appends the line before a chunk of `len` bytes. [`CHUNK_END`] goes behind the chunk.
///
/// # Panics
/// If `len` is 0: that would be the last chunk.
pub fn write_chunk_head(out: &mut Vec<u8>, len: usize) {
    assert!(len > 0, "an empty chunk ends the content");
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[len >> (4 * digit) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// What follows the bytes of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk and an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// Between a size and the `;` of its extension: BWS of RFC 9110 §5.6.3.
    Space,
    Extension,
    /// Within a quoted string, in which no line can end (RFC 9110 §5.6.4).
    Quoted,
    QuotedPair,
    SizeLf,
    Content,
    ContentCr,
    ContentLf,
    TrailerLine,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Ended,
}

/// 2^52 bytes: no arithmetic on sizes and lengths can overflow.
const SIZE_DIGITS: usize = 13;
const EXTENSION_BYTES: usize = 256;
const TRAILER_BYTES: usize = 8 << 10;
const OVERHEAD_BASE: u64 = 16 << 10;
const OVERHEAD_FACTOR: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Content, bytes consumed, and whether it ended, if the parts arrive one after the other.
    fn decode<'a>(
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, usize, bool), Reject> {
        let mut decoder = ChunkedDecoder::default();
        let (mut content, mut total) = (Vec::new(), 0);
        for mut part in parts {
            loop {
                let (consumed, piece) = decoder.step(part)?;
                total += consumed;
                part = &part[consumed..];
                match piece {
                    Piece::Data(data) => content.extend_from_slice(data),
                    Piece::More => break,
                    Piece::End => return Ok((content, total, true)),
                }
            }
        }
        Ok((content, total, false))
    }

    fn whole(input: &[u8]) -> Result<(Vec<u8>, usize, bool), Reject> {
        let whole = decode([input]);
        assert_eq!(decode(input.chunks(1)), whole, "byte by byte");
        let mut buf = [b"head", input].concat();
        let compacted = ChunkedDecoder::default().compact(&mut buf, 4);
        match (&whole, compacted) {
            (Ok((content, total, ended)), Ok(compacted)) => {
                assert_eq!(&buf[4..], content);
                let surplus = input.len() - total;
                let data_len = content.len();
                assert_eq!(compacted, Compacted { data_len, ended: *ended, surplus });
            }
            (whole, compacted) => {
                assert_eq!(whole.as_ref().err(), compacted.err().as_ref());
            }
        }
        whole
    }

    #[test]
    fn chunks_are_joined_rfc_9112_7_1() {
        let input = b"4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\nrest";
        assert_eq!(whole(input), Ok((b"Wikipedia".to_vec(), 24, true)));
        assert_eq!(whole(b"0\r\n\r\n"), Ok((vec![], 5, true)));
        assert_eq!(
            whole(b"00a\r\n0123456789\r\n000\r\n\r\n"),
            Ok((b"0123456789".to_vec(), 24, true))
        );
        assert_eq!(whole(b"A\r\n01234"), Ok((b"01234".to_vec(), 8, false)));
        assert_eq!(whole(b""), Ok((vec![], 0, false)));
    }

    #[test]
    fn sizes_are_1_to_13_hexadecimal_digits_rfc_9112_7_1() {
        assert_eq!(whole(b"fffffffffffff\r\nab"), Ok((b"ab".to_vec(), 17, false)));
        for bad in [
            &b"\r\n"[..],
            b";a\r\n",
            b"0x1\r\na",
            b"+1\r\na",
            b"-1\r\na",
            b"1_0\r\n",
            b" 1\r\na",
            b"1 \r\na",
            b"\t1\r\n",
            b"g\r\n",
            b"00000000000000\r\n",
            b"10000000000000000\r\n",
        ] {
            assert_eq!(whole(bad), Err(Reject::BadChunk), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn lines_end_in_crlf_rfc_9112_7_1() {
        for bad in [
            &b"1\na\r\n"[..],
            b"1\r\na\n",
            b"1\r\na\r\r\n",
            b"1\r\nab\r\n",
            b"1\r\r\na",
            b"1\rX",
            b"1;a\nb",
            b"1\r\na0\r\n\r\n",
        ] {
            assert_eq!(whole(bad), Err(Reject::BadChunk), "{}", bad.escape_ascii());
        }
        assert_eq!(whole(b"0\r\n\n"), Err(Reject::BadTrailer));
        assert_eq!(whole(b"0\r\n\r\r\n"), Err(Reject::BadTrailer));
    }

    #[test]
    fn extensions_are_bounded_and_dropped_rfc_9112_7_1_1() {
        let input = b"1;a=\"b;c\\\"\";d\r\nx\r\n0;e\r\n\r\n";
        assert_eq!(whole(input), Ok((b"x".to_vec(), input.len(), true)));
        for bad in [
            &b"1;\0\r\n"[..],
            b"1;a\x7f",
            b"1;\"\n\"",
            b"1;\"\r\"\r\n",
            b"1;a=\"\r\n\"\r\n",
            b"1;\"\\\"\r\n",
        ] {
            assert_eq!(whole(bad), Err(Reject::BadChunk), "{}", bad.escape_ascii());
        }
        for good in
            [&b"1 \t ;a\r\nx\r\n0\t; b = \"c\" \t; d \r\n\r\n"[..], b"1 ;\r\nx\r\n0\r\n\r\n"]
        {
            assert_eq!(whole(good), Ok((b"x".to_vec(), good.len(), true)));
        }
        for bad in [&b"1 \r\n"[..], b" 1", b"1 1", b"1 a;", b"1 \n", b"1\x0b;a", b";a", b" ;a"] {
            assert_eq!(whole(bad), Err(Reject::BadChunk), "{}", bad.escape_ascii());
        }
        let spaced = |len| format!("1{};e\r\nx", " ".repeat(len)).into_bytes();
        assert!(whole(&spaced(255)).is_ok());
        assert_eq!(whole(&spaced(256)), Err(Reject::BadChunk));
        assert_eq!(whole(" ".repeat(257).replacen(' ', "1 ", 1).as_bytes()), Err(Reject::BadChunk));
        let extended = |len| format!("1;{}\r\nx", "e".repeat(len)).into_bytes();
        assert!(whole(&extended(256)).is_ok());
        assert_eq!(whole(&extended(257)), Err(Reject::BadChunk));
    }

    #[test]
    fn small_chunks_pass_but_not_when_bloated() {
        let mut input = b"1\r\nx\r\n".repeat(100_000);
        input.extend_from_slice(LAST_CHUNK);
        assert_eq!(decode([&input[..]]), Ok((b"x".repeat(100_000), input.len(), true)));
        let bloated = b"1;extension\r\nx\r\n".repeat(100_000);
        assert_eq!(whole(&bloated), Err(Reject::ChunkOverhead));
    }

    #[test]
    fn trailers_are_checked_bounded_and_dropped_rfc_9112_7_1_2() {
        let input = b"0\r\nA: b\r\nC:\r\n\r\nrest";
        assert_eq!(whole(input), Ok((vec![], input.len() - 4, true)));
        for bad in [
            &b"0\r\nA\r\n\r\n"[..],
            b"0\r\nA : b\r\n\r\n",
            b"0\r\n: b\r\n\r\n",
            b"0\r\nA: b\r\n c\r\n\r\n",
            b"0\r\nA: b\0\r\n\r\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\nA: b\rX",
        ] {
            assert_eq!(whole(bad), Err(Reject::BadTrailer), "{}", bad.escape_ascii());
        }
        let long = format!("0\r\nA: {}\r\n\r\n", "b".repeat(9000));
        assert_eq!(whole(long.as_bytes()), Err(Reject::TrailerTooLarge));
    }

    #[test]
    fn nothing_is_consumed_behind_the_end() {
        let mut decoder = ChunkedDecoder::default();
        assert_eq!(decoder.step(b"0\r\n\r\n5"), Ok((5, Piece::End)));
        assert!(decoder.has_ended());
        assert_eq!(decoder.step(b"5\r\n"), Ok((0, Piece::End)));
    }

    #[test]
    fn chunk_heads_are_hexadecimal() {
        for (len, head) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0x12ab0, "12ab0\r\n")] {
            let mut out = Vec::new();
            write_chunk_head(&mut out, len);
            assert_eq!(out, head.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_however_split(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..10),
            cut in 1_usize..30,
        ) {
            let mut encoded = Vec::new();
            for chunk in &chunks {
                write_chunk_head(&mut encoded, chunk.len());
                encoded.extend_from_slice(chunk);
                encoded.extend_from_slice(CHUNK_END);
            }
            encoded.extend_from_slice(LAST_CHUNK);
            let expected = Ok((chunks.concat(), encoded.len(), true));
            prop_assert_eq!(&decode(encoded.chunks(cut)), &expected);
            prop_assert_eq!(&whole(&encoded), &expected);
        }

        #[test]
        fn anything_is_decoded_alike_however_split(
            input in "([0-9a-c]|\r\n|\r|\n|;|:| |\t;|0\r\n|1\r\n.\r\n){0,30}",
            cut in 1_usize..10,
        ) {
            let input = input.as_bytes();
            prop_assert_eq!(decode(input.chunks(cut)), whole(input));
        }
    }
}
