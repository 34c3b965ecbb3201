//! The command line.
//!
//! Owns words, defaults and help. Must not do anything.

use clap::{ArgGroup, Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The edge of Forebay: takes every client, serves files, and hands whole requests to workers.
#[derive(Debug, Parser)]
#[command(name = "proxy-bin", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve what the configuration says, until a signal ends it
    #[command(after_help = RUN_EXAMPLES)]
    #[command(after_long_help = format!("{CONFIGURATION_HELP}\n\n{RUN_EXAMPLES}"))]
    Run(Configuration),
    /// Check a configuration: `FILE: ok`, or every error with its line and what to do
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Configuration),
    /// Show what a running server does, and what it has counted
    Status(Status),
    /// Serve a site that shows what edge and workers do, with buttons that make it hard for them
    #[command(after_help = DEMO_HELP)]
    Demo(Demo),
    /// Print a script that completes the arguments of proxy-bin in a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page, or write it and those of the commands to a directory
    Man(Man),
}

/// Which configuration.
#[derive(Debug, Args)]
pub(crate) struct Configuration {
    /// The configuration, TOML; paths in it are relative to its directory
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: PathBuf,
}

/// Which server is asked, and how its answer is shown.
#[derive(Debug, Args)]
#[command(after_help = STATUS_HELP)]
#[command(group(ArgGroup::new("server").required(true).args(["config", "socket"])))]
pub(crate) struct Status {
    /// The configuration with which it runs: its `control` is the socket
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Its control socket
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the demonstration listens.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// IP address and port; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
}

/// Where manual pages go.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// An existing directory, for all of them; else one goes to standard output
    #[arg(long, value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub(crate) directory: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
`proxy-bin run --help` tells all of the configuration.

Output:
  When it serves and all supervised workers are ready, one line per listener goes to standard
  output: listening on http://ADDRESS:PORT. A terminal gets a few words more, and colours.
  Messages, and what supervised workers write, go to standard error.

Signals:
  TERM       stop listening, finish open requests (until drain_timeout, if that is set), then
             stop the workers; exit code 0
  TERM again, INT, QUIT
             stop at once; exit code 0
  HUP        read the configuration again: new routes, limits and pools for new requests, and
             supervised workers reload; if anything is wrong it is told, and nothing changes.
             The demo stops at once
  USR1       reopen the access log, and pass it on to supervised workers
  TTIN, TTOU nothing: `workers` of [pool.NAME] says how many there are, and HUP reads it again

Exit codes:
  0  stopped by a signal; configuration ok; status shown
  1  not started, or failed while serving; configuration wrong; no server answers
  2  wrong usage

Environment:
  FOREBAY_LOG  what is logged: error, warn, info, debug, trace, or MODULE=LEVEL,...; default
               warn,proxy_bin=info, also for what is none of these
  NO_COLOR     no colours, on a terminal neither
  NOTIFY_SOCKET
               who is told READY=1 when it serves, and STOPPING=1 (sd_notify(3)); systemd sets it
  TMPDIR       where the demo's files are put while it runs; default /tmp

Examples:
  proxy-bin demo
  proxy-bin check --config site.toml && proxy-bin run --config site.toml
  proxy-bin check --config site.toml && kill -HUP $(pidof proxy-bin)
  proxy-bin status --config site.toml
  proxy-bin completions bash > /usr/share/bash-completion/completions/proxy-bin
  proxy-bin man | man -l -";

const RUN_EXAMPLES: &str = "\
Examples:
  proxy-bin run --config site.toml
  FOREBAY_LOG=debug proxy-bin run --config site.toml
  kill -HUP $(pidof proxy-bin)       # read site.toml again
`proxy-bin run --help` tells all keys of the configuration, `proxy-bin --help` signals, exit codes
and environment.";

const CHECK_EXAMPLES: &str = "\
Examples:
  proxy-bin check --config site.toml
  proxy-bin check --config site.toml && kill -HUP $(pidof proxy-bin)
Exit code 1 if anything is wrong. Unknown keys are errors; the key that was perhaps meant is named.
Files and directories are looked for when nothing is wrong with the text.
`proxy-bin run --help` tells all keys.";

const DEMO_HELP: &str = "\
It needs worker-bin beside proxy-bin or on PATH, and leaves nothing behind. The buttons, and paths
that keep workers busy, exist on loopback addresses only: 127.0.0.1, [::1].

Examples:
  proxy-bin demo
  proxy-bin demo --listen 127.0.0.1:0";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(proxy-bin completions bash)
  proxy-bin completions zsh > \"${fpath[1]}/_proxy-bin\"
  proxy-bin completions fish > ~/.config/fish/completions/proxy-bin.fish";

const STATUS_HELP: &str = "\
The server answers at the path that `control` in [server] names, to its own user and root.

A pool's slots are the requests that its workers can run at the same time. REFUSED counts requests
that found the queue full, TIMEOUTS those that waited longer than queue_timeout, DELAYED those that
waited too long in a queue that stood, and STOOD how often it began to. Counters count since the
start of the server; `parked` is how many connections wait for their next request now.

Colours are used on a terminal, unless NO_COLOR is set.

Examples:
  proxy-bin status --config site.toml
  watch -n 1 proxy-bin status --socket run/forebay.sock
  proxy-bin status --config site.toml --json | jq .counters.requests";

