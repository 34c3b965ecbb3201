//! One pool: its slots, and which request gets which of them.
//!
//! Owns the life of slots and the order of requests. Must not know sockets, clocks, threads, or
//! what is said on a slot.
//!
//! | a slot is | until | then it is |
//! |---|---|---|
//! | idle | a request comes | busy |
//! | | the worker hangs up | closed, by the warden at once |
//! | busy | its user releases it, reusable | busy if a request waits, else idle |
//! | | its user releases it, not reusable | closed, by the warden when told |
//! | | the worker hangs up | hung up |
//! | hung up | its user releases it | closed, by the warden when told |

use std::time::Duration;

use slab::Slab;

use super::queue::{Queue, Ticket, TicketId};
use crate::io::{Fd, Time, Token};

/// Bounds of one pool.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoolLimits {
    /// Requests that may wait for a slot. Default: 1,000.
    pub(crate) queue: usize,
    /// How long a request may wait for a slot. Default: 10 s.
    pub(crate) queue_timeout: Duration,
    /// How long an exchange may take, from the complete request to the complete response; kept
    /// by the exchange's owner. Default: 60 s.
    pub(crate) deadline: Duration,
    /// How long a request may wait, instead of `queue_timeout` if that is longer, when no worker
    /// is there. Default: 10 s.
    pub(crate) boot_grace: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        PoolLimits {
            queue: 1000,
            queue_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(60),
            boot_grace: Duration::from_secs(10),
        }
    }
}

/// Number of a reactor of this process.
pub(crate) type ReactorId = u16;

/// Names one slot for its whole life. One that is closed names nothing.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct SlotId {
    index: u32,
    generation: u32,
}

/// A request that waited gets a slot: tell its reactor.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[must_use = "the request waits for it"]
pub(crate) struct Assignment {
    /// The request; it keeps the ticket in case it must return.
    pub(crate) ticket: Ticket,
    /// What its owner knows the waiting by; names nothing any more.
    pub(crate) id: TicketId,
    pub(crate) slot: SlotId,
    pub(crate) fd: Fd,
}

/// What becomes of a request that wants a slot.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[must_use = "an assigned slot must be released"]
pub(crate) enum Admission {
    /// It has this slot, and releases it.
    Assigned { slot: SlotId, fd: Fd },
    /// It waits for an [`Assignment`]; its owner cancels it at that moment.
    Queued(TicketId, Time),
    /// Too many wait already.
    Full,
}

/// What the one who released a slot does next.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[must_use = "somebody must be told"]
pub(crate) enum AfterRelease {
    /// Nothing.
    None,
    /// Tell that reactor.
    Assign(Assignment),
    /// Nobody uses the slot any more: tell its warden to close the descriptor.
    Close { warden: ReactorId, slot: SlotId, fd: Fd, warden_token: Token },
}

/// What a pool has at this moment.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolCounts {
    /// Slots with a worker behind them, idle or busy; hung up ones are not counted.
    pub(crate) slots: usize,
    /// Those of them that wait for a request.
    pub(crate) idle: usize,
    /// Requests that wait for a slot.
    pub(crate) queued: usize,
}

/// The slots and the queue of one pool.
#[derive(Debug)]
pub(crate) struct PoolCore {
    limits: PoolLimits,
    slots: Slab<Slot>,
    next_generation: u32,
    /// The one used last is the last: its worker's caches are warm.
    idle: Vec<SlotId>,
    /// How many slots are idle or busy.
    usable: usize,
    /// Empty while a slot is idle.
    queue: Queue,
}

impl PoolCore {
    pub(crate) fn new(limits: PoolLimits) -> Self {
        PoolCore {
            slots: Slab::new(),
            next_generation: 0,
            idle: Vec::new(),
            usable: 0,
            queue: Queue::with_capacity(limits.queue.min(RESERVED)),
            limits,
        }
    }

    pub(crate) fn limits(&self) -> &PoolLimits {
        &self.limits
    }

    /// A worker dialled in. If a request waits it gets the slot at once.
    pub(crate) fn join(
        &mut self,
        fd: Fd,
        warden: ReactorId,
        warden_token: Token,
        process: u32,
    ) -> (SlotId, Option<Assignment>) {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let state = State::Busy;
        let index =
            self.slots.insert(Slot { generation, fd, warden, warden_token, process, state });
        let index = u32::try_from(index).expect("every slot has a descriptor, an i32");
        let slot = SlotId { index, generation };
        self.usable += 1;
        // So that becoming idle never allocates.
        self.idle.reserve(self.slots.len() - self.idle.len());
        (slot, self.next_request_or_idle(slot, fd))
    }

    /// A whole request wants a slot: the idle slot used last, or the end of the queue.
    pub(crate) fn request(&mut self, reactor: ReactorId, token: Token, now: Time) -> Admission {
        if let Some(assigned) = self.take_idle() {
            return assigned;
        }
        if self.queue.len() >= self.limits.queue {
            return Admission::Full;
        }
        let give_up_at = now.after(self.patience());
        Admission::Queued(self.queue.push_back(Ticket { reactor, token, give_up_at }), give_up_at)
    }

