//! How tables grow: by an eighth, so that a large one wastes little; and when they shrink: when
//! less than a quarter is used, so that the one does not follow the other at once.
//!
//! Owns those steps. Must not know what is in a table.

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

/// Gives back what is beyond the last entry, if most is unused.
pub(crate) fn trim_slab<T>(slab: &mut Slab<T>) {
    if is_mostly_unused(slab.len(), slab.capacity()) {
        slab.shrink_to_fit();
    }
}

/// The same for a list.
pub(crate) fn trim<T>(entries: &mut Vec<T>) {
    if is_mostly_unused(entries.len(), entries.capacity()) {
        entries.shrink_to(WORTHWHILE);
    }
}

fn is_mostly_unused(len: usize, capacity: usize) -> bool {
    capacity > WORTHWHILE && len < capacity / 4
}

/// Fewer entries are not worth while.
const WORTHWHILE: usize = 64;

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

    #[test]
    fn what_was_needed_once_is_given_back() {
        let mut slab: Slab<usize> = (0..1_000).map(|n| (n, n)).collect();
        let mut entries: Vec<usize> = (0..1_000).collect();
        (240..1_000).for_each(|n| {
            slab.remove(n);
        });
        entries.truncate(240);
        trim_slab(&mut slab);
        trim(&mut entries);
        assert!(slab.capacity() < 500 && entries.capacity() < 500);
        assert!(slab.iter().all(|(key, &n)| key == n) && entries == Vec::from_iter(0..240));
        let (room, list_room) = (slab.capacity(), entries.capacity());
        trim_slab(&mut slab);
        trim(&mut entries);
        assert_eq!((slab.capacity(), entries.capacity()), (room, list_room));
    }
}
