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

use super::delay::{Delay, Length};
use super::limits::PoolLimits;
use super::queue::{Queue, Ticket, TicketId};
use crate::io::{Fd, Time, Token};

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
    /// It waits for an [`Assignment`]; its owner asks [`PoolCore::still_waiting`] at that moment.
    Queued(TicketId, Time),
    /// Too many wait already.
    Full,
}

/// What becomes of a request that has waited for a while.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[must_use = "whoever is refused has left the queue"]
pub(crate) enum StillWaiting {
    /// It waits on; its owner asks again at that moment.
    Until(Time),
    /// It has a slot already, and the [`Assignment`] is on its way.
    Assigned,
    /// Its time was up, so it has left the queue.
    TimedOut,
    /// The queue stands and it has waited too long for that, so it has left the queue.
    Delayed,
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
    /// How often the queue has begun to stand.
    pub(crate) stood: u64,
}

/// Requests that left a pool without a slot, by reason, since it is there.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    pub(crate) queue_full: u64,
    pub(crate) queue_timeout: u64,
    pub(crate) queue_delay: u64,
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
    delay: Delay,
    /// When the last worker left, if none is there.
    left_at: Time,
    refusals: Refusals,
    /// Nobody sends it requests any more.
    is_retired: bool,
    /// Requests that have left the queue because they were cancelled.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) left: u64,
}

impl PoolCore {
    pub(crate) fn new(limits: PoolLimits) -> Self {
        PoolCore {
            slots: Slab::new(),
            next_generation: 0,
            idle: Vec::new(),
            usable: 0,
            queue: Queue::with_capacity(limits.queue.min(RESERVED)),
            delay: Delay::new(limits.queue_target),
            left_at: Time(0),
            limits,
            refusals: Refusals::default(),
            is_retired: false,
            #[cfg(any(test, feature = "fuzz"))]
            left: 0,
        }
    }

    /// For requests that come from now on. Those that wait keep their `queue_timeout`; how long no
    /// worker may be there, and the queue be long, is a matter of the pool.
    pub(crate) fn set_limits(&mut self, limits: PoolLimits) {
        self.delay.set_target(limits.queue_target);
        self.limits = limits;
    }

    /// No request comes any more, and none waits: slots that become free are closed. Wardens close
    /// those that are idle.
    pub(crate) fn retire(&mut self) {
        self.is_retired = true;
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
        now: Time,
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
        (slot, self.next_request_or_idle(slot, fd, now))
    }

    /// A whole request wants a slot: the idle slot used last, or the end of the queue.
    pub(crate) fn request(&mut self, reactor: ReactorId, token: Token, now: Time) -> Admission {
        if let Some(assigned) = self.take_idle(self.used_last()) {
            return assigned;
        }
        if self.queue.len() >= self.limits.queue {
            self.refusals.queue_full += 1;
            return Admission::Full;
        }
        let give_up_at = now.after(self.limits.queue_timeout);
        let ticket = Ticket { reactor, token, give_up_at };
        let ask_at = self.ask_at(ticket, Some(now), now);
        Admission::Queued(self.queue.push_back(ticket, now), ask_at)
    }

    /// A request returns that has ended with a slot of `process`, which may be about to close the
    /// others: an idle slot, rather another process's, or the head of the queue, where only its
    /// patience ends its waiting. Never refused, so the queue can exceed its bound by the number of
    /// slots.
    pub(crate) fn request_again(&mut self, ticket: Ticket, process: u32, now: Time) -> Admission {
        let is_other = |slot: &SlotId| self.slots[slot.index as usize].process != process;
        let best = self.idle.iter().rposition(is_other).or(self.used_last());
        if let Some(assigned) = self.take_idle(best) {
            return assigned;
        }
        let ask_at = self.ask_at(ticket, None, now);
        Admission::Queued(self.queue.push_front(ticket), ask_at)
    }

    /// Whether a request may wait on. Its owner asks when it was told to; nobody is told when the
    /// queue begins to stand, or the last worker leaves.
    pub(crate) fn still_waiting(&mut self, id: TicketId, now: Time) -> StillWaiting {
        let Some((ticket, since)) = self.queue.find(id) else { return StillWaiting::Assigned };
        let refusal = if self.patience_ends(ticket, since) <= now {
            self.refusals.queue_timeout += 1;
            StillWaiting::TimedOut
        } else if self.has_workers(now)
            && since.is_some_and(|since| self.delay.refuses(now.since(since)))
        {
            self.refusals.queue_delay += 1;
            StillWaiting::Delayed
        } else {
            return StillWaiting::Until(self.ask_at(ticket, since, now));
        };
        let _ = self.cancel(id);
        refusal
    }

