//! The command line in other forms: completions of shells, pages of the manual.
//!
//! Owns where they go. Must not know any word of it: that is `cli`.

use crate::cli::Cli;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
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
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(directory) = directory else { return print(page(&Man::new(command)).as_bytes()) };
    write(&command, directory).map_err(|error| {
        let directory = directory.display();
        vec![format!(
            "cannot write manual pages to {directory}: {error}; name a directory that exists"
        )]
    })
}

/// A page for `command`, and one for each of its commands.
fn write(command: &Command, directory: &Path) -> io::Result<()> {
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        write(command, directory)?;
    }
    let man = Man::new(command.clone());
    fs::write(directory.join(man.get_filename()), page(&man))
}

fn page(man: &Man) -> String {
    let mut page = Vec::new();
    man.render(&mut page).expect("memory can be written to");
    unfilled(&String::from_utf8(page).expect("clap writes text"))
}

/// What follows the options in `--help` has its own lines: tables and examples.
fn unfilled(page: &str) -> String {
    let Some((before, extra)) = page.split_once("\n.SH EXTRA\n") else { return page.to_owned() };
    let (extra, rest) = extra.split_at(extra.find("\n.SH ").map_or(extra.len(), |end| end + 1));
    let end = if extra.ends_with('\n') { "" } else { "\n" };
    format!("{before}\n.SH EXTRA\n.nf\n{extra}{end}.fi\n{rest}")
}

fn print(text: &[u8]) -> Result<(), Vec<String>> {
    let written = io::stdout().write_all(text);
    written.map_err(|error| vec![format!("cannot write to standard output: {error}")])
}

const NAME: &str = "proxy-bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_options_keeps_its_lines() {
        for (page, expected) in [
            (".SH NAME\na\n", ".SH NAME\na\n"),
            (".SH NAME\na\n.SH EXTRA\n b\n c", ".SH NAME\na\n.SH EXTRA\n.nf\n b\n c\n.fi\n"),
            ("a\n.SH EXTRA\nb\n.SH V\nv1\n", "a\n.SH EXTRA\n.nf\nb\n.fi\n.SH V\nv1\n"),
        ] {
            assert_eq!(unfilled(page), expected);
        }
    }
}
