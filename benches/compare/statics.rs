//! Files: sizes, conditions, and how connections are used.
//!
//! Owns these cases and the files that all servers serve. Must not know configurations.

use crate::case::{Case, Counted, Doing, Site};
use crate::exchange::Exchange;
use crate::server::{BARE, CADDY, FOREBAY, H2O, LIGHTTPD, NGINX, NGINX_NO_SENDFILE, Server};
use std::io;
use std::path::Path;

pub(crate) const CASES: &[Case] = &[
    Case {
        is_quick: true,
        ..file("static-1k", "a file of 1 KiB", Counted::Larger, Exchange::of("/1k.txt"))
    },
    file("static-16k", "a file of 16 KiB", Counted::Larger, Exchange::of("/16k.txt")),
    file("static-100k", "a file of 100 KiB", Counted::BothCores, Exchange::of("/100k.txt")),
    file(
        "static-1m",
        "a file of 1 MiB, 16 connections",
        Counted::BothCores,
        Exchange { connections: 16, ..Exchange::of("/1m.txt") },
    ),
    file(
        "static-10m",
        "a file of 10 MiB, 16 connections",
        Counted::BothCores,
        Exchange { connections: 16, ..Exchange::of("/10m.txt") },
    ),
    file(
        "static-304",
        "a file of 1 KiB that the client has already",
        Counted::Larger,
        Exchange { status: 304, ..Exchange::of("/1k.txt") },
    ),
    file(
        "static-404",
        "a file that is not there",
        Counted::Larger,
        Exchange { status: 404, ..Exchange::of("/missing.txt") },
    ),
    file(
        "static-close",
        "a file of 1 KiB, a connection per request",
        Counted::Larger,
        Exchange { closes: true, ..Exchange::of("/1k.txt") },
    ),
    Case {
        // The bare one sends an answer for whatever has come at once.
        servers: SERVERS,
        ..file(
            "static-pipelined",
            "a file of 1 KiB, 16 requests at once",
            Counted::Larger,
            Exchange { pipelined: 16, ..Exchange::of("/1k.txt") },
        )
    },
    file(
        "static-c1",
        "a file of 1 KiB, 1 connection",
        Counted::Larger,
        Exchange { connections: 1, ..Exchange::of("/1k.txt") },
    ),
    file(
        "static-c1000",
        "a file of 1 KiB, 1,000 connections",
        Counted::Larger,
        Exchange { connections: 1000, ..Exchange::of("/1k.txt") },
    ),
];

pub(crate) const SERVERS: &[Server] = &[FOREBAY, NGINX, NGINX_NO_SENDFILE, H2O, LIGHTTPD, CADDY];

const WITH_BARE: &[Server] = &[FOREBAY, BARE, NGINX, NGINX_NO_SENDFILE, H2O, LIGHTTPD, CADDY];

const fn file(
    name: &'static str,
    what: &'static str,
    counted: Counted,
    exchange: Exchange,
) -> Case {
    let doing = Doing::Exchange(exchange);
    Case { name, what, site: Site::Files, doing, counted, servers: WITH_BARE, is_quick: false }
}

/// Writes the files of all cases.
pub(crate) fn write_files(dir: &Path) -> io::Result<()> {
    FILES.iter().try_for_each(|(name, size)| std::fs::write(dir.join(name), content(*size)))
}

/// What is at that path, if anything is.
pub(crate) fn content_at(path: &str) -> Option<Vec<u8>> {
    let (_, size) = FILES.iter().find(|(name, _)| path.strip_prefix('/') == Some(name))?;
    Some(content(*size))
}

fn content(size: usize) -> Vec<u8> {
    let line = b"All work and no play makes a server a dull boy; so it has 64 B.\n";
    line.repeat(size / line.len())
}

const FILES: &[(&str, usize)] = &[
    ("1k.txt", 1 << 10),
    ("16k.txt", 16 << 10),
    ("100k.txt", 100 << 10),
    ("1m.txt", 1 << 20),
    ("10m.txt", 10 << 20),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_the_size_that_is_asked_for() {
        for (name, size) in FILES {
            assert_eq!(content_at(&format!("/{name}")).map(|content| content.len()), Some(*size));
        }
        assert_eq!(content_at("/missing.txt"), None);
    }
}