    /// A request stops waiting. False: it has been assigned a slot already, and the
    /// [`Assignment`] is on its way: its owner must release that slot.
    #[must_use = "if false, a slot is on its way and must be released"]
    pub(crate) fn cancel(&mut self, id: TicketId) -> bool {
        let was_waiting = self.queue.cancel(id).is_some();
        self.delay.on_length(self.length());
        #[cfg(any(test, feature = "fuzz"))]
        {
            self.left += u64::from(was_waiting);
        }
        was_waiting
    }

    /// The exchange on the slot has ended, and nothing of its user is in flight on it; `reusable`
    /// if the slot can take another request.
    pub(crate) fn release(&mut self, slot: SlotId, reusable: bool, now: Time) -> AfterRelease {
        let reusable = reusable && !self.is_retired;
        let Some(entry) = self.slot_mut(slot) else { return AfterRelease::None };
        let fd = entry.fd;
        match entry.state {
            State::Busy if reusable => match self.next_request_or_idle(slot, fd, now) {
                Some(assignment) => AfterRelease::Assign(assignment),
                None => AfterRelease::None,
            },
            State::Busy => {
                self.lose_slot(now);
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
    pub(crate) fn hang_up(&mut self, slot: SlotId, now: Time) -> bool {
        let Some(entry) = self.slot_mut(slot) else { return false };
        match entry.state {
            State::Busy => {
                entry.state = State::HungUp;
                self.lose_slot(now);
                return false;
            }
            State::HungUp => return false,
            State::Idle => {
                self.idle.retain(|&idle| idle != slot);
                self.lose_slot(now);
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
        PoolCounts {
            slots: self.usable,
            idle: self.idle.len(),
            queued: self.queue.len(),
            stood: self.delay.stood(),
        }
    }

    pub(crate) fn refusals(&self) -> Refusals {
        self.refusals
    }

    /// Since when the request waits that came first; see [`Queue::oldest_since`].
    pub(crate) fn oldest_since(&self) -> Option<Time> {
        self.queue.oldest_since()
    }

    fn used_last(&self) -> Option<usize> {
        self.idle.len().checked_sub(1)
    }

    fn take_idle(&mut self, place: Option<usize>) -> Option<Admission> {
        let slot = self.idle.remove(place?);
        debug_assert!(self.queue.is_empty(), "a request waited while a slot was idle");
        let entry = &mut self.slots[slot.index as usize];
        entry.state = State::Busy;
        Some(Admission::Assigned { slot, fd: entry.fd })
    }

    /// A busy slot has become free: it stays busy with a waiting request, or is idle.
    fn next_request_or_idle(&mut self, slot: SlotId, fd: Fd, now: Time) -> Option<Assignment> {
        let Some((id, ticket)) = self.next_request(now) else {
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

    /// The request that has returned last, else the oldest one, or the newest if the queue stands.
    fn next_request(&mut self, now: Time) -> Option<(TicketId, Ticket)> {
        let mut stands = false;
        if let Some(since) = self.queue.first_since() {
            self.delay.on_dispatch(now.since(since), self.length(), now);
            stands = self.delay.stands();
        }
        let next = if stands { self.queue.pop_back() } else { self.queue.pop_front() };
        self.delay.on_length(self.length());
        next
    }

    fn length(&self) -> Length {
        Length { queued: self.queue.len(), slots: self.usable }
    }

    fn lose_slot(&mut self, now: Time) {
        self.usable -= 1;
        self.left_at = now;
        self.delay.on_length(self.length());
    }

    /// Somebody is there, or was until a moment ago and may only rest.
    fn has_workers(&self, now: Time) -> bool {
        self.usable > 0 || now.since(self.left_at) < REST
    }

    /// When a request is given up that waits since then, if no worker comes or goes. One that has
    /// returned was with a worker, so it came before the last one left.
    fn patience_ends(&self, ticket: Ticket, since: Option<Time>) -> Time {
        if self.usable > 0 {
            return ticket.give_up_at;
        }
        let begin = since.unwrap_or_default().max(self.left_at);
        ticket.give_up_at.min(begin.after(self.limits.boot_grace))
    }

    /// When its owner asks next: not after the `boot_grace` that begins if the last worker leaves.
    fn ask_at(&self, ticket: Ticket, since: Option<Time>, now: Time) -> Time {
        let latest = now.after(self.limits.boot_grace.max(ASK_EVERY));
        let ask_at = self.patience_ends(ticket, since).min(latest);
        since.map_or(ask_at, |since| ask_at.min(self.delay.ask_at(since, now)))
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

/// Workers that rest after each answer are seldom all away for longer.
const REST: Duration = Duration::from_millis(200);

/// Asking costs the lock, so a shorter `boot_grace` may be exceeded by so much.
const ASK_EVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