const CONFIGURATION_HELP: &str = r#"Configuration, with defaults unless it says "example":
  [server]
  listen = ["127.0.0.1:8080"]     # example, needed; also "[::]:8080"; port 0 takes a free one
  reactors = "auto"               # one per core that this process may use, or a number
  access_log = "-"                # "-" standard output, a path, or "off"
  spool_dir = "/var/tmp"          # for files without a name: what is too large for memory
  trusted_proxies = ["10.0.0.0/8"]
                                  # example: proxies whose X-Forwarded-* fields are believed
  control = "run/forebay.sock"    # example: socket at which `proxy-bin status` is answered
  drain_timeout = "60s"           # example: for open requests after TERM; without it no bound
  user = "www-data"               # example: name or number; whose process it is once it has
                                  # bound and opened everything; needs root
  group = "www-data"              # example; without it the user's

  [limits]                        # durations: ms, s, m, h; sizes: bytes, or "KiB", "MiB", "GiB"
  client_header_timeout = "10s"   # to the complete head of a request
  client_body_timeout = "30s"     # between two reads of content
  send_timeout = "30s"            # while the client takes nothing of an answer
  rate_min = 500                  # bytes per second on average of content and of taking answers,
                                  # once 10 s have passed; 0 is none
  keepalive_timeout = "75s"       # idle between two requests
  keepalive_requests = 10000      # requests of one connection
  lingering_timeout = "5s"        # for a refused client to stop sending
  head_bytes = "32KiB"            # request line and fields, 512 at least; more is 431
  head_fields = 100               # fields of a request, 256 at most; more is 431
  target_bytes = "8KiB"           # request target; more is 414
  content_memory = "64KiB"        # content of a request in memory; more goes to the spool
  content_max = "16MiB"           # content of a request; more is 413
  response_head_bytes = "64KiB"   # head of an application's response; more is 502,
                                  # and so are more than 272 fields
  response_memory = "256KiB"      # of a response, waiting for its client; then to the spool
  response_max = "1GiB"           # of a response, in the spool; then the worker has to wait
  memory_budget = "256MiB"        # of the process, for all that requests hold; as it is used up:
                                  # 1/2: 4 KiB of content in memory, the rest in the spool;
                                  # 10/16: idle connections end; 12/16: a quarter of the timeouts;
                                  # 14/16: new content gets 503; 15/16: slow uploads end;
                                  # 16/16: every new request gets 503;
                                  # what has been taken is never given up
  spool_budget = "4GiB"           # spool files of the process; content without room gets 503
  connections = 16384             # client connections of the process
  connections_per_address = 2048  # of one address without a complete head yet; at least 256,
                                  # and at least an eighth of connections, unless it is said
  slots = 4096                    # connections of workers of the process: their threads, and
                                  # those of workers that replace others, before these leave
  pipelined = 16                  # requests of one connection answered in one turn

  [[route]]                       # example; a prefix on segment boundaries, the longest wins
  path = "/static/"
  host = "example.com"            # example, optional
  files = "site/static"           # one of files, pool, redirect, respond; or ["first", "second"]
  index = "index.html"            # with files: what answers for a directory
  fallback = "app.html"           # example, with files: what answers for names not found
  precompressed = false           # with files: whether NAME.br, .zst and .gz answer for NAME
  immutable = false               # with files: whether fingerprinted names are cached forever
  symlinks = "beneath"            # with files: relative ones within, or "deny"
  cache_control = "max-age=3600"  # example, with files
  fields = { X-Content-Type-Options = "nosniff" }
                                  # example, with files: more fields
  rules = [{ match = "*.html", cache_control = "no-cache", fields = { X-Frame-Options = "DENY" } }]
                                  # example, with files: other fields, by the first that matches
  rate = "100/s"                  # example: requests of one client address; /s, /m, /h; then 429
  burst = 200                     # example: of them at once; without it all of one s, m or h
  concurrent = 20                 # example: of one client address at the same time; then 429
  # pool = "app"                  # the name in [pool.NAME]
  # redirect = "https://example.com{target}"   # {target}: path and query of the request
  # status = 302                  # with redirect: 301, 302, 307 or 308
  # respond = { status = 200, content = "", content_type = "text/plain; charset=utf-8" }

  [pool.app]                      # example
  socket = "run/app.sock"         # example, needed; workers dial in here
  workers = ["worker-bin", "-w", "2", "hello"]
                                  # example, optional: started and supervised here; looked up
                                  # beside proxy-bin, then on PATH
  queue = 1000                    # requests that may wait for a worker
  queue_timeout = "10s"           # how long they may
  queue_target = "100ms"          # if they wait longer than that for long, the newest goes first
                                  # and who has waited three times as long gets 503
  deadline = "60s"                # for a worker to begin its response, and between two pieces
  boot_grace = "10s"              # how long they wait on while no worker is there at all
  mode = "660"                    # example: of the socket; without it the umask decides
  user = "app"                    # example: owner of the socket; without it the server's user
  group = "app"                   # example
  allowed_users = ["app", "root"] # example: whose processes may dial in; without it the server's
                                  # user and root

Supervised workers run in the directory of the configuration, with FOREBAY_EDGE=unix:SOCKET,
FOREBAY_SUPERVISED=1 and FOREBAY_READY_FD, a descriptor to which they write the line READY. They
are started again after 0.1 s, doubled up to 10 s; but an end before the first READY stops
proxy-bin. On stop they get TERM, and KILL 35 s later; QUIT, and KILL 5 s later, if it is quick."#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn help_names_every_key_with_its_default() {
        let written = CONFIGURATION_HELP.split("\n\nSupervised").next().unwrap();
        let written = written.split_once('\n').unwrap().1;
        let config = crate::config::parse(written, std::path::Path::new("/x/help.toml"));
        let limits = config.expect("the help's configuration is right").limits;
        assert_eq!(limits, forebay::Limits::default());
        for key in crate::config::LIMIT_KEYS {
            assert!(written.contains(&format!("  {key} = ")), "{key}");
        }
    }
}
