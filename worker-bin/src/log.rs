//! Lines for the operator on standard error: `[pid] level text`.
//!
//! Owns their form. Must not know what is worth one.

use crate::log_file::{ACCESS, ERRORS, reason};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU8, Ordering};

macro_rules! info {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Info, format_args!($($arg)*)) };
}
macro_rules! warning {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Warn, format_args!($($arg)*)) };
}
macro_rules! error {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Error, format_args!($($arg)*)) };
}
pub(crate) use {error, info, warning};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Info,
    Warn,
    Error,
    /// There is no line of this level.
    Critical,
}

impl Level {
    /// By its name; None: there is no such level.
    pub(crate) fn parse(name: &str) -> Option<Level> {
        Some(match name.to_ascii_lowercase().as_str() {
            "debug" | "info" => Level::Info,
            "warning" => Level::Warn,
            "error" => Level::Error,
            "critical" => Level::Critical,
            _ => return None,
        })
    }

    fn is_logged(self) -> bool {
        self as u8 >= LEAST.load(Ordering::Relaxed)
    }
}

/// From now on nothing is logged that matters less.
pub(crate) fn set_least(level: Level) {
    LEAST.store(level as u8, Ordering::Relaxed);
}

static LEAST: AtomicU8 = AtomicU8::new(0);

/// Writes one line, in one system call, so that lines of several processes do not mix.
pub(crate) fn line(level: Level, text: std::fmt::Arguments<'_>) {
    if !level.is_logged() {
        return;
    }
    write(format(std::process::id(), level, is_coloured(), text));
}

/// Writes an error with lines that explain it, such as a traceback, likewise at once.
pub(crate) fn with_details(text: std::fmt::Arguments<'_>, details: &str) {
    if !Level::Error.is_logged() {
        return;
    }
    let mut lines = format(std::process::id(), Level::Error, is_coloured(), text);
    lines.push_str(details);
    if !lines.ends_with('\n') {
        lines.push('\n');
    }
    write(lines);
}

/// Writes why the program ends, as it is.
pub(crate) fn plain(text: std::fmt::Arguments<'_>) {
    write(format!("{text}\n"));
}

/// Writes a line of the access log.
pub(crate) fn access(line: &[u8]) {
    if !ACCESS.write(line, 1) {
        return;
    }
    let lost = ACCESS.take_lost();
    if lost > 0 {
        warning!("{lost} lines of the access log found no room");
    }
}

fn write(mut lines: String) {
    let lost = ERRORS.take_lost();
    if lost > 0 {
        let pid = std::process::id();
        let _ = writeln!(lines, "[{pid}] warn {lost} messages before this one found no room");
    }
    ERRORS.write(lines.as_bytes(), lost + 1);
}

fn is_coloured() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Goes on in files that were moved away: opens them anew.
pub(crate) fn reopen() {
    for (name, file) in [("log", &ERRORS), ("access log", &ACCESS)] {
        if let Err(error) = file.reopen() {
            let reason = reason(&error);
            error!("cannot open the {name} anew, it goes on as before: {reason}");
        }
    }
}

fn format(pid: u32, level: Level, colour: bool, text: std::fmt::Arguments<'_>) -> String {
    let (name, paint) = match level {
        Level::Info => ("info", "\x1b[32m"),
        Level::Warn => ("warn", "\x1b[33m"),
        Level::Error => ("error", "\x1b[31m"),
        Level::Critical => ("critical", "\x1b[31m"),
    };
    let mut text = text.to_string().replace('\n', " | ");
    text.truncate(text.floor_char_boundary(LONGEST));
    if colour {
        format!("[{pid}] {paint}{name}\x1b[0m {text}\n")
    } else {
        format!("[{pid}] {name} {text}\n")
    }
}

/// Bytes of a text: with what surrounds it, and a note of lost ones, no more than a pipe takes at
/// once that has room at all (`PIPE_BUF`, pipe(7)).
const LONGEST: usize = 3900;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_is_one_line() {
        assert_eq!(format(7, Level::Warn, false, format_args!("a\nb")), "[7] warn a | b\n");
        assert!(Level::parse("WARNING").unwrap() > Level::parse("debug").unwrap());
        assert_eq!(Level::parse("loud"), None);
        let long = "\u{20ac}".repeat(LONGEST);
        assert_eq!(format(7, Level::Error, false, format_args!("{long}")).len(), 3900 + 11);
        assert!(format(7, Level::Error, true, format_args!("a")).contains("\x1b[31merror"));
    }
}
