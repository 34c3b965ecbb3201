//! What one reactor remembers of names: a bounded table with second-chance eviction.
//!
//! Owns keys, bounds and eviction. Must not know when an entry is to be checked again.

use super::coding::Coding;
use super::representation::Representation;
use super::root::Tree;
use crate::io::{SharedFile, Time};
use bytes::Bytes;
use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use slab::Slab;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// Nothing that we serve: 404 or 403.
    Missing(u16),
    Directory,
    Open {
        representation: Rc<Representation>,
        file: Rc<SharedFile>,
    },
    Memory {
        representation: Rc<Representation>,
        content: Bytes,
    },
}

/// Where a name is looked for, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) tree: Tree,
    pub(super) coding: Coding,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) found: Found,
    /// Fresh until then.
    pub(super) fresh_until: Time,
    place: Place,
    path: Box<[u8]>,
    hash: u64,
    cost: usize,
    /// Where in its class's ring it is.
    position: usize,
    /// Looked up since the hand last passed.
    used: bool,
    /// Not looked up between the last two sweeps.
    idle: bool,
}

/// Entries by place and path, in three classes with a bound each.
#[derive(Debug)]
pub(super) struct Store {
    entries: Slab<Entry>,
    /// By the hash of place and path. Two names of the same hash cannot both be in the store; the
    /// later one wins.
    index: HashMap<u64, usize, BuildHasherDefault<Identity>>,
    classes: [Class; 3],
    /// Of the hash: where it begins, and what it multiplies by.
    seed: (u64, SharedSeed),
}

/// Bounds of a [`Store`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of names that stand for nothing or for directories.
    pub(super) missing: usize,
    /// Number of open files.
    pub(super) open: usize,
    /// Bytes of content, with heads and names.
    pub(super) memory: usize,
}

impl Store {
    /// Keys are hashed with `seed`, so that clients cannot choose which names collide.
    pub(super) fn new(bounds: Bounds, seed: u64) -> Store {
        let classes = [bounds.missing, bounds.open, bounds.memory].map(Class::new);
        let seed = (seed, SharedSeed::from_u64(seed));
        Store { entries: Slab::new(), index: HashMap::default(), classes, seed }
    }

    /// Looks up without allocating.
    pub(super) fn find(&mut self, place: Place, path: &[u8]) -> Option<&Entry> {
        let slot = *self.index.get(&hash(&self.seed, place, path))?;
        let entry = &mut self.entries[slot];
        if entry.place != place || *entry.path != *path {
            return None;
        }
        entry.used = true;
        Some(entry)
    }

    /// Remembers, in place of what was known of this name, at the cost of entries of the same
    /// class. Does nothing if the class has no room for it at all.
    pub(super) fn insert(&mut self, place: Place, path: &[u8], found: Found, fresh_until: Time) {
        let hash = hash(&self.seed, place, path);
        if let Some(slot) = self.index.get(&hash) {
            self.remove(*slot);
        }
        let cost = found.cost(path.len());
        let class = found.class();
        if cost > self.classes[class].most {
            return;
        }
        while self.classes[class].cost + cost > self.classes[class].most {
            self.evict(class);
        }
        let position = self.classes[class].ring.len();
        let (path, used, idle) = (path.into(), false, false);
        let entry = Entry { found, fresh_until, place, path, hash, cost, position, used, idle };
        let slot = self.entries.insert(entry);
        self.index.insert(hash, slot);
        self.classes[class].ring.push(slot);
        self.classes[class].cost += cost;
    }

    /// Forgets everything of a tree.
    pub(super) fn forget(&mut self, tree: Tree) {
        let of_tree = self.entries.iter().filter(|(_, entry)| entry.place.tree == tree);
        let slots: Vec<usize> = of_tree.map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.remove(slot));
    }

    /// Forgets every open file. False: there was none.
    pub(super) fn forget_open(&mut self) -> bool {
        let is_any = self.has_open();
        while let Some(&slot) = self.classes[OPEN].ring.last() {
            self.remove(slot);
        }
        is_any
    }

    /// Forgets the open files that have not been looked up since the sweep before the last one.
    pub(super) fn sweep_open(&mut self) {
        for slot in self.classes[OPEN].ring.clone() {
            let entry = &mut self.entries[slot];
            match (std::mem::take(&mut entry.used), entry.idle) {
                (false, true) => self.remove(slot),
                (used, _) => entry.idle = !used,
            }
        }
    }

    pub(super) fn has_open(&self) -> bool {
        !self.classes[OPEN].ring.is_empty()
    }

    /// Removes the next entry of a class that has not been used since the hand last passed.
    fn evict(&mut self, class: usize) {
        loop {
            let Class { ring, hand, .. } = &mut self.classes[class];
            *hand = if *hand < ring.len() { *hand } else { 0 };
            let slot = ring[*hand];
            if !std::mem::take(&mut self.entries[slot].used) {
                return self.remove(slot);
            }
            *hand += 1;
        }
    }

    fn remove(&mut self, slot: usize) {
        let entry = self.entries.remove(slot);
        self.index.remove(&entry.hash);
        let class = &mut self.classes[entry.found.class()];
        class.cost -= entry.cost;
        class.ring.swap_remove(entry.position);
        if let Some(moved) = class.ring.get(entry.position) {
            self.entries[*moved].position = entry.position;
        }
    }
}

