//! `proxy-bin`: the edge of Forebay as a server.
//!
//! `cli` says what is wanted, `config` what is to be served, `edge` builds it, `supervise` runs
//! the workers, `run` holds all together from start to end and answers `status`, `log` writes
//! messages; `demo` is a configuration of its own, `manual` is what `cli` says in other forms.

mod banner;
mod cli;
mod config;
mod demo;
mod edge;
mod log;
mod manual;
mod notify;
mod run;
mod status;
mod stderr;
mod supervise;
mod sys;
mod users;

use clap::Parser;
use cli::{Cli, Command, Configuration};
use config::Config;
use log::complain;
use run::Hangup;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::start();
    let code = match carry_out(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failures) => {
            failures.iter().for_each(|line| complain(line));
            ExitCode::FAILURE
        }
    };
    stderr::flush();
    code
}

/// The errors are lines for people.
fn carry_out(command: Command) -> Result<(), Vec<String>> {
    match command {
        Command::Run(configuration) => {
            let config = load(&configuration)?;
            run::run(config, run::no_more(), Hangup::Reloads)
                .map_err(|error| vec![error.to_string()])
        }
        Command::Check(configuration) => {
            load(&configuration)?;
            writeln!(io::stdout(), "{}: ok", configuration.config.display())
                .map_err(|error| vec![format!("cannot write to standard output: {error}")])
        }
        Command::Status(asked) => status::show(&asked),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man(man) => manual::pages(man.directory.as_deref()),
        Command::Demo(demo) => demo::run(demo.listen).map_err(|error| vec![error.to_string()]),
    }
}

fn load(configuration: &Configuration) -> Result<Config, Vec<String>> {
    let config = config::load(&configuration.config)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    for warning in &config.warnings {
        complain(&format!("warning: {warning}"));
    }
    Ok(config)
}
