//! Applications in Python, with and without a framework: what a whole server costs.
//!
//! Owns these cases. Must not know configurations.

use crate::case::{Case, Counted, Doing, Site};
use crate::exchange::Exchange;
use crate::server::{
    BARE_BJOERN, BJOERN, FOREBAY_WSGI, GRANIAN, NGINX_GRANIAN, NGINX_GTHREAD, NGINX_GUNICORN,
    NGINX_UWSGI, Server,
};

pub(crate) const CASES: &[Case] = &[
    Case { is_quick: true, ..case("wsgi-hello", "13 bytes from a bare WSGI application", "app") },
    Case {
        doing: Doing::Exchange(Exchange { connections: 1, ..Exchange::of("/hello") }),
        ..case("wsgi-c1", "13 bytes from a bare WSGI application, one client", "app")
    },
    case("wsgi-flask", "13 bytes from Flask", "app_flask"),
    case("wsgi-django", "13 bytes from Django", "app_django"),
];

/// The first of nginx is what others are compared to.
const SERVERS: &[Server] = &[
    FOREBAY_WSGI,
    NGINX_GUNICORN,
    NGINX_GTHREAD,
    NGINX_UWSGI,
    NGINX_GRANIAN,
    GRANIAN,
    BARE_BJOERN,
    BJOERN,
];

const fn case(name: &'static str, what: &'static str, module: &'static str) -> Case {
    Case {
        name,
        what,
        site: Site::Whole { module, workers: "1" },
        doing: Doing::Exchange(Exchange::of("/hello")),
        counted: Counted::Larger,
        servers: SERVERS,
        is_quick: false,
    }
}
