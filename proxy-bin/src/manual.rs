//! The command line in other forms: completions of shells, pages of the manual.
//!
//! Owns where they go. Must not know any word of it: that is `cli`.

use crate::cli::Cli;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::{self, Write};
use std::path::Path;

/// Prints what `shell` reads.
///
/// # Errors
/// Standard output is gone: lines for people.
pub(crate) fn completions(shell: Shell) -> Result<(), Vec<String>> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    print(&mended(script))
}

/// clap_complete 4.6 gives a command of a program with `-` in its name two names in scripts for
/// bash, so that nothing of it would be completed.
fn mended(script: Vec<u8>) -> Vec<u8> {
    let script = String::from_utf8(script).expect("clap writes text");
    script.replace(&NAME.replace('-', "__subcmd__"), &NAME.replace('-', "__")).into_bytes()
}

/// Writes proxy-bin(1), and a page for each command, to `directory`; without one prints the first.
///
/// # Errors
/// They cannot be written: lines for people.
pub(crate) fn pages(directory: Option<&Path>) -> Result<(), Vec<String>> {
    let Some(directory) = directory else {
        let mut page = Vec::new();
        // As `generate_to` does it.
        let command = Cli::command().disable_help_subcommand(true);
        Man::new(command).render(&mut page).expect("memory can be written to");
        return print(&page);
    };
    clap_mangen::generate_to(Cli::command(), directory).map_err(|error| {
        let directory = directory.display();
        vec![format!(
            "cannot write manual pages to {directory}: {error}; name a directory that exists"
        )]
    })
}

fn print(text: &[u8]) -> Result<(), Vec<String>> {
    let written = io::stdout().write_all(text);
    written.map_err(|error| vec![format!("cannot write to standard output: {error}")])
}

const NAME: &str = "proxy-bin";