    /// A request that was not started returns: an idle slot, or the head of the queue, with its
    /// old time to give up. Never refused, so the queue can exceed its bound by the number of
    /// slots.
    pub(crate) fn request_again(&mut self, ticket: Ticket) -> Admission {
        if let Some(assigned) = self.take_idle() {
            return assigned;
        }
        Admission::Queued(self.queue.push_front(ticket), ticket.give_up_at)
    }

    /// A request stops waiting. False: it has been assigned a slot already, and the
    /// [`Assignment`] is on its way: its owner must release that slot.
    #[must_use = "if false, a slot is on its way and must be released"]
    pub(crate) fn cancel(&mut self, id: TicketId) -> bool {
        self.queue.cancel(id).is_some()
    }

    /// The exchange on the slot has ended, and nothing of its user is in flight on it; `reusable`
    /// if the slot can take another request.
    pub(crate) fn release(&mut self, slot: SlotId, reusable: bool) -> AfterRelease {
        let Some(entry) = self.slot_mut(slot) else { return AfterRelease::None };
        let fd = entry.fd;
        match entry.state {
            State::Busy if reusable => match self.next_request_or_idle(slot, fd) {
                Some(assignment) => AfterRelease::Assign(assignment),
                None => AfterRelease::None,
            },
            State::Busy => {
                self.usable -= 1;
                self.close(slot, fd)
            }
            State::HungUp => self.close(slot, fd),
            State::Idle => {
                debug_assert!(false, "slot {slot:?} was released twice");
                AfterRelease::None
            }
        }
    }

    /// The warden saw the worker hang up. True: nobody uses the slot, close it now. False: its
    /// user will release it, and then [`AfterRelease::Close`] comes from there.
    #[must_use = "if true, the descriptor must be closed"]
    pub(crate) fn hang_up(&mut self, slot: SlotId) -> bool {
        let Some(entry) = self.slot_mut(slot) else { return false };
        match entry.state {
            State::Busy => {
                entry.state = State::HungUp;
                self.usable -= 1;
                return false;
            }
            State::HungUp => return false,
            State::Idle => {
                self.idle.retain(|&idle| idle != slot);
                self.usable -= 1;
            }
        }
        self.slots.remove(slot.index as usize);
        true
    }

    /// Whether the worker behind a slot has hung up; true for a slot that is closed.
    #[cfg(test)]
    pub(crate) fn is_hung_up(&self, slot: SlotId) -> bool {
        self.slot(slot).is_none_or(|entry| entry.state == State::HungUp)
    }

    /// The worker's process, as the kernel named it when it dialled in.
    pub(crate) fn process(&self, slot: SlotId) -> Option<u32> {
        self.slot(slot).map(|entry| entry.process)
    }

    pub(crate) fn counts(&self) -> PoolCounts {
        PoolCounts { slots: self.usable, idle: self.idle.len(), queued: self.queue.len() }
    }

    fn take_idle(&mut self) -> Option<Admission> {
        let slot = self.idle.pop()?;
        debug_assert!(self.queue.is_empty(), "a request waited while a slot was idle");
        let entry = &mut self.slots[slot.index as usize];
        entry.state = State::Busy;
        Some(Admission::Assigned { slot, fd: entry.fd })
    }

    /// A busy slot has become free: it stays busy with the oldest waiting request, or is idle.
    fn next_request_or_idle(&mut self, slot: SlotId, fd: Fd) -> Option<Assignment> {
        let Some((id, ticket)) = self.queue.pop_front() else {
            self.slots[slot.index as usize].state = State::Idle;
            self.idle.push(slot);
            return None;
        };
        Some(Assignment { ticket, id, slot, fd })
    }

    fn close(&mut self, slot: SlotId, fd: Fd) -> AfterRelease {
        let Slot { warden, warden_token, .. } = self.slots.remove(slot.index as usize);
        AfterRelease::Close { warden, slot, fd, warden_token }
    }

    /// How long a request that comes now may wait.
    fn patience(&self) -> Duration {
        let PoolLimits { queue_timeout, boot_grace, .. } = self.limits;
        if self.usable == 0 { queue_timeout.min(boot_grace) } else { queue_timeout }
    }

    fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation)
    }

    fn slot_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)
    }
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    fd: Fd,
    warden: ReactorId,
    warden_token: Token,
    process: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Busy,
    /// Busy, and the worker has hung up.
    HungUp,
}

