//! How tables grow: by an eighth, so that a large one wastes little.
//!
//! Owns the step. Must not know what is in a table.

use slab::Slab;

/// Before one more is inserted.
pub(crate) fn make_room<T>(slab: &mut Slab<T>) {
    if slab.len() == slab.capacity() {
        slab.reserve_exact(step(slab.len()));
    }
}

/// The same for what is beside a slab.
pub(crate) fn make_room_in<T>(entries: &mut Vec<T>) {
    if entries.len() == entries.capacity() {
        entries.reserve_exact(step(entries.len()));
    }
}

fn step(len: usize) -> usize {
    (len / 8).max(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_wasted() {
        let (mut slab, mut entries, mut growths) = (Slab::new(), Vec::new(), 0);
        for n in 1..=10_000 {
            let before = slab.capacity();
            make_room(&mut slab);
            make_room_in(&mut entries);
            slab.insert(n);
            entries.push(n);
            growths += u32::from(slab.capacity() != before);
            assert!(slab.capacity() <= n + n / 8 + 16 && entries.capacity() <= n + n / 8 + 16);
        }
        assert!(growths < 100, "{growths}");
    }
}
