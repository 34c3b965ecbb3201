//! A part of an answer on its way: bytes in memory, or a range of a file.
//!
//! Owns nothing but that. Must not know where it comes from or goes.

use crate::io::{Outgoing, SharedFile};
use std::rc::Rc;

/// See the module's documentation.
pub(crate) enum Piece {
    Bytes(Outgoing),
    File { file: Rc<SharedFile>, offset: u64, len: u64 },
}
