//! How many things an address has at the same time.

use super::{Cells, Places, ROWS, WIDTH};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts what each address has now.
pub(crate) struct Concurrency {
    places: Places,
    rows: [Box<[AtomicU32]>; ROWS],
}

/// One of those things; given back when dropped.
pub(crate) struct Permit {
    of: Arc<Concurrency>,
    cells: Cells,
}

impl Concurrency {
    pub(crate) fn new(seed: u64) -> Arc<Concurrency> {
        let row = |_| (0..WIDTH).map(|_| AtomicU32::new(0)).collect();
        Arc::new(Concurrency { places: Places { seed }, rows: std::array::from_fn(row) })
    }

    /// One more for this address; none if it has `most` already.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Permit> {
        let cells = self.places.of(address);
        let before = self.at(cells).map(|cell| cell.fetch_add(1, Ordering::Relaxed)).min();
        // Dropped again if it is one too many.
        let permit = Permit { of: Arc::clone(self), cells };
        before.is_some_and(|before| (before as usize) < most).then_some(permit)
    }

    fn at(&self, cells: Cells) -> impl Iterator<Item = &AtomicU32> {
        self.rows.iter().zip(cells).map(|(row, cell)| &row[usize::from(cell)])
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.at(self.cells).for_each(|cell| {
            cell.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> IpAddr {
        IpAddr::V4((0xc000_0200 + last).into())
    }

    #[test]
    fn an_address_has_so_many_at_most_and_again_when_they_are_given_back() {
        let table = Concurrency::new(1);
        let one = table.enter(address(1), 2).unwrap();
        let _two = table.enter(address(1), 2).unwrap();
        assert!(table.enter(address(1), 2).is_none());
        assert!(table.enter(address(2), 2).is_some(), "another address");
        drop(one);
        let three = table.enter(address(1), 2);
        assert!(three.is_some() && table.enter(address(1), 2).is_none());
    }

    #[test]
    fn many_others_do_not_count() {
        let table = Concurrency::new(1);
        let others: Vec<_> = (2..16_384).map(|n| table.enter(address(n), 1_000)).collect();
        assert!(others.iter().all(Option::is_some));
        let mine: Vec<_> = (0..250).map(|_| table.enter(address(1), 256)).collect();
        assert!(mine.iter().all(Option::is_some));
        drop((others, mine));
        assert!(table.rows.iter().flatten().all(|cell| cell.load(Ordering::Relaxed) == 0));
    }
}
