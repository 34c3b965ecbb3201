//! How each server is configured and started: one process or thread that serves, no access log,
//! connections kept for as long as they can be.
//!
//! Owns configurations and commands. Must not start anything.

use crate::Failure;
use crate::scenario::Scenario;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Forebay,
    /// With the peers' application instead of worker-bin.
    ForebayEpoll,
    Nginx,
    NginxNoSendfile,
    /// With two sync workers of gunicorn as its application.
    NginxGunicorn,
    H2o,
}

/// Where one run of a server happens.
pub(crate) struct Place<'a> {
    pub(crate) scenario: Scenario,
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
    /// Whoever differs in this scenario.
    pub(crate) fn of(scenario: Scenario) -> &'static [Server] {
        match scenario {
            Scenario::Static1k => {
                &[Server::Forebay, Server::Nginx, Server::NginxNoSendfile, Server::H2o]
            }
            Scenario::ProxySmall => {
                &[Server::Forebay, Server::ForebayEpoll, Server::Nginx, Server::H2o]
            }
            Scenario::Upload | Scenario::Download => &[Server::Forebay, Server::NginxGunicorn],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Server::Forebay => "forebay",
            Server::ForebayEpoll => "forebay-epoll",
            Server::Nginx => "nginx",
            Server::NginxNoSendfile => "nginx-nosendfile",
            Server::NginxGunicorn => "nginx+gunicorn",
            Server::H2o => "h2o",
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        let programs = self.program().into_iter().chain(self.application());
        programs.into_iter().all(|program| find_program(program).is_some())
    }

    /// How to install it.
    pub(crate) fn remedy(self) -> String {
        let install = format!("apt-get install {}", self.program().unwrap_or("nothing"));
        match self.application() {
            None => install,
            Some(name) => {
                format!("{install}; python3 -m venv V; V/bin/pip install {name}; PATH=V/bin:$PATH")
            }
        }
    }

    /// Which version this is, in its own words.
    pub(crate) fn version(self) -> String {
        let Some(program) = self.program().and_then(find_program) else {
            return format!("forebay {}", crate::build::commit());
        };
        let version = |program: &Path| {
            let output = Command::new(program).arg("-v").output().ok()?;
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
        };
        let programs = [Some(program), self.application().and_then(find_program)];
        let versions = programs.into_iter().flatten().filter_map(|program| version(&program));
        versions.collect::<Vec<_>>().join(", ")
    }

    /// Its workers dial in, so it must be there before its application.
    pub(crate) fn is_dialled(self) -> bool {
        matches!(self, Server::Forebay | Server::ForebayEpoll)
    }

    /// Writes the configuration; the command that starts the server.
    pub(crate) fn command(self, place: &Place<'_>) -> Result<Command, Failure> {
        let configuration = place.dir.join("server.conf");
        std::fs::write(&configuration, self.configuration(place)?)?;
        let program = match self.program() {
            None => place.binaries.join("proxy-bin"),
            Some(program) => find_program(program).ok_or("it is not installed any more")?,
        };
        let mut command = Command::new(program);
        match self {
            Server::Forebay | Server::ForebayEpoll => {
                command.args(["run", "--config"]).arg(configuration)
            }
            Server::Nginx | Server::NginxNoSendfile | Server::NginxGunicorn => {
                let errors = place.dir.join("errors.log");
                command.arg("-c").arg(configuration).arg("-p").arg(place.dir).arg("-e").arg(errors)
            }
            Server::H2o => command.arg("-c").arg(configuration),
        };
        Ok(command)
    }

    /// The command that starts the application behind the server.
    pub(crate) fn backend(self, place: &Place<'_>) -> Result<Command, Failure> {
        let socket = format!("unix:{}", place.socket.display());
        if self == Server::Forebay {
            let mut command = Command::new(place.binaries.join("worker-bin"));
            let what = match place.scenario.transfer() {
                None => ["-w", "16", "hello"],
                Some(_) => ["-w", WORKERS, "probe"],
            };
            command.args(["--edge", &socket]).args(what);
            return Ok(command);
        }
        if let Some(program) = self.application() {
            std::fs::write(place.dir.join("app.py"), include_str!("app.py"))?;
            let program = find_program(program).ok_or("it is not installed any more")?;
            let mut command = Command::new(program);
            command.args(["-w", WORKERS, "-k", "sync", "-b", &socket, "--chdir"]);
            command.arg(place.dir).arg("app:application");
            return Ok(command);
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(if self.is_dialled() { "--dial-in" } else { "--backend" }).arg(place.socket);
        Ok(command)
    }

    fn program(self) -> Option<&'static str> {
        match self {
            Server::Forebay | Server::ForebayEpoll => None,
            Server::Nginx | Server::NginxNoSendfile | Server::NginxGunicorn => Some("nginx"),
            Server::H2o => Some("h2o"),
        }
    }

    /// The program that runs its application, if that is neither ours nor this one.
    fn application(self) -> Option<&'static str> {
        (self == Server::NginxGunicorn).then_some("gunicorn")
    }

    fn configuration(self, place: &Place<'_>) -> Result<String, Failure> {
        Ok(match self {
            Server::Forebay | Server::ForebayEpoll => forebay(place),
            Server::Nginx | Server::NginxGunicorn => nginx(place, "sendfile on; tcp_nopush on;")?,
            Server::NginxNoSendfile => nginx(place, "sendfile off;")?,
            Server::H2o => h2o(place)?,
        })
    }
}

