//! Addresses as text, without allocation and without the formatting machinery: each forwarded
//! request has three.
//!
//! Owns a short text on the stack.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Room for the longest socket address, which has 47 bytes.
pub(super) struct AddressText {
    bytes: [u8; 48],
    len: usize,
}

impl Default for AddressText {
    fn default() -> Self {
        AddressText { bytes: [0; 48], len: 0 }
    }
}

impl AddressText {
    /// An address; IPv4 of a dual-stack listener as IPv4.
    pub(super) fn push_ip(&mut self, ip: IpAddr) {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.push_v4(ip),
            ip => self.push_formatted(format_args!("{ip}")),
        }
    }

    /// `IP:PORT`, with IPv6 in brackets and without its zone, which is nobody's business but ours
    /// (RFC 4007 §11.2) and not allowed in `Host`.
    pub(super) fn push_address(&mut self, address: SocketAddr) {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                self.push_v4(ip);
                self.push(b':');
                self.push_decimal(address.port());
            }
            ip => self.push_formatted(format_args!("[{ip}]:{}", address.port())),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push_v4(&mut self, ip: Ipv4Addr) {
        for (index, octet) in ip.octets().into_iter().enumerate() {
            if index > 0 {
                self.push(b'.');
            }
            self.push_decimal(u16::from(octet));
        }
    }

    fn push_decimal(&mut self, number: u16) {
        for power in [10_000, 1_000, 100, 10, 1] {
            if number >= power || power == 1 {
                self.push(b'0' + (number / power % 10) as u8);
            }
        }
    }

    fn push_formatted(&mut self, text: std::fmt::Arguments<'_>) {
        let mut room = &mut self.bytes[self.len..];
        // It fits; what did not would be cut off.
        let _ = room.write_fmt(text);
        let left = room.len();
        self.len = self.bytes.len() - left;
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_usual() {
        for text in ["0.0.0.0:0", "192.0.2.7:65535", "[2001:db8::1]:80", "255.255.255.255:10"] {
            let address: SocketAddr = text.parse().unwrap();
            let (mut whole, mut ip) = (AddressText::default(), AddressText::default());
            whole.push_address(address);
            ip.push_ip(address.ip());
            assert_eq!(whole.as_bytes(), text.as_bytes());
            assert_eq!(ip.as_bytes(), address.ip().to_string().as_bytes());
        }
        let mut mapped = AddressText::default();
        mapped.push_address("[::ffff:192.0.2.7]:80".parse().unwrap());
        assert_eq!(mapped.as_bytes(), b"192.0.2.7:80");
        let mut zoned = AddressText::default();
        zoned.push_address("[fe80::1%3]:80".parse().unwrap());
        assert_eq!(zoned.as_bytes(), b"[fe80::1]:80");
    }

    #[test]
    fn the_longest_address_fits() {
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
        let mut text = AddressText::default();
        text.push_address(longest.parse().unwrap());
        assert_eq!(text.as_bytes(), longest.as_bytes());
    }
}
