//! What workers are doing, in memory that the arbiter can read at any time.
//!
//! Owns the table: 128 bytes for each thread of each worker, written by that thread alone, read
//! by the arbiter without disturbing it. Must not know what is made of it.
#![allow(unsafe_code)]

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

/// The shared memory: a row for each worker, with a slot for each of its threads.
#[derive(Debug)]
pub(crate) struct Table {
    memory: OwnedFd,
    /// Never unmapped: it lives as long as the process.
    words: &'static [AtomicU64],
    slots: usize,
}

/// A worker's own part of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerRow {
    entries: &'static [[AtomicU64; WORDS]],
    generation: u64,
}

/// A thread's own part of the table.
#[derive(Debug)]
pub(crate) struct Entry {
    words: &'static [AtomicU64; WORDS],
}

/// A consistent copy of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) state: State,
    /// The first bytes of the current request's id; empty if it has none.
    pub(crate) request_id: String,
    /// How long the current request has been running.
    pub(crate) age: Duration,
    /// How long ago it should have ended, if so.
    pub(crate) overdue: Option<Duration>,
    /// Requests that have ended.
    pub(crate) requests: u64,
}

impl Snapshot {
    /// A request has begun and has not ended.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Busy | State::Sending)
    }
}

/// What a thread is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Not yet able to take requests.
    #[default]
    Booting,
    /// Waiting for a request.
    Idle,
    /// The application is at work.
    Busy,
    /// A piece of the response is on its way; the application will be asked for the next.
    Sending,
}

impl Table {
    /// For `rows` workers with `slots` threads each. Costs memory only where it is used.
    pub(crate) fn new(rows: usize, slots: usize) -> io::Result<Table> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create(c"forebay-liveness", flags)?;
        let size = rows * slots * size_of::<[AtomicU64; WORDS]>();
        ftruncate(&memory, size as u64)?;
        // A sealed size cannot turn accesses into SIGBUS.
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Table::adopt(memory, slots)
    }

    /// The table that another process has made.
    pub(crate) fn adopt(memory: OwnedFd, slots: usize) -> io::Result<Table> {
        let size = usize::try_from(fstat(&memory)?.st_size).map_err(io::Error::other)?;
        // SAFETY: the mapping is new, shared, page-aligned and never unmapped; zeroes, and whatever
        // else, are valid AtomicU64.
        let words = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let fd = memory.as_raw_fd();
            let at = libc::mmap(std::ptr::null_mut(), size, protection, libc::MAP_SHARED, fd, 0);
            if at == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            std::slice::from_raw_parts(at.cast::<AtomicU64>(), size / size_of::<AtomicU64>())
        };
        Ok(Table { memory, words, slots })
    }

    /// How many workers there is room for.
    pub(crate) fn rows(&self) -> usize {
        self.words.len() / WORDS / self.slots
    }

    /// Threads of each worker.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Forgets who was here. For the arbiter, while the row has no worker.
    pub(crate) fn clear(&self, row: usize) {
        for word in self.at(row).as_flattened() {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// For the worker that will be here.
    pub(crate) fn row(&self, row: usize, generation: u64) -> WorkerRow {
        WorkerRow { entries: self.at(row), generation }
    }

    /// A copy. None: its writer was stopped, or has died, in the middle of a change.
    pub(crate) fn snapshot(&self, row: usize, slot: usize) -> Option<Snapshot> {
        let words = &self.at(row)[slot];
        (0..ATTEMPTS).find_map(|_| copy(words)).map(|copy| read(&copy))
    }

    fn at(&self, row: usize) -> &'static [[AtomicU64; WORDS]] {
        let (entries, _) = self.words.as_chunks::<WORDS>();
        &entries[row * self.slots..][..self.slots]
    }
}

impl AsFd for Table {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl WorkerRow {
    /// The entry of a thread of this process, which nobody else may write to. Threads are
    /// numbered from 0.
    pub(crate) fn entry(&self, slot: usize) -> Entry {
        let entry = Entry { words: &self.entries[slot] };
        entry.update(|| {
            entry.words[GENERATION].store(self.generation, Ordering::Relaxed);
            entry.words[PID].store(std::process::id().into(), Ordering::Relaxed);
        });
        entry
    }
}

impl Entry {
    /// The thread can take requests; if one was about to begin, it has not.
    pub(crate) fn ready(&self) {
        self.update(|| {
            self.set_state(State::Idle);
            self.words[DEADLINE].store(0, Ordering::Relaxed);
        });
    }

    /// A request begins. At `deadline` it should have ended.
    pub(crate) fn begin(&self, request_id: Option<&str>, deadline: Option<Instant>) {
        let now = monotonic();
        let mut id = [0; ID_BYTES];
        let given = request_id.unwrap_or_default().as_bytes();
        let length = given.len().min(ID_BYTES);
        id[..length].copy_from_slice(&given[..length]);
        self.update(|| {
            self.set_state(State::Busy);
            self.words[STARTED].store(now, Ordering::Relaxed);
            self.words[DEADLINE].store(nanoseconds_at(deadline, now), Ordering::Relaxed);
            let (chunks, _) = id.as_chunks::<8>();
            for (word, chunk) in self.words[ID..].iter().zip(chunks) {
                word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
            }
        });
    }

    /// The current request goes on: another piece of the response is due by `deadline`.
    pub(crate) fn resume(&self, deadline: Option<Instant>) {
        let deadline = nanoseconds_at(deadline, monotonic());
        self.update(|| {
            self.set_state(State::Busy);
            self.words[DEADLINE].store(deadline, Ordering::Relaxed);
        });
    }

    /// A piece of the response is sent; how long that takes is the receiver's affair.
    pub(crate) fn sending(&self) {
        self.update(|| {
            self.set_state(State::Sending);
            self.words[DEADLINE].store(0, Ordering::Relaxed);
        });
    }

