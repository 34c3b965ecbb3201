//! Addresses of connections that wait, as small as they can be.
//!
//! Owns the form. Must not know whose they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// An address and a port. The flow label, which nobody reads, is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    ip: Ip,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ip {
    V4([u8; 4]),
    /// With the scope of a link-local address.
    V6([u8; 16], [u8; 4]),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        let ip = match address {
            SocketAddr::V4(address) => Ip::V4(address.ip().octets()),
            SocketAddr::V6(address) => {
                Ip::V6(address.ip().octets(), address.scope_id().to_ne_bytes())
            }
        };
        Address { ip, port: address.port() }
    }
}

impl From<Address> for SocketAddr {
    fn from(Address { ip, port }: Address) -> SocketAddr {
        match ip {
            Ip::V4(octets) => SocketAddr::new(IpAddr::V4(Ipv4Addr::from(octets)), port),
            Ip::V6(octets, scope) => {
                let (ip, scope) = (Ipv6Addr::from(octets), u32::from_ne_bytes(scope));
                SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was() {
        for text in ["192.0.2.1:80", "[2001:db8::1]:443", "[fe80::1%3]:8080"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(Address::from(address)), address);
        }
        assert_eq!(size_of::<Address>(), 24);
    }
}
