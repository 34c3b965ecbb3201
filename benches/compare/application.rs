//! How each application is started, and on which socket.
//!
//! Owns commands. Must not start anything.

use crate::Failure;
use crate::case::Site;
use crate::server::{Place, Program};
use std::process::Command;

/// What answers behind a front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Application {
    /// worker-bin, which dials in.
    Native,
    /// The peers' application: see [`crate::backend`].
    Epoll,
    /// Two sync workers with `app.py`.
    Gunicorn,
}

impl Application {
    /// What has to be installed.
    pub(crate) fn program(self) -> Option<Program> {
        let (name, remedy) = match self {
            Application::Native | Application::Epoll => return None,
            Application::Gunicorn => (
                "gunicorn",
                "python3 -m venv V && V/bin/pip install gunicorn && PATH=$PWD/V/bin:$PATH",
            ),
        };
        Some(Program { name, remedy, version: "--version" })
    }

    /// The command that starts it. A dialled one connects to the front instead of listening.
    pub(crate) fn command(self, place: &Place<'_>, dialled: bool) -> Result<Command, Failure> {
        let socket = format!("unix:{}", place.socket.display());
        match self {
            Application::Native => {
                let mut command = Command::new(place.binaries.join("worker-bin"));
                let workers = if place.case.site == Site::Whole { WORKERS } else { "16" };
                command.args(["--edge", &socket, "-w", workers, "probe"]);
                Ok(command)
            }
            Application::Epoll => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(if dialled { "--dial-in" } else { "--backend" }).arg(place.socket);
                Ok(command)
            }
            Application::Gunicorn => {
                std::fs::write(place.dir.join("app.py"), include_str!("app.py"))?;
                let mut command = self.program().ok_or("it is not installed")?.command()?;
                command.args(["-w", WORKERS, "-k", "sync", "-b", &socket, "--chdir"]);
                command.arg(place.dir).arg("app:application");
                Ok(command)
            }
        }
    }
}

/// Processes of an application that is part of the server.
const WORKERS: &str = "2";
