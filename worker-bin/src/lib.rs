//! Pre-fork application server, as a library: serve an [`App`] of your own with worker processes
//! that an arbiter keeps alive.
//!
//! ```no_run
//! use forebay_worker::{Request, Response};
//!
//! fn main() -> std::process::ExitCode {
//!     forebay_worker::main(|request: Request| {
//!         Response::text(format!("You asked for {}\n", request.path()))
//!     })
//! }
//! ```
//!
//! The program then understands `--edge unix:PATH` (dial in to a Forebay edge), `--bind HOST:PORT`
//! (listen plainly), `--workers N`, `--threads N`, and the signals that `--help` lists. Each thread
//! of a worker runs one request at a time, so blocking is fine. The application is made before the
//! fork: what it holds is shared copy-on-write, but threads that it has started exist only in the
//! arbiter, so start none before the first request.

mod address;
mod app;
pub mod apps;
mod arbiter;
mod content;
mod dial;
mod listen;
mod log;
mod options;
mod private;
mod response;
mod signals;
mod socket;
mod threads;
mod wire;
mod worker;

pub use app::{App, Request};
pub use content::{Content, ContentReader, FileRange};
pub use forebay::http::Version;
pub use options::{AFTER_HELP, Options};
pub use response::{Body, Response};

use address::Listener;
use options::{Place, Plan};
use std::io::Write;
use std::process::ExitCode;
use worker::Source;

const ABOUT: &str = "Serves an application with worker processes";

/// The whole of a program that serves `app`: reads the command line ([`Options`]), runs until
/// told to stop, and gives the exit code.
pub fn main(app: impl App + 'static) -> ExitCode {
    #[derive(clap::Parser)]
    #[command(version, about = ABOUT, after_help = AFTER_HELP)]
    struct CommandLine {
        #[command(flatten)]
        options: Options,
    }
    match parse_arguments::<CommandLine>() {
        Ok(arguments) => serve(&arguments.options, app),
        Err(code) => code,
    }
}

/// Serves `app` until told to stop by a signal. The process is the arbiter from now on: call it
/// from the main thread, before any other thread exists.
///
/// Errors are one line on standard error; the exit codes are in [`AFTER_HELP`].
pub fn serve(options: &Options, app: impl App) -> ExitCode {
    let plan = match options.plan(|name| std::env::var(name).ok()) {
        Ok(plan) => plan,
        Err(error) => return fail(2, error),
    };
    let Plan { place, threads, settings } = plan;
    let source = match place {
        Place::Edge(path) => Source::Edge(path),
        Place::Bind(address) => match Listener::bind(&address) {
            Ok(listener) => Source::Clients(listener),
            Err(error) => return fail(3, error),
        },
    };
    let arbiter = std::process::id();
    let grace = settings.graceful_timeout;
    let ended = arbiter::run(
        settings,
        || announce(&source),
        |readiness| worker::run(&source, threads, &app, arbiter, grace, readiness),
    );
    if let Source::Clients(listener) = &source {
        listener.remove_path();
    }
    match ended {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => fail(1, format_args!("the arbiter has failed: {error}")),
    }
}

/// Reads the command line. `Err` is the exit code of a program that has already said why: an
/// error in one line on standard error, or the help that was asked for.
pub fn parse_arguments<T: clap::Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        if !error.use_stderr() {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let text = error.to_string();
        let lines = text.lines().take_while(|line| !line.is_empty());
        let line = lines.map(str::trim).collect::<Vec<_>>().join(" ");
        fail(2, format_args!("{}; see --help", line.trim_start_matches("error: ")))
    })
}

/// Says why the program ends, as `NAME: reason` on standard error, and gives its exit code.
pub fn fail(code: u8, reason: impl std::fmt::Display) -> ExitCode {
    let name = std::env::args_os().next().map(std::path::PathBuf::from).unwrap_or_default();
    let name = name.file_name().unwrap_or("worker".as_ref()).display();
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{name}: {reason}");
    ExitCode::from(code)
}

fn announce(source: &Source) {
    if let Source::Clients(listener) = source {
        // Whoever closed standard output did not want to know.
        let _ = writeln!(std::io::stdout(), "listening on {}", listener.url());
    }
}
