//! What a program can do besides serving: show a server, describe itself.
//!
//! Owns the subcommands and their arguments. Must not know the options of a server.

use crate::exit::{FAILED, WRONG_SETTINGS};
use crate::{control, fail, manual, plan};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// What else a program can do than serve. Make it a subcommand of your own command line, or let
/// [`main`](crate::main) do so.
#[derive(Clone, Debug)]
pub struct Command(Kind);

#[derive(Subcommand, Clone, Debug)]
enum Kind {
    /// Shows the workers of a running server: what they do, and what they have done
    Status {
        /// The server's control socket, as given to it
        #[arg(long, value_name = "unix:PATH", env = "FOREBAY_CONTROL")]
        control: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Prints a script that completes the arguments of this program in a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page, or writes it and those of the commands to a directory
    Man {
        /// An existing directory, for all of them
        #[arg(long, value_name = "DIRECTORY", value_hint = clap::ValueHint::DirPath)]
        directory: Option<PathBuf>,
    },
}

impl Command {
    /// Does it, and gives the exit code. `P` is the whole command line, for those that describe it.
    pub fn run<P: CommandFactory>(&self) -> ExitCode {
        match &self.0 {
            Kind::Status { control, json } => status(control, *json),
            Kind::Completions { shell } => manual::completions(*shell, P::command()),
            Kind::Man { directory } => manual::pages(directory.as_deref(), P::command()),
        }
    }
}

fn status(control: &str, json: bool) -> ExitCode {
    let path = match plan::control_path(control) {
        Ok(path) => path,
        Err(error) => return fail(WRONG_SETTINGS, error),
    };
    match control::show(&path, json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, format_args!("no server answers at {control}: {error}")),
    }
}

// By hand: clap derives these for enums only, and what there is to choose from is not for others
// to match.
impl FromArgMatches for Command {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Kind::from_arg_matches(matches).map(Command)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Subcommand for Command {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        Kind::augment_subcommands(command)
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Kind::augment_subcommands_for_update(command)
    }

    fn has_subcommand(name: &str) -> bool {
        Kind::has_subcommand(name)
    }
}
