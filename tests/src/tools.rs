//! What the environment has: other people's programs, and time.

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// An installed program. See [`tool`].
#[derive(Clone, Debug)]
pub struct Tool {
    path: PathBuf,
}

impl Tool {
    /// A command that runs it.
    pub fn command(&self) -> Command {
        Command::new(&self.path)
    }

    /// Runs it and returns its standard output.
    ///
    /// # Panics
    /// When it cannot be run or fails; the message has its standard error.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Vec<u8> {
        let output = self.command().args(arguments).output().expect("an installed tool runs");
        assert!(
            output.status.success(),
            "{} ended with {}: {}",
            self.path.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }
}

/// Finds a program on `PATH`. If there is none, says that the test is skipped.
///
/// # Panics
/// Instead of skipping, when `FOREBAY_REQUIRE=all`.
pub fn tool(name: &str) -> Option<Tool> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|p| p.is_file());
    if found.is_none() {
        assert!(!is_required(), "{name} is not installed, and FOREBAY_REQUIRE=all forbids to skip");
        skip(&format!("{name} is not installed"));
    }
    found.map(|path| Tool { path })
}

/// Whether a test that would skip for want of a tool is to fail: `FOREBAY_REQUIRE=all`.
pub fn is_required() -> bool {
    env::var("FOREBAY_REQUIRE").is_ok_and(|value| value == "all")
}

/// Whether tests take their time and assert figures, too, which on a shared machine are chance:
/// `FOREBAY_FULL=1`.
pub fn is_full() -> bool {
    env::var("FOREBAY_FULL").is_ok_and(|value| value == "1")
}

/// Says that the test is skipped, for a reason that no installation removes.
pub fn skip(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not eprintln: the test runner swallows that of tests that pass.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {reason}");
}
