//! How each application is started, and where it listens.
//!
//! Owns commands. Must not start anything.

use crate::Failure;
use crate::case::Site;
use crate::front::Front;
use crate::server::{Place, Program, find_program};
use std::path::Path;
use std::process::Command;

/// What answers behind a front, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Application {
    /// worker-bin with its own application, which dials in.
    Native,
    /// worker-bin with one in Python, which dials in.
    Worker,
    /// The peers' application: see [`crate::backend`].
    Epoll,
    /// Of class sync.
    Gunicorn,
    /// Of class gthread, four threads a process: where others have four processes, it has one.
    GunicornThreads,
    Uwsgi,
    Granian,
    Bjoern,
}

impl Application {
    /// What has to be installed. The interpreter beside it has the frameworks, too.
    pub(crate) fn program(self) -> Option<Program> {
        let (name, remedy) = match self {
            Application::Native | Application::Epoll => return None,
            // It says so itself.
            Application::Worker => ("python", FOREBAY),
            Application::Gunicorn | Application::GunicornThreads => ("gunicorn", PIP),
            Application::Uwsgi => ("uwsgi", PIP),
            Application::Granian => ("granian", PIP),
            Application::Bjoern => ("python", PIP),
        };
        Some(Program { name, remedy, version: "--version" })
    }

    /// The package that its program, an interpreter, needs.
    pub(crate) fn package(self) -> Option<&'static str> {
        match self {
            Application::Worker => Some("forebay"),
            Application::Bjoern => Some("bjoern"),
            _ => None,
        }
    }

    /// Whether it keeps connections of a front. A sync worker of gunicorn would wait for more on
    /// the only one that it can serve, and uWSGI's protocol has no more.
    pub(crate) fn keeps_connections(self) -> bool {
        !matches!(self, Application::Gunicorn | Application::Uwsgi)
    }

    /// The command that starts it. A dialled one connects to the front instead of listening.
    pub(crate) fn command(self, place: &Place<'_>) -> Result<Command, Failure> {
        let (module, workers) = match place.case.site {
            Site::Whole { module, workers } => (module, workers),
            Site::Files | Site::Proxied => ("", "16"),
        };
        let modules = place.dir.join("python");
        write_modules(&modules)?;
        let application = format!("{module}:application");
        let unix = format!("unix:{}", place.socket.display());
        match self {
            Application::Native | Application::Worker => {
                let mut command = Command::new(place.binaries.join("worker-bin"));
                command.args(["--edge", &unix, "-w", workers]);
                if self == Application::Native {
                    command.arg("probe");
                } else {
                    let python = find_program("python").ok_or("it is not installed any more")?;
                    command.arg("--python").arg(python);
                    command.arg("--pythonpath").arg(modules).arg(application);
                }
                Ok(command)
            }
            Application::Epoll => {
                let mut command = Command::new(std::env::current_exe()?);
                let dials_in = place.server.is_dialled();
                command.arg(if dials_in { "--dial-in" } else { "--backend" }).arg(place.socket);
                Ok(command)
            }
            _ => {
                let mut command = self.program().ok_or("nobody knows its program")?.command()?;
                command.env("PYTHONPATH", modules);
                self.python_arguments(&mut command, place, &application, workers);
                Ok(command)
            }
        }
    }

    fn python_arguments(self, command: &mut Command, place: &Place<'_>, app: &str, workers: &str) {
        let (is_alone, port) = (place.server.front == Front::None, place.port.to_string());
        let socket = place.socket.display();
        let bind = if is_alone { format!("127.0.0.1:{port}") } else { format!("unix:{socket}") };
        match self {
            Application::Gunicorn => {
                gunicorn(command, &bind, workers).args(["-k", "sync", app]);
            }
            Application::GunicornThreads => {
                let class = ["-k", "gthread", "--threads", "4", "--keep-alive", "75", app];
                let processes = workers.parse().unwrap_or(1_u32).div_ceil(4).to_string();
                gunicorn(command, &bind, &processes).args(class);
            }
            Application::Uwsgi => {
                command.args(["--master", "--die-on-term", "--need-app", "--disable-logging"]);
                command.args(["--processes", workers, "--listen", "1024", "--module", app]);
                command.arg("--socket").arg(place.socket).arg("--chmod-socket=666");
            }
            Application::Granian => {
                command.args(["--interface", "wsgi", "--no-ws", "--log-level", "error"]);
                command.args(["--workers", workers, "--backlog", "1024"]);
                if place.case.doing.has_schedule() {
                    // As many requests at a time as the others run.
                    command.args(["--blocking-threads", "1"]);
                }
                if is_alone {
                    command.args(["--host", "127.0.0.1", "--port", &port]);
                } else {
                    command.arg("--uds").arg(place.socket);
                }
                command.arg(app);
            }
            Application::Bjoern => {
                let (module, name) = app.split_once(':').unwrap_or((app, "application"));
                // A host, or a socket of Unix by itself.
                let place =
                    if is_alone { format!("127.0.0.1', {port}") } else { format!("{bind}'") };
                let program =
                    format!("import bjoern, {module} as m; bjoern.run(m.{name}, '{place})");
                command.args(["-c", &program]);
            }
            Application::Native | Application::Worker | Application::Epoll => {}
        }
    }
}

fn gunicorn<'a>(command: &'a mut Command, bind: &str, workers: &str) -> &'a mut Command {
    let common = ["--bind", bind, "--backlog", "1024", "--log-level", "error", "-w", workers];
    command.args(common)
}

fn write_modules(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("app.py"), include_str!("python/app.py"))?;
    std::fs::write(dir.join("app_flask.py"), include_str!("python/app_flask.py"))?;
    std::fs::write(dir.join("app_django.py"), include_str!("python/app_django.py"))?;
    Ok(())
}

const PIP: &str = "apt-get install python3-dev libev-dev; python3 -m venv V; \
    V/bin/pip install flask django gunicorn uwsgi granian bjoern; PATH=$PWD/V/bin:$PATH";
const FOREBAY: &str = "V/bin/pip install flask django ./worker-bin; PATH=$PWD/V/bin:$PATH";
