//! What must be true of every request: who knows it, what has happened to it.
//!
//! Owns the record of each request for a pool. Clients and workers report, and ask.

use super::request::Answer;
use crate::pool::CRASHES_MOST;
use crate::stats::Stats;
use std::cell::Cell;
use std::rc::Rc;

/// All requests for pools, by number.
#[derive(Default)]
pub(super) struct Oracle {
    pub(super) requests: Vec<Known>,
    /// The pools of all slots, and whether a fault has ended them.
    pub(super) slots: Vec<(usize, Faulted)>,
    /// Nobody vanishes and no operation fails but by what workers do.
    pub(super) is_calm: bool,
    /// An operation may fail though its connection is well.
    pub(super) fails_at_random: bool,
    /// Files may not be made or written though there is a disk.
    pub(super) disk_fails: bool,
    /// `memory_budget` is small: requests may be refused, and idle connections end.
    pub(super) lacks_memory: bool,
    /// Connections may have to wait for descriptors: idle ones end.
    pub(super) lacks_descriptors: bool,
    /// The edge has been told to drain.
    pub(super) is_draining: bool,
    /// The edge has been told to end at once.
    pub(super) is_stopped: bool,
    /// Files that workers have taken to write their answers to.
    pub(super) loans: u64,
    pub(super) answered: u64,
    /// Requests without an answer that waited when their clients had half-closed.
    pub(super) left: u64,
    pub(super) failures: [u64; 3],
    /// Answers that clients have seen the head of, by class.
    pub(super) seen: [u64; 4],
    /// Requests whose clients have left or were cut off before they saw that.
    pub(super) unseen: u64,
}

/// One request for a pool.
pub(super) struct Known {
    pub(super) method: &'static str,
    pub(super) content: Vec<u8>,
    pub(super) answer: Answer,
    pub(super) pool: usize,
    /// How many workers have taken its last byte.
    starts: u32,
    /// Workers that ended without having taken it, and without a goodbye.
    crashes: u32,
    /// Workers that failed it after the start.
    breaks: u32,
    /// It was begun by a worker that a fault has killed.
    is_blamed: bool,
    /// A worker has not answered for longer than the deadline.
    hung: bool,
    /// Slots on which workers have seen it.
    holders: Vec<Faulted>,
}

/// Whether a fault has ended a connection: nobody at its ends need have noticed yet.
pub(super) type Faulted = Rc<Cell<bool>>;

impl Oracle {
    pub(super) fn add(
        &mut self,
        method: &'static str,
        content: Vec<u8>,
        answer: Answer,
        pool: usize,
    ) -> usize {
        self.requests.push(Known {
            method,
            content,
            answer,
            pool,
            starts: 0,
            crashes: 0,
            breaks: 0,
            is_blamed: false,
            hung: false,
            holders: Vec::new(),
        });
        self.requests.len() - 1
    }

    pub(super) fn set_content(&mut self, id: usize, content: Vec<u8>) {
        self.requests[id].content = content;
    }

    pub(super) fn request(&self, id: usize) -> &Known {
        &self.requests[id]
    }

    /// A worker has a new slot.
    pub(super) fn on_slot(&mut self, pool: usize, faulted: Faulted) {
        self.slots.push((pool, faulted));
    }

    /// A worker sees a request on this slot.
    pub(super) fn on_sight(&mut self, id: usize, faulted: Faulted) {
        self.requests[id].holders.push(faulted);
    }

    /// A worker has taken the last byte of a request.
    pub(super) fn on_start(&mut self, id: usize) {
        let known = &mut self.requests[id];
        known.starts += 1;
        let most = if known.is_idempotent() { 2 } else { 1 };
        assert!(known.starts <= most, "request {id} ({}) was started twice", known.method);
        assert!(!known.is_blamed, "request {id} has killed a worker and was started again");
    }

    /// A worker ended before it took the last byte.
    pub(super) fn on_crash(&mut self, id: usize) {
        self.requests[id].crashes += 1;
    }

    /// A worker ended, or made nonsense, after it took the last byte.
    pub(super) fn on_break(&mut self, id: usize) {
        self.requests[id].breaks += 1;
    }

    /// A fault has killed a worker after it took the last byte.
    pub(super) fn on_fault(&mut self, id: usize) {
        self.requests[id].is_blamed = true;
    }

    /// A worker lets the deadline pass.
    pub(super) fn on_hang(&mut self, id: usize) {
        self.requests[id].hung = true;
    }

    /// A client has got a whole answer with the expected content.
    pub(super) fn on_answer(&mut self, id: usize) {
        assert!(self.requests[id].starts > 0, "request {id} was answered and never started");
        self.answered += 1;
    }

    /// A client has got an answer of the edge's instead.
    pub(super) fn on_failure(&mut self, id: usize, status: u16) {
        let known = &self.requests[id];
        let Known { starts, crashes, breaks, hung, .. } = *known;
        let explained = match status {
            502 => {
                let is_broken = breaks > 0 || self.has_lost_worker(id);
                (starts > 0 && is_broken) || crashes + self.faulted(known.pool) >= CRASHES_MOST
            }
            503 => !self.is_calm,
            504 => hung,
            _ => false,
        };
        assert!(
            explained || self.is_stopped,
            "request {id} got {status}: {starts} starts, {crashes} crashes, {breaks} breaks, \
             hung: {hung}"
        );
        self.failures[usize::from(status - 502)] += 1;
    }

    /// A client that has half-closed gets no answer: its request must have been waiting, so that no
    /// worker has ever seen it.
    pub(super) fn on_leave(&mut self, id: usize) -> bool {
        let Known { starts, crashes, .. } = self.requests[id];
        self.left += 1;
        starts == 0 && crashes == 0
    }

    /// A client has seen the head of an answer, whole or not.
    pub(super) fn on_head(&mut self, status: u16) {
        self.seen[usize::from(status / 100 - 2)] += 1;
    }

    /// What was seen has been counted, once.
    pub(super) fn check_counters(&self, stats: &Stats) {
        let Stats { responses_2xx, responses_3xx, responses_4xx, responses_5xx, .. } = *stats;
        let counted = [responses_2xx, responses_3xx, responses_4xx, responses_5xx];
        let (seen, unseen) = (self.seen, self.unseen);
        let is_counted = counted.iter().zip(seen).all(|(counted, seen)| *counted >= seen);
        let is_once = counted.iter().sum::<u64>() <= seen.iter().sum::<u64>() + unseen;
        assert!(is_counted && is_once, "{counted:?} counted, {seen:?} and {unseen} unseen");
    }

    /// Whether this may be the answer to a request for which nothing else fails.
    pub(super) fn may_fail(&self, status: u16) -> bool {
        self.fails_at_random && matches!(status, 500 | 503) || self.lacks_memory && status == 503
    }

    /// Whether a client's connection may be cut off inside the answer to this request.
    pub(super) fn may_break(&self, id: usize) -> bool {
        self.requests[id].breaks > 0 || self.requests[id].hung || self.has_lost_worker(id)
    }

    /// Whether a fault has ended a slot on which a worker had this request.
    pub(super) fn has_lost_worker(&self, id: usize) -> bool {
        self.requests[id].holders.iter().any(|faulted| faulted.get())
    }

    /// Slots of a pool that faults have ended, with whatever request was on them.
    fn faulted(&self, pool: usize) -> u32 {
        let of_pool = self.slots.iter().filter(|(its, faulted)| *its == pool && faulted.get());
        of_pool.count() as u32
    }
}

impl Known {
    fn is_idempotent(&self) -> bool {
        !matches!(self.method, "POST" | "PATCH")
    }
}
