//! The arbiter's eyes: which worker sits where in the liveness table, and what is amiss with it.
//!
//! Owns the rows. Must not act on what it sees.

use super::events::Pid;
use super::memory;
use crate::liveness::{Snapshot, Table};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Looks at living workers from time to time.
#[derive(Debug)]
pub(super) struct Watch {
    table: Table,
    rows: BTreeMap<Pid, usize>,
    /// Bytes that one worker may use.
    max_memory: Option<u64>,
    next: Instant,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// A request should have ended a while ago.
    Overdue { pid: Pid, request_id: String, age: Duration },
    /// A worker uses this many bytes, which is too much.
    TooLarge { pid: Pid, bytes: u64 },
}

impl Watch {
    pub(super) fn new(table: Table, max_memory: Option<u64>, now: Instant) -> Watch {
        Watch { table, rows: BTreeMap::new(), max_memory, next: now }
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    pub(super) fn set_max_memory(&mut self, bytes: Option<u64>) {
        self.max_memory = bytes;
    }

    /// The first row without a worker, and that is not `promised` to one, made clean.
    pub(super) fn free_row(&self, promised: impl Fn(usize) -> bool) -> Option<usize> {
        let is_taken = |row| self.rows.values().any(|&taken| taken == row);
        let is_free = |&row: &usize| !is_taken(row) && !promised(row);
        let row = (0..self.table.rows()).find(is_free)?;
        self.table.clear(row);
        Some(row)
    }

    pub(super) fn enter(&mut self, pid: Pid, row: usize) {
        self.rows.insert(pid, row);
    }

    pub(super) fn leave(&mut self, pid: Pid) {
        self.rows.remove(&pid);
    }

    pub(super) fn row_of(&self, pid: Pid) -> Option<usize> {
        self.rows.get(&pid).copied()
    }

    /// What the threads of a worker are doing.
    pub(super) fn snapshots(&self, pid: Pid) -> impl Iterator<Item = Snapshot> {
        let threads = |row| (0..self.table.slots()).map(move |slot| (row, slot));
        let entries = self.row_of(pid).into_iter().flat_map(threads);
        entries.filter_map(|(row, slot)| self.table.snapshot(row, slot))
    }

    /// When to look again.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// What is amiss, if it is time to look.
    pub(super) fn look(&mut self, now: Instant) -> Vec<Sight> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + INTERVAL;
        self.rows.keys().flat_map(|&pid| self.overdue(pid).or(self.too_large(pid))).collect()
    }

    pub(super) fn is_overdue(&self, pid: Pid) -> bool {
        self.overdue(pid).is_some()
    }

    fn overdue(&self, pid: Pid) -> Option<Sight> {
        let is_overdue =
            |snapshot: &Snapshot| snapshot.overdue.is_some_and(|overdue| overdue >= PATIENCE);
        let Snapshot { request_id, age, .. } = self.snapshots(pid).find(is_overdue)?;
        Some(Sight::Overdue { pid, request_id, age })
    }

    fn too_large(&self, pid: Pid) -> Option<Sight> {
        let limit = self.max_memory?;
        let bytes = memory::resident(pid).filter(|&bytes| bytes > limit)?;
        Some(Sight::TooLarge { pid, bytes })
    }
}

const INTERVAL: Duration = Duration::from_millis(500);
/// After a deadline: the edge answers first, and a worker that is only a little late may live.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(max_memory: Option<u64>) -> Watch {
        Watch::new(Table::new(4, 2).unwrap(), max_memory, Instant::now())
    }

    #[test]
    fn rows_are_used_again() {
        let mut watch = watch(None);
        for (pid, expected) in [(10, 0), (11, 1), (12, 2)] {
            let row = watch.free_row(|_| false).unwrap();
            assert_eq!(row, expected);
            watch.enter(pid, row);
        }
        watch.leave(11);
        assert_eq!(watch.free_row(|_| false), Some(1));
        assert_eq!(watch.free_row(|row| row == 1), Some(3));
        watch.enter(13, 1);
        watch.enter(14, 3);
        assert_eq!(watch.free_row(|_| false), None);
    }

    #[test]
    fn a_request_is_overdue_half_a_second_after_its_deadline() {
        let mut watch = watch(None);
        let now = Instant::now();
        watch.enter(10, 0);
        let entry = watch.table.row(0, 0).entry(1);
        entry.begin(Some("late"), Some(now));
        assert_eq!(watch.look(now), []);
        let until = now + Duration::from_secs(20);
        let sights = loop {
            let sights = watch.look(watch.next());
            if !sights.is_empty() {
                break sights;
            }
            assert!(Instant::now() < until, "never overdue");
            std::thread::yield_now();
        };
        assert!(now.elapsed() >= PATIENCE);
        let [Sight::Overdue { pid: 10, request_id, age }] = &sights[..] else {
            panic!("{sights:?}")
        };
        assert!(request_id == "late" && *age >= PATIENCE);
        entry.end();
        assert_eq!(watch.look(watch.next()), []);
    }

    #[test]
    fn memory_has_a_limit() {
        let own = std::process::id().cast_signed();
        for (limit, sights) in [(Some(1), 1), (Some(1 << 40), 0), (None, 0)] {
            let mut watch = watch(limit);
            watch.enter(own, 0);
            assert_eq!(watch.look(watch.next()).len(), sights);
        }
    }
}
