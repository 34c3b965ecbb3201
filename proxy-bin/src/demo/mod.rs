//! `proxy-bin demo`: a site of its own, served like any other, and a desk with buttons.
//!
//! Owns the files and their place. Must not know more of serving than the configuration can say.

mod desk;
mod visitors;
mod witness;

use crate::config::{self, ConfigError};
use crate::run::{self, Hangup, RunError};
use crate::supervise::{ProgramError, find_program};
use desk::Desk;
use std::fs::{self, Permissions};
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why there is no demonstration. One line each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The second program is not there.
    #[error("the demo needs worker-bin, `cargo build --release` builds it: {0}")]
    Worker(#[source] ProgramError),
    /// No place for the files.
    #[error("cannot write the demo to a temporary directory: {0}; set TMPDIR to another")]
    Write(#[from] io::Error),
    /// The place does not suit, for example because its path is too long for a socket.
    #[error("{0}; set TMPDIR to another directory")]
    Config(ConfigError),
    /// As with any configuration.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Writes the site to a private temporary directory, serves it, and removes it at the end.
///
/// # Errors
/// `worker-bin` or a temporary directory is missing, or it cannot be served.
pub(crate) fn run(listen: SocketAddr) -> Result<(), DemoError> {
    find_program("worker-bin", Path::new("/")).map_err(DemoError::Worker)?;
    let directory = tempfile::Builder::new()
        .prefix("forebay-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()?;
    let file = write_site(directory.path(), listen)?;
    let first = |errors: Vec<_>| errors.into_iter().next().expect("an error is why it failed");
    let config = config::load(&file).map_err(|errors| DemoError::Config(first(errors)))?;
    let desk = Desk::start(directory.path(), may_act(listen))?;
    Ok(run::run(config, Arc::new(move |edge| desk.routes(edge)), Hangup::Ends)?)
}

/// What may hurt is only for those who are on this machine anyway.
fn may_act(listen: SocketAddr) -> bool {
    listen.ip().is_loopback()
}

/// Returns the configuration's path. Visitors find a copy beside the other files.
fn write_site(directory: &Path, listen: SocketAddr) -> io::Result<PathBuf> {
    let static_files = directory.join("site/static");
    fs::create_dir_all(&static_files)?;
    let configuration = configuration(listen);
    fs::write(directory.join("site/index.html"), INDEX)?;
    for (name, content) in STATIC {
        fs::write(static_files.join(name), content)?;
    }
    write_large(&static_files.join("large.txt"))?;
    fs::write(static_files.join("configuration.txt"), &configuration)?;
    let file = directory.join("demo.toml");
    fs::write(&file, configuration)?;
    Ok(file)
}

fn configuration(listen: SocketAddr) -> String {
    let (for_all, for_us) = CONFIGURATION.split_once(ONLY_LOOPBACK).expect("it is in the file");
    let (for_us, rest) = for_us.split_once(END_OF_ROUTES).expect("it is in the file");
    let for_us = if may_act(listen) { for_us } else { "" };
    let whole = format!("{for_all}{for_us}{END_OF_ROUTES}{rest}");
    whole.replace("127.0.0.1:8080", &listen.to_string())
}

/// Too large for the cache of files in memory.
fn write_large(path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    for line in 1..=LARGE_LINES {
        writeln!(file, "{line:6} of {LARGE_LINES} lines that go from the disk to the network")?;
    }
    file.flush()
}

const CONFIGURATION: &str = include_str!("demo.toml");
const INDEX: &str = include_str!("site/index.html");
const STATIC: [(&str, &str); 3] = [
    ("style.css", include_str!("site/static/style.css")),
    ("live.js", include_str!("site/static/live.js")),
    ("flow.svg", include_str!("site/static/flow.svg")),
];
/// Between these lines of the configuration is what strangers do not get.
const ONLY_LOOPBACK: &str = "# On this machine only:\n";
const END_OF_ROUTES: &str = "# The workers:";
const LARGE_LINES: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Target;

    fn config_for(listen: &str) -> (tempfile::TempDir, config::Config) {
        let directory = tempfile::tempdir().unwrap();
        let file = write_site(directory.path(), listen.parse().unwrap()).unwrap();
        let config = config::parse(&fs::read_to_string(&file).unwrap(), &file).unwrap();
        assert_eq!(config.listen, [listen]);
        assert_eq!(config.warnings, []);
        (directory, config)
    }

    #[test]
    fn the_configuration_is_right_and_every_link_has_a_target() {
        let (directory, config) = config_for("[::1]:0");
        let links: Vec<_> =
            INDEX.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(links.len() > 8, "{links:?}");
        for link in links.iter().filter(|link| **link != desk::STATE) {
            let routes = config.routes.iter().filter(|route| link.starts_with(&route.path));
            let route = routes.max_by_key(|route| route.path.len()).unwrap();
            let is_file = directory.path().join("site").join(&link[1..]).is_file();
            assert_eq!(is_file, matches!(route.target, Target::Files { .. }), "{link}");
        }
    }

    #[test]
    fn strangers_cannot_keep_workers_busy() {
        let paths = |listen: &str| -> Vec<_> {
            config_for(listen).1.routes.into_iter().map(|route| route.path).collect()
        };
        assert!(paths("127.0.0.1:0").contains(&"/sleep/".to_owned()));
        for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
            assert_eq!(paths(listen), ["/", "/hello", "/pid", "/echo"], "{listen}");
        }
    }
}
