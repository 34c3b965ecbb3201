//! `proxy-bin demo`: a site of its own, served like any other.
//!
//! Owns the files and their place. Must not know more of serving than the configuration can say.

use crate::config::{self, ConfigError};
use crate::run::{self, RunError};
use crate::supervise::{ProgramError, find_program};
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
    Ok(run::run(config)?)
}

/// Returns the configuration's path. Visitors find a copy beside the other files.
fn write_site(directory: &Path, listen: SocketAddr) -> io::Result<std::path::PathBuf> {
    let static_files = directory.join("site/static");
    fs::create_dir_all(&static_files)?;
    let configuration = CONFIGURATION.replace("127.0.0.1:8080", &listen.to_string());
    fs::write(directory.join("site/index.html"), INDEX)?;
    fs::write(static_files.join("style.css"), STYLE)?;
    fs::write(static_files.join("flow.svg"), FLOW)?;
    fs::write(static_files.join("configuration.txt"), &configuration)?;
    let file = directory.join("demo.toml");
    fs::write(&file, configuration)?;
    Ok(file)
}

const CONFIGURATION: &str = include_str!("demo.toml");
const INDEX: &str = include_str!("site/index.html");
const STYLE: &str = include_str!("site/static/style.css");
const FLOW: &str = include_str!("site/static/flow.svg");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Target;

    #[test]
    fn the_configuration_is_right_and_every_link_has_a_target() {
        let listen = "[::1]:0".parse().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = write_site(directory.path(), listen).unwrap();
        let config = config::parse(&fs::read_to_string(&file).unwrap(), &file).unwrap();
        assert_eq!(config.listen, ["[::1]:0"]);
        assert_eq!(config.warnings, []);
        let links: Vec<_> =
            INDEX.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(links.len() > 8, "{links:?}");
        for link in links {
            let routes = config.routes.iter().filter(|route| link.starts_with(&route.path));
            let route = routes.max_by_key(|route| route.path.len()).unwrap();
            let is_file = directory.path().join("site").join(&link[1..]).is_file();
            assert_eq!(is_file, matches!(route.target, Target::Files { .. }), "{link}");
        }
    }
}
