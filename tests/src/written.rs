//! An application of a few lines of Python that a test has written itself.
//!
//! Owns its folder, and the server that runs it there. Must not know what it does.

use crate::client::Client;
use crate::process::Process;
use crate::python::python;
use crate::response::Response;
use crate::wait::{PATIENCE, wait_until};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use tempfile::TempDir;

/// The module `written`, served by `worker-bin` at an address of its own. See the module's
/// documentation.
pub struct Written {
    /// Where it works, as [`write_module`] makes it.
    pub folder: TempDir,
    /// The server.
    pub arbiter: Process,
    /// Where that listens.
    pub address: SocketAddr,
}

impl Written {
    /// Serves an application. None: there is no Python, as with [`python`].
    ///
    /// # Panics
    /// When it does not start to listen.
    pub fn start(source: &str, flags: &[&str]) -> Option<Written> {
        let python = python()?;
        let folder = write_module(source);
        let own = ["--bind", "127.0.0.1:0", "--chdir", text(&folder)];
        let mut arbiter = python.worker(&[&own, flags, &["written"]].concat());
        let address = arbiter.listening(1, PATIENCE)[0];
        Some(Written { folder, arbiter, address })
    }

    /// GET on a connection of its own.
    pub fn get(&self, path: &str) -> Response {
        Client::connect(self.address).get(path)
    }

    /// The lines of the file `notes`, which the application may append to.
    pub fn notes(&self) -> Vec<String> {
        notes(self.folder.path())
    }

    /// Waits for one of them.
    pub fn wait_for_note(&self, note: &str) {
        wait_for_note(self.folder.path(), note);
    }
}

/// A folder with the module `written`.
///
/// # Panics
/// When there is no room for it.
pub fn write_module(source: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("there is room");
    fs::write(folder.path().join("written.py"), source).expect("its folder is writable");
    folder
}

/// Waits for a line of the file `notes` in a folder.
pub fn wait_for_note(folder: &Path, note: &str) {
    wait_until(note, PATIENCE, || notes(folder).iter().any(|line| line == note));
}

fn notes(folder: &Path) -> Vec<String> {
    let notes = fs::read_to_string(folder.join("notes")).unwrap_or_default();
    notes.lines().map(str::to_owned).collect()
}

fn text(folder: &TempDir) -> &str {
    folder.path().to_str().expect("temporary paths are UTF-8")
}
