//! How each front is configured and started: one process or thread that serves, no access log,
//! connections kept for as long as they can be.
//!
//! Owns configurations and commands. Must not start anything.

use crate::Failure;
use crate::application::Application;
use crate::case::{Doing, Site};
use crate::server::{Place, Program};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// What clients talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// The application listens itself.
    None,
    Forebay,
    /// Parses nothing: see [`crate::bare`].
    Bare,
    Nginx,
    NginxNoSendfile,
    /// Refuses when 40 requests are with the application, or wait there.
    NginxLimited,
    H2o,
    Haproxy,
    Lighttpd,
    Caddy,
}

impl Front {
    /// What has to be installed.
    pub(crate) fn program(self) -> Option<Program> {
        let (name, remedy, version) = match self {
            Front::None | Front::Forebay | Front::Bare => return None,
            Front::Nginx | Front::NginxNoSendfile | Front::NginxLimited => {
                ("nginx", "apt-get install nginx", "-v")
            }
            Front::H2o => ("h2o", "apt-get install h2o", "-v"),
            Front::Haproxy => ("haproxy", "apt-get install haproxy", "-v"),
            Front::Lighttpd => ("lighttpd", "apt-get install lighttpd", "-v"),
            Front::Caddy => ("caddy", "apt-get install caddy", "version"),
        };
        Some(Program { name, remedy, version })
    }

    /// What makes it take its configuration anew.
    pub(crate) fn reload_signal(self) -> i32 {
        if self == Front::Haproxy { libc::SIGUSR2 } else { libc::SIGHUP }
    }

    /// Writes the configuration; the command that starts it in the foreground.
    pub(crate) fn command(self, place: &Place<'_>) -> Result<Command, Failure> {
        let (text, arguments) = match self {
            Front::Forebay => (forebay(place), "run --config"),
            Front::Bare => return bare(place),
            Front::None => return place.server.application.command(place),
            Front::Nginx | Front::NginxLimited => {
                (nginx(place, "sendfile on; tcp_nopush on;")?, "-c")
            }
            Front::NginxNoSendfile => (nginx(place, "sendfile off; output_buffers 2 128k;")?, "-c"),
            Front::H2o => (h2o(place)?, "-c"),
            // With a master, who reloads.
            Front::Haproxy => (haproxy(place), "-W -db -f"),
            Front::Lighttpd => (lighttpd(place), "-D -f"),
            Front::Caddy => (caddy(place), "run --adapter caddyfile --config"),
        };
        let configuration = place.dir.join("server.conf");
        std::fs::write(&configuration, text)?;
        let mut command = match self.program() {
            None => Command::new(place.binaries.join("proxy-bin")),
            Some(program) => program.command()?,
        };
        command.args(arguments.split(' ')).arg(configuration);
        match self {
            Front::Nginx | Front::NginxNoSendfile | Front::NginxLimited => {
                command.arg("-p").arg(place.dir).arg("-e").arg(place.dir.join("errors.log"));
            }
            // One thread that serves, as the others have.
            Front::Caddy => {
                command.env("GOMAXPROCS", "1").env("HOME", place.dir);
            }
            _ => {}
        }
        Ok(command)
    }
}

/// Its answers are those that a server of files gives, and those of the application.
fn bare(place: &Place<'_>) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--port", &place.port.to_string()]);
    let exchange = match (place.case.site, place.case.doing) {
        (Site::Files, Doing::Exchange(exchange)) => exchange,
        _ => {
            command.arg("--relay").arg(place.socket);
            return Ok(command);
        }
    };
    let file = place.dir.join("answer");
    std::fs::write(&file, answer(exchange.path, exchange.status)?)?;
    command.arg("--bare").arg(file);
    if exchange.closes {
        command.arg("--closes");
    }
    Ok(command)
}

