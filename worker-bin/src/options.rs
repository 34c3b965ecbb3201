//! The flags, and the text of `--help`.
//!
//! Owns their names: the environment and the file know the same settings by the same names. Must
//! not know what they come to.

use crate::gunicorn::Ignored;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How an application is served. Flatten it into a command line of your own, or let
/// [`main`](crate::main) read it.
///
/// What is `None` or empty here may be set by `GUNICORN_CMD_ARGS`, then by the environment, then by
/// the file, and has a default then. There will be more of them: begin with `Options::default()`,
/// and set what is to be set.
#[non_exhaustive]
#[derive(clap::Args, Clone, Debug, Default, Serialize, Deserialize)]
// What a program is about, its own command line says.
#[command(about = None::<&str>, long_about = None::<&str>)]
pub struct Options {
    /// Dial in to the edge that listens on this socket
    #[arg(long, value_name = "unix:PATH", help_heading = PLACES)]
    pub edge: Option<String>,

    /// Listen here without an edge, for curl or another front server; port 0 takes a free one, and
    /// a mere PORT is one of 127.0.0.1. May be given several times. Every local user may connect
    /// to a socket, unless its directory keeps them out
    #[arg(short, long, value_name = "unix:PATH|HOST:PORT", help_heading = PLACES)]
    #[arg(value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub bind: Vec<String>,

    /// With --bind: believe X-Forwarded-Proto of these addresses and networks, `*` is everybody;
    /// those who come through a socket are always believed [default: 127.0.0.1,::1]
    /// [env: FORWARDED_ALLOW_IPS]
    #[arg(long, value_name = "ADDRESSES", help_heading = PLACES)]
    pub forwarded_allow_ips: Option<String>,

    /// With --bind: the most content that a request may have, which is held in memory: bytes, or
    /// with K, M or G [default: 16M]
    #[arg(long, value_name = "SIZE", help_heading = PLACES)]
    pub content_max: Option<String>,

    /// Answer `status` here
    #[arg(long, value_name = "unix:PATH", help_heading = PLACES)]
    pub control: Option<String>,

    /// Worker processes, each with a request at a time per thread
    /// [default: 1] [env: WEB_CONCURRENCY]
    #[arg(short, long, value_name = "N", help_heading = WORKERS)]
    pub workers: Option<u32>,

    /// Threads of each worker process: so many requests it runs at the same time [default: 1]
    #[arg(long, value_name = "N", help_heading = WORKERS)]
    pub threads: Option<u32>,

    /// Replace a worker after this many requests; 0: never [default: 0]
    #[arg(long, value_name = "N", help_heading = WORKERS)]
    pub max_requests: Option<u32>,

    /// Up to this many requests more, at random, so that workers are not replaced together
    /// [default: 0]
    #[arg(long, value_name = "N", help_heading = WORKERS)]
    pub max_requests_jitter: Option<u32>,

    /// Replace a worker that uses more memory than this: bytes, or with K, M or G; 0: never
    /// [default: 0]
    #[arg(long, value_name = "SIZE", help_heading = WORKERS)]
    pub max_memory: Option<String>,

    /// Seconds for the application to answer a request, or to give the next piece of a stream,
    /// before it is interrupted and its worker is killed; 0: any time [default: 30]
    #[arg(short, long, value_name = "SECONDS", help_heading = TIMES)]
    pub timeout: Option<u32>,

    /// Seconds that a stopping worker may take to finish its request before it is killed
    /// [default: 30]
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub graceful_timeout: Option<u32>,

    /// Seconds for a worker to load the application, and for the first one after HUP to be ready
    /// [default: 30]
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub boot_timeout: Option<u32>,

    /// The Python interpreter of a WSGI application [default: that of $VIRTUAL_ENV, else the one
    /// beside this program, else python3 on the PATH]
    #[arg(long, value_name = "FILE", help_heading = PYTHON)]
    pub python: Option<PathBuf>,

    /// Directories to look for Python modules in, before all others; separated by `:` or `,`
    #[arg(long, value_name = "DIRECTORIES", help_heading = PYTHON)]
    pub pythonpath: Option<String>,

    /// Have each worker import a WSGI application for itself, instead of once for all of them:
    /// for modules that start threads
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", help_heading = PYTHON)]
    pub no_preload: Option<bool>,

    /// Reload a WSGI application, as HUP does, when a source file of it changes: for development
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", help_heading = PYTHON)]
    pub reload: Option<bool>,

    /// Read files that a WSGI application answers with in `wsgi.file_wrapper` before it goes on,
    /// instead of handing them over: for files that are written anew in place
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", help_heading = PYTHON)]
    pub no_sendfile: Option<bool>,

    /// Work in this directory; all other paths but --config's are relative to it
    #[arg(long, value_name = "DIRECTORY", help_heading = PROCESS)]
    pub chdir: Option<PathBuf>,

