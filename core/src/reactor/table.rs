//! Entries named by tokens: a slab whose entries have generations.
//!
//! **Invariant:** a token names one life of one entry. After removal the generation is another
//! one, so that a completion which arrives late finds nothing.
//!
//! The alarm belongs to the place, not to the life: an exchange that is over leaves its timer to
//! the next one in its place. Otherwise the wheel would hold one for every request of a minute.

use crate::io::{Time, Token};
use crate::slack;
use slab::Slab;

/// A table of `T`, all of one kind.
pub(crate) struct Table<T> {
    kind: u8,
    entries: Slab<T>,
    /// By index.
    places: Vec<Place>,
}

/// What stays when an entry goes.
struct Place {
    /// Counted up when the entry is removed.
    generation: u32,
    /// The earliest moment that the wheel will fire for this place.
    alarm: Time,
    /// A later one, for which the wheel need not be told again.
    later: Time,
}

const NEVER: Time = Time(u64::MAX);

impl<T> Table<T> {
    /// Bytes for an entry.
    pub(crate) const ENTRY: usize = size_of::<(T, Place)>();

    pub(crate) fn new(kind: u8) -> Table<T> {
        Table { kind, entries: Slab::new(), places: Vec::new() }
    }

    /// Inserts what `make` builds from its future token.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Token) -> T) -> Token {
        slack::make_room(&mut self.entries);
        let vacant = self.entries.vacant_entry();
        let index = vacant.key();
        if index == self.places.len() {
            slack::make_room_in(&mut self.places);
            self.places.push(Place { generation: 0, alarm: NEVER, later: NEVER });
        }
        let token = Token::new(self.kind, index as u32, self.places[index].generation);
        vacant.insert(make(token));
        token
    }

    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        if !self.is_current(token) {
            return None;
        }
        self.entries.get_mut(token.index() as usize)
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<T> {
        if !self.is_current(token) {
            return None;
        }
        let index = token.index() as usize;
        let removed = self.entries.try_remove(index)?;
        let generation = &mut self.places[index].generation;
        *generation = (*generation + 1) % Token::GENERATIONS;
        Some(removed)
    }

    /// True: the wheel must be told, it would fire too late.
    pub(crate) fn set_alarm(&mut self, token: Token, at: Time) -> bool {
        let place = &mut self.places[token.index() as usize];
        let sooner = at < place.alarm;
        if sooner {
            // The first that gives way is the latest.
            if place.later == NEVER {
                place.later = place.alarm;
            }
            place.alarm = at;
        }
        sooner
    }

    /// The wheel has fired for a place: whom that concerns now. None: nobody, or the moment has
    /// been moved.
    pub(crate) fn on_alarm(&mut self, token: Token, now: Time) -> Option<Token> {
        let index = token.index() as usize;
        let place = &mut self.places[index];
        if place.alarm > now {
            return None;
        }
        place.alarm = std::mem::replace(&mut place.later, NEVER);
        self.entries.get(index)?;
        Some(Token::new(self.kind, token.index(), place.generation))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// The tokens of all entries.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        let token =
            |index: usize| Token::new(self.kind, index as u32, self.places[index].generation);
        self.entries.iter().map(|(index, _)| token(index)).collect()
    }

    /// Of all entries, used or not.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<T>() + self.places.capacity() * size_of::<Place>()
    }

    fn is_current(&self, token: Token) -> bool {
        debug_assert_eq!(token.kind(), self.kind, "a token of another table");
        let place = self.places.get(token.index() as usize);
        place.is_some_and(|place| place.generation == token.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_one_life() {
        let mut table = Table::new(3);
        let first = table.insert_with(|_| 'a');
        assert_eq!(table.remove(first), Some('a'));
        let second = table.insert_with(|_| 'b');
        assert_eq!(second.index(), first.index());
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get_mut(second), Some(&mut 'b'));
        assert_eq!(table.tokens(), [second]);
    }

    #[test]
    fn a_place_keeps_its_alarm() {
        let mut table = Table::new(0);
        let first = table.insert_with(|_| ());
        assert!(table.set_alarm(first, Time(70)) && table.set_alarm(first, Time(60)));
        table.remove(first);
        let second = table.insert_with(|_| ());
        assert!(!table.set_alarm(second, Time(80)), "the wheel will fire at 60");
        assert_eq!(table.on_alarm(first, Time(60)), Some(second));
        assert!(!table.set_alarm(second, Time(80)), "and at 70");
        assert_eq!(table.on_alarm(first, Time(70)), Some(second));
        assert!(table.set_alarm(second, Time(80)));
        table.remove(second);
        assert_eq!(table.on_alarm(second, Time(80)), None, "nobody is there");
    }

    #[test]
    fn a_sooner_alarm_leaves_the_later_one() {
        let mut table = Table::new(0);
        let token = table.insert_with(|_| ());
        assert!(table.set_alarm(token, Time(75)));
        for now in 0..60 {
            assert!(table.set_alarm(token, Time(now + 2)));
            assert!(now == 0 || !table.set_alarm(token, Time(now + 5)));
            assert_eq!(table.on_alarm(token, Time(now + 2)), Some(token));
            assert!(!table.set_alarm(token, Time(now + 75)), "the wheel will fire at 75");
        }
        assert_eq!(table.on_alarm(token, Time(74)), None);
        assert_eq!(table.on_alarm(token, Time(75)), Some(token));
        assert!(table.set_alarm(token, Time(134)));
    }

    #[test]
    fn generations_wrap() {
        let mut table = Table::new(0);
        table.insert_with(|_| ());
        table.places[0].generation = Token::GENERATIONS - 1;
        let last = Token::new(0, 0, Token::GENERATIONS - 1);
        assert!(table.remove(last).is_some());
        assert_eq!(table.insert_with(|_| ()).generation(), 0);
    }
}
