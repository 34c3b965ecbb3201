//! The operations that the kernel is working on.
//!
//! Owns what they own, until they end. An entry's key is its `user_data`; it is free again only
//! after the entry's last completion, so a stale key cannot occur. Must not know the ring.

use crate::growth;
use crate::io::{Fd, Op, Token};
use slab::Slab;
use std::mem;
use std::ops::{Deref, DerefMut};

/// Operations in flight, by key and by token.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    entries: Slab<Entry>,
    /// The operations that own something.
    owning: Slab<Op>,
    /// For each kind and index of a token, the key of its latest operation: the head of a list,
    /// so that cancelling need not look at every operation. Indices are those of tables, so dense.
    heads: Vec<Vec<u32>>,
}

/// An operation that is looked at.
pub(super) struct InFlightOp<'a> {
    pub(super) token: Token,
    pub(super) op: Looked<'a>,
    /// Not to be issued again when it ends without a result.
    pub(super) cancelled: bool,
    /// What it is to send is being read.
    pub(super) is_cold: &'a mut bool,
}

pub(super) enum Looked<'a> {
    There(&'a mut Op),
    Plain(Op),
}

#[derive(Debug)]
struct Entry {
    token: Token,
    next: u32,
    previous: u32,
    /// The descriptor of an operation that owns nothing; else its place in `owning`.
    operand: u32,
    what: What,
    cancelled: bool,
    is_cold: bool,
}

/// Every idle connection has an operation in flight: those that can last are kept small.
#[derive(Clone, Copy, Debug)]
enum What {
    Recv { poll_first: bool, repeat: bool },
    AwaitHangUp,
    AwaitInput,
    Owning,
}

impl InFlight {
    /// Bytes for an operation of an idle connection.
    pub(super) const PARKED: usize = size_of::<Entry>() + size_of::<u32>();

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Gives room back that was needed once.
    pub(super) fn trim(&mut self) {
        growth::trim_slab(&mut self.entries);
        growth::trim_slab(&mut self.owning);
    }

    pub(super) fn insert(&mut self, token: Token, op: Op) -> u32 {
        debug_assert_ne!(token, Token::NOBODY, "there is a list for each place in use");
        let (what, operand) = match op {
            Op::Recv { fd, poll_first, repeat } => (What::Recv { poll_first, repeat }, fd as u32),
            Op::AwaitHangUp { fd } => (What::AwaitHangUp, fd as u32),
            Op::AwaitInput { fd } => (What::AwaitInput, fd as u32),
            op => (What::Owning, self.owning.insert(op) as u32),
        };
        growth::make_room(&mut self.entries);
        let key = self.entries.vacant_key() as u32;
        let next = mem::replace(self.head(token), key);
        if next != NONE {
            self.entries[next as usize].previous = key;
        }
        let (previous, cancelled, is_cold) = (NONE, false, false);
        self.entries.insert(Entry { token, next, previous, operand, what, cancelled, is_cold });
        key
    }

    pub(super) fn get_mut(&mut self, key: u32) -> Option<InFlightOp<'_>> {
        let entry = self.entries.get_mut(key as usize)?;
        let op = match entry.plain() {
            Some(op) => Looked::Plain(op),
            None => Looked::There(&mut self.owning[entry.operand as usize]),
        };
        let Entry { token, cancelled, ref mut is_cold, .. } = *entry;
        Some(InFlightOp { token, op, cancelled, is_cold })
    }

    pub(super) fn remove(&mut self, key: u32) -> (Token, Op) {
        let entry = self.entries.remove(key as usize);
        let Entry { token, next, previous, operand, .. } = entry;
        match previous {
            NONE => *self.head(token) = next,
            previous => self.entries[previous as usize].next = next,
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        (token, entry.plain().unwrap_or_else(|| self.owning.remove(operand as usize)))
    }

    /// The key of one operation of `target` that is meant and not cancelled yet; it is from now on.
    pub(super) fn cancel_next(&mut self, target: Token, is_meant: fn(&Op) -> bool) -> Option<u32> {
        let mut key = *self.head(target);
        while key != NONE {
            let entry = &mut self.entries[key as usize];
            let is_meant = match entry.plain() {
                Some(op) => is_meant(&op),
                None => is_meant(&self.owning[entry.operand as usize]),
            };
            if entry.token == target && !entry.cancelled && is_meant {
                entry.cancelled = true;
                return Some(key);
            }
            key = entry.next;
        }
        None
    }

    /// Marks everything as cancelled.
    pub(super) fn cancel_all(&mut self) {
        self.entries.iter_mut().for_each(|(_, entry)| entry.cancelled = true);
    }

    fn head(&mut self, token: Token) -> &mut u32 {
        let (kind, index) = (usize::from(token.kind()), token.index() as usize);
        if self.heads.len() <= kind {
            self.heads.resize_with(kind + 1, Vec::new);
        }
        let heads = &mut self.heads[kind];
        if heads.len() <= index {
            heads.resize(index + 1, NONE);
        }
        &mut heads[index]
    }
}

impl Entry {
    /// Its operation, unless that owns something.
    fn plain(&self) -> Option<Op> {
        let fd = self.operand as Fd;
        match self.what {
            What::Recv { poll_first, repeat } => Some(Op::Recv { fd, poll_first, repeat }),
            What::AwaitHangUp => Some(Op::AwaitHangUp { fd }),
            What::AwaitInput => Some(Op::AwaitInput { fd }),
            What::Owning => None,
        }
    }
}

impl Deref for Looked<'_> {
    type Target = Op;

    fn deref(&self) -> &Op {
        match self {
            Looked::There(op) => op,
            Looked::Plain(op) => op,
        }
    }
}

impl DerefMut for Looked<'_> {
    fn deref_mut(&mut self) -> &mut Op {
        match self {
            Looked::There(op) => op,
            Looked::Plain(op) => op,
        }
    }
}

const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn op() -> Op {
        Op::Recv { fd: 0, poll_first: false, repeat: false }
    }

    #[test]
    fn finds_exactly_the_operations_of_a_token() {
        let mut in_flight = InFlight::default();
        let (old, new, other) = (Token::new(1, 5, 1), Token::new(1, 5, 2), Token::new(2, 5, 1));
        let keys = [old, new, new, other].map(|token| in_flight.insert(token, op()));
        assert!(matches!(*in_flight.get_mut(keys[3]).unwrap().op, Op::Recv { fd: 0, .. }));
        in_flight.remove(keys[1]);
        assert_eq!(in_flight.cancel_next(new, |_| false), None);
        assert_eq!(in_flight.cancel_next(new, |_| true), Some(keys[2]));
        assert_eq!(in_flight.cancel_next(new, |_| true), None);
        assert_eq!(in_flight.cancel_next(old, |_| true), Some(keys[0]));
        assert_eq!(in_flight.cancel_next(Token::new(9, 9, 9), |_| true), None);
        for key in [keys[2], keys[0], keys[3]] {
            in_flight.remove(key);
        }
        assert_eq!(in_flight.len(), 0);
        assert!(in_flight.owning.is_empty());
        assert!(in_flight.heads.iter().flatten().all(|&head| head == NONE));
    }
}