impl Found {
    fn class(&self) -> usize {
        match self {
            Found::Missing(_) | Found::Directory => 0,
            Found::Open { .. } => OPEN,
            Found::Memory { .. } => 2,
        }
    }

    fn cost(&self, path: usize) -> usize {
        match self {
            Found::Missing(_) | Found::Directory => ENTRY_BYTES + path,
            Found::Open { .. } => 1,
            Found::Memory { representation, content } => {
                ENTRY_BYTES + path + representation.cost() + content.len()
            }
        }
    }
}

/// The class of open files.
const OPEN: usize = 1;

/// Entries that compete for the same room.
#[derive(Debug)]
struct Class {
    ring: Vec<usize>,
    hand: usize,
    cost: usize,
    most: usize,
}

impl Class {
    fn new(most: usize) -> Class {
        Class { ring: Vec::new(), hand: 0, cost: 0, most }
    }
}

fn hash((begin, seed): &(u64, SharedSeed), place: Place, path: &[u8]) -> u64 {
    let Place { tree: Tree { root, generation }, coding } = place;
    let mut hasher = FoldHasher::with_seed(*begin, seed);
    hasher.write_u64(u64::from(root) << 32 | u64::from(generation));
    hasher.write_u8(coding as u8);
    hasher.write(path);
    hasher.finish()
}

/// For keys that are hashes already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64");
    }
}

/// An entry's own memory, with its places in index and ring.
const ENTRY_BYTES: usize = size_of::<Entry>() + 32;

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { tree: Tree { root: 1, generation: 0 }, coding: Coding::Identity };
    const OTHER_ROOT: Place = Place { tree: Tree { root: 2, ..PLACE.tree }, ..PLACE };
    const OTHER_TREE: Place = Place { tree: Tree { generation: 1, ..PLACE.tree }, ..PLACE };
    const OTHER_FORM: Place = Place { coding: Coding::Gzip, ..PLACE };

    fn store(most: usize) -> Store {
        let missing = most * (ENTRY_BYTES + 2);
        Store::new(Bounds { missing, open: 0, memory: 0 }, 7)
    }

    fn has(store: &mut Store, path: &[u8]) -> bool {
        store.find(PLACE, path).is_some()
    }

    #[test]
    fn roots_trees_and_forms_do_not_share_names() {
        let mut store = store(2);
        store.insert(PLACE, b"aa", Found::Missing(404), Time(0));
        assert!(store.find(PLACE, b"aa").is_some());
        for place in [OTHER_ROOT, OTHER_TREE, OTHER_FORM] {
            assert!(store.find(place, b"aa").is_none(), "{place:?}");
        }
    }

    #[test]
    fn a_tree_is_forgotten_as_a_whole() {
        let mut store = store(4);
        for place in [PLACE, OTHER_ROOT, OTHER_TREE, OTHER_FORM] {
            store.insert(place, b"aa", Found::Missing(404), Time(0));
        }
        store.forget(PLACE.tree);
        let found = [PLACE, OTHER_ROOT, OTHER_TREE, OTHER_FORM]
            .map(|place| store.find(place, b"aa").is_some());
        assert_eq!(found, [false, true, true, false]);
    }

    #[test]
    fn evicts_what_is_not_used() {
        let mut store = store(3);
        for path in [b"aa", b"bb", b"cc"] {
            store.insert(PLACE, path, Found::Missing(404), Time(0));
        }
        assert!(has(&mut store, b"aa") && has(&mut store, b"cc"));
        store.insert(PLACE, b"dd", Found::Missing(404), Time(0));
        assert!(!has(&mut store, b"bb"));
        assert!(has(&mut store, b"aa") && has(&mut store, b"cc") && has(&mut store, b"dd"));
        store.insert(PLACE, b"ee", Found::Missing(404), Time(0));
        assert!(has(&mut store, b"ee"));
        assert_eq!(store.entries.len(), 3);
    }

    #[test]
    fn replaces_the_same_name_and_refuses_what_never_fits() {
        let mut store = store(3);
        for _ in 0..10 {
            store.insert(PLACE, b"aa", Found::Missing(404), Time(0));
        }
        assert_eq!((store.entries.len(), store.classes[0].ring.len()), (1, 1));
        store.insert(PLACE, &[b'a'; 9999], Found::Missing(404), Time(0));
        assert_eq!(store.entries.len(), 1);
    }

    #[test]
    fn stays_within_bounds_and_consistent_whatever_happens() {
        let operation = (proptest::bool::ANY, 0..40u8);
        proptest::proptest!(|(operations in proptest::collection::vec(operation, 0..200))| {
            let mut store = store(10);
            for (insert, name) in operations {
                match insert {
                    true => store.insert(PLACE, &[name, 0], Found::Missing(404), Time(0)),
                    false => drop(store.find(PLACE, &[name, 0])),
                }
                assert!(store.entries.len() <= 10);
                assert_eq!(store.index.len(), store.entries.len());
                let class = &store.classes[0];
                assert_eq!(class.cost, store.entries.len() * (ENTRY_BYTES + 2));
                for (slot, entry) in &store.entries {
                    assert_eq!(class.ring[entry.position], slot);
                }
            }
        });
    }
}
