//! Addresses of connections that wait, as small as they can be.
//!
//! Owns the form, and the table of our own addresses. Must not know whose they are.

use slab::Slab;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An address and a port. The flow label and the scope, which nobody reads, are dropped; so is
/// the difference between an IPv4 address and the IPv6 address that stands for it (RFC 4291
/// section 2.5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    ip: [u8; 16],
    port: [u8; 2],
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Address { ip: ip.octets(), port: address.port().to_ne_bytes() }
    }
}

impl From<Address> for SocketAddr {
    fn from(Address { ip, port }: Address) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), u16::from_ne_bytes(port))
    }
}

/// Our own addresses that connections are using: few, however many connections there are.
#[derive(Default)]
pub(crate) struct LocalAddresses {
    /// With the number of connections.
    used: Slab<(SocketAddr, usize)>,
    ids: HashMap<SocketAddr, LocalId>,
}

/// Names one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LocalId(u16);

impl LocalAddresses {
    /// One connection more uses this address. None: there are too many addresses.
    pub(super) fn enter(&mut self, address: SocketAddr) -> Option<LocalId> {
        let id = match self.ids.get(&address) {
            Some(&id) => id,
            None => {
                let id = LocalId(u16::try_from(self.used.vacant_key()).ok()?);
                self.used.insert((address, 0));
                self.ids.insert(address, id);
                id
            }
        };
        self.used[usize::from(id.0)].1 += 1;
        Some(id)
    }

    /// One connection less.
    pub(super) fn leave(&mut self, id: LocalId) {
        let (address, count) = &mut self.used[usize::from(id.0)];
        *count -= 1;
        if *count == 0 {
            self.ids.remove(address);
            self.used.remove(usize::from(id.0));
        }
    }

    pub(super) fn get(&self, id: LocalId) -> SocketAddr {
        self.used[usize::from(id.0)].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was() {
        for (text, again) in [
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[fe80::1%3]:8080", "[fe80::1]:8080"),
            ("[::ffff:192.0.2.7]:65535", "192.0.2.7:65535"),
            ("[::192.0.2.7]:0", "[::192.0.2.7]:0"),
        ] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(Address::from(address)), again.parse().unwrap());
        }
    }

    #[test]
    fn an_address_is_known_as_long_as_a_connection_uses_it() {
        let mut locals = LocalAddresses::default();
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let [one, two, again] = [80, 81, 80].map(|port| locals.enter(address(port)).unwrap());
        assert!(one == again && one != two);
        locals.leave(one);
        assert_eq!((locals.get(again), locals.get(two)), (address(80), address(81)));
        locals.leave(two);
        locals.leave(again);
        assert!(locals.used.is_empty() && locals.ids.is_empty());
    }

    #[test]
    fn too_many_addresses_are_said_to_be_too_many() {
        let mut locals = LocalAddresses::default();
        let address = |n: u32| SocketAddr::from((std::net::Ipv4Addr::from(n), 80));
        let ids: Vec<_> = (0..1 << 16).map(|n| locals.enter(address(n)).unwrap()).collect();
        assert_eq!(locals.enter(address(1 << 16)), None);
        assert_eq!(locals.enter(address(7)), Some(ids[7]));
        locals.leave(ids[9]);
        assert_eq!(locals.enter(address(1 << 16)), Some(ids[9]));
    }
}
