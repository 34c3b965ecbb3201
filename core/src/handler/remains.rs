//! The end of what an embedding program has made.
//!
//! Owns that nobody else is harmed by it. Must not know what it is.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Drops it; a panic goes no further.
pub(crate) fn dispose<T>(it: T) {
    // The end of a panic's payload can panic as well, and so on: that one stays.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(it))).map_err(mem::forget);
}
