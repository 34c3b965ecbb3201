//! What is asked for, and what a right answer is.
//!
//! Owns the scenarios' contents. Must not know servers.

use crate::transfer::Transfer;
use clap::ValueEnum;

/// One kind of request, repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// A file of 1 KiB
    #[value(name = "static-1k")]
    Static1k,
    /// 13 bytes from an application on core 1
    #[value(name = "proxy-small")]
    ProxySmall,
    /// 10 MB to an application by clients at 10 MB/s
    #[value(name = "upload")]
    Upload,
    /// 100 MB from an application to clients at 10 MB/s
    #[value(name = "download")]
    Download,
}

impl Scenario {
    pub(crate) const ALL: &[Scenario] =
        &[Scenario::Static1k, Scenario::ProxySmall, Scenario::Upload, Scenario::Download];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::Static1k => "static-1k",
            Scenario::ProxySmall => "proxy-small",
            Scenario::Upload => "upload",
            Scenario::Download => "download",
        }
    }

    /// Large content instead of many requests. Then the application is part of the server.
    pub(crate) fn transfer(self) -> Option<Transfer> {
        match self {
            Scenario::Static1k | Scenario::ProxySmall => None,
            Scenario::Upload => Some(Transfer::Up(10_000_000)),
            Scenario::Download => Some(Transfer::Down(100_000_000)),
        }
    }

    /// What CPU time is counted by: its name, and how much of it one request is.
    pub(crate) fn unit(self) -> (&'static str, f64) {
        match self.transfer() {
            None => ("100k requests", 1e-5),
            Some(transfer) => ("GB", transfer.bytes() as f64 / 1e9),
        }
    }

    /// A small file or answer.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Scenario::Static1k => "/1k.txt",
            _ => "/hello",
        }
    }

    pub(crate) fn is_proxied(self) -> bool {
        self != Scenario::Static1k
    }

    /// The content at that path.
    pub(crate) fn content(self) -> Vec<u8> {
        match self {
            Scenario::Static1k => {
                let line = b"All work and no play makes a server a dull boy; so it has 64 B.\n";
                line.repeat(1024 / line.len())
            }
            _ => b"Hello, world!".to_vec(),
        }
    }
}
