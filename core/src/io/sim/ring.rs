//! One reactor's ring in the simulated kernel: what it has submitted and what it is to be told.
//!
//! Owns the order and the lateness of completions. Must not know what operations do.

use super::super::{Completion, Done, Op, Time, Token, Wait};
use super::descriptors::Object;
use super::operation::{self, Operation, Stage};
use super::transit::TransitPool;
use super::{Errno, Faults, Kernel, Random, WakeFlag};
use slab::Slab;
use std::cell::Cell;
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

/// An operation that waits for an event: whose, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) ring: usize,
    pub(super) operation: usize,
}

#[derive(Default)]
pub(super) struct Ring {
    pub(super) operations: Slab<Operation>,
    /// Not performed yet.
    submitted: Vec<Submitted>,
    /// Something has happened that these wait for.
    pub(super) candidates: VecDeque<usize>,
    /// One entry for each completion to be delivered.
    completed: VecDeque<usize>,
    late: Vec<Late>,
    turns: u64,
    pub(super) wait: Option<Wait>,
    pub(super) in_flight: usize,
    pub(super) flag: Arc<WakeFlag>,
    pub(super) outstanding: Rc<Cell<usize>>,
}

enum Submitted {
    Start(usize),
    /// Without an answer.
    Control(Op),
}

/// Something delayed until a later turn.
struct Late {
    due: u64,
    operation: usize,
    completed: bool,
}

impl Ring {
    /// A turn would make something happen, or the reactor wants one.
    pub(super) fn has_work(&self, now: Time) -> bool {
        let wanted = match self.wait {
            Some(Wait::Poll) => true,
            Some(Wait::Until(moment)) => moment <= now,
            Some(Wait::Forever) | None => false,
        };
        wanted
            || !self.submitted.is_empty()
            || !self.candidates.is_empty()
            || !self.completed.is_empty()
            || !self.late.is_empty()
            || self.flag.is_set()
    }

    fn take_due(&mut self) {
        let Ring { late, candidates, completed, turns, .. } = self;
        late.retain(|late| {
            if late.due > *turns {
                return true;
            }
            let queue = if late.completed { &mut *completed } else { &mut *candidates };
            queue.push_back(late.operation);
            false
        });
    }
}

impl Kernel {
    pub(super) fn submit(&mut self, ring: usize, token: Token, op: Op) {
        let what = operation::name(&op);
        let entry = match op {
            Op::Shutdown { fd, direction } => {
                self.descriptors.check_usable(fd, what);
                return self.shutdown(fd, direction);
            }
            Op::Close { fd } => {
                self.descriptors.begin_close(fd);
                Submitted::Control(op)
            }
            Op::Cancel { .. } | Op::EndRecv { .. } => Submitted::Control(op),
            op => Submitted::Start(self.begin(ring, token, op)),
        };
        self.rings[ring].submitted.push(entry);
    }

    pub(super) fn turn(
        &mut self,
        ring: usize,
        pool: &mut TransitPool,
        wait: Wait,
        done: &mut Vec<Completion>,
    ) {
        let this = &mut self.rings[ring];
        this.turns += 1;
        this.wait = Some(wait);
        this.flag.clear();
        this.take_due();
        self.perform_submitted(ring, pool);
        for _ in 0..self.rings[ring].candidates.len() {
            let next = pick(&mut self.rings[ring].candidates, &mut self.random, &self.faults);
            if let Some(operation) = next {
                self.consider(ring, operation, pool);
            }
        }
        if !self.random.chance(self.faults.early_return) {
            self.deliver(ring, pool, done);
        }
    }

    /// Notes the end of an operation that is not a multishot one, `delay` turns late at least.
    pub(super) fn complete(&mut self, ring: usize, operation: usize, done: Done, delay: usize) {
        let this = &mut self.rings[ring].operations[operation];
        this.stage = Stage::Ended;
        this.done = Some(done);
        self.queue_completion(ring, operation, delay);
    }

    /// Notes one completion of an operation.
    pub(super) fn queue_completion(&mut self, ring: usize, operation: usize, delay: usize) {
        let late = self.random.chance(self.faults.late);
        let delay = delay + if late { self.random.within(Faults::LATE) } else { 0 };
        if delay == 0 {
            self.rings[ring].completed.push_back(operation);
        } else {
            self.postpone(ring, operation, delay, true);
        }
    }

