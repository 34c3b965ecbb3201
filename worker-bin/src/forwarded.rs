//! Front servers that may say how a client has come to them, where there is no edge.
//!
//! Owns who may, and which fields say it. Must not know the connection.

use crate::app::Request;
use forebay::{Network, NetworkError};
use std::net::IpAddr;
use std::str::FromStr;

/// Those whose word is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trusted {
    Everybody,
    Networks(Vec<Network>),
}

impl Trusted {
    /// Who has no address has come through a socket of this machine.
    pub(crate) fn contains(&self, peer: Option<IpAddr>) -> bool {
        match (self, peer) {
            (Trusted::Everybody, _) | (_, None) => true,
            (Trusted::Networks(networks), Some(peer)) => {
                networks.iter().any(|network| network.contains(peer))
            }
        }
    }
}

impl Default for Trusted {
    /// As gunicorn: who is on this machine.
    fn default() -> Trusted {
        DEFAULT.parse().expect("these are addresses")
    }
}

impl FromStr for Trusted {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Trusted, NetworkError> {
        if text.trim() == "*" {
            return Ok(Trusted::Everybody);
        }
        let networks = text.split(',').map(str::trim).filter(|network| !network.is_empty());
        networks.map(str::parse).collect::<Result<_, _>>().map(Trusted::Networks)
    }
}

/// Whether a trusted front server says that the client has come by https (gunicorn's
/// `secure_scheme_headers`). None: one of its fields contradicts another, and who passes on what a
/// client has said cannot be told from who knows.
pub(crate) fn is_secure(request: &Request) -> Option<bool> {
    let mut said = request.fields().filter_map(|(name, value)| {
        let (_, secure) = SAYING.iter().find(|(saying, _)| name.eq_ignore_ascii_case(saying))?;
        Some(value.eq_ignore_ascii_case(secure.as_bytes()))
    });
    let first = said.next().unwrap_or(false);
    said.all(|other| other == first).then_some(first)
}

/// Fields, and what they have to say for https.
const SAYING: [(&str, &str); 3] =
    [("X-Forwarded-Proto", "https"), ("X-Forwarded-Protocol", "ssl"), ("X-Forwarded-Ssl", "on")];
const DEFAULT: &str = "127.0.0.1,::1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_are_listed_are_believed() {
        let here = |text: &str| Some(text.parse().unwrap());
        let networks: Trusted = "10.0.0.0/8, ::1".parse().unwrap();
        assert!(networks.contains(here("10.1.2.3")) && networks.contains(here("::ffff:10.1.2.3")));
        assert!(networks.contains(None) && !networks.contains(here("127.0.0.1")));
        assert!(Trusted::default().contains(here("127.0.0.1")));
        assert!("*".parse::<Trusted>().unwrap().contains(here("192.0.2.1")));
        assert!(!"".parse::<Trusted>().unwrap().contains(here("127.0.0.1")));
        assert!("localhost".parse::<Trusted>().is_err());
    }

    #[test]
    fn https_is_said_in_three_ways() {
        let with = |name, value: &str| is_secure(&Request::new("GET", "/").with_field(name, value));
        assert_eq!(is_secure(&Request::new("GET", "/")), Some(false));
        for (name, secure, other) in [
            ("x-forwarded-proto", "HTTPS", "http"),
            ("X-Forwarded-SSL", "on", "off"),
            ("X-Forwarded-Protocol", "ssl", "http"),
        ] {
            assert_eq!((with(name, secure), with(name, other)), (Some(true), Some(false)));
        }
    }

    #[test]
    fn who_says_two_things_says_nothing() {
        let both = |first: (&str, &str), second: (&str, &str)| {
            let request = Request::new("GET", "/").with_field(first.0, first.1);
            is_secure(&request.with_field(second.0, second.1))
        };
        let (http, https) = (("X-Forwarded-Proto", "http"), ("X-Forwarded-Proto", "https"));
        assert_eq!((both(http, https), both(https, http)), (None, None));
        assert_eq!((both(http, http), both(https, https)), (Some(false), Some(true)));
        assert_eq!(both(https, ("X-Forwarded-Ssl", "off")), None);
        assert_eq!(both(("X-Forwarded-Ssl", "on"), ("X-Forwarded-Protocol", "http")), None);
        assert_eq!(both(https, ("X-Forwarded-Ssl", "on")), Some(true));
    }
}