fn answer(path: &str, status: u16) -> Result<Vec<u8>, Failure> {
    let date = "Date: Tue, 24 Nov 2026 10:00:00 GMT\r\n";
    let validators = "ETag: \"1a2b3c4d5e6f-400\"\r\n\
        Last-Modified: Tue, 24 Nov 2026 10:00:00 GMT\r\n";
    let (fields, content) = match status {
        304 => (format!("HTTP/1.1 304 Not Modified\r\n{validators}"), Vec::new()),
        404 => {
            let content = b"Not found\n".to_vec();
            ("HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n".into(), content)
        }
        _ => {
            let content = crate::statics::content_at(path).ok_or("there is no such file")?;
            let fields = "Content-Type: text/plain\r\nAccept-Ranges: bytes\r\n";
            (format!("HTTP/1.1 200 OK\r\n{validators}{fields}"), content)
        }
    };
    let length = match status {
        304 => String::new(),
        _ => format!("Content-Length: {}\r\n", content.len()),
    };
    Ok([format!("{fields}{length}{date}\r\n").as_bytes(), &content].concat())
}

fn forebay(place: &Place<'_>) -> String {
    let Place { port, root, socket, dir, .. } = place;
    let (root, socket, dir) = (root.display(), socket.display(), dir.display());
    let route = match place.case.site {
        Site::Files => format!("[[route]]\npath = \"/\"\nfiles = \"{root}\"\n"),
        Site::Proxied | Site::Whole { .. } => {
            format!("[[route]]\npath = \"/\"\npool = \"app\"\n[pool.app]\nsocket = \"{socket}\"\n")
        }
    };
    let threads = place.server.threads;
    // All come from one address, and at once.
    let limits = match place.case.doing {
        Doing::Scaling(_) => {
            let most = place.case.doing.most_connections();
            format!("connections = {most}\nconnections_per_address = {most}\n")
        }
        _ => String::new(),
    };
    format!(
        "[server]\nlisten = [\"127.0.0.1:{port}\"]\nreactors = {threads}\naccess_log = \"off\"\n\
        spool_dir = \"{dir}\"\n[limits]\nkeepalive_requests = 1_000_000_000\n{limits}{route}"
    )
}

fn nginx(place: &Place<'_>, sending: &str) -> Result<String, Failure> {
    let Place { port, root, socket, dir, .. } = place;
    let (root, socket, dir) = (root.display(), socket.display(), dir.display());
    let user = if is_root()? { "user root;" } else { "" };
    let application = place.server.application;
    let (upstream, location) = match place.case.site {
        Site::Files => (String::new(), format!("root {root};")),
        // At least as many idle connections as clients, or it would close and open them all the
        // time.
        _ if application.keeps_connections() => (
            format!("server unix:{socket}; keepalive 64; keepalive_requests 1000000000;"),
            format!("{PROXY} proxy_http_version 1.1; proxy_set_header Connection \"\";"),
        ),
        _ if application == Application::Uwsgi => (
            format!("server unix:{socket};"),
            "include /etc/nginx/uwsgi_params; uwsgi_pass app; uwsgi_buffers 16 16k;
            uwsgi_buffer_size 16k;"
                .to_owned(),
        ),
        _ if place.server.front == Front::NginxLimited => {
            (format!("server unix:{socket} max_conns=40;"), PROXY.to_owned())
        }
        _ => (format!("server unix:{socket};"), PROXY.to_owned()),
    };
    let upstream = match place.case.site {
        Site::Files => upstream,
        _ => format!("upstream app {{ {upstream} }}"),
    };
    let (threads, connections) = (place.server.threads, place.case.doing.most_connections());
    let listen = if threads > 1 { "reuseport" } else { "" };
    Ok(format!(
        "daemon off; worker_processes {threads}; {user} pid {dir}/nginx.pid;
error_log {dir}/errors.log crit;
events {{ worker_connections {connections}; multi_accept on; }}
http {{
    access_log off;
    types {{ text/plain txt; }}
    {sending}
    tcp_nodelay on;
    keepalive_requests 1000000000;
    open_file_cache max=2000 inactive=60s; open_file_cache_valid 60s; open_file_cache_errors on;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    {upstream}
    server {{ listen 127.0.0.1:{port} backlog=4096 {listen}; location / {{ {location} }} }}
}}
"
    ))
}

