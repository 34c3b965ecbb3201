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
  module:attribute, module:factory(), package.module, file.py
         a WSGI application; without attribute it is application, or else app
  hello  answers \"Hello, world!\"
  echo   answers with JSON that describes the request
  probe  for load and fault tests:
           /hello /pid /echo       as the others; the worker's process id
           /bytes/N /headers/N     N bytes of content, N response fields
           /bytes/N/PIECE /length  in pieces; how many bytes the request's content has
           /sleep/MS /spin/MS      answers after MS milliseconds, idle or burning CPU
           /status/CODE            a status
           /drip/N/MS              N chunks, MS milliseconds apart
           /once/ID /once/ID/MS    appends a line to the file named by PROBE_LOG; then waits
           /exit                   dies
           /fork/MS /keep/MS       forks a child that sleeps, and that keeps all that is open
           /stray/HOW              forks a child that comes back, by return, stream or panic";

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

/// Finds a built-in application by its name.
pub fn find(name: &str) -> Option<BuiltIn> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, app)| *app)
}

/// The built-in application whose name was perhaps meant.
pub(crate) fn resembling(name: &str) -> Option<&'static str> {
    if name.contains([':', '.', '/']) {
        return None;
    }
    NAMES.map(|(known, _)| known).into_iter().find(|known| strsim::jaro_winkler(known, name) > 0.8)
}

const NAMES: [(&str, BuiltIn); 3] =
    [("hello", BuiltIn::Hello), ("echo", BuiltIn::Echo), ("probe", BuiltIn::Probe)];

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
        assert_eq!(find("probe"), Some(BuiltIn::Probe));
        assert_eq!(find("hello:application"), None);
        assert_eq!(find("hello.py"), None);
    }

    #[test]
    fn mere_names_resemble_built_in_ones() {
        assert_eq!(resembling("helo"), Some("hello"));
        assert_eq!(resembling("prob"), Some("probe"));
        for other in ["hello:app", "hello.py", "apps/hello", "site"] {
            assert_eq!(resembling(other), None, "{other}");
        }
    }
}
