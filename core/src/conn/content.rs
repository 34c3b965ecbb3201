//! A request's content while it arrives.
//!
//! Owns the decoding and the bound. Must not know where the content goes.

use super::world::{Meta, Whole};
use crate::http::{ChunkedDecoder, Piece, Reject};
use crate::route::Action;

/// A request whose head is complete and whose content is not.
pub(crate) struct Content {
    /// The canonical head, without its end.
    head: Vec<u8>,
    bytes: Vec<u8>,
    rest: Rest,
    max: u64,
    pub(crate) meta: Meta,
    /// A pool or a handler.
    pub(crate) action: Action,
}

enum Rest {
    /// So many bytes are missing.
    Length(u64),
    /// The decoder has not seen the end.
    Chunked(ChunkedDecoder),
    Whole,
}

impl Content {
    pub(crate) fn with_length(
        head: Vec<u8>,
        length: u64,
        max: u64,
        meta: Meta,
        action: Action,
    ) -> Content {
        let rest = if length == 0 { Rest::Whole } else { Rest::Length(length) };
        Content { head, bytes: Vec::new(), rest, max, meta, action }
    }

    pub(crate) fn chunked(head: Vec<u8>, max: u64, meta: Meta, action: Action) -> Content {
        let rest = Rest::Chunked(ChunkedDecoder::default());
        Content { head, bytes: Vec::new(), rest, max, meta, action }
    }

    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.rest, Rest::Whole)
    }

    /// Takes what belongs to the content from the start of `input`; says how many bytes.
    pub(crate) fn absorb(&mut self, input: &[u8]) -> Result<usize, Reject> {
        match &mut self.rest {
            Rest::Whole => Ok(0),
            Rest::Length(left) => {
                let count = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                self.bytes.extend_from_slice(&input[..count]);
                *left -= count as u64;
                if *left == 0 {
                    self.rest = Rest::Whole;
                }
                Ok(count)
            }
            Rest::Chunked(decoder) => {
                let mut at = 0;
                loop {
                    let (consumed, piece) = decoder.step(&input[at..])?;
                    at += consumed;
                    match piece {
                        Piece::Data(data) => {
                            if (self.bytes.len() + data.len()) as u64 > self.max {
                                return Err(Reject::ContentTooLarge);
                            }
                            self.bytes.extend_from_slice(data);
                        }
                        Piece::More => return Ok(at),
                        Piece::End => {
                            self.rest = Rest::Whole;
                            return Ok(at);
                        }
                    }
                }
            }
        }
    }

    /// The buffer to receive the rest into directly, where that is worth it: much is missing and
    /// its length is known. Give it back with [`Content::filled`].
    pub(crate) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        const WORTH_IT: u64 = 8 << 10;
        const STEP: u64 = 64 << 10;
        match self.rest {
            Rest::Length(left) if left >= WORTH_IT => {
                let mut bytes = std::mem::take(&mut self.bytes);
                // Grows with what arrives: a client cannot reserve memory by announcing content.
                bytes.reserve(left.min(STEP.max(bytes.len() as u64)) as usize);
                Some(bytes)
            }
            _ => None,
        }
    }

    /// `count` more bytes are in `buf`. Says what came behind the content.
    pub(crate) fn filled(&mut self, mut buf: Vec<u8>, count: usize) -> Vec<u8> {
        let Rest::Length(left) = &mut self.rest else { unreachable!("only known lengths") };
        let surplus = count.saturating_sub(usize::try_from(*left).unwrap_or(usize::MAX));
        let behind = buf.split_off(buf.len() - surplus);
        *left -= (count - surplus) as u64;
        if *left == 0 {
            self.rest = Rest::Whole;
        }
        self.bytes = buf;
        behind
    }

    pub(crate) fn into_whole(self) -> (Whole, Action) {
        debug_assert!(self.is_whole());
        let content_length = Some(self.bytes.len() as u64);
        let whole = Whole { head: self.head, content: self.bytes, content_length, meta: self.meta };
        (whole, self.action)
    }
}
