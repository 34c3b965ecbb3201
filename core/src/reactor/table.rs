//! Entries named by tokens: a slab whose entries have generations.
//!
//! **Invariant:** a token names one life of one entry. After removal the generation is another
//! one, so that a completion which arrives late finds nothing.

use crate::growth;
use crate::io::Token;
use slab::Slab;

/// A table of `T`, all of one kind.
pub(crate) struct Table<T> {
    kind: u8,
    entries: Slab<T>,
    /// By index; what stays when an entry goes. Counted up when it is removed.
    generations: Vec<u32>,
}

impl<T> Table<T> {
    /// Bytes for an entry.
    pub(crate) const ENTRY: usize = size_of::<T>() + size_of::<u32>();

    pub(crate) fn new(kind: u8) -> Table<T> {
        Table { kind, entries: Slab::new(), generations: Vec::new() }
    }

    /// Inserts what `make` builds from its future token.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Token) -> T) -> Token {
        growth::make_room(&mut self.entries);
        let vacant = self.entries.vacant_entry();
        let index = vacant.key();
        if index == self.generations.len() {
            growth::make_room_in(&mut self.generations);
            self.generations.push(0);
        }
        let token = Token::new(self.kind, index as u32, self.generations[index]);
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
        let generation = &mut self.generations[index];
        *generation = (*generation + 1) % Token::GENERATIONS;
        Some(removed)
    }

    /// Who is at the place of `token` now.
    pub(crate) fn current(&self, token: Token) -> Option<Token> {
        let index = token.index() as usize;
        self.entries.get(index)?;
        Some(Token::new(self.kind, token.index(), self.generations[index]))
    }

    /// Gives room back that was needed once.
    pub(super) fn trim(&mut self) {
        growth::trim_slab(&mut self.entries);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// The tokens of all entries.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        self.named().map(|(token, _)| token).collect()
    }

    /// All entries with their tokens.
    pub(crate) fn named(&self) -> impl Iterator<Item = (Token, &T)> {
        let token = |index: usize| Token::new(self.kind, index as u32, self.generations[index]);
        self.entries.iter().map(move |(index, entry)| (token(index), entry))
    }

    /// Of all entries, used or not.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<T>() + self.generations.capacity() * size_of::<u32>()
    }

    fn is_current(&self, token: Token) -> bool {
        debug_assert_eq!(token.kind(), self.kind, "a token of another table");
        self.generations.get(token.index() as usize) == Some(&token.generation())
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
        assert_eq!(table.current(first), Some(second));
        table.remove(second);
        assert_eq!(table.current(first), None);
    }

    #[test]
    fn a_place_outlives_the_room_for_its_entries() {
        let mut table = Table::new(0);
        let tokens: Vec<_> = (0..1_000).map(|n| table.insert_with(|_| n)).collect();
        let before = table.bytes();
        for &token in &tokens[1..] {
            table.remove(token);
        }
        table.trim();
        assert!(table.bytes() < before, "{} bytes of {before}", table.bytes());
        assert_eq!(table.get_mut(tokens[0]), Some(&mut 0));
        let again = table.insert_with(|_| 7);
        assert_eq!(again.index(), 1);
        assert_eq!(table.get_mut(tokens[1]), None, "the generation is another one");
        assert_eq!(table.get_mut(again), Some(&mut 7));
    }

    #[test]
    fn generations_wrap() {
        let mut table = Table::new(0);
        table.insert_with(|_| ());
        table.generations[0] = Token::GENERATIONS - 1;
        let last = Token::new(0, 0, Token::GENERATIONS - 1);
        assert!(table.remove(last).is_some());
        assert_eq!(table.insert_with(|_| ()).generation(), 0);
    }
}