    fn begin(&mut self, ring: usize, token: Token, op: Op) -> usize {
        let what = operation::name(&op);
        if let Op::Fill { buf, .. } | Op::FillWithFile { buf, .. } | Op::ReadFile { buf, .. } = &op
        {
            assert!(buf.capacity() > buf.len(), "simulator: {what} without spare capacity");
        }
        if let Some(fd) = operation::sends_on(&op) {
            self.descriptors.begin_send(fd, what);
        }
        let fds = operation::descriptors(&op).into_iter().zip(operation::expected(&op));
        for (fd, expected) in fds {
            let Some(fd) = fd else { continue };
            self.descriptors.begin(fd, what);
            let kind = self.descriptors.object(fd).kind();
            let fits = expected.is_none_or(|expected| expected == kind);
            assert!(fits, "simulator: {what} on descriptor {fd}, which is a {kind:?}");
        }
        let this = &mut self.rings[ring];
        this.in_flight += 1;
        this.operations.insert(Operation::new(token, op))
    }

    fn perform_submitted(&mut self, ring: usize, pool: &mut TransitPool) {
        let mut submitted = mem::take(&mut self.rings[ring].submitted);
        for entry in submitted.drain(..) {
            match entry {
                Submitted::Start(operation) => {
                    self.rings[ring].operations[operation].stage = Stage::Pending;
                    self.consider(ring, operation, pool);
                }
                Submitted::Control(Op::Close { fd }) => self.close(fd),
                Submitted::Control(Op::Cancel { target }) => self.cancel(ring, target, |_| true),
                Submitted::Control(Op::EndRecv { target }) => {
                    self.cancel(ring, target, |op| matches!(op, Op::Recv { .. }));
                }
                Submitted::Control(op) => unreachable!("{op:?} has an answer"),
            }
        }
        self.rings[ring].submitted = submitted;
    }

    /// Tries a pending operation, now or later.
    fn consider(&mut self, ring: usize, operation: usize, pool: &mut TransitPool) {
        if self.rings[ring].operations[operation].cancelled {
            self.fail(ring, operation, Errno(libc::ECANCELED));
        } else if self.random.chance(self.faults.late) {
            let delay = self.random.within(Faults::LATE);
            self.postpone(ring, operation, delay, false);
        } else {
            self.attempt(ring, operation, pool);
        }
    }

    fn postpone(&mut self, ring: usize, operation: usize, delay: usize, completed: bool) {
        let this = &mut self.rings[ring];
        let due = this.turns + delay as u64;
        this.late.push(Late { due, operation, completed });
    }

    /// Ends every operation of the ring that was submitted with `target`, is meant, and has not
    /// ended.
    fn cancel(&mut self, ring: usize, target: Token, is_meant: fn(&Op) -> bool) {
        let operations = self.rings[ring].operations.iter_mut();
        let mut waiting = Vec::new();
        let is_meant = |operation: &Operation| operation.token == target && is_meant(&operation.op);
        for (index, operation) in operations.filter(|(_, operation)| is_meant(operation)) {
            match operation.stage {
                Stage::Pending => operation.cancelled = true,
                Stage::Waiting => waiting.push(index),
                Stage::Queued | Stage::Ended => {}
            }
        }
        for operation in waiting {
            self.forget_waiter(Waiter { ring, operation });
            self.fail(ring, operation, Errno(libc::ECANCELED));
        }
    }

    /// The operation is no longer in its list of waiters.
    pub(super) fn forget_waiter(&mut self, waiter: Waiter) {
        let fd = self.rings[waiter.ring].operations[waiter.operation].fds[0];
        let lists = match fd.map(|fd| self.descriptors.object(fd)) {
            Some(Object::Stream(stream)) => {
                let stream = &mut self.streams[*stream];
                [&mut stream.receivers, &mut stream.senders, &mut stream.pollers]
            }
            Some(Object::Listener(listener)) => {
                self.listeners[*listener].waiters.retain(|other| *other != waiter);
                return;
            }
            _ => return,
        };
        for list in lists {
            list.retain(|other| *other != waiter);
        }
    }