/// Tickets for which there is room from the start; a longer queue grows as it is needed.
const RESERVED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000_000);
    const WARDEN_TOKEN: Token = Token::new(9, 9, 9);

    fn pool(queue: usize) -> PoolCore {
        PoolCore::new(PoolLimits { queue, ..PoolLimits::default() })
    }

    fn request(pool: &mut PoolCore, number: u32) -> Admission {
        pool.request(1, Token::new(0, number, 0), NOW)
    }

    fn join(pool: &mut PoolCore, fd: Fd) -> SlotId {
        let (slot, assignment) = pool.join(fd, 2, WARDEN_TOKEN, 77);
        assert_eq!(assignment, None);
        slot
    }

    #[test]
    fn the_oldest_request_of_any_reactor_gets_the_slot_that_becomes_free() {
        let mut pool = pool(10);
        let slot = join(&mut pool, 5);
        assert_eq!(request(&mut pool, 0), Admission::Assigned { slot, fd: 5 });
        let Admission::Queued(id, _) = pool.request(3, Token::new(0, 1, 0), NOW) else { panic!() };
        let Admission::Queued(later, _) = request(&mut pool, 2) else { panic!() };
        let AfterRelease::Assign(assignment) = pool.release(slot, true) else { panic!() };
        assert_eq!((assignment.ticket.reactor, assignment.id), (3, id));
        assert_eq!((assignment.slot, assignment.fd), (slot, 5));
        assert!(!pool.cancel(id), "it has the slot already");
        assert!(pool.cancel(later));
        assert_eq!(pool.release(slot, true), AfterRelease::None);
        assert_eq!(pool.counts(), PoolCounts { slots: 1, idle: 1, queued: 0 });
    }

    #[test]
    fn a_worker_that_dials_in_serves_at_once_and_a_full_queue_refuses() {
        let mut pool = pool(1);
        assert!(matches!(request(&mut pool, 0), Admission::Queued(..)));
        assert_eq!(request(&mut pool, 1), Admission::Full);
        let (_, assignment) = pool.join(5, 2, WARDEN_TOKEN, 77);
        assert_eq!(assignment.unwrap().ticket.token, Token::new(0, 0, 0));
        assert!(matches!(request(&mut pool, 1), Admission::Queued(..)));
    }

    #[test]
    fn without_a_worker_patience_is_the_boot_grace_if_that_is_shorter() {
        let seconds = Duration::from_secs;
        for (boot_grace, patience) in [(2, 2), (20, 10)] {
            let limits = PoolLimits { boot_grace: seconds(boot_grace), ..PoolLimits::default() };
            let mut pool = PoolCore::new(limits);
            let Admission::Queued(_, at) = request(&mut pool, 0) else { panic!() };
            assert_eq!(at, NOW.after(seconds(patience)));
            let (_, assignment) = pool.join(5, 2, WARDEN_TOKEN, 77);
            let Admission::Queued(_, at) = request(&mut pool, 1) else { panic!() };
            assert_eq!(at, NOW.after(seconds(10)));
            // A worker that has hung up inside an exchange is not there.
            assert!(!pool.hang_up(assignment.unwrap().slot));
            let Admission::Queued(_, at) = request(&mut pool, 2) else { panic!() };
            assert_eq!(at, NOW.after(seconds(patience)));
        }
    }

    #[test]
    fn a_slot_is_closed_by_its_warden_when_the_worker_and_the_user_have_left() {
        let mut pool = pool(10);
        let slot = join(&mut pool, 5);
        assert!(pool.hang_up(slot), "idle: at once");
        assert!(!pool.hang_up(slot), "only once");

        let slot = join(&mut pool, 6);
        assert_eq!(request(&mut pool, 0), Admission::Assigned { slot, fd: 6 });
        assert!(!pool.hang_up(slot), "busy: not yet");
        assert!(pool.is_hung_up(slot));
        let close = AfterRelease::Close { warden: 2, slot, fd: 6, warden_token: WARDEN_TOKEN };
        assert_eq!(pool.release(slot, true), close);

        let slot = join(&mut pool, 7);
        assert_eq!(request(&mut pool, 0), Admission::Assigned { slot, fd: 7 });
        let close = AfterRelease::Close { warden: 2, slot, fd: 7, warden_token: WARDEN_TOKEN };
        assert_eq!(pool.release(slot, false), close);
        assert!(matches!(request(&mut pool, 1), Admission::Queued(..)), "closed: not assigned");
        assert!(!pool.hang_up(slot), "its warden has been told");
    }

    #[test]
    fn a_request_that_returns_goes_first_and_is_never_refused() {
        let mut pool = pool(0);
        let give_up_at = NOW.after(Duration::from_millis(1));
        let ticket = |number| Ticket { reactor: 1, token: Token::new(0, number, 0), give_up_at };
        for number in 0..2 {
            let Admission::Queued(_, at) = pool.request_again(ticket(number)) else { panic!() };
            assert_eq!(at, give_up_at);
        }
        let (_, assignment) = pool.join(5, 2, WARDEN_TOKEN, 77);
        assert_eq!(assignment.unwrap().ticket, ticket(1));
    }
}
