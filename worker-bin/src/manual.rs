//! The command line in other forms: completions of shells, pages of the manual.
//!
//! Owns where they go. Must not know any word of it: that comes with the command line.

use crate::exit::FAILED;
use crate::{fail, program_name};
use clap::builder::{Resettable, Str};
use clap::{Arg, ArgGroup, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Prints what `shell` reads.
pub(crate) fn completions(shell: Shell, command: Command) -> ExitCode {
    let (name, mut script) = (program_name(), Vec::new());
    clap_complete::generate(shell, &mut shown(&command), &name, &mut script);
    // clap_complete 4.6 gives a command of a program with `-` in its name two names in scripts for
    // bash, so that nothing of it would be completed.
    let script = String::from_utf8(script).expect("clap writes text");
    print(script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__")).as_bytes())
}

/// Without hidden arguments, which clap_complete would offer. Where others require or exclude them,
/// empty groups have their names.
fn shown(command: &Command) -> Command {
    let (hidden, shown): (Vec<&Arg>, Vec<_>) =
        command.get_arguments().partition(|argument| argument.is_hide_set());
    let version = command.get_version().map(|version| Str::from(version.to_owned()));
    Command::new(command.get_name().to_owned())
        .version(Resettable::from(version))
        .disable_version_flag(command.is_disable_version_flag_set())
        .args(shown)
        .groups(hidden.into_iter().map(|argument| ArgGroup::new(argument.get_id().clone())))
        .subcommands(command.get_subcommands())
}

/// Writes a page for the program, and one for each command, to `directory`; without one prints the
/// first.
pub(crate) fn pages(directory: Option<&Path>, command: Command) -> ExitCode {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(directory) = directory else {
        return print(page(&Man::new(command)).as_bytes());
    };
    match write(&command, directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let directory = directory.display();
            fail(FAILED, format_args!("cannot write manual pages to {directory}: {error}"))
        }
    }
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

/// To standard output.
pub(crate) fn print(text: &[u8]) -> ExitCode {
    match std::io::stdout().write_all(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, format_args!("cannot write to standard output: {error}")),
    }
}

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
