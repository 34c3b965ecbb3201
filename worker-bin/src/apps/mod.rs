//! The built-in applications: for a first look, and for load and fault tests.
//!
//! Owns their names. Must not know how they are served.

mod echo;
mod hello;
mod probe;

use crate::app::{App, Request};
use crate::response::Response;

/// What the names mean, for `--help`.
pub const HELP: &str = "\
Applications:
  hello  answers \"Hello, world!\"
  echo   answers with JSON that describes the request
  probe  for load and fault tests:
           /hello /pid /echo       as the others; the worker's process id
           /bytes/N /headers/N     N bytes of content, N response fields
           /bytes/N/PIECE /length  in pieces; how many bytes the request's content has
           /sleep/MS /spin/MS      answers after MS milliseconds, idle or burning CPU
           /status/CODE            a status
           /drip/N/MS              N chunks, MS milliseconds apart
           /once/ID                appends a line to the file named by PROBE_LOG
           /exit                   dies
           /fork/MS /keep/MS       forks a child that sleeps, and that keeps all that is open";

/// A built-in application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// `Hello, world!`, whatever is asked.
    Hello,
    /// JSON that describes the request.
    Echo,
    /// Behaves, and misbehaves, as its path says.
    Probe,
}

/// There is no such application.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownApp {
    /// `module:object` or `file.py`.
    #[error(
        "`{0}` is a Python application, which this build does not support yet: \
         use one of hello, echo, probe"
    )]
    Python(String),
    /// Anything else.
    #[error("no application `{0}`: use one of hello, echo, probe")]
    NoSuch(String),
}

/// Finds a built-in application by its name.
///
/// # Errors
/// There is none of that name.
pub fn find(name: &str) -> Result<BuiltIn, UnknownApp> {
    match name {
        "hello" => Ok(BuiltIn::Hello),
        "echo" => Ok(BuiltIn::Echo),
        "probe" => Ok(BuiltIn::Probe),
        _ if name.contains(':') || name.ends_with(".py") => Err(UnknownApp::Python(name.into())),
        _ => Err(UnknownApp::NoSuch(name.into())),
    }
}

impl App for BuiltIn {
    fn call(&self, request: Request) -> Response {
        match self {
            BuiltIn::Hello => hello::hello(),
            BuiltIn::Echo => echo::echo(&request),
            BuiltIn::Probe => probe::probe(&request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        assert_eq!(find("probe"), Ok(BuiltIn::Probe));
        assert!(matches!(find("site.wsgi:application"), Err(UnknownApp::Python(_))));
        assert!(matches!(find("site.py"), Err(UnknownApp::Python(_))));
        let error = find("helo").unwrap_err().to_string();
        assert_eq!(error, "no application `helo`: use one of hello, echo, probe");
    }
}
