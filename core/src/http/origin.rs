//! Who a request is from: the connection's peer, or whom a trusted proxy names.
//!
//! Owns the reading of forwarding fields. Must not know which proxies are trusted: that is asked.

use super::head::RequestHead;
use super::syntax::{list, trim};
use super::target::is_authority;
use std::net::{IpAddr, SocketAddr};

/// Where a request comes from, as far as it can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin<'b> {
    /// The client's address; port 0 if it is not known.
    pub(crate) client: SocketAddr,
    /// How the client sent it: `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The host that the client asked for, if a proxy asked us for another one.
    pub(crate) host: Option<&'b str>,
    /// The id that a proxy has given it.
    pub(crate) request_id: Option<&'b str>,
}

impl<'b> Origin<'b> {
    /// Of a request by `peer` itself; what it says about others is not believed.
    pub(crate) fn of_peer(peer: SocketAddr) -> Origin<'b> {
        Origin { client: peer, scheme: "http", host: None, request_id: None }
    }

    /// Of a request that `peer`, a trusted proxy, passes on.
    pub(crate) fn told_by(
        peer: SocketAddr,
        head: &RequestHead<'_, 'b>,
        is_trusted: impl Fn(IpAddr) -> bool,
    ) -> Origin<'b> {
        let text = |name| std::str::from_utf8(trim(last(head, name)?)).ok();
        let is_https = |scheme: &str| scheme.eq_ignore_ascii_case("https");
        Origin {
            client: client_of(peer, head, is_trusted),
            scheme: if text("X-Forwarded-Proto").is_some_and(is_https) { "https" } else { "http" },
            host: text("X-Forwarded-Host").filter(|host| is_authority(host)),
            request_id: text("X-Request-Id").filter(|id| is_request_id(id)),
        }
    }
}

/// The longest request id that is taken over.
pub(crate) const REQUEST_ID_BYTES: usize = 48;

/// Each proxy has added whom it was asked by at the end. So the client is the last one in the list
/// that is not itself a trusted proxy; what is before it is only the client's word.
fn client_of(
    peer: SocketAddr,
    head: &RequestHead<'_, '_>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> SocketAddr {
    let mut client = peer;
    for member in of_name(head, "X-Forwarded-For").rev().flat_map(rlist) {
        let Some(address) = address(member) else { break };
        client = address;
        if !is_trusted(address.ip().to_canonical()) {
            break;
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`; without port it is 0.
fn address(member: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(member).ok()?;
    let without_port = || {
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        Some(SocketAddr::new(inner.unwrap_or(text).parse().ok()?, 0))
    };
    text.parse().ok().or_else(without_port)
}

/// The last member of the last field of this name: what the peer itself says.
fn last<'b>(head: &RequestHead<'_, 'b>, name: &'static str) -> Option<&'b [u8]> {
    of_name(head, name).next_back().and_then(|value| list(value).last())
}

fn of_name<'s, 'b>(
    head: &'s RequestHead<'_, 'b>,
    name: &'static str,
) -> impl DoubleEndedIterator<Item = &'b [u8]> + 's {
    head.fields.iter().filter(move |f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
}

/// The members of a list from the last to the first, without empty ones (RFC 9110 §5.6.1.2).
fn rlist(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.rsplit(|&b| b == b',').map(trim).filter(|member| !member.is_empty())
}

fn is_request_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\,".contains(&byte);
    (1..=REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::super::{FieldRoom, HeadLimits, parse_request};
    use super::*;

    const PEER: ([u8; 4], u16) = ([10, 0, 0, 1], 4711);

    /// What `check` makes of the origin of a request with these fields from a trusted proxy;
    /// everything in 10.0.0.0/8 is one.
    fn with<T>(fields: &str, check: impl FnOnce(Origin<'_>) -> T) -> T {
        let limits = HeadLimits { bytes: 4096, fields: 64, target_bytes: 1024 };
        let mut room = FieldRoom::default();
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let head = parse_request(head.as_bytes(), &mut room, &limits).unwrap().unwrap();
        let is_trusted = |ip| matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 10);
        check(Origin::told_by(PEER.into(), &head, is_trusted))
    }

    fn client(fields: &str) -> String {
        with(fields, |origin| origin.client.to_string())
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_trusted() {
        assert_eq!(client(""), "10.0.0.1:4711");
        assert_eq!(client("X-Forwarded-For: 192.0.2.1\r\n"), "192.0.2.1:0");
        assert_eq!(client("x-forwarded-for: 6.6.6.6, 192.0.2.1 , 10.0.0.2\r\n"), "192.0.2.1:0");
        let lines = "X-Forwarded-For: 6.6.6.6\r\nA: b\r\nX-Forwarded-For: 192.0.2.1:80, ,\r\n";
        assert_eq!(client(lines), "192.0.2.1:80");
        let lines = "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\nX-Forwarded-For: 10.9.9.9\r\n";
        assert_eq!(client(lines), "192.0.2.1:0");
    }

    #[test]
    fn if_all_are_trusted_it_is_the_first() {
        assert_eq!(client("X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n"), "10.0.0.3:0");
        assert_eq!(client("X-Forwarded-For: ::ffff:10.0.0.3\r\n"), "[::ffff:10.0.0.3]:0");
    }

    #[test]
    fn behind_what_is_no_address_nobody_is_believed() {
        for member in ["unknown", "_hidden", "192.0.2.1.", "192.0.2.1:x", "[::1", "1"] {
            let fields = format!("X-Forwarded-For: 192.0.2.9, {member}, 10.0.0.2\r\n");
            assert_eq!(client(&fields), "10.0.0.2:0", "{member}");
        }
        assert_eq!(client("X-Forwarded-For: unknown\r\n"), "10.0.0.1:4711");
    }

    #[test]
    fn ipv6_is_understood_with_and_without_brackets() {
        for member in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:0"] {
            let fields = format!("X-Forwarded-For: {member}\r\n");
            assert_eq!(client(&fields), "[2001:db8::1]:0", "{member}");
        }
    }

    #[test]
    fn the_scheme_is_what_the_peer_itself_says() {
        let scheme = |fields: &str| with(fields, |origin| origin.scheme);
        assert_eq!(scheme("X-Forwarded-Proto: HTTPS\r\n"), "https");
        assert_eq!(scheme("X-Forwarded-Proto: http, https\r\n"), "https");
        for other in ["", "X-Forwarded-Proto: https, http\r\n", "X-Forwarded-Proto: wss\r\n"] {
            assert_eq!(scheme(other), "http", "{other}");
        }
    }

    #[test]
    fn hosts_and_ids_are_taken_if_they_are_such() {
        let host = |value: &str| {
            let fields = format!("X-Forwarded-Host: {value}\r\n");
            with(&fields, |origin| origin.host.map(str::to_owned))
        };
        assert_eq!(host("example.com:443").as_deref(), Some("example.com:443"));
        assert_eq!((host("a/b"), host("\"a\""), host("")), (None, None, None));
        let id = |value: &str| {
            let fields = format!("X-Request-Id: {value}\r\n");
            with(&fields, |origin| origin.request_id.map(str::to_owned))
        };
        assert_eq!(id("Root=1-5f").as_deref(), Some("Root=1-5f"));
        assert_eq!((id("a b"), id("\"a\""), id(&"x".repeat(49))), (None, None, None));
    }
}
