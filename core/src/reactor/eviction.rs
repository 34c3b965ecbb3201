//! Which idle connection makes room for a new one when there are as many as may be, or as there are
//! descriptors for.
//!
//! Owns the choice: the one of this reactor that has idled longest. Must not cost anything before:
//! nobody keeps a list while there is room. It is made when it is needed, for many evictions at
//! once, and not again soon if it was short.

use super::Reactor;
use crate::conn::{Connection, World};
use crate::io::{Backend, Time, Token};
use std::cmp::Reverse;
use std::time::Duration;

/// Connections that idled when they were looked for.
#[derive(Default)]
pub(super) struct Parked {
    /// With the end of their patience; the oldest is the last.
    oldest: Vec<(Time, Token)>,
    search_again: Time,
}

/// How many are looked for at once.
const BATCH: usize = 64;

/// A search that finds fewer is not repeated before: it looks at every connection.
const PAUSE: Duration = Duration::from_millis(10);

impl<B: Backend> Reactor<B> {
    /// Ends the connection that has idled longest, to make room for another one; false: none idles.
    pub(super) fn evict(&mut self) -> bool {
        let is_evicted = self.end_oldest_parked(Time(u64::MAX), Connection::stop);
        self.world.counters.connections_evicted.add(u64::from(is_evicted));
        is_evicted
    }

    /// Likewise in a way of one's own, uncounted, and only if its time is over by then.
    pub(super) fn end_oldest_parked(
        &mut self,
        by: Time,
        end: fn(&mut Connection, Token, &mut World),
    ) -> bool {
        if self.evict_known(by, end) {
            return true;
        }
        let now = self.world.now;
        if now < self.parked.search_again {
            return false;
        }
        self.search_parked();
        if self.parked.oldest.len() < BATCH {
            self.parked.search_again = now.after(PAUSE);
        }
        self.evict_known(by, end)
    }

    fn evict_known(&mut self, by: Time, end: fn(&mut Connection, Token, &mut World)) -> bool {
        while let Some(&(until, token)) = self.parked.oldest.last().filter(|oldest| oldest.0 <= by)
        {
            self.parked.oldest.pop();
            if let Some(client) = self.clients.get_mut(token)
                && client.parked_until() == Some(until)
            {
                end(client, token, &mut self.world);
                self.settle_client(token);
                return true;
            }
        }
        false
    }

    fn search_parked(&mut self) {
        let oldest = &mut self.parked.oldest;
        oldest.clear();
        let until = |(token, client): (_, &Connection)| Some((client.parked_until()?, token));
        oldest.extend(self.clients.named().filter_map(until));
        if oldest.len() > BATCH {
            oldest.select_nth_unstable(BATCH);
            oldest.truncate(BATCH);
        }
        oldest.sort_unstable_by_key(|&entry| Reverse(entry));
    }
}
