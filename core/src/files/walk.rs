//! The search for the file that answers: which names are looked for, in which order.
//!
//! Owns that order: roots one after the other, then the fallback in them, and for a file its coded
//! neighbours. Must not know how a name is looked up.

use super::ask::Ask;
use super::coding::{Coding, Preferences, preferences};
use super::root::{FilesRoute, Root};
use super::store::{Found, Place};

/// How far a search has come.
#[derive(Debug, Default)]
pub(super) struct Walk {
    root: usize,
    is_in_fallback: bool,
    /// The root has been asked for in this search.
    pub(super) has_asked_root: bool,
    /// The file itself, while its neighbours are looked for.
    plain: Option<Found>,
    neighbours: Preferences,
    neighbour: usize,
}

impl Walk {
    pub(super) fn root<'r>(&self, route: &'r FilesRoute) -> &'r Root {
        &route.roots[self.root]
    }

    /// What is looked for, in the root as it is now.
    pub(super) fn place(&self, route: &FilesRoute) -> Place {
        Place { tree: self.root(route).tree(), coding: self.coding() }
    }

    pub(super) fn coding(&self) -> Coding {
        self.neighbours.get(self.neighbour).copied().flatten().unwrap_or_default()
    }

    /// The path that is looked for, for a request's `path`.
    pub(super) fn path<'p>(&self, route: &'p FilesRoute, path: &'p str) -> &'p str {
        let fallback = route.settings.fallback.as_deref().filter(|_| self.is_in_fallback);
        fallback.unwrap_or(path)
    }

    /// Another directory is in the root's place: looks there.
    pub(super) fn restart_in_root(&mut self) {
        (self.plain, self.neighbours, self.neighbour) = (None, Preferences::default(), 0);
    }

    /// There is something to answer with, whatever becomes of this look-up.
    pub(super) fn has_plain(&self) -> bool {
        self.plain.is_some()
    }

    /// This is what the look-up has found. `Some`: it ends the search. `None`: goes on.
    pub(super) fn take(
        &mut self,
        found: Found,
        route: &FilesRoute,
        ask: &Ask<'_>,
    ) -> Option<Found> {
        let is_file = matches!(found, Found::Open { .. } | Found::Memory { .. });
        if self.plain.is_some() {
            if is_file {
                return Some(found);
            }
            self.neighbour += 1;
            let is_last = self.coding() == Coding::Identity;
            return if is_last { self.plain.take() } else { None };
        }
        match found {
            found if is_file && route.settings.precompressed => {
                self.neighbours = preferences(ask.fields.accept_encoding.as_deref());
                match self.coding() {
                    Coding::Identity => Some(found),
                    _ => {
                        self.plain = Some(found);
                        None
                    }
                }
            }
            Found::Directory if self.is_in_fallback => self.next_root(route),
            Found::Missing(404) => self.next_root(route),
            found => Some(found),
        }
    }

    fn next_root(&mut self, route: &FilesRoute) -> Option<Found> {
        self.has_asked_root = false;
        if self.root + 1 < route.roots.len() {
            self.root += 1;
        } else if !self.is_in_fallback && route.settings.fallback.is_some() {
            (self.root, self.is_in_fallback) = (0, true);
        } else {
            return Some(Found::Missing(404));
        }
        None
    }
}
