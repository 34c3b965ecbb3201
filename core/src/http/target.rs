//! The forms of a request target, and authorities (RFC 9112 §3.2, RFC 3986 §3.2).
//!
//! Owns which form a method may have and which host a request is for. Must not know routes.

use super::Reject;
use super::syntax::{TARGET, UNRESERVED, all, span};
use super::version::Version;
use std::net::Ipv6Addr;

/// A request target, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'b> {
    /// As in [`RequestHead::target`](super::RequestHead::target).
    pub(super) path_and_query: &'b str,
    /// Of the absolute and the authority form.
    authority: Option<&'b str>,
    /// Of the scheme; none for the authority form.
    default_port: &'static str,
}

impl<'b> Target<'b> {
    /// Takes a target apart: origin form, absolute form of http and https, `*` for OPTIONS, and
    /// nothing but `host:port` for CONNECT.
    pub(super) fn parse(method: &str, target: &'b str) -> Result<Self, Reject> {
        if !all(target.as_bytes(), TARGET) {
            return Err(Reject::BadTarget);
        }
        let without_authority =
            Target { path_and_query: target, authority: None, default_port: "80" };
        if method == "CONNECT" {
            Target::parse_authority_form(target)
        } else if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
            Ok(without_authority)
        } else {
            Target::parse_absolute_form(method, target)
        }
    }

    fn parse_authority_form(target: &'b str) -> Result<Self, Reject> {
        match Authority::parse(target) {
            Some(Authority { port: Some(port), .. }) if !port.is_empty() => {
                Ok(Target { path_and_query: target, authority: Some(target), default_port: "" })
            }
            _ => Err(Reject::BadTarget),
        }
    }

    fn parse_absolute_form(method: &str, target: &'b str) -> Result<Self, Reject> {
        let (scheme, rest) = target.split_once("://").ok_or(Reject::BadTarget)?;
        let default_port = if scheme.eq_ignore_ascii_case("http") {
            "80"
        } else if scheme.eq_ignore_ascii_case("https") {
            "443"
        } else {
            return Err(Reject::BadTarget);
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(end);
        // RFC 9110 §4.2.4: user information is refused, as it is no part of an authority here.
        Authority::parse(authority).ok_or(Reject::BadHost)?;
        let path_and_query = match (path_and_query, method) {
            ("", "OPTIONS") => "*",
            ("", _) => "/",
            _ => path_and_query,
        };
        Ok(Target { path_and_query, authority: Some(authority), default_port })
    }
}

/// The host that a request is for: the target's authority or else `Host`, which must not
/// contradict each other (RFC 9112 §3.2).
pub(super) fn check_host<'b>(
    target: &Target<'b>,
    field: Option<&'b [u8]>,
    version: Version,
) -> Result<&'b str, Reject> {
    let Some(field) = field else {
        return match version {
            Version::Http10 => Ok(target.authority.unwrap_or("")),
            Version::Http11 => Err(Reject::MissingHost),
        };
    };
    let host = std::str::from_utf8(field).map_err(|_| Reject::BadHost)?;
    let of_field = Authority::parse(host).ok_or(Reject::BadHost)?;
    let Some(authority) = target.authority else { return Ok(host) };
    let of_target = Authority::parse(authority).ok_or(Reject::BadHost)?;
    if !of_target.is_same(&of_field, target.default_port) {
        return Err(Reject::HostMismatch);
    }
    Ok(authority)
}

/// Whether this can be the host of a request, without its port: a name, an IPv4 address, or an
/// IPv6 address in brackets.
pub fn is_host(text: &str) -> bool {
    Authority::parse(text).is_some_and(|authority| authority.port.is_none())
}

/// Whether this is `host` or `host:port`.
pub(super) fn is_authority(text: &str) -> bool {
    Authority::parse(text).is_some()
}

/// `host` or `host:port`.
struct Authority<'b> {
    host: &'b str,
    port: Option<&'b str>,
}

impl<'b> Authority<'b> {
    /// Narrower than RFC 3986: a host is a name of unreserved characters, an IPv4 address, or an
    /// IPv6 address in brackets; without user information, percent-encoding and sub-delimiters,
    /// which no host on the web has and which recipients read differently.
    fn parse(text: &'b str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, _) = rest.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                text.split_at(address.len() + 2)
            }
            None => text.split_at(span(text.as_bytes(), UNRESERVED)),
        };
        if host.is_empty() {
            return None;
        }
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        port.is_none_or(is_port).then_some(Authority { host, port })
    }

    fn is_same(&self, other: &Authority<'_>, default_port: &str) -> bool {
        let number = |port: Option<&str>| {
            port.filter(|port| !port.is_empty()).unwrap_or(default_port).parse::<u16>().ok()
        };
        self.host.eq_ignore_ascii_case(other.host) && number(self.port) == number(other.port)
    }
}

