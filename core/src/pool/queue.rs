//! The requests that wait for a slot, oldest first, those that have returned before all others;
//! any of them can leave in constant time.
//!
//! Owns order and cancellation. Must not know slots, bounds or how long a wait may be.

use slab::Slab;

use super::ReactorId;
use crate::io::{Time, Token};

/// A request that waits: whose it is and until when it may wait if workers are there.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The reactor that owns the exchange.
    pub(crate) reactor: ReactorId,
    /// The exchange, there.
    pub(crate) token: Token,
    /// When it has waited `queue_timeout`, without its time on slots; the queue does not look.
    pub(crate) give_up_at: Time,
}

/// Names one stay in the queue. A request that returns to the queue gets a new one; an old one
/// names nothing.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct TicketId {
    index: usize,
    generation: u32,
}

/// A doubly linked list inside a slab: nothing moves, cancelled entries are gone at once, and
/// memory is that of the longest queue so far.
#[derive(Debug)]
pub(super) struct Queue {
    entries: Slab<Entry>,
    ends: Option<Ends>,
    next_generation: u32,
}

impl Queue {
    pub(super) fn with_capacity(capacity: usize) -> Queue {
        Queue { entries: Slab::with_capacity(capacity), ends: None, next_generation: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A request begins to wait.
    pub(super) fn push_back(&mut self, ticket: Ticket, now: Time) -> TicketId {
        let before = self.ends.map(|ends| ends.last);
        let id = self.insert(ticket, Some(now), before, None);
        if let Some(before) = before {
            self.entries[before].next = Some(id.index);
        }
        let first = self.ends.map_or(id.index, |ends| ends.first);
        self.ends = Some(Ends { first, last: id.index });
        id
    }

    /// A request returns.
    pub(super) fn push_front(&mut self, ticket: Ticket) -> TicketId {
        let after = self.ends.map(|ends| ends.first);
        let id = self.insert(ticket, None, None, after);
        if let Some(after) = after {
            self.entries[after].previous = Some(id.index);
        }
        let last = self.ends.map_or(id.index, |ends| ends.last);
        self.ends = Some(Ends { first: id.index, last });
        id
    }

    pub(super) fn pop_front(&mut self) -> Option<(TicketId, Ticket)> {
        let first = self.ends?.first;
        Some(self.take(first))
    }

    pub(super) fn pop_back(&mut self) -> Option<(TicketId, Ticket)> {
        let last = self.ends?.last;
        Some(self.take(last))
    }

    /// Since when the first one waits; `None` if it has returned, or nobody waits.
    pub(super) fn first_since(&self) -> Option<Time> {
        self.entries[self.ends?.first].since
    }

    /// Since when the one waits that came first; `None` if all that wait have returned. Those
    /// stand before it: as many as there were slots at most.
    pub(super) fn oldest_since(&self) -> Option<Time> {
        let mut next = self.ends.map(|ends| ends.first);
        while let Some(entry) = next.map(|index| &self.entries[index]) {
            if entry.since.is_some() {
                return entry.since;
            }
            next = entry.next;
        }
        None
    }

    /// A ticket that waits, and since when; `None` for one that has returned.
    pub(super) fn find(&self, id: TicketId) -> Option<(Ticket, Option<Time>)> {
        let entry = self.entries.get(id.index).filter(|entry| entry.generation == id.generation)?;
        Some((entry.ticket, entry.since))
    }

    /// Takes a ticket out, wherever it stands. `None`: it has left before.
    pub(super) fn cancel(&mut self, id: TicketId) -> Option<Ticket> {
        let entry = self.entries.get(id.index)?;
        (entry.generation == id.generation).then(|| self.unlink(id.index))
    }

    fn insert(
        &mut self,
        ticket: Ticket,
        since: Option<Time>,
        previous: Option<usize>,
        next: Option<usize>,
    ) -> TicketId {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let index = self.entries.insert(Entry { ticket, since, previous, next, generation });
        TicketId { index, generation }
    }

    fn take(&mut self, index: usize) -> (TicketId, Ticket) {
        let id = TicketId { index, generation: self.entries[index].generation };
        (id, self.unlink(index))
    }

    fn unlink(&mut self, index: usize) -> Ticket {
        let entry = self.entries.remove(index);
        if let Some(previous) = entry.previous {
            self.entries[previous].next = entry.next;
        }
        if let Some(next) = entry.next {
            self.entries[next].previous = entry.previous;
        }
        self.ends = self.ends.and_then(|ends| {
            let first = if ends.first == index { entry.next } else { Some(ends.first) };
            let last = if ends.last == index { entry.previous } else { Some(ends.last) };
            Some(Ends { first: first?, last: last? })
        });
        entry.ticket
    }
}

#[derive(Debug)]
struct Entry {
    ticket: Ticket,
    /// `None`: it has returned.
    since: Option<Time>,
    previous: Option<usize>,
    next: Option<usize>,
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: usize,
    last: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(number: u32) -> Ticket {
        Ticket { reactor: 0, token: Token::new(1, number, 0), give_up_at: Time(0) }
    }

    fn drain(queue: &mut Queue) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop_front()).map(|(_, t)| t.token.index()).collect()
    }