    fn deliver(&mut self, ring: usize, pool: &mut TransitPool, done: &mut Vec<Completion>) {
        for _ in 0..MOST_COMPLETIONS {
            let next = pick(&mut self.rings[ring].completed, &mut self.random, &self.faults);
            let Some(index) = next else { return };
            let operation = &mut self.rings[ring].operations[index];
            let token = operation.token;
            let shot = operation.shots.pop_front().or_else(|| operation.done.take());
            let what = shot.expect("performed before it is delivered");
            if !matches!(what, Done::Accept { armed: true, .. } | Done::Recv { armed: true, .. }) {
                self.release(ring, index);
            }
            if let Done::Recv { result: Ok(Some(piece)), .. } = &what {
                pool.lend(piece);
            }
            done.push(Completion { token, done: what });
        }
    }

    /// Lets go of every operation, as the end of a ring does.
    pub(super) fn abandon(&mut self, ring: usize) {
        let this = &mut self.rings[ring];
        let operations: Vec<usize> = this.operations.iter().map(|(index, _)| index).collect();
        (this.submitted, this.late) = (Vec::new(), Vec::new());
        (this.candidates, this.completed) = (VecDeque::new(), VecDeque::new());
        this.wait = None;
        this.outstanding.set(0);
        // Whoever still has the waker gives this ring no work.
        this.flag = Arc::default();
        for operation in operations {
            if self.rings[ring].operations[operation].stage == Stage::Waiting {
                self.forget_waiter(Waiter { ring, operation });
            }
            let operation = self.release(ring, operation);
            let done = operation.shots.iter().chain(&operation.done);
            done.filter_map(Done::descriptor).for_each(|fd| self.close(fd));
        }
    }

    /// The operation is in flight no longer.
    fn release(&mut self, ring: usize, index: usize) -> Operation {
        let this = &mut self.rings[ring];
        let operation = this.operations.remove(index);
        this.in_flight -= 1;
        for fd in operation.fds.into_iter().flatten() {
            self.descriptors.end(fd);
        }
        if let Some(fd) = operation::sends_on(&operation.op) {
            self.descriptors.end_send(fd);
        }
        operation
    }
}

/// The next of a queue, or, when the fault strikes, any of it.
fn pick(queue: &mut VecDeque<usize>, random: &mut Random, faults: &Faults) -> Option<usize> {
    if queue.len() > 1 && random.chance(faults.reorder) {
        let chosen = random.within(0..=queue.len() - 1);
        queue.swap(0, chosen);
    }
    queue.pop_front()
}

/// Of one turn.
const MOST_COMPLETIONS: usize = 512;

#[cfg(test)]
mod tests {
    use super::super::super::{Backend, Fd, Graveyard, SharedFile};
    use super::super::SimKernel;
    use super::*;

    #[test]
    fn completions_overtake_each_other_but_not_those_of_one_accept() {
        let kernel = SimKernel::new(1, Faults { reorder: 500, late: 500, ..Faults::none() });
        let mut backend = kernel.backend();
        let listener = kernel.listen();
        let peers: Vec<_> = (0..20).map(|_| kernel.connect(listener)).collect();
        backend.submit(Token::new(1, 0, 0), Op::Accept { listener });
        let root = SharedFile::new(kernel.root(), &Graveyard::default());
        for index in 0..20 {
            backend.submit(Token::new(0, index, 0), Op::StatOpen { file: root.clone() });
        }
        let mut done = Vec::new();
        while kernel.has_work(backend.id()) {
            backend.turn(Wait::Forever, &mut done).unwrap();
        }
        let (mut accepted, mut order) = (Vec::<Fd>::new(), Vec::new());
        for Completion { token, done } in done {
            match done {
                Done::Accept { result, .. } => accepted.push(result.unwrap()),
                _ => order.push(token.index()),
            }
        }
        assert_eq!((accepted.len(), order.len()), (peers.len(), 20));
        assert!(accepted.is_sorted() && !order.is_sorted(), "{accepted:?} {order:?}");
        backend.abandon();
    }
}