    /// The request has ended.
    pub(crate) fn end(&self) {
        let requests = self.words[REQUESTS].load(Ordering::Relaxed).wrapping_add(1);
        self.update(|| {
            self.set_state(State::Idle);
            self.words[DEADLINE].store(0, Ordering::Relaxed);
            self.words[REQUESTS].store(requests, Ordering::Relaxed);
        });
    }

    /// As the arbiter sees it.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        copy(self.words).map(|copy| read(&copy))
    }

    fn set_state(&self, state: State) {
        self.words[STATE].store(state as u64, Ordering::Relaxed);
    }

    /// A sequence lock: the counter is odd while the rest changes.
    fn update(&self, change: impl FnOnce()) {
        let sequence = self.words[SEQUENCE].load(Ordering::Relaxed);
        self.words[SEQUENCE].store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        change();
        self.words[SEQUENCE].store(sequence.wrapping_add(2), Ordering::Release);
    }
}

fn copy(words: &[AtomicU64; WORDS]) -> Option<[u64; WORDS]> {
    let before = words[SEQUENCE].load(Ordering::Acquire);
    let copy = std::array::from_fn(|index| words[index].load(Ordering::Relaxed));
    fence(Ordering::Acquire);
    let after = words[SEQUENCE].load(Ordering::Relaxed);
    (before == after && before.is_multiple_of(2)).then_some(copy)
}

fn read(words: &[u64; WORDS]) -> Snapshot {
    let now = monotonic();
    let state = match words[STATE] {
        1 => State::Idle,
        2 => State::Busy,
        3 => State::Sending,
        _ => State::Booting,
    };
    let id: Vec<u8> = words[ID..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let id = id.split(|&byte| byte == 0).next().unwrap_or_default();
    let due = (words[DEADLINE] > 0 && words[DEADLINE] <= now).then(|| now - words[DEADLINE]);
    Snapshot {
        state,
        request_id: String::from_utf8_lossy(id).into_owned(),
        age: Duration::from_nanos(now.saturating_sub(words[STARTED])),
        overdue: due.map(Duration::from_nanos),
        requests: words[REQUESTS],
    }
}

/// Nanoseconds of the clock that all processes share; `Instant` does not give its own away.
fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives through the call, which cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// 0 is none.
fn nanoseconds_at(deadline: Option<Instant>, now: u64) -> u64 {
    let left = |at: Instant| at.saturating_duration_since(Instant::now()).as_nanos();
    deadline.map_or(0, |at| now.saturating_add(u64::try_from(left(at)).unwrap_or(u64::MAX)))
}

/// Words of an entry, 128 bytes: two cache lines, so that no two threads share one.
const WORDS: usize = 16;
const SEQUENCE: usize = 0;
const GENERATION: usize = 1;
const PID: usize = 2;
const STATE: usize = 3;
const STARTED: usize = 4;
const DEADLINE: usize = 5;
const REQUESTS: usize = 6;
const ID: usize = 7;
const ID_BYTES: usize = (WORDS - ID) * 8;
const ATTEMPTS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arbiter_sees_what_a_thread_does() {
        let table = Table::new(4, 2).unwrap();
        let entry = table.row(3, 7).entry(1);
        let see = || table.snapshot(3, 1).unwrap();
        assert_eq!(see().state, State::Booting);
        entry.ready();
        assert_eq!((see().state, see().overdue), (State::Idle, None));
        entry.begin(Some("abc"), Some(Instant::now()));
        assert_eq!((see().state, see().request_id.as_str()), (State::Busy, "abc"));
        assert!(see().overdue.is_some());
        entry.sending();
        assert_eq!((see().state, see().overdue), (State::Sending, None));
        entry.resume(Some(Instant::now() + Duration::from_secs(60)));
        assert_eq!((see().state, see().overdue, see().requests), (State::Busy, None, 0));
        entry.end();
        assert_eq!((see().state, see().requests), (State::Idle, 1));
        entry.begin(Some(&"x".repeat(100)), None);
        assert_eq!(see().request_id, "x".repeat(ID_BYTES));
        assert_eq!(table.snapshot(3, 0).unwrap().state, State::Booting, "the neighbour's own");
        table.clear(3);
        assert_eq!(see().state, State::Booting);
    }

    #[test]
    fn two_mappings_are_one_table() {
        let table = Table::new(2, 1).unwrap();
        let other = Table::adopt(table.as_fd().try_clone_to_owned().unwrap(), 1).unwrap();
        other.row(1, 0).entry(0).ready();
        assert_eq!(other.rows(), 2);
        assert_eq!(table.snapshot(1, 0).unwrap().state, State::Idle);
    }

    #[test]
    fn snapshots_are_never_torn() {
        let table = Table::new(1, 1).unwrap();
        let entry = table.row(0, 0).entry(0);
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                for round in 0..20_000u32 {
                    let letter = char::from(b'a' + (round % 26) as u8);
                    entry.begin(Some(&letter.to_string().repeat(ID_BYTES)), None);
                }
            });
            while !writer.is_finished() {
                let Some(Snapshot { request_id, .. }) = table.snapshot(0, 0) else { continue };
                let first = request_id.chars().next();
                assert!(request_id.chars().all(|letter| Some(letter) == first), "{request_id}");
            }
        });
    }

    #[test]
    fn a_writer_that_died_in_a_change_is_not_waited_for() {
        let table = Table::new(1, 1).unwrap();
        let entry = table.row(0, 0).entry(0);
        entry.words[SEQUENCE].fetch_add(1, Ordering::Relaxed);
        assert_eq!(table.snapshot(0, 0), None);
    }
}
