//! The command line and the environment.
//!
//! Owns what they mean and the errors about them. Must not start anything.

use crate::address::{Address, AddressError};
use crate::arbiter::Settings;
use std::time::Duration;

/// How an application is served. Flatten it into a command line of your own, or let
/// [`main`](crate::main) read it.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// Dial in to the edge that listens on this socket [env: FOREBAY_EDGE]
    #[arg(long, value_name = "unix:PATH")]
    pub edge: Option<String>,

    /// Listen here without an edge, for curl or another front server; port 0 takes a free one.
    /// Every local user may connect, unless the socket's directory keeps them out. Takes
    /// precedence over FOREBAY_EDGE
    #[arg(long, value_name = "unix:PATH|HOST:PORT")]
    pub bind: Option<String>,

    /// Worker processes, each with a request at a time per thread
    /// [default: 1] [env: WEB_CONCURRENCY]
    #[arg(short, long, value_name = "N")]
    pub workers: Option<u32>,

    /// Threads of each worker process: so many requests it runs at the same time [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_THREADS))]
    pub threads: Option<u32>,

    /// Seconds that a stopping worker may take to finish its request before it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub graceful_timeout: u32,
}

/// For the end of `--help`.
pub const AFTER_HELP: &str = "\
Signals to the arbiter (the process that you start):
  TERM       finish the current requests, then end; a second TERM is INT
  INT, QUIT  end at once
  HUP        replace the workers one by one, new before old
  TTIN/TTOU  one worker more, one less

Environment:
  FOREBAY_EDGE        as --edge
  WEB_CONCURRENCY     as --workers
  NO_COLOR            log lines without colour, also on a terminal
  FOREBAY_READY_FD    number of a descriptor: READY and a line feed are written to it, and it is
                      closed, when all workers can take requests
  FOREBAY_SUPERVISED  1: end when the parent process ends

Exit codes:
  0  stopped as asked
  1  failed
  2  the command line is wrong
  3  cannot boot: an address in use, no permission
  4  the application cannot be loaded";

/// What the options come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) place: Place,
    /// Of each worker.
    pub(crate) threads: usize,
    pub(crate) settings: Settings,
}

/// Where requests will come from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Edge(std::path::PathBuf),
    Bind(Address),
}

/// What is wrong with the options; one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error(
        "nowhere to take requests from: give --edge unix:PATH (or FOREBAY_EDGE) to serve an edge, \
         or --bind HOST:PORT to listen"
    )]
    Nowhere,
    #[error("--edge and --bind exclude each other: give one of them")]
    Both,
    #[error("an edge is reached by its socket, and `{0}` is none: write unix:PATH")]
    NotASocket(String),
    #[error("{0} must be a number from 1 to {MOST_WORKERS}")]
    Workers(&'static str),
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl Options {
    /// `variable` looks up the environment.
    pub(crate) fn plan(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Plan, OptionsError> {
        // As in most programs, an empty variable counts as none.
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let place = match (&self.edge, &self.bind) {
            (Some(_), Some(_)) => return Err(OptionsError::Both),
            (_, Some(bind)) => Place::Bind(Address::parse(bind)?),
            (Some(edge), None) => edge_of(edge)?,
            (None, None) => edge_of(&variable("FOREBAY_EDGE").ok_or(OptionsError::Nowhere)?)?,
        };
        let (workers, name) = match (self.workers, variable("WEB_CONCURRENCY")) {
            (Some(workers), _) => (Some(workers), "--workers"),
            (None, Some(text)) => (text.parse().ok(), "WEB_CONCURRENCY"),
            (None, None) => (Some(1), "--workers"),
        };
        let workers = workers.filter(|workers| (1..=MOST_WORKERS).contains(workers));
        let settings = Settings {
            workers: workers.ok_or(OptionsError::Workers(name))? as usize,
            graceful_timeout: Duration::from_secs(self.graceful_timeout.into()),
        };
        Ok(Plan { place, threads: self.threads.unwrap_or(1).max(1) as usize, settings })
    }
}

fn edge_of(text: &str) -> Result<Place, OptionsError> {
    match Address::parse(text) {
        Ok(Address::Unix(path)) => Ok(Place::Edge(path)),
        Err(error @ AddressError::TooLong(..)) => Err(error.into()),
        _ => Err(OptionsError::NotASocket(text.into())),
    }
}

const MOST_WORKERS: u32 = 1024;
const MOST_THREADS: i64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(options: &Options, environment: &[(&str, &str)]) -> Result<Plan, String> {
        let variable = |name: &str| {
            environment.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string())
        };
        options.plan(variable).map_err(|error| error.to_string())
    }

    fn edge(address: &str) -> Options {
        Options { edge: Some(address.into()), graceful_timeout: 30, ..Options::default() }
    }

    fn bind(address: &str) -> Options {
        Options { bind: Some(address.into()), graceful_timeout: 30, ..Options::default() }
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let environment = [("FOREBAY_EDGE", "unix:b"), ("WEB_CONCURRENCY", "3")];
        let plan_of = |options: &Options| plan(options, &environment).unwrap();
        assert_eq!(plan_of(&edge("unix:a")).place, Place::Edge("a".into()));
        assert_eq!(plan_of(&Options::default()).place, Place::Edge("b".into()));
        assert_eq!(plan_of(&bind("[::]:80")).place, Place::Bind(Address::Tcp("[::]:80".into())));
        assert_eq!(plan_of(&edge("unix:a")).settings.workers, 3);
        let options = Options { workers: Some(2), ..edge("unix:a") };
        assert_eq!(plan_of(&options).settings.workers, 2);
    }

    #[test]
    fn there_is_one_worker_and_thirty_seconds_by_default() {
        let Plan { settings, .. } = plan(&edge("unix:a"), &[("WEB_CONCURRENCY", "")]).unwrap();
        assert_eq!(settings, Settings { workers: 1, graceful_timeout: Duration::from_secs(30) });
    }

    #[test]
    fn errors_say_what_to_do() {
        let error = |options, environment: &[_]| plan(&options, environment).unwrap_err();
        assert!(error(Options::default(), &[]).contains("--edge unix:PATH"));
        assert!(error(edge("localhost:80"), &[]).contains("write unix:PATH"));
        let both = Options { edge: Some("unix:a".into()), ..bind("b:1") };
        assert!(error(both, &[]).contains("exclude"));
        let many = error(edge("unix:a"), &[("WEB_CONCURRENCY", "many")]);
        assert!(many.contains("WEB_CONCURRENCY must be"));
        let none = Options { workers: Some(0), ..edge("unix:a") };
        assert!(error(none, &[]).contains("--workers must be"));
    }
}