    /// Set a variable in the application's environment; may be given several times
    #[arg(short, long, value_name = "NAME=VALUE", help_heading = PROCESS)]
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub env: Vec<String>,

    /// Write the arbiter's process id to this file
    #[arg(short, long, value_name = "FILE", help_heading = PROCESS)]
    pub pid: Option<PathBuf>,

    /// Become this user when everything is bound: a name or a number
    #[arg(short, long, value_name = "USER", help_heading = PROCESS)]
    pub user: Option<String>,

    /// Become this group: a name or a number [default: the user's]
    #[arg(short, long, value_name = "GROUP", help_heading = PROCESS)]
    pub group: Option<String>,

    /// Permissions that new files do not get, octal [default: inherited]
    #[arg(short = 'm', long, value_name = "MASK", help_heading = PROCESS)]
    pub umask: Option<String>,

    /// What the processes call themselves [default: the application's name]
    #[arg(short, long, value_name = "NAME", help_heading = PROCESS)]
    pub name: Option<String>,

    /// Append the log to this file instead of standard error, which is `-`
    #[arg(long, value_name = "FILE", help_heading = LOGS, visible_alias = "error-logfile")]
    pub log_file: Option<PathBuf>,

    /// The least that is logged: debug, info, warning, error or critical [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = LOGS)]
    pub log_level: Option<String>,

    /// With --bind: append a line for each request to this file, in the combined format; `-` is
    /// standard output
    #[arg(long, value_name = "FILE", help_heading = LOGS)]
    pub access_logfile: Option<PathBuf>,

    /// Read settings from this TOML file: the names of these flags, with `_` for `-`
    /// [env: FOREBAY_CONFIG]
    #[arg(short, long, value_name = "FILE", help_heading = SETTINGS)]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Print the settings that come of flags, environment and file, and where each comes from
    #[arg(long, help_heading = SETTINGS)]
    #[serde(skip)]
    pub print_config: bool,

    /// Flags of gunicorn that have no meaning here.
    #[command(flatten)]
    #[serde(skip)]
    pub ignored: Ignored,

    /// The application's name, which is the default of `--name`; none: the program's.
    #[arg(skip)]
    #[serde(skip)]
    pub app_name: Option<String>,
}

impl Options {
    pub(crate) fn defaults() -> Options {
        Options {
            workers: Some(1),
            threads: Some(1),
            timeout: Some(30),
            graceful_timeout: Some(30),
            boot_timeout: Some(30),
            max_requests: Some(0),
            max_requests_jitter: Some(0),
            max_memory: Some("0".into()),
            log_level: Some("info".into()),
            ..Options::default()
        }
    }
}

const PLACES: &str = "Where requests come from";
const WORKERS: &str = "Workers";
const TIMES: &str = "Times";
const PYTHON: &str = "Applications of Python";
const PROCESS: &str = "Processes";
const LOGS: &str = "Logs";
const SETTINGS: &str = "Settings";

/// For the end of `--help`.
pub const AFTER_HELP: &str = "\
Signals to the arbiter (the process that you start):
  TERM       finish the current requests, then end; a second TERM is INT
  INT, QUIT  end at once
  HUP        reload: read the settings again (the number of workers is theirs, too), and start one
             worker from the program on disk; when it is ready replace the others one by one, new
             before old; if it cannot boot, keep them
  TTIN/TTOU  one worker more, one less
  USR1       open the log files anew
  WINCH      stop all workers gracefully until HUP or TTIN; not with a terminal, whose window may
             have changed its size
  USR2       nothing: workers of a new program come with HUP

Environment, flags going before all of it, and all of it before the file:
  GUNICORN_CMD_ARGS   flags, as a shell would split them; they go before the variables below, but
                      --bind in them not before FOREBAY_EDGE
  FOREBAY_EDGE, FOREBAY_WORKERS, ...  as the flag of that name
  WEB_CONCURRENCY     as FOREBAY_WORKERS
  FORWARDED_ALLOW_IPS as FOREBAY_FORWARDED_ALLOW_IPS
  VIRTUAL_ENV         the virtual environment of a WSGI application
  NO_COLOR            log lines without colour, also on a terminal
  FOREBAY_READY_FD    number of a descriptor: READY and a line feed are written to it, and it is
                      closed, when all workers can take requests
  FOREBAY_SUPERVISED  1: end when the parent process ends
  NOTIFY_SOCKET       who is told READY=1 when all workers can take requests, and STOPPING=1
                      (sd_notify(3)), unless it is supervised; systemd sets it

Exit codes:
  0  stopped as asked
  1  failed
  2  the command line or the settings are wrong
  3  cannot boot: an address in use, no permission
  4  the application cannot be loaded";
