//! What is said when it serves: a line per listener, and on a terminal what a person wants to know.
//!
//! Owns the words. Must not know whether there is a terminal.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

/// What serves.
pub(crate) struct Facts<'a> {
    pub(crate) addresses: &'a [SocketAddr],
    pub(crate) configuration: &'a Path,
    pub(crate) reactors: usize,
    pub(crate) pid: u32,
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A program, or a file.
    Machine,
    /// A person who wants no colours.
    Plain,
    /// A person.
    Person,
}

impl Reader {
    /// Of an output that is a terminal or not. `NO_COLOR` in the environment (no-color.org) turns
    /// colours off.
    pub(crate) fn of(is_terminal: bool) -> Reader {
        match (is_terminal, std::env::var_os("NO_COLOR").is_some()) {
            (false, _) => Reader::Machine,
            (true, true) => Reader::Plain,
            (true, false) => Reader::Person,
        }
    }
}

/// Whole lines. `listening on http://ADDRESS:PORT` is one for each listener, whoever reads.
pub(crate) fn text(facts: &Facts<'_>, reader: Reader) -> String {
    let style = |style: &'static str| if reader == Reader::Person { style } else { "" };
    let (bold, dim, blue, plain) =
        (style("\x1b[1m"), style("\x1b[2m"), style("\x1b[1;36m"), style("\x1b[0m"));
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        writeln!(text, "{line}").expect("writing to a string cannot fail");
    };
    let is_person = reader != Reader::Machine;
    if is_person {
        let Facts { configuration, reactors, pid, .. } = facts;
        let plural = if *reactors == 1 { "" } else { "s" };
        let what = format!("{}, {reactors} reactor{plural}, pid {pid}", configuration.display());
        line(format_args!(
            "{bold}Forebay {}{plain}  {dim}{what}{plain}",
            env!("CARGO_PKG_VERSION")
        ));
    }
    for address in facts.addresses {
        line(format_args!("listening on {blue}http://{address}{plain}"));
    }
    if is_person {
        let pid = facts.pid;
        line(format_args!(
            "{dim}Ctrl-C ends at once; kill {pid} finishes open requests first; kill -HUP {pid} \
             reads the configuration again{plain}"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reader: Reader) -> String {
        let facts = Facts {
            addresses: &["127.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap()],
            configuration: Path::new("site.toml"),
            reactors: 1,
            pid: 7,
        };
        text(&facts, reader)
    }

    #[test]
    fn machines_get_a_line_per_listener_and_nothing_else() {
        let expected = "listening on http://127.0.0.1:80\nlistening on http://[::1]:80\n";
        assert_eq!(of(Reader::Machine), expected);
    }

    #[test]
    fn people_get_more_and_colours_change_nothing_else() {
        let plain = of(Reader::Plain);
        let begin = format!("Forebay {}  site.toml, 1 reactor, pid 7\n", env!("CARGO_PKG_VERSION"));
        assert!(plain.starts_with(&begin), "{plain}");
        assert!(plain.contains(&of(Reader::Machine)) && plain.contains("kill -HUP 7"), "{plain}");
        assert!(!plain.contains('\x1b'), "{plain}");
        let styles = ["\x1b[1m", "\x1b[2m", "\x1b[1;36m", "\x1b[0m"].into_iter();
        let bare = styles.fold(of(Reader::Person), |text, style| text.replace(style, ""));
        assert_eq!(bare, plain);
    }
}
