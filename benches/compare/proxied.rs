//! Answers of an application that costs nothing: what the edge itself costs.
//!
//! Owns these cases. Must not know configurations.

use crate::case::{Case, Counted, Doing, Site};
use crate::exchange::Exchange;
use crate::server::{BARE, CADDY, FOREBAY, FOREBAY_EPOLL, H2O, HAPROXY, LIGHTTPD, NGINX, Server};

pub(crate) const CASES: &[Case] = &[
    Case {
        is_quick: true,
        ..case("proxy-small", "13 bytes from an application on core 1", "/hello", Counted::Larger)
    },
    case("proxy-100k", "100 KiB from an application on core 1", "/bytes/102400", Counted::Larger),
];

const SERVERS: &[Server] = &[FOREBAY, FOREBAY_EPOLL, BARE, NGINX, H2O, HAPROXY, LIGHTTPD, CADDY];

const fn case(
    name: &'static str,
    what: &'static str,
    path: &'static str,
    counted: Counted,
) -> Case {
    let doing = Doing::Exchange(Exchange::of(path));
    Case { name, what, site: Site::Proxied, doing, counted, servers: SERVERS, is_quick: false }
}

/// What the application answers at that path.
pub(crate) fn content_at(path: &str) -> Option<Vec<u8>> {
    match path.strip_prefix("/bytes/") {
        None => Some(b"Hello, world!".to_vec()),
        Some(size) => {
            let size = size.parse().ok()?;
            Some(ALPHABET.iter().copied().cycle().take(size).collect())
        }
    }
}

/// What `worker-bin probe` repeats.
const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