    #[test]
    fn first_in_first_out_and_the_head_goes_before() {
        let mut queue = Queue::with_capacity(0);
        queue.push_back(ticket(1), Time(0));
        queue.push_back(ticket(2), Time(0));
        queue.push_front(ticket(0));
        assert_eq!(queue.len(), 3);
        assert_eq!(drain(&mut queue), [0, 1, 2]);
        assert!(queue.is_empty());
        queue.push_front(ticket(3));
        queue.push_back(ticket(4), Time(0));
        assert_eq!(drain(&mut queue), [3, 4]);
    }

    #[test]
    fn the_oldest_is_the_first_that_has_not_returned() {
        let mut queue = Queue::with_capacity(0);
        queue.push_front(ticket(0));
        assert_eq!(queue.oldest_since(), None);
        queue.push_back(ticket(1), Time(5));
        queue.push_back(ticket(2), Time(6));
        queue.push_front(ticket(3));
        assert_eq!(queue.oldest_since(), Some(Time(5)));
    }

    #[test]
    fn any_set_of_tickets_can_leave() {
        for gone in 0u32..1 << 4 {
            let mut queue = Queue::with_capacity(4);
            let ids: Vec<_> = (0..4).map(|n| queue.push_back(ticket(n), Time(0))).collect();
            for n in 0..4 {
                if gone & 1 << n != 0 {
                    assert_eq!(queue.cancel(ids[n as usize]), Some(ticket(n)));
                    assert_eq!(queue.cancel(ids[n as usize]), None);
                }
            }
            queue.push_back(ticket(4), Time(0));
            let expected: Vec<_> = (0..5).filter(|n| gone & 1 << n == 0).collect();
            assert_eq!(drain(&mut queue), expected, "without the set {gone:04b}");
        }
    }

    #[test]
    fn an_old_id_does_not_touch_the_entry_that_took_its_place() {
        let mut queue = Queue::with_capacity(1);
        let old = queue.push_back(ticket(1), Time(0));
        assert_eq!(queue.pop_front(), Some((old, ticket(1))));
        let new = queue.push_back(ticket(2), Time(0));
        assert_eq!(new.index, old.index);
        assert_eq!(queue.cancel(old), None);
        assert_eq!(queue.cancel(new), Some(ticket(2)));
    }

    #[test]
    fn a_warm_queue_does_not_allocate() {
        let mut queue = Queue::with_capacity(8);
        let capacity = queue.entries.capacity();
        for round in 0..10_000 {
            let middle = [queue.push_back(ticket(round), Time(0)), queue.push_front(ticket(round))];
            queue.push_back(ticket(round), Time(0));
            queue.cancel(middle[(round % 2) as usize]);
            assert_eq!(drain(&mut queue).len(), 2);
        }
        assert_eq!(queue.entries.capacity(), capacity);
    }
}
