//! Which part of the server answers a request: (host, path) → action.
//!
//! Owns the immutable table of routes. Must not know connections.
//!
//! A route's path is a prefix that matches on segment boundaries: `/static/` matches
//! `/static/a.css`; `/api` matches `/api` and `/api/x`, not `/apix`. The longest wins. A host's
//! routes come before those for any host.
//!
//! Paths are compared by what they mean to an application, which decodes them: no spelling of a
//! path leads past its route.

mod action;
mod bounds;
mod network;
mod shared_pool;

use crate::http::RequestPath;
use foldhash::fast::FixedState;
use std::collections::HashMap;

pub use action::Redirect;
pub(crate) use action::{Action, Policy, Routed};
pub(crate) use bounds::{Beyond, Bounds};
pub use network::{Network, NetworkError};
pub(crate) use shared_pool::{RoutedPool, SharedPool};

/// The routes of a server: `A` is what to do.
#[derive(Debug)]
pub(crate) struct Routes<A> {
    any_host: Prefixes<A>,
    /// Like paths, chosen by the configuration, so nobody can make them collide.
    hosts: HashMap<Box<str>, Prefixes<A>, FixedState>,
}

/// What a look-up found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'r, 's, A> {
    pub(crate) action: &'r A,
    /// The part of the path after the route's prefix, as it is spelled, without a leading slash.
    /// The whole path if an encoded or a double slash is among its slashes: no file has that name.
    pub(crate) rest: &'s str,
}

/// Two routes for the same host and path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Duplicate;

#[derive(Debug)]
struct Prefixes<A> {
    actions: HashMap<Box<[u8]>, A, FixedState>,
    /// Bytes of the longest of them: what is longer need not be looked up, however many segments
    /// somebody sends.
    longest: usize,
}

impl<A> Default for Routes<A> {
    fn default() -> Self {
        Routes { any_host: Prefixes::default(), hosts: HashMap::default() }
    }
}

impl<A> Default for Prefixes<A> {
    fn default() -> Self {
        Prefixes { actions: HashMap::default(), longest: 0 }
    }
}

impl<A> Routes<A> {
    /// Adds a route. `host` is compared without case and final dot; `None` means any. `path` is
    /// what it means.
    pub(crate) fn add(
        &mut self,
        host: Option<&str>,
        path: impl AsRef<[u8]>,
        action: A,
    ) -> Result<(), Duplicate> {
        let prefixes = match host {
            None => &mut self.any_host,
            Some(host) => {
                let name = without_final_dot(host).to_ascii_lowercase();
                self.hosts.entry(name.into()).or_default()
            }
        };
        let path = path.as_ref();
        prefixes.longest = prefixes.longest.max(path.len());
        match prefixes.actions.insert(path.into(), action) {
            None => Ok(()),
            Some(_) => Err(Duplicate),
        }
    }

    /// The route for a request. `host` may have a port; `path` begins with `/`.
    pub(crate) fn find<'s>(
        &self,
        host: &str,
        path: &RequestPath<'s, '_>,
    ) -> Option<Found<'_, 's, A>> {
        let of_host = if self.hosts.is_empty() { None } else { self.of_host(host) };
        of_host.and_then(|p| p.find(path)).or_else(|| self.any_host.find(path))
    }

    fn of_host(&self, host: &str) -> Option<&Prefixes<A>> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let name = without_final_dot(name);
        // Host names have at most 253 bytes (RFC 1035 §2.3.4), so no allocation is needed.
        let mut lower = [0; 255];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        self.hosts.get(std::str::from_utf8(lower).ok()?)
    }
}

impl<A> Prefixes<A> {
    /// The longest prefix of `path` that ends on a segment boundary and has a route: one look-up
    /// per segment, however many routes there are.
    fn find<'s>(&self, path: &RequestPath<'s, '_>) -> Option<Found<'_, 's, A>> {
        let bytes = path.meaning();
        let (action, end) = match self.get(bytes) {
            Some(action) => (action, bytes.len()),
            None => {
                let bytes = &bytes[..bytes.len().min(self.longest + 1)];
                (0..bytes.len()).rev().filter(|&at| bytes[at] == b'/').find_map(|at| {
                    let action = self.get(&bytes[..=at]).or_else(|| self.get(&bytes[..at]))?;
                    Some((action, at + 1))
                })?
            }
        };
        Some(Found { action, rest: path.spelling_from(end) })
    }

    fn get(&self, path: &[u8]) -> Option<&A> {
        if path.len() > self.longest {
            return None;
        }
        self.actions.get(path)
    }
}

