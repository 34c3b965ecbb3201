//! What a route does, and the policy that holds them all.
//!
//! Owns the public targets that are neither files nor pools. Must not know connections.

use super::{Bounds, Network, RoutedPool, Routes};
use crate::handler::{Handler, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// What a matching route does. Numbers refer to the files routes of the same policy.
#[derive(Clone)]
pub(crate) enum Action {
    Files(usize),
    Pool(Arc<RoutedPool>),
    Handler(Arc<dyn Handler>),
    Fixed(Arc<Response>),
    Redirect(Arc<Redirect>),
}

/// A route's action, and how much of it one client may have.
#[derive(Clone)]
pub(crate) struct Routed {
    pub(crate) action: Action,
    pub(crate) bounds: Option<Arc<Bounds>>,
}

impl From<Action> for Routed {
    fn from(action: Action) -> Routed {
        Routed { action, bounds: None }
    }
}

/// Everything that decides how a request is answered; replaced as a whole, never changed.
#[derive(Default)]
pub(crate) struct Policy {
    pub(crate) routes: Routes<Routed>,
    /// Whose word about their clients is taken.
    pub(crate) trusted_proxies: Vec<Network>,
}

impl Policy {
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }
}

/// A route's target that sends the client elsewhere.
///
/// Every `{target}` in the location stands for the request's path and query.
///
/// ```
/// # use forebay::Redirect;
/// let to_https = Redirect::permanent("https://example.com{target}");
/// ```
#[derive(Clone, Debug)]
pub struct Redirect {
    status: u16,
    location: String,
}

impl Redirect {
    /// 302 Found.
    pub fn to(location: impl Into<String>) -> Redirect {
        Redirect { status: 302, location: location.into() }
    }

    /// 308 Permanent Redirect: the method stays (RFC 9110 §15.4.9).
    pub fn permanent(location: impl Into<String>) -> Redirect {
        Redirect { status: 308, location: location.into() }
    }

    /// Another status: 301, 302, 303, 307 or 308. No server can be built with others.
    pub fn status(mut self, status: u16) -> Redirect {
        self.status = status;
        self
    }

    /// Whether clients follow it (RFC 9110 §15.4).
    pub(crate) fn redirects(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }

    pub(crate) fn code(&self) -> u16 {
        self.status
    }

    /// No target makes a path into another host: `//` and `/\\` at the start would, to browsers
    /// (RFC 3986 §4.2).
    pub(crate) fn location(&self, target: &str) -> String {
        let location = self.location.replace("{target}", target);
        let path = location.trim_start_matches(['/', '\\']);
        let slashes = location.len() - path.len();
        match slashes > 1 && !self.location.starts_with("//") {
            true => format!("/{path}"),
            false => location,
        }
    }

    pub(crate) fn template(&self) -> &str {
        &self.location
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_target_leads_to_another_host_rfc_3986_4_2() {
        for (template, target, location) in [
            ("https://a{target}", "//b", "https://a//b"),
            ("/new{target}", "//b", "/new//b"),
            ("{target}", "/b//c", "/b//c"),
            ("{target}", "//b", "/b"),
            ("{target}", "/\\b", "/b"),
            ("/{target}", "/b", "/b"),
            ("/{target}", "/\\/b", "/b"),
            ("//a{target}", "//b", "//a//b"),
        ] {
            assert_eq!(Redirect::to(template).location(target), location, "{template} {target}");
        }
    }
}
