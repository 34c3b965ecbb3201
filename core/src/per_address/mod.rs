//! Bounds for each client address: how many at the same time, how many per second.
//!
//! Owns the tables. Must not know what is counted.
//!
//! **The tables are of fixed size, and nothing is ever evicted.** An address has one cell in each
//! of a few rows, found by a hash that is not to be guessed, and shares each with whoever has the
//! same hash there. Its own count is in all of them, so the smallest is the best answer: too large
//! only if all are shared with somebody who counts much, never too small (Cormode and
//! Muthukrishnan, An Improved Data Stream Summary, 2005). So a client with very many addresses can
//! neither fill memory nor make others forgotten.
//!
//! All reactors of a server share a table.

mod concurrency;
mod rate;

pub(crate) use concurrency::{Concurrency, Permit};
pub(crate) use rate::{Pass, Rate};

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

/// The cells of an address, one in each row.
type Cells = [u16; ROWS];

const ROWS: usize = 4;
/// Cells of a row.
const WIDTH: usize = 1 << 14;

/// Where an address is to be found; the seed must not be known outside.
#[derive(Clone, Copy, Debug)]
struct Places {
    seed: u64,
}

impl Places {
    fn of(self, address: IpAddr) -> Cells {
        // The seed comes first, so that the rest of the hash depends on a secret.
        let mut hasher = DefaultHasher::new();
        (self.seed, whose(address)).hash(&mut hasher);
        let hash = hasher.finish();
        std::array::from_fn(|row| (hash >> (16 * row)) as u16 & (WIDTH - 1) as u16)
    }
}

/// An IPv4 address, or the /64 of an IPv6 address: what one client has at least.
fn whose(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => u128::from(v6) >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_is_its_64() {
        let places = Places { seed: 7 };
        let cells = |address: &str| places.of(address.parse().unwrap());
        assert_eq!(cells("2001:db8::1"), cells("2001:db8::ffff:1"));
        assert_ne!(cells("2001:db8::1"), cells("2001:db8:0:1::1"));
        assert_eq!(cells("192.0.2.1"), cells("::ffff:192.0.2.1"));
        assert_ne!(cells("192.0.2.1"), cells("192.0.2.2"));
    }

    #[test]
    fn who_shares_cells_depends_on_the_seed() {
        let address = "192.0.2.1".parse().unwrap();
        assert_ne!(Places { seed: 1 }.of(address), Places { seed: 2 }.of(address));
    }
}
