//! What is asked for, and what a right answer is.
//!
//! Owns the scenarios' contents. Must not know servers.

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
}

impl Scenario {
    pub(crate) const ALL: &[Scenario] = &[Scenario::Static1k, Scenario::ProxySmall];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::Static1k => "static-1k",
            Scenario::ProxySmall => "proxy-small",
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Scenario::Static1k => "/1k.txt",
            Scenario::ProxySmall => "/hello",
        }
    }

    pub(crate) fn is_proxied(self) -> bool {
        self == Scenario::ProxySmall
    }

    /// The content of every answer.
    pub(crate) fn content(self) -> Vec<u8> {
        match self {
            Scenario::Static1k => {
                let line = b"All work and no play makes a server a dull boy; so it has 64 B.\n";
                line.repeat(1024 / line.len())
            }
            Scenario::ProxySmall => b"Hello, world!".to_vec(),
        }
    }
}
