//! A response's content that a worker passes as a descriptor.
//!
//! Owns the check that head and descriptor fit each other. Must not know how it is sent on.

use super::world::{World, ascii};
use crate::http::slot::BODY_FD;
use crate::http::{Framing, ResponseHead};
use crate::io::{FileKind, Passed, SharedFile, Stat};
use std::rc::Rc;

/// What a worker has passed besides the bytes of a head.
#[derive(Default)]
pub(crate) enum Attached {
    #[default]
    Nothing,
    File {
        file: Rc<SharedFile>,
        stat: Stat,
        readable: bool,
    },
    /// More than one, or one that found no room among our descriptors.
    Broken,
}

/// A part of a file that has been checked.
pub(crate) struct FilePart {
    pub(crate) file: Rc<SharedFile>,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Attached {
    /// Something may have come with a receive.
    pub(crate) fn add(&mut self, passed: Passed, w: &World) {
        let more = match passed {
            Passed::Nothing => return,
            Passed::File(passed) => {
                let file = w.spool.adopt(passed.fd);
                Attached::File { file, stat: passed.stat, readable: passed.readable }
            }
            Passed::Broken => Attached::Broken,
        };
        *self = match self {
            Attached::Nothing => more,
            _ => Attached::Broken,
        };
    }

    /// The part of the file that the head speaks of, if it does; both must be there.
    pub(crate) fn content(
        self,
        head: &ResponseHead<'_, '_>,
    ) -> Result<Option<FilePart>, &'static str> {
        let mut fields = head.fields.iter().filter(|f| f.name.eq_ignore_ascii_case(BODY_FD));
        let (field, file, stat, readable) = match (fields.next(), self) {
            (None, Attached::Nothing) => return Ok(None),
            (_, Attached::Broken) => {
                return Err("more than one descriptor, or none is left for it");
            }
            (None, Attached::File { .. }) => return Err("a descriptor without Forebay-Body-Fd"),
            (Some(_), Attached::Nothing) => return Err("Forebay-Body-Fd without a descriptor"),
            (Some(field), Attached::File { file, stat, readable }) => (field, file, stat, readable),
        };
        let offset = decimal(field.value).filter(|_| fields.next().is_none());
        let (Some(offset), Framing::Length(len)) = (offset, head.framing) else {
            return Err("malformed Forebay-Body-Fd");
        };
        if len == 0 {
            return Err("Forebay-Body-Fd without content");
        }
        if stat.kind != FileKind::Regular || !readable {
            return Err("the descriptor is no regular file that can be read");
        }
        if offset.checked_add(len).is_none_or(|end| end > stat.size) {
            return Err("the file is shorter than Forebay-Body-Fd says");
        }
        Ok(Some(FilePart { file, offset, len }))
    }
}

fn decimal(value: &[u8]) -> Option<u64> {
    let is_decimal = value.iter().all(u8::is_ascii_digit);
    ascii(value).parse().ok().filter(|_| is_decimal)
}
