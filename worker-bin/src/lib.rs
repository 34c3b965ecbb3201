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
//! arbiter, so start none before the first request. After HUP workers are made from the program on
//! disk instead: each of them runs `main` again, with the same arguments, up to here.
//!
//! A request that takes longer than `--timeout`, or than the edge waits for it, costs its process:
//! TERM, so that what ends within a second is still answered, then KILL, unless it has ended: then
//! requests of other threads have `--graceful-timeout` to end. An application that has a
//! handler for ABRT gets that besides TERM, and may log what it was doing. Requests of Python are
//! interrupted by an exception.

mod access;
mod address;
mod app;
pub mod apps;
mod arbiter;
mod command;
mod content;
mod control;
mod dial;
mod exit;
mod forwarded;
mod gunicorn;
#[doc(hidden)]
pub mod host;
mod identity;
mod listen;
mod liveness;
mod log;
mod log_file;
mod manual;
mod mold;
mod notify;
mod options;
mod outlet;
mod pid_file;
mod plan;
mod private;
mod python;
mod response;
mod server;
mod settings;
mod signals;
mod socket;
mod threads;
mod watched;
mod whereabouts;
mod wire;
mod worker;

pub use app::{App, Request};
pub use command::Command;
pub use content::{Content, ContentReader, FileRange};
pub use forebay::http::Version;
pub use gunicorn::Ignored;
pub use options::{AFTER_HELP, Options};
pub use response::{Body, Response};

use arbiter::Handover;
use exit::{CANNOT_BOOT, WRONG_SETTINGS};
use plan::{Plan, PlanError};
use server::Application;
use std::process::ExitCode;

const ABOUT: &str = "Serves its application with worker processes, which an arbiter keeps alive";

/// The whole of a program that serves `app`: reads the command line ([`Options`]), runs until
/// told to stop, and gives the exit code. Help and manual page have the name of the program's file;
/// one with a `--version`, or with more to say, has a command line of its own.
pub fn main(app: impl App + 'static) -> ExitCode {
    #[derive(clap::Parser)]
    #[command(name = program_name(), about = ABOUT)]
    #[command(args_conflicts_with_subcommands = true, args_override_self = true)]
    #[command(after_help = AFTER_HELP)]
    struct CommandLine {
        #[command(subcommand)]
        command: Option<Command>,
        #[command(flatten)]
        options: Options,
    }
    match parse_arguments::<CommandLine>() {
        Ok(CommandLine { command: Some(command), .. }) => command.run::<CommandLine>(),
        Ok(arguments) => serve(&arguments.options, app),
        Err(code) => code,
    }
}

/// Serves `app` until told to stop by a signal. The process is the arbiter from now on: call it
/// from the main thread, before any other thread exists.
///
/// After a reload (HUP) workers are the program as it is on disk then, started with the same
/// arguments: they come here as well, by the same way, and work.
///
/// Errors are one line on standard error; the exit codes are in [`AFTER_HELP`].
pub fn serve(options: &Options, app: impl App) -> ExitCode {
    serve_any(options, Application::Native(&app))
}

/// Serves a WSGI application likewise: `module:attribute`, `module:factory()`, `package.module` or
/// `file.py`. The Python package `forebay` must be installed where the application is.
pub fn serve_wsgi(options: &Options, application: &str) -> ExitCode {
    if let Some(built_in) = apps::resembling(application) {
        log::warning!(
            "{application} is taken for a module of Python: the built-in application is {built_in}"
        );
    }
    serve_any(options, Application::Wsgi(application))
}

fn serve_any(options: &Options, app: Application<'_>) -> ExitCode {
    if let (Some(handover), Application::Native(app)) = (Handover::from_environment(), app) {
        return match Plan::inherited(handover.options()) {
            Ok(plan) => server::work(plan, app, handover),
            Err(error) => wrong_plan(error),
        };
    }
    let mut options = options.clone();
    // It is read again later, in another directory perhaps.
    let config = options.config.or_else(settings::named_by_environment);
    let directory = arbiter::start_directory().unwrap_or_default();
    options.config = config.map(|path| directory.join(path));
    if options.print_config {
        return print_config(&options);
    }
    match Plan::new(&options, |name| std::env::var(name).ok()) {
        Ok(plan) => server::serve(&options, plan, app),
        Err(error) => wrong_plan(error),
    }
}

fn wrong_plan(error: PlanError) -> ExitCode {
    fail(if error.is_of_identity() { CANNOT_BOOT } else { WRONG_SETTINGS }, error)
}

/// What is wrong with the settings is said as by a start.
fn print_config(options: &Options) -> ExitCode {
    let effective = match settings::Effective::new(options, |name| std::env::var(name).ok()) {
        Ok(effective) => effective,
        Err(error) => return fail(WRONG_SETTINGS, error),
    };
    let printed = manual::print(effective.to_toml().as_bytes());
    match Plan::effective(&effective) {
        Ok(_) | Err(PlanError::Nowhere) => printed,
        Err(error) => wrong_plan(error),
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
        let command = T::command();
        let what = one_too_many(&error, &command).unwrap_or_else(|| one_line(&error, &command));
        fail(WRONG_SETTINGS, format_args!("{what}; see --help"))
    })
}

/// To clap a word behind the application is a command, though there is none of this name.
fn one_too_many(error: &clap::Error, command: &clap::Command) -> Option<String> {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let is_known =
        command.find_subcommand(word).is_some() || command.get_positionals().count() == 0;
    (!is_known).then(|| format!("unexpected argument '{word}': one application is served"))
}

/// What is wrong with a command line, and what was meant perhaps: nothing that help does not tell.
fn one_line(error: &clap::Error, command: &clap::Command) -> String {
    use clap::error::{ContextKind, ContextValue};
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.is_empty());
    let mut line = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let meant = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand];
    let is_hidden = |meant: &str| {
        let mut hidden = command.get_arguments().filter(|argument| argument.is_hide_set());
        hidden.any(|argument| argument.get_long() == meant.strip_prefix("--"))
    };
    match meant.into_iter().find_map(|kind| error.get(kind)) {
        Some(ContextValue::String(meant)) if is_hidden(meant) => {}
        Some(ContextValue::String(meant)) => line.push_str(&format!("; did you mean {meant}?")),
        Some(ContextValue::Strings(meant)) if !meant.is_empty() => {
            line.push_str(&format!("; did you mean {}?", meant.join(" or ")));
        }
        _ => {}
    }
    line.trim_start_matches("error: ").to_owned()
}

/// Says why the program ends, as `NAME: reason` on standard error, and gives its exit code.
pub fn fail(code: u8, reason: impl std::fmt::Display) -> ExitCode {
    log::plain(format_args!("{}: {reason}", program_name()));
    ExitCode::from(code)
}

/// The file name of this program, as it was called.
fn program_name() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from).unwrap_or_default();
    path.file_name().unwrap_or("worker".as_ref()).to_string_lossy().into_owned()
}