fn forebay(place: &Place<'_>) -> String {
    let Place { port, root, socket, dir, .. } = place;
    let (root, socket, dir) = (root.display(), socket.display(), dir.display());
    let route = match place.scenario.is_proxied() {
        false => format!("[[route]]\npath = \"/\"\nfiles = \"{root}\"\n"),
        true => {
            format!("[[route]]\npath = \"/\"\npool = \"app\"\n[pool.app]\nsocket = \"{socket}\"\n")
        }
    };
    format!(
        "[server]\nlisten = [\"127.0.0.1:{port}\"]\nreactors = 1\naccess_log = \"off\"\n\
        spool_dir = \"{dir}\"\n[limits]\nkeepalive_requests = 1_000_000_000\n{route}"
    )
}

fn nginx(place: &Place<'_>, sending: &str) -> Result<String, Failure> {
    let Place { port, root, socket, dir, .. } = place;
    let (root, socket, dir) = (root.display(), socket.display(), dir.display());
    let user = if is_root()? { "user root;" } else { "" };
    // At least as many idle connections as clients, or it would close and open them all the time.
    let (upstream, location) = match place.scenario.is_proxied() {
        false => (String::new(), format!("root {root};")),
        // A sync worker of gunicorn keeps no connection: it would wait on it for its only client.
        true if place.scenario.transfer().is_some() => (
            format!("upstream app {{ server unix:{socket}; }}"),
            "proxy_pass http://app; proxy_set_header Host $host; client_max_body_size 0;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
                .into(),
        ),
        true => (
            format!(
                "upstream app {{ server unix:{socket}; keepalive 64; \
                keepalive_requests 1000000000; }}"
            ),
            "proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\";
            proxy_set_header Host $host; proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
                .into(),
        ),
    };
    Ok(format!(
        "daemon off; worker_processes 1; {user} pid {dir}/nginx.pid; error_log {dir}/errors.log;
events {{ worker_connections 4096; multi_accept on; }}
http {{
    access_log off;
    types {{ text/plain txt; }}
    {sending}
    tcp_nodelay on;
    keepalive_requests 1000000000;
    open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    {upstream}
    server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ {location} }} }}
}}
"
    ))
}

fn h2o(place: &Place<'_>) -> Result<String, Failure> {
    let Place { port, root, socket, dir, .. } = place;
    let (root, socket, dir) = (root.display(), socket.display(), dir.display());
    let user = if is_root()? { "user: root" } else { "" };
    // It adds X-Forwarded-For and X-Forwarded-Proto by itself.
    let action = match place.scenario.is_proxied() {
        false => format!("file.dir: {root}"),
        true => format!(
            "proxy.reverse.url: \"http://[unix:{socket}]/\"\n        \
            proxy.preserve-host: ON\n        proxy.timeout.keepalive: 60000"
        ),
    };
    Ok(format!(
        "{user}
num-threads: 1
max-connections: 4096
http1-upgrade-to-http2: OFF
pid-file: {dir}/h2o.pid
error-log: {dir}/errors.log
hosts:
  default:
    listen:
      host: 127.0.0.1
      port: {port}
    paths:
      \"/\":
        {action}
"
    ))
}

/// Processes of the application where it is part of the server.
const WORKERS: &str = "2";

/// Where a program is; also in the places that only administrators have on their path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
    let candidates = std::env::split_paths(&path).chain(more).map(|dir| dir.join(name));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

/// Servers of root give up their rights, and with them their way into the scratch directory.
fn is_root() -> Result<bool, Failure> {
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}
