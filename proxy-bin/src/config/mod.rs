//! The configuration: from text to objects, or to everything that is wrong with it.
//!
//! Owns what a configuration means. Must not know how it is carried out. Three steps: `written`
//! (shape, units, unknown keys), `resolve` (what values mean together), `surroundings` (what must
//! exist around the file). The first two are pure.

mod error;
mod files;
mod limits;
mod resolve;
mod section;
mod surroundings;
mod units;
mod written;

pub(crate) use error::{At, ConfigError};
#[cfg(test)]
pub(crate) use limits::KEYS as LIMIT_KEYS;

use error::Problems;
use forebay::{Files, Limits, Network};
use section::Reader;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// A configuration that makes sense in itself. Paths are absolute.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// As it was named.
    pub(crate) file: PathBuf,
    /// The file's directory, to which its paths are relative; the workers' working directory.
    pub(crate) directory: PathBuf,
    /// `ADDRESS:PORT`, at least one.
    pub(crate) listen: Vec<String>,
    /// 0: one per allowed core.
    pub(crate) reactors: usize,
    /// Where requests are logged.
    pub(crate) access_log: AccessLog,
    /// `None`: the edge's default.
    pub(crate) spool_dir: Option<At<PathBuf>>,
    /// Whose word about their clients is taken.
    pub(crate) trusted_proxies: Vec<Network>,
    /// Where `status` is answered; `None`: nowhere.
    pub(crate) control: Option<At<PathBuf>>,
    /// How long requests may take after a signal to drain; `None`: as long as they do.
    pub(crate) drain_timeout: Option<Duration>,
    /// Name or number of the user to become.
    pub(crate) user: Option<At<String>>,
    /// Name or number of the group to be in.
    pub(crate) group: Option<At<String>>,
    /// Bounds of the edge.
    pub(crate) limits: Limits,
    /// At least one; no two for the same host and path.
    pub(crate) routes: Vec<Route>,
    /// Those that a route leads to.
    pub(crate) pools: Vec<Pool>,
    /// What is allowed but hardly meant.
    pub(crate) warnings: Vec<ConfigError>,
}

/// Where requests are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(At<PathBuf>),
}

/// Requests of one host and path prefix, and what answers them.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// All hosts without it. Lower case, without port.
    pub(crate) host: Option<String>,
    /// A prefix, matched on segment boundaries.
    pub(crate) path: String,
    /// What answers.
    pub(crate) target: Target,
    /// Requests of one client address within a time.
    pub(crate) rate: Option<(u32, Duration)>,
    /// How many of them may come at once.
    pub(crate) burst: Option<u32>,
    /// Requests of one client address at the same time.
    pub(crate) concurrent: Option<usize>,
}

impl Route {
    /// The directories whose files it serves.
    pub(crate) fn roots(&self) -> &[At<PathBuf>] {
        match &self.target {
            Target::Files { roots, .. } => roots,
            _ => &[],
        }
    }
}

/// What answers the requests of a route.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// The files beneath a directory.
    Files { roots: Vec<At<PathBuf>>, files: Box<Files> },
    /// The workers of the pool of this name.
    Pool(String),
    /// Another place.
    Redirect { to: String, status: u16 },
    /// Always the same.
    Respond { status: u16, content: String, content_type: String },
}

/// Workers that dial in, and the queue before them.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    /// As in `[pool.NAME]`.
    pub(crate) name: At<String>,
    /// Where workers dial in.
    pub(crate) socket: At<PathBuf>,
    /// Program and arguments to supervise; none: the workers are started by somebody else.
    pub(crate) workers: Option<Vec<At<String>>>,
    /// The pool of the edge, but for the users and groups below.
    pub(crate) settings: forebay::Pool,
    /// Name or number of the user who owns the socket.
    pub(crate) user: Option<At<String>>,
    /// Name or number of the group that owns the socket.
    pub(crate) group: Option<At<String>>,
    /// Names or numbers of the users whose processes may be workers.
    pub(crate) allowed_users: Option<Vec<At<String>>>,
}

/// Reads `file` and looks for what it needs around it.
///
/// # Errors
/// Everything that is wrong, in the order of the file.
pub(crate) fn load(file: &Path) -> Result<Config, Vec<ConfigError>> {
    let config = read(file)?;
    surroundings::check(&config, file)?;
    Ok(config)
}

/// The same for a server that serves: it cannot wait for somebody to write.
///
/// # Errors
/// As for [`load`], and if `file` is a pipe or a terminal.
pub(crate) fn load_again(file: &Path) -> Result<Config, Vec<ConfigError>> {
    let config = understand(text_at_once(file), file)?;
    surroundings::check(&config, file)?;
    Ok(config)
}

fn text_at_once(path: &Path) -> io::Result<String> {
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        let what = "it is no regular file, so it is read at the start only";
        return Err(io::Error::other(what));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Reads `file`, whatever is around it.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn read(file: &Path) -> Result<Config, Vec<ConfigError>> {
    understand(std::fs::read_to_string(file), file)
}

fn understand(text: io::Result<String>, file: &Path) -> Result<Config, Vec<ConfigError>> {
    let text = text.map_err(|error| {
        let mut problems = Problems::new(file);
        let hint =
            if file == Path::new("-") { "; standard input is not read; /dev/stdin is" } else { "" };
        problems.add(0, format!("cannot read the configuration: {error}{hint}"));
        problems.sorted()
    })?;
    parse(&text, file)
}

/// What `text` means, if it is what `file` contains. Only the text is looked at.
///
/// # Errors
/// Everything that is wrong with the text, in its order.
pub(crate) fn parse(text: &str, file: &Path) -> Result<Config, Vec<ConfigError>> {
    let mut reader = Reader::new(text, file);
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(0, |span| reader.lines.of(span));
            let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim();
            let what = error.message().lines().collect::<Vec<_>>().join(", ");
            reader.problems.add(line, format!("`{written}` is not TOML: {what}"));
            return Err(reader.problems.sorted());
        }
    };
    let written = written::read(&mut reader, table.get_ref());
    resolve::resolve(reader.problems, written, file)
}

#[cfg(test)]
pub(crate) mod tests;
