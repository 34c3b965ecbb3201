//! Which fields pass through the edge, and which do not.
//!
//! Owns the sets of names. Must not know what is done with a field that does not pass.
//!
//! Names are compared by length first, without case, and never copied.

use super::slot::is_reserved;
use super::syntax::list;
use httparse::Header;

/// Whether a field concerns one connection only (RFC 9110 §7.6.1).
pub fn is_hop_by_hop(name: &str) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match name.len() {
        2 => is("te"),
        7 => is("trailer") || is("upgrade"),
        10 => is("connection") || is("keep-alive"),
        14 => is("http2-settings"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        18 => is("proxy-authenticate"),
        19 => is("proxy-authorization"),
        _ => false,
    }
}

/// What happens to a client's field on its way to an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is passed on as sent.
    Pass,
    /// It is left out: the edge writes its own, or nobody but the edge may say it.
    Strip,
    /// It is left out and counted: CGI would fold it into the name of another field
    /// (RFC 3875 §4.1.18).
    Ambiguous,
}

/// The fate of a client's field of this name.
pub(super) fn request_fate(name: &str) -> Fate {
    if name.bytes().any(|b| b == b'_' || b == b'.') {
        Fate::Ambiguous
    } else if is_hop_by_hop(name) || is_written_by_edge(name) {
        Fate::Strip
    } else {
        Fate::Pass
    }
}

/// Whether an application's field reaches the client. `Date` does.
pub(super) fn response_passes(name: &str) -> bool {
    let of_edge = match first_letter(name) {
        b'c' => name.eq_ignore_ascii_case("content-length"),
        b'f' => is_reserved(name),
        b'x' => starts_with(name, "x-accel-"),
        _ => false,
    };
    !of_edge && !is_hop_by_hop(name)
}

/// The fields named by `Connection`, which do not pass either (RFC 9110 §7.6.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedByConnection<'s, 'b> {
    /// None in the usual case that no option but the standard ones is there.
    fields: Option<&'s [Header<'b>]>,
}

impl<'s, 'b> NamedByConnection<'s, 'b> {
    pub(super) fn of(fields: &'s [Header<'b>]) -> Self {
        let names_some = connection_options(fields).any(|option| {
            let is = |other: &[u8]| option.eq_ignore_ascii_case(other);
            !(option.is_empty() || is(b"keep-alive") || is(b"close") || is(b"upgrade"))
        });
        NamedByConnection { fields: names_some.then_some(fields) }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        let Some(fields) = self.fields else { return false };
        !is_protected(name)
            && connection_options(fields).any(|o| o.eq_ignore_ascii_case(name.as_bytes()))
    }
}

fn connection_options<'s>(fields: &'s [Header<'_>]) -> impl Iterator<Item = &'s [u8]> {
    fields
        .iter()
        .filter(|f| f.name.len() == 10 && f.name.eq_ignore_ascii_case("connection"))
        .flat_map(|f| list(f.value))
}

/// Fields that a sender cannot have removed by naming them in `Connection`.
fn is_protected(name: &str) -> bool {
    match first_letter(name) {
        b'a' => name.eq_ignore_ascii_case("authorization"),
        b'c' => starts_with(name, "content-") || name.eq_ignore_ascii_case("cookie"),
        b'd' => name.eq_ignore_ascii_case("date"),
        b'f' => is_reserved(name),
        b'h' => name.eq_ignore_ascii_case("host"),
        b's' => name.eq_ignore_ascii_case("set-cookie"),
        b'x' => starts_with(name, "x-forwarded-"),
        _ => false,
    }
}

/// Fields of a request that the edge writes itself or answers itself, and those by which a client
/// could pass for a trusted hop or, as `Proxy`, set a variable of CGI programs.
fn is_written_by_edge(name: &str) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match first_letter(name) {
        b'c' => is("content-length"),
        b'e' => is("expect"),
        b'f' => is("forwarded") || is_reserved(name),
        b'h' => is("host"),
        b'p' => is("proxy"),
        b'x' => {
            is("x-real-ip")
                || is("x-request-id")
                || starts_with(name, "x-forwarded-")
                || starts_with(name, "x-accel-")
        }
        _ => false,
    }
}

fn first_letter(name: &str) -> u8 {
    name.as_bytes().first().map_or(0, u8::to_ascii_lowercase)
}

pub(super) fn starts_with(name: &str, prefix: &str) -> bool {
    let start = name.as_bytes().get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_fields_are_those_of_rfc_9110_7_6_1() {
        for name in ["Connection", "keep-alive", "PROXY-CONNECTION", "TE", "Trailer"] {
            assert!(is_hop_by_hop(name), "{name}");
        }
        for name in ["Transfer-Encoding", "Upgrade", "Proxy-Authenticate", "Proxy-Authorization"] {
            assert!(is_hop_by_hop(name), "{name}");
        }
        for name in ["", "T", "Host", "Content-Length", "Date", "Trailers", "Authorization"] {
            assert!(!is_hop_by_hop(name), "{name}");
        }
    }

    #[test]
    fn clients_cannot_speak_for_the_edge() {
        for name in [
            "Host",
            "content-length",
            "Expect",
            "Forwarded",
            "Forebay-Peer",
            "FOREBAY-X",
            "Proxy",
            "X-Real-IP",
            "X-Request-Id",
            "X-Forwarded-For",
            "x-forwarded-anything",
            "X-Accel-Redirect",
        ] {
            assert_eq!(request_fate(name), Fate::Strip, "{name}");
        }
    }

    #[test]
    fn names_that_cgi_would_fold_are_ambiguous() {
        for name in ["X_Forwarded_For", "Content_Length", "a_b", "X.Y", "_"] {
            assert_eq!(request_fate(name), Fate::Ambiguous, "{name}");
        }
    }

    #[test]
    fn other_fields_pass() {
        for name in ["Accept", "Cookie", "Authorization", "X-Foo", "Content-Type", "Origin"] {
            assert_eq!(request_fate(name), Fate::Pass, "{name}");
            assert!(response_passes(name), "{name}");
        }
        for name in ["Server", "Date", "Set-Cookie", "X-Request-Id", "ETag"] {
            assert!(response_passes(name), "{name}");
        }
        for name in ["Content-Length", "X-Accel-Buffering", "Forebay-Fd", "Connection"] {
            assert!(!response_passes(name), "{name}");
        }
    }

    #[test]
    fn connection_removes_what_it_names_but_not_protected_fields() {
        let connection = |value| [Header { name: "Connection", value }];
        let fields = connection(b"close, X-Foo ,Cookie, Host, X-Forwarded-For, Content-Type");
        let named = NamedByConnection::of(&fields);
        assert!(named.contains("x-foo"));
        for name in ["Cookie", "Host", "X-Forwarded-For", "Content-Type", "X-Fo", "Accept"] {
            assert!(!named.contains(name), "{name}");
        }
        let fields = connection(b"keep-alive, Upgrade");
        assert!(!NamedByConnection::of(&fields).contains("keep-alive"));
    }
}
