//! Who is compared: a front, and perhaps an application behind it.
//!
//! Owns names, programs and how to install them. Must not start anything.

use crate::Failure;
use crate::application::Application;
use crate::case::Case;
use crate::front::Front;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) front: Front,
    /// Of cases with an application.
    pub(crate) application: Application,
    /// Or processes, of the front: one on the server's core, or one on each core.
    pub(crate) threads: u8,
}

pub(crate) const FOREBAY: Server = of("forebay", Front::Forebay, Application::Native);
/// With the peers' application instead of worker-bin.
pub(crate) const FOREBAY_EPOLL: Server = of("forebay-epoll", Front::Forebay, Application::Epoll);
pub(crate) const BARE: Server = of("bare io_uring", Front::Bare, Application::Epoll);
pub(crate) const NGINX: Server = of("nginx", Front::Nginx, Application::Epoll);
pub(crate) const NGINX_NO_SENDFILE: Server =
    of("nginx-nosendfile", Front::NginxNoSendfile, Application::Epoll);
pub(crate) const H2O: Server = of("h2o", Front::H2o, Application::Epoll);
pub(crate) const HAPROXY: Server = of("haproxy", Front::Haproxy, Application::Epoll);
pub(crate) const LIGHTTPD: Server = of("lighttpd", Front::Lighttpd, Application::Epoll);
pub(crate) const CADDY: Server = of("caddy", Front::Caddy, Application::Epoll);
pub(crate) const FOREBAY_2: Server = twice("forebay-2", FOREBAY);
pub(crate) const NGINX_2: Server = twice("nginx-2", NGINX);
pub(crate) const H2O_2: Server = twice("h2o-2", H2O);
pub(crate) const FOREBAY_WSGI: Server = of("forebay", Front::Forebay, Application::Worker);
pub(crate) const NGINX_GUNICORN: Server = of("nginx+gunicorn", Front::Nginx, Application::Gunicorn);
/// With as many connections to its application as may wait for a while, so that it refuses.
pub(crate) const NGINX_LIMITED_GUNICORN: Server =
    of("nginx:40+gunicorn", Front::NginxLimited, Application::Gunicorn);
pub(crate) const HAPROXY_GUNICORN: Server =
    of("haproxy+gunicorn", Front::Haproxy, Application::Gunicorn);
pub(crate) const GUNICORN: Server = of("gunicorn", Front::None, Application::Gunicorn);
pub(crate) const NGINX_GTHREAD: Server =
    of("nginx+gthread", Front::Nginx, Application::GunicornThreads);
pub(crate) const NGINX_UWSGI: Server = of("nginx+uwsgi", Front::Nginx, Application::Uwsgi);
pub(crate) const NGINX_GRANIAN: Server = of("nginx+granian", Front::Nginx, Application::Granian);
pub(crate) const GRANIAN: Server = of("granian", Front::None, Application::Granian);
pub(crate) const BJOERN: Server = of("bjoern", Front::None, Application::Bjoern);
/// The floor of two processes that share a core.
pub(crate) const BARE_BJOERN: Server = of("bare+bjoern", Front::Bare, Application::Bjoern);

/// Several workers of an application in Python, with what users put in front of them.
pub(crate) const WHOLE_SITES: &[Server] =
    &[FOREBAY_WSGI, NGINX_GUNICORN, NGINX_GTHREAD, NGINX_UWSGI, NGINX_GRANIAN, HAPROXY_GUNICORN];

const fn of(name: &'static str, front: Front, application: Application) -> Server {
    Server { name, front, application, threads: 1 }
}

const fn twice(name: &'static str, server: Server) -> Server {
    Server { name, threads: 2, ..server }
}

/// Where one run of a server happens.
pub(crate) struct Place<'a> {
    pub(crate) case: &'static Case,
    pub(crate) server: Server,
    /// For configuration, logs and sockets; not kept.
    pub(crate) dir: &'a Path,
    /// The directory of the files that are served.
    pub(crate) root: &'a Path,
    /// Between the server and the application.
    pub(crate) socket: &'a Path,
    pub(crate) port: u16,
    /// The directory of our own programs.
    pub(crate) binaries: &'a Path,
}

impl Server {
    pub(crate) fn is_ours(self) -> bool {
        self.front == Front::Forebay
    }

    pub(crate) fn is_installed(self) -> bool {
        self.programs().all(|program| find_program(program.name).is_some())
            && self.application.package().is_none_or(can_import)
    }

    /// How to install it.
    pub(crate) fn remedy(self) -> String {
        let is_missing = |program: &Program| find_program(program.name).is_none();
        let front = self.front.program().filter(is_missing);
        let missing = front.into_iter().chain(self.application.program());
        missing.map(|program| program.remedy).collect::<Vec<_>>().join("; ")
    }

    /// Which version this is, in its own words.
    pub(crate) fn version(self) -> String {
        let version = |program: Program| {
            let arguments = program.version.split(' ');
            let output = Command::new(find_program(program.name)?).args(arguments).output().ok()?;
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            let said = text.lines().next()?.replace("version", "").replace(':', "");
            // Some say their number only, some much more.
            let words = said.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
            Some(if words.starts_with(|c: char| c.is_ascii_digit()) {
                format!("{} {words}", program.name)
            } else {
                words
            })
        };
        match self.programs().filter_map(version).collect::<Vec<_>>() {
            own if own.is_empty() => format!("forebay {}", crate::build::commit()),
            versions => versions.join(", "),
        }
    }

    /// Its workers dial in, so it must be there before its application.
    pub(crate) fn is_dialled(self) -> bool {
        self.is_ours()
    }

    fn programs(self) -> impl Iterator<Item = Program> {
        self.front.program().into_iter().chain(self.application.program())
    }
}

/// A program of somebody else.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// The command that installs it.
    pub(crate) remedy: &'static str,
    /// The arguments that make it say its version.
    pub(crate) version: &'static str,
}

impl Program {
    /// # Errors
    /// It has gone.
    pub(crate) fn command(self) -> Result<Command, Failure> {
        Ok(Command::new(find_program(self.name).ok_or("it is not installed any more")?))
    }
}

/// Whether the interpreter on the path finds that package.
fn can_import(package: &str) -> bool {
    let import = |python| Command::new(python).args(["-c", &format!("import {package}")]).output();
    find_program("python").is_some_and(|python| import(python).is_ok_and(|o| o.status.success()))
}

/// Where a program is; also in the places that only administrators have on their path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
    let candidates = std::env::split_paths(&path).chain(more).map(|dir| dir.join(name));
    candidates.into_iter().find(|candidate| candidate.is_file())
}