fn h2o(place: &Place<'_>) -> Result<String, Failure> {
    let Place { port, root, socket, dir, .. } = place;
    let (root, socket, dir) = (root.display(), socket.display(), dir.display());
    let user = if is_root()? { "user: root" } else { "" };
    // It adds X-Forwarded-For and X-Forwarded-Proto by itself.
    let action = match place.case.site {
        Site::Files => format!("file.dir: {root}"),
        Site::Proxied | Site::Whole { .. } => format!(
            "proxy.reverse.url: \"http://[unix:{socket}]/\"\n        \
            proxy.preserve-host: ON\n        proxy.timeout.keepalive: 60000"
        ),
    };
    let (threads, connections) = (place.server.threads, place.case.doing.most_connections());
    Ok(format!(
        "{user}
num-threads: {threads}
max-connections: {connections}
http1-request-timeout: 75
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

fn haproxy(place: &Place<'_>) -> String {
    let Place { port, socket, .. } = place;
    // A request for each worker; the others wait here, and are refused before their clients leave.
    let is_overload = matches!(place.case.doing, Doing::Overload(_));
    let patience = if is_overload { "500ms" } else { "10s" };
    let queue = match place.case.site {
        Site::Whole { workers, .. } => format!(" maxconn {workers}"),
        Site::Files | Site::Proxied => String::new(),
    };
    format!(
        "global
  nbthread 1
  maxconn 12000
  no strict-limits
  tune.maxaccept 256
defaults
  mode http
  option forwardfor
  http-reuse always
  timeout client 75s
  timeout server 75s
  timeout connect 5s
  timeout queue {patience}
  timeout http-keep-alive 75s
  timeout http-request 30s
listen all
  bind 127.0.0.1:{port} backlog 4096
  http-request set-header X-Forwarded-Proto http
  server app unix@{socket}{queue}
",
        socket = socket.display()
    )
}

const PROXY: &str = "proxy_pass http://app; proxy_set_header Host $host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_buffers 16 16k; proxy_buffer_size 16k; client_max_body_size 0;";

/// It keeps no connections to an application.
fn lighttpd(place: &Place<'_>) -> String {
    let Place { port, root, socket, dir, .. } = place;
    let dir = dir.display();
    let serving = match place.case.site {
        Site::Files => format!("server.document-root = \"{}\"", root.display()),
        Site::Proxied | Site::Whole { .. } => format!(
            "server.modules += (\"mod_proxy\")\nserver.document-root = \"{dir}\"\n\
            proxy.server = (\"\" => ((\"host\" => \"{}\")))",
            socket.display()
        ),
    };
    format!(
        "server.port = {port}
server.bind = \"127.0.0.1\"
server.event-handler = \"linux-sysepoll\"
server.network-backend = \"sendfile\"
server.max-fds = 12000
server.max-connections = 6000
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 75
server.listen-backlog = 4096
server.upload-dirs = (\"{dir}\")
server.errorlog = \"{dir}/errors.log\"
mimetype.assign = (\".txt\" => \"text/plain\")
{serving}
"
    )
}

/// It adds X-Forwarded-For and X-Forwarded-Proto by itself.
fn caddy(place: &Place<'_>) -> String {
    let Place { port, root, socket, .. } = place;
    let serving = match place.case.site {
        Site::Files => format!("root * {}\n    file_server", root.display()),
        Site::Proxied | Site::Whole { .. } => format!(
            "reverse_proxy unix/{} {{
        transport http {{
            keepalive_idle_conns 256
            keepalive_idle_conns_per_host 256
        }}
    }}",
            socket.display()
        ),
    };
    format!(
        "{{
    admin off
    auto_https off
    servers {{
        protocols h1
    }}
}}
http://:{port} {{
    bind 127.0.0.1
    {serving}
}}
"
    )
}

/// Servers of root give up their rights, and with them their way into the scratch directory.
fn is_root() -> Result<bool, Failure> {
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}