/// Empty, or a number of 16 bits.
fn is_port(text: &str) -> bool {
    text.is_empty() || (text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(method: &str, target: &'static str, field: &'static str) -> Result<String, Reject> {
        let target = Target::parse(method, target)?;
        check_host(&target, Some(field.as_bytes()), Version::Http11).map(str::to_owned)
    }

    #[test]
    fn origin_form_rfc_9112_3_2_1() {
        let target = Target::parse("GET", "/a?b=//c://d").unwrap();
        assert_eq!(target.path_and_query, "/a?b=//c://d");
        assert_eq!(target.authority, None);
        for bad in ["a", "?q", "a/b", "*", "/a#b", "/\u{e4}", "/a b", "/a\tb", "", "/\u{7f}"] {
            assert_eq!(Target::parse("GET", bad), Err(Reject::BadTarget), "{bad:?}");
        }
    }

    #[test]
    fn absolute_form_rfc_9112_3_2_2() {
        let of = |method, target| Target::parse(method, target).map(|t| t.path_and_query);
        assert_eq!(of("GET", "http://a/b?c"), Ok("/b?c"));
        assert_eq!(of("GET", "HTTPS://a"), Ok("/"));
        assert_eq!(of("GET", "http://a?q"), Ok("?q"));
        assert_eq!(of("OPTIONS", "http://a:80"), Ok("*"));
        assert_eq!(of("GET", "ftp://a/"), Err(Reject::BadTarget));
        assert_eq!(of("GET", "http:/a"), Err(Reject::BadTarget));
        assert_eq!(of("GET", "http:///a"), Err(Reject::BadHost));
        assert_eq!(of("GET", "http://user@a/"), Err(Reject::BadHost));
    }

    #[test]
    fn host_must_not_contradict_the_target_rfc_9112_3_2_2() {
        assert_eq!(host("GET", "http://A.example/", "a.EXAMPLE"), Ok("A.example".into()));
        assert_eq!(host("GET", "http://a:80/", "a"), Ok("a:80".into()));
        assert_eq!(host("GET", "https://a/", "a:443"), Ok("a".into()));
        assert_eq!(host("GET", "http://a:/", "a:80"), Ok("a:".into()));
        assert_eq!(host("GET", "https://a:0443/", "a"), Ok("a:0443".into()));
        assert_eq!(host("GET", "http://a/", "b"), Err(Reject::HostMismatch));
        assert_eq!(host("GET", "http://a/", "a:81"), Err(Reject::HostMismatch));
        assert_eq!(host("GET", "http://a/", ""), Err(Reject::BadHost));
    }

    #[test]
    fn authority_form_is_for_connect_only_rfc_9112_3_2_3() {
        assert_eq!(host("CONNECT", "a:443", "a:443"), Ok("a:443".into()));
        assert_eq!(host("CONNECT", "a:443", "b:443"), Err(Reject::HostMismatch));
        for (method, target) in [("CONNECT", "a"), ("CONNECT", "/"), ("GET", "a:443")] {
            assert_eq!(Target::parse(method, target), Err(Reject::BadTarget), "{target}");
        }
    }

    #[test]
    fn asterisk_form_is_for_options_only_rfc_9112_3_2_4() {
        assert!(Target::parse("OPTIONS", "*").is_ok());
        assert_eq!(Target::parse("GET", "*"), Err(Reject::BadTarget));
    }

    #[test]
    fn hosts_are_names_and_addresses_rfc_3986_3_2_2() {
        for good in ["a", "a.b:1", "127.0.0.1:65535", "[::1]", "[::1]:80", "a_b-c~", "a:", "x:080"]
        {
            assert!(Authority::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:b",
            "a:65536",
            "a:-1",
            "a:+1",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]80",
            "[]",
            "[a]",
            "a b",
            "a,b",
            "a/b",
            "u@a",
            "a%20",
            "a\\b",
            "a\"",
            "[::1%25eth0]",
            "a\t",
        ] {
            assert!(Authority::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn host_is_required_by_http_11_only_rfc_9112_3_2() {
        let target = Target::parse("GET", "/").unwrap();
        assert_eq!(check_host(&target, None, Version::Http10), Ok(""));
        assert_eq!(check_host(&target, None, Version::Http11), Err(Reject::MissingHost));
        let target = Target::parse("GET", "http://a/").unwrap();
        assert_eq!(check_host(&target, None, Version::Http10), Ok("a"));
    }
}
