//! Messages on standard error.
//!
//! Owns their form, and which are written. Must not know what is worth one.

use crate::stderr::{self, Stderr};
use std::env::{self, VarError};
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};

/// Begins to log what `FOREBAY_LOG` says.
pub(crate) fn start() {
    let filter = match env::var(VARIABLE) {
        Ok(written) if !written.is_empty() => filter(&written),
        Err(VarError::NotUnicode(written)) => filter(&written.to_string_lossy()),
        Ok(_) | Err(VarError::NotPresent) => Ok(EnvFilter::new(DEFAULT)),
    };
    let filter = filter.unwrap_or_else(|error| {
        complain(&error);
        EnvFilter::new(DEFAULT)
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Stderr)
        .with_ansi(io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none())
        .with_target(false)
        // It would tell of them on standard error, and panic where that fails.
        .log_internal_errors(false)
        .init();
}

/// A line for people, whatever is logged.
pub(crate) fn complain(line: &str) {
    stderr::write(format!("proxy-bin: {}\n", line.replace('\n', " ")).as_bytes());
}

/// The error is a line for people.
fn filter(written: &str) -> Result<EnvFilter, String> {
    let words = written.split(',').map(str::trim).filter(|word| !word.is_empty());
    let words: Vec<_> = words.collect();
    match words.iter().find(|word| !is_understood(word)) {
        None => Ok(EnvFilter::new(words.join(","))),
        Some(word) => Err(format!(
            "{VARIABLE}: `{word}` is not error, warn, info, debug, trace or MODULE=LEVEL; the \
             default is used"
        )),
    }
}

/// A mere word that is no level would be taken for a module, and all others would be silent.
fn is_understood(word: &str) -> bool {
    match word.contains(['=', ':', '[']) {
        true => word.parse::<Directive>().is_ok(),
        false => word.parse::<LevelFilter>().is_ok(),
    }
}

const VARIABLE: &str = "FOREBAY_LOG";
/// Failing starts are told in one line, so others than us only warn.
const DEFAULT: &str = "warn,proxy_bin=info";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_understood_and_other_words_are_named() {
        for written in [DEFAULT, "debug", "ERROR", "off", "info, forebay::pool=trace,", "a::b"] {
            assert!(filter(written).is_ok(), "{written}");
        }
        for (written, word) in [
            ("warning", "`warning` is not error, warn"),
            ("info,forebay", "`forebay`"),
            ("proxy_bin=loud", "`proxy_bin=loud`"),
            ("warn;debug", "`warn;debug`"),
            ("\u{fffd}", "`\u{fffd}`"),
        ] {
            let error = filter(written).unwrap_err();
            assert!(error.contains(word) && error.ends_with("the default is used"), "{error}");
        }
    }
}
