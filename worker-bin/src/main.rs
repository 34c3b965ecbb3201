//! The `worker-bin` executable: serves a WSGI application, or one of the built-in ones.

use forebay_worker::{AFTER_HELP, Command, Options, apps, parse_arguments, serve, serve_wsgi};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  worker-bin -w 4 --edge unix:run/app.sock shop.wsgi:application   a WSGI application
  worker-bin --bind 127.0.0.1:8000 hello         listen plainly: curl http://127.0.0.1:8000/
  worker-bin --edge unix:run/app.sock -w 4 echo  four workers for the edge at run/app.sock
  worker-bin -b :8000 -b unix:run/web.sock --access-logfile - shop.wsgi    for other front servers
  worker-bin -b 8000 --reload shop.wsgi          while you write it
  FOREBAY_EDGE=unix:run/app.sock worker-bin hello
  worker-bin status --control unix:run/control   what a server with that --control is doing";

/// Pre-fork application server: an arbiter keeps worker processes alive, each of their threads
/// answers one request at a time
#[derive(clap::Parser)]
#[command(version, disable_version_flag = true)]
#[command(after_help = format!("{}\n\n{AFTER_HELP}\n\n{EXAMPLES}", apps::HELP))]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(args_override_self = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    options: Options,

    /// Print version
    #[arg(short = 'V', short_alias = 'v', long, action = clap::ArgAction::Version)]
    version: (),

    /// The application: of Python as module:attribute; or hello, echo, probe
    #[arg(required_unless_present_any = ["print_config", "paste", "proxy-protocol"])]
    app: Option<String>,
}

fn main() -> ExitCode {
    let CommandLine { command, mut options, app, .. } = match parse_arguments() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    if let Some(command) = command {
        return command.run::<CommandLine>();
    }
    let app = app.unwrap_or_default();
    options.app_name = Some(app.clone()).filter(|app| !app.is_empty());
    match apps::find(&app) {
        Some(app) => serve(&options, app),
        None => serve_wsgi(&options, &app),
    }
}
