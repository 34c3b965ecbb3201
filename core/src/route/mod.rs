//! Which part of the server answers a request: (host, path) → action.
//!
//! Owns the immutable table of routes. Must not know connections.
//!
//! A route's path is a prefix that matches on segment boundaries: `/static/` matches
//! `/static/a.css`; `/api` matches `/api` and `/api/x`, not `/apix`. The longest wins. A host's
//! routes come before those for any host.

mod action;
mod bounds;
mod network;
mod shared_pool;

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
pub(crate) struct Found<'r, 'p, A> {
    pub(crate) action: &'r A,
    /// The part of the path after the route's prefix, without a leading slash.
    pub(crate) rest: &'p str,
}

/// Two routes for the same host and path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Duplicate;

#[derive(Debug)]
struct Prefixes<A> {
    actions: HashMap<Box<str>, A, FixedState>,
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
    /// Adds a route. `host` is compared without case and final dot; `None` means any.
    pub(crate) fn add(
        &mut self,
        host: Option<&str>,
        path: &str,
        action: A,
    ) -> Result<(), Duplicate> {
        let prefixes = match host {
            None => &mut self.any_host,
            Some(host) => {
                let name = without_final_dot(host).to_ascii_lowercase();
                self.hosts.entry(name.into()).or_default()
            }
        };
        prefixes.longest = prefixes.longest.max(path.len());
        match prefixes.actions.insert(path.into(), action) {
            None => Ok(()),
            Some(_) => Err(Duplicate),
        }
    }

    /// The route for a request. `host` may have a port; `path` is clean and begins with `/`.
    pub(crate) fn find<'p>(&self, host: &str, path: &'p str) -> Option<Found<'_, 'p, A>> {
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
    fn find<'p>(&self, path: &'p str) -> Option<Found<'_, 'p, A>> {
        if let Some(action) = self.get(path) {
            return Some(Found { action, rest: "" });
        }
        let bytes = &path.as_bytes()[..path.len().min(self.longest + 1)];
        (0..bytes.len()).rev().filter(|&at| bytes[at] == b'/').find_map(|at| {
            if let Some(action) = self.get(&path[..=at]) {
                return Some(Found { action, rest: &path[at + 1..] });
            }
            let action = self.get(&path[..at])?;
            // After a prefix that ends with a slash, this slash belongs to the rest.
            let rest = if path[..at].ends_with('/') { &path[at..] } else { &path[at + 1..] };
            Some(Found { action, rest })
        })
    }

    fn get(&self, path: &str) -> Option<&A> {
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
        let find = |path| routes.find("x", path).map(|f| (*f.action, f.rest)).unwrap();
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
        assert_eq!(find("/static//x"), ("files", "/x"));
    }

    #[test]
    fn many_segments_cost_no_more_look_ups_than_the_longest_route() {
        let routes = routes();
        let found = |path: &str| {
            let found = routes.find("x", path).unwrap();
            (*found.action, found.rest.len())
        };
        let many = "a/".repeat(4096);
        assert_eq!(found(&format!("/static/big/{many}")), ("big", many.len()));
        assert_eq!(found(&format!("/static/bi/{many}")), ("files", 3 + many.len()));
        assert_eq!(found(&format!("/api/{many}")), ("api", many.len()));
        assert_eq!(routes.any_host.get("/static/big/a"), None);
    }

    #[test]
    fn a_hosts_routes_come_first() {
        let routes = routes();
        let find = |host, path| *routes.find(host, path).unwrap().action;
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
        assert!(routes.find("x", "/other").is_none());
        assert_eq!(routes.add(None, "/only/", ()), Err(Duplicate));
    }
}
