//! Where the fields of a head are put while it is read.
//!
//! Owns how many may be there. Must not know what they say.

use std::mem::MaybeUninit;

/// Most fields that a head can have, whatever its limits say: those of a client, and the edge's.
pub const FIELDS_MOST: usize = 256 + 16;

/// Room for the fields of one head, on the caller's stack; made by [`Default`], at no cost.
pub struct FieldRoom<'b>([MaybeUninit<httparse::Header<'b>>; FIELDS_MOST]);

impl<'b> FieldRoom<'b> {
    /// For so many.
    #[inline]
    pub(super) fn of(&mut self, fields: usize) -> &mut [MaybeUninit<httparse::Header<'b>>] {
        &mut self.0[..fields.min(FIELDS_MOST)]
    }
}

impl Default for FieldRoom<'_> {
    // Nothing is to be written, and so nothing copied.
    #[inline(always)]
    fn default() -> Self {
        FieldRoom([const { MaybeUninit::uninit() }; FIELDS_MOST])
    }
}

impl std::fmt::Debug for FieldRoom<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FieldRoom").finish_non_exhaustive()
    }
}
