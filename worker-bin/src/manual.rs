//! The command line in other forms: completions of shells, pages of the manual.
//!
//! Owns where they go. Must not know any word of it: that comes with the command line.

use crate::{fail, program_name};
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Prints what `shell` reads.
pub(crate) fn completions(shell: Shell, mut command: clap::Command) -> ExitCode {
    let (name, mut script) = (program_name(), Vec::new());
    clap_complete::generate(shell, &mut command, &name, &mut script);
    // clap_complete 4.6 gives a command of a program with `-` in its name two names in scripts for
    // bash, so that nothing of it would be completed.
    let script = String::from_utf8(script).expect("clap writes text");
    print(script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__")).as_bytes())
}

/// Writes a page for the program, and one for each command, to `directory`; without one prints the
/// first.
pub(crate) fn pages(directory: Option<&Path>, command: clap::Command) -> ExitCode {
    let Some(directory) = directory else {
        let mut page = Vec::new();
        // As `generate_to` does it.
        Man::new(command.disable_help_subcommand(true))
            .render(&mut page)
            .expect("memory can be written to");
        return print(&page);
    };
    match clap_mangen::generate_to(command, directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let directory = directory.display();
            fail(1, format_args!("cannot write manual pages to {directory}: {error}"))
        }
    }
}

/// To standard output.
pub(crate) fn print(text: &[u8]) -> ExitCode {
    match std::io::stdout().write_all(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, format_args!("cannot write to standard output: {error}")),
    }
}
