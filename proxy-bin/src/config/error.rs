//! What is wrong with a configuration, and where.
//!
//! Owns positions and the form of a message. Must not know keys.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong: one line that names file, line, value and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct ConfigError {
    /// The file, as it was named.
    pub(crate) file: PathBuf,
    /// The line in it, from 1. 0: the file as a whole.
    pub(crate) line: usize,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConfigError { file, line, message } = self;
        let message = on_one_line(message);
        match line {
            0 => write!(f, "{}: {message}", file.display()),
            _ => write!(f, "{}:{line}: {message}", file.display()),
        }
    }
}

/// Values are quoted as they are in the file, where they may have line breaks.
fn on_one_line(message: &str) -> Cow<'_, str> {
    if !message.contains(char::is_control) {
        return message.into();
    }
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    message.chars().map(escape).collect::<String>().into()
}

/// A value and the line that it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Its line, from 1.
    pub(crate) line: usize,
}

impl<T> At<T> {
    /// The same place with another value.
    pub(crate) fn with<U>(&self, value: U) -> At<U> {
        At { value, line: self.line }
    }
}

/// Collects what is wrong with one file.
#[derive(Debug)]
pub(crate) struct Problems {
    file: PathBuf,
    errors: Vec<ConfigError>,
}

impl Problems {
    /// Nothing is wrong yet.
    pub(crate) fn new(file: &Path) -> Problems {
        Problems { file: file.to_owned(), errors: Vec::new() }
    }

    /// One more.
    pub(crate) fn add(&mut self, line: usize, message: impl Into<String>) {
        self.errors.push(ConfigError { file: self.file.clone(), line, message: message.into() });
    }

    /// Nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// In the order of the file.
    pub(crate) fn sorted(mut self) -> Vec<ConfigError> {
        self.errors.sort_by_key(|error| error.line);
        self.errors
    }

    /// `value`, unless something is wrong.
    pub(crate) fn none_or<T>(self, value: T) -> Result<T, Vec<ConfigError>> {
        if self.errors.is_empty() { Ok(value) } else { Err(self.sorted()) }
    }
}

/// Finds the line of a byte.
#[derive(Debug)]
pub(crate) struct Lines<'t>(pub(crate) &'t str);

impl Lines<'_> {
    /// The line of the first byte of `span`, from 1.
    pub(crate) fn of(&self, span: Range<usize>) -> usize {
        let before = &self.0.as_bytes()[..span.start.min(self.0.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// `, did you mean …?` for the known word that `word` resembles most; else all that are known.
pub(crate) fn suggestion<'k>(word: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    let similarity = |candidate: &&str| {
        let contains = word.len() > 3 && candidate.contains(word);
        let likeness = strsim::normalized_damerau_levenshtein(word, candidate);
        (likeness.max(if contains { 0.9 } else { 0.0 }) * 1e6) as u64
    };
    match known.clone().max_by_key(similarity).filter(|best| similarity(best) > 550_000) {
        Some(best) => format!(", did you mean `{best}`?"),
        None => {
            let known: Vec<_> = known.collect();
            format!(
                "; known are: {}",
                if known.is_empty() { "none".into() } else { known.join(", ") }
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_from_one() {
        let lines = Lines("a\nbc\n\nd");
        assert_eq!([0, 1, 2, 4, 5, 6, 99].map(|at| lines.of(at..at)), [1, 1, 2, 2, 3, 4, 4]);
    }

    #[test]
    fn suggests_what_is_near_and_lists_otherwise() {
        let known = ["queue", "queue_timeout", "socket"];
        assert_eq!(suggestion("quue", known.into_iter()), ", did you mean `queue`?");
        assert_eq!(
            suggestion("queue-timeout", known.into_iter()),
            ", did you mean `queue_timeout`?"
        );
        assert!(suggestion("tls", known.into_iter()).contains("queue, queue_timeout, socket"));
        assert_eq!(suggestion("tls", [].into_iter()), "; known are: none");
    }

    #[test]
    fn a_value_with_a_line_break_does_not_break_the_line() {
        let mut problems = Problems::new(Path::new("f.toml"));
        problems.add(3, "there is no pool \u{201c}a\r\nb\u{201d}");
        let text = problems.sorted()[0].to_string();
        assert_eq!(text, "f.toml:3: there is no pool \u{201c}a\\r\\nb\u{201d}");
    }

    #[test]
    fn errors_come_in_the_order_of_the_file() {
        let mut problems = Problems::new(Path::new("f.toml"));
        problems.add(7, "b");
        problems.add(0, "a");
        let texts: Vec<_> = problems.sorted().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["f.toml: a", "f.toml:7: b"]);
    }
}