/// `example.com.` is the same host as `example.com` (RFC 1034 §3.1).
fn without_final_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes<&'static str> {
        let mut routes = Routes::default();
        routes.add(None, "/", "app").unwrap();
        routes.add(None, "/static/", "files").unwrap();
        routes.add(None, "/static/big/", "big").unwrap();
        routes.add(None, "/api", "api").unwrap();
        routes.add(Some("Example.com"), "/api/", "host api").unwrap();
        routes
    }

    #[test]
    fn the_longest_prefix_on_a_segment_boundary_wins() {
        let routes = routes();
        let find = |path| {
            routes.find("x", &RequestPath::literal(path)).map(|f| (*f.action, f.rest)).unwrap()
        };
        assert_eq!(find("/"), ("app", ""));
        assert_eq!(find("/x/y"), ("app", "x/y"));
        assert_eq!(find("/static/a/b.css"), ("files", "a/b.css"));
        assert_eq!(find("/static/"), ("files", ""));
        assert_eq!(find("/static"), ("app", "static"));
        assert_eq!(find("/static/bigger"), ("files", "bigger"));
        assert_eq!(find("/static/big/x"), ("big", "x"));
        assert_eq!(find("/api"), ("api", ""));
        assert_eq!(find("/api/v1"), ("api", "v1"));
        assert_eq!(find("/apix"), ("app", "apix"));
    }

    #[test]
    fn no_spelling_leads_past_a_route_rfc_9110_17_3() {
        let mut routes = routes();
        routes.add(None, "/@x/", "at").unwrap();
        routes.add(None, b"/\xff/", "bytes").unwrap();
        let mut room = Vec::new();
        let mut find = |host, path: &'static str| {
            let path = RequestPath::read(path, &mut room).unwrap();
            routes.find(host, &path).map(|f| (*f.action, f.rest)).unwrap()
        };
        assert_eq!(find("x", "/static/a%20b/%C3%A4"), ("files", "a%20b/%C3%A4"));
        assert_eq!(find("x", "/static%2Fa.css"), ("files", "/static%2Fa.css"));
        assert_eq!(find("x", "/static/big%2Fx"), ("big", "/static/big%2Fx"));
        assert_eq!(find("x", "//static/a.css"), ("files", "//static/a.css"));
        assert_eq!(find("x", "/static//a.css"), ("files", "/static//a.css"));
        assert_eq!(find("x", "/%40x/%41"), ("at", "%41"));
        assert_eq!(find("x", "/%FF/a"), ("bytes", "a"));
        assert_eq!(find("x", "/api%2Fv1"), ("api", "/api%2Fv1"));
        assert_eq!(find("example.com", "//api%2Fv1"), ("host api", "//api%2Fv1"));
        assert_eq!(find("x", "/api%20/v1"), ("app", "api%20/v1"));
        assert_eq!(find("x", "/static%252Fa"), ("app", "static%252Fa"));
    }

    #[test]
    fn many_segments_cost_no_more_look_ups_than_the_longest_route() {
        let routes = routes();
        let found = |path: &str| {
            let found = routes.find("x", &RequestPath::literal(path)).unwrap();
            (*found.action, found.rest.len())
        };
        let many = "a/".repeat(4096);
        assert_eq!(found(&format!("/static/big/{many}")), ("big", many.len()));
        assert_eq!(found(&format!("/static/bi/{many}")), ("files", 3 + many.len()));
        assert_eq!(found(&format!("/api/{many}")), ("api", many.len()));
        assert_eq!(routes.any_host.get(b"/static/big/a"), None);
    }

    #[test]
    fn a_hosts_routes_come_first() {
        let routes = routes();
        let find = |host, path| *routes.find(host, &RequestPath::literal(path)).unwrap().action;
        assert_eq!(find("EXAMPLE.COM:8080", "/api/x"), "host api");
        assert_eq!(find("example.com.", "/api/x"), "host api");
        assert_eq!(find("example.com.:80", "/api/x"), "host api");
        assert_eq!(find("example.com", "/static/x"), "files");
        assert_eq!(find("[::1]:80", "/api/x"), "api");
        assert_eq!(find(&"h".repeat(300), "/api/x"), "api");
    }

    #[test]
    fn nothing_matches_without_a_root() {
        let mut routes = Routes::default();
        routes.add(None, "/only/", ()).unwrap();
        assert!(routes.find("x", &RequestPath::literal("/other")).is_none());
        assert_eq!(routes.add(None, "/only/", ()), Err(Duplicate));
    }
}
