//! The `worker-bin` executable: serves one of the built-in applications.

use forebay_worker::{AFTER_HELP, Options, apps, fail, parse_arguments, serve};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  worker-bin --bind 127.0.0.1:8000 hello         listen plainly: curl http://127.0.0.1:8000/
  worker-bin --edge unix:run/app.sock -w 4 echo  four workers for the edge at run/app.sock
  FOREBAY_EDGE=unix:run/app.sock worker-bin hello";

/// Pre-fork application server: an arbiter keeps worker processes alive, each of their threads
/// answers one request at a time
#[derive(clap::Parser)]
#[command(version, after_help = format!("{}\n\n{AFTER_HELP}\n\n{EXAMPLES}", apps::HELP))]
struct CommandLine {
    #[command(flatten)]
    options: Options,

    /// The application: hello, echo or probe
    app: String,
}

fn main() -> ExitCode {
    let CommandLine { options, app } = match parse_arguments() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match apps::find(&app) {
        Ok(app) => serve(&options, app),
        Err(error) => fail(4, error),
    }
}
