//! What a configuration means: names become objects, paths absolute, conflicts errors.
//!
//! Owns the relations between values. Must not look at the file system.

use super::error::{At, ConfigError, Problems, suggestion};
use super::written::{self, Written};
use super::{AccessLog, Config, Pool, Route, Target};
use forebay::{Network, UnixSocket, http};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The meaning of what is written in `file`, unless something was or is wrong with it.
pub(crate) fn resolve(
    problems: Problems,
    written: Written,
    file: &Path,
) -> Result<Config, Vec<ConfigError>> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let directory = absolute.parent().map(Path::to_owned).unwrap_or_default();
    let mut resolver = Resolver { problems, warnings: Problems::new(file), directory };
    let Written { server, limits, routes, pools } = written;
    let listen = resolver.listen(server.listen.unwrap_or_default());
    let access_log = resolver.access_log(server.access_log);
    let spool_dir = server.spool_dir.map(|written| resolver.path(written));
    let trusted_proxies = resolver.networks(server.trusted_proxies.unwrap_or_default());
    let names: Vec<_> = pools.iter().map(|pool| pool.name.value.clone()).collect();
    let mut pools: Vec<_> = pools.into_iter().filter_map(|pool| resolver.pool(pool)).collect();
    let control = server.control.map(|written| resolver.socket(written, "control"));
    resolver.distinct_sockets(control.as_ref(), &pools);
    let routes = resolver.routes(routes, &names);
    if resolver.problems.is_empty() {
        pools.retain(|pool| resolver.is_used(pool, &routes));
    }
    let Resolver { problems, warnings, directory } = resolver;
    problems.none_or(Config {
        file: file.to_owned(),
        directory,
        listen,
        reactors: server.reactors.map_or(0, |reactors| reactors.value),
        access_log,
        spool_dir,
        trusted_proxies,
        control,
        drain_timeout: server.drain_timeout.map(|written| written.value),
        user: server.user,
        group: server.group,
        limits,
        routes,
        pools,
        warnings: warnings.sorted(),
    })
}

struct Resolver {
    problems: Problems,
    warnings: Problems,
    directory: PathBuf,
}

impl Resolver {
    fn path(&self, written: At<String>) -> At<PathBuf> {
        written.with(self.directory.join(&written.value))
    }

    fn listen(&mut self, written: Vec<At<String>>) -> Vec<String> {
        let mut seen: Vec<(SocketAddr, usize)> = Vec::new();
        for At { value, line } in &written {
            let Ok(address) = value.parse::<SocketAddr>() else {
                let what =
                    "is not ADDRESS:PORT: write \"127.0.0.1:8080\", or \"[::]:8080\" for all";
                self.problems.add(*line, format!("listen address \"{value}\" {what}"));
                continue;
            };
            let other = seen.iter().find(|(other, _)| overlap(*other, address));
            if let Some((other, first)) = other {
                let what = match *other == address {
                    true => format!("is already on line {first}: remove one"),
                    false => format!("overlaps with \"{other}\" on line {first}: remove one"),
                };
                self.problems.add(*line, format!("listen address \"{value}\" {what}"));
            }
            seen.push((address, *line));
        }
        written.into_iter().map(|listen| listen.value).collect()
    }

    fn networks(&mut self, written: Vec<At<String>>) -> Vec<Network> {
        let parse = |At { value, line }: At<String>| match value.parse::<Network>() {
            Ok(network) => Some(network),
            Err(error) => {
                self.problems.add(line, format!("trusted_proxies: {error}"));
                None
            }
        };
        written.into_iter().filter_map(parse).collect()
    }

    fn access_log(&self, written: Option<At<String>>) -> AccessLog {
        match written {
            None => AccessLog::Stdout,
            Some(At { value, .. }) if value == "-" => AccessLog::Stdout,
            Some(At { value, .. }) if value == "off" => AccessLog::Off,
            Some(path) => AccessLog::File(self.path(path)),
        }
    }

    fn pool(&mut self, written: written::Pool) -> Option<Pool> {
        let At { value: name, line } = &written.name;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_plain) {
            let what = format!("pool name {name:?}: write letters, digits, `-`, `_` or `.` only");
            self.problems.add(*line, what);
        }
        for (key, duration) in [
            ("queue_timeout", written.queue_timeout),
            ("queue_target", written.queue_target),
            ("deadline", written.deadline),
        ] {
            if let Some(At { line, .. }) = duration.filter(|duration| duration.value.is_zero()) {
                self.problems
                    .add(line, format!("`{key}` in [pool.{name}] must be more than nothing"));
            }
        }
        let mode = written.mode.and_then(|mode| self.mode(mode));
        let socket = self.socket(written.socket?, name);
        let mut settings = forebay::Pool::at(&socket.value);
        if let Some(queue) = written.queue {
            settings = settings.queue(usize::try_from(queue.value).unwrap_or(usize::MAX));
        }
        if let Some(timeout) = written.queue_timeout {
            settings = settings.queue_timeout(timeout.value);
        }
        if let Some(target) = written.queue_target {
            settings = settings.queue_target(target.value);
        }
        if let Some(deadline) = written.deadline {
            settings = settings.deadline(deadline.value);
        }
        if let Some(grace) = written.boot_grace {
            settings = settings.boot_grace(grace.value);
        }
        if let Some(mode) = mode {
            settings = settings.mode(mode);
        }
        let written::Pool { name, workers, user, group, allowed_users, .. } = written;
        Some(Pool { name, socket, workers, settings, user, group, allowed_users })
    }

    /// `name` is what a shorter path could be called.
    fn socket(&mut self, written: At<String>, name: &str) -> At<PathBuf> {
        let socket = self.path(written);
        let (length, most) = (socket.value.as_os_str().len(), UnixSocket::PATH_BYTES_MOST);
        if length > most {
            let what = format!(
                "socket path \"{}\" is too long, {length} bytes of at most {most}: \
                 write a shorter one, such as \"/run/forebay/{name}.sock\"",
                socket.value.display()
            );
            self.problems.add(socket.line, what);
        }
        socket
    }

    fn mode(&mut self, mode: At<String>) -> Option<u32> {
        let At { value, line } = mode;
        let is_octal = value.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode = u32::from_str_radix(&value, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
        if mode.is_none() {
            let what = "is not a mode: write three octal digits, such as \"660\"";
            self.problems.add(line, format!("mode \"{value}\" {what}"));
        }
        mode
    }

    fn distinct_sockets(&mut self, control: Option<&At<PathBuf>>, pools: &[Pool]) {
        let mut seen: HashMap<&Path, String> = HashMap::new();
        seen.extend(control.map(|socket| (socket.value.as_path(), "`control`".to_owned())));
        for Pool { name, socket, .. } in pools {
            let owner = format!("[pool.{}]", name.value);
            if let Some(other) = seen.insert(&socket.value, owner.clone()) {
                let socket_text = socket.value.display();
                let what = format!(
                    "socket \"{socket_text}\" of {owner} is also that of {other}: give each its own"
                );
                self.problems.add(socket.line, what);
            }
        }
    }

    fn routes(&mut self, written: Vec<written::Route>, pools: &[String]) -> Vec<Route> {
        let mut seen: HashMap<(Option<String>, Vec<u8>), usize> = HashMap::new();
        let mut routes = Vec::new();
        for route in written {
            let line = route.line;
            let host = route.host.and_then(|host| self.host(host));
            let path = route.path.and_then(|path| self.prefix(path));
            let target = route.target.and_then(|target| self.target(target, pools));
            let rate = route.rate.map(|rate| rate.value);
            if let Some(At { line, .. }) = route.burst.filter(|_| rate.is_none()) {
                let what = "`burst` in [[route]] goes with `rate`: write rate = \"5/s\" as well";
                self.problems.add(line, what);
            }
            let burst = route.burst.and_then(|burst| self.at_least_one("burst", burst));
            let concurrent = route.concurrent.and_then(|c| self.at_least_one("concurrent", c));
            let (Some((path, meaning)), Some(target)) = (path, target) else { continue };
            if let Some(first) = seen.insert((host.clone(), meaning), line) {
                let of_host =
                    host.as_ref().map(|h| format!(" of host \"{h}\"")).unwrap_or_default();
                let what =
                    format!("route \"{path}\"{of_host} is already on line {first}: remove one");
                self.problems.add(line, what);
            }
            routes.push(Route { host, path, target, rate, burst, concurrent });
        }
        routes
    }

    fn at_least_one<N: TryFrom<u64>>(&mut self, key: &str, count: At<u64>) -> Option<N> {
        let At { value, line } = count;
        let number = N::try_from(value).ok().filter(|_| value > 0);
        if number.is_none() {
            let what = format!(
                "`{key}` in [[route]] = {value} is not possible: write 1 or more, or leave it out"
            );
            self.problems.add(line, what);
        }
        number
    }

    /// The path, and what it means.
    fn prefix(&mut self, path: At<String>) -> Option<(String, Vec<u8>)> {
        let At { value, line } = path;
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\\".contains(&byte);
        let has_dots = value.split('/').any(|segment| segment == "." || segment == "..");
        if !value.starts_with('/') || !value.bytes().all(is_plain) || has_dots {
            let what =
                "is not a path prefix: begin it with /, without spaces, ?, # and dot segments";
            self.problems.add(line, format!("path \"{value}\" {what}"));
            return None;
        }
        self.normal(value, line)
    }

    /// One spelling is enough for all that mean the same.
    fn normal(&mut self, path: String, line: usize) -> Option<(String, Vec<u8>)> {
        let clean = http::clean_target(&path);
        let what = match clean.and_then(|clean| Ok((http::path_meaning(&clean)?, clean))) {
            Ok((meaning, clean)) if clean == path => return Some((path, meaning)),
            Ok((_, clean)) => format!("is not in normal form: write \"{clean}\""),
            Err(http::Reject::HiddenParent) => "is in no request: `..` is beside %2F".into(),
            Err(_) => "is in no request: write % itself as %25".into(),
        };
        self.problems.add(line, format!("path \"{path}\" {what}"));
        None
    }

    fn host(&mut self, host: At<String>) -> Option<String> {
        let At { value, line } = host;
        let what = match value.as_str() {
            "_" => "is not a host: leave `host` out for all that have no route of their own",
            pattern if pattern.starts_with('.') || pattern.contains('*') => {
                "is not one host: write a route for each, such as \"www.example.com\""
            }
            // Compared as in requests: two that differ in no more are the same.
            name if http::is_host(name) => {
                return Some(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
            }
            _ => "is not a host: write the name alone, such as \"example.com\", without port",
        };
        self.problems.add(line, format!("host \"{value}\" {what}"));
        None
    }

    fn target(&mut self, written: written::Target, pools: &[String]) -> Option<Target> {
        match written {
            written::Target::Files(written) => {
                let (roots, files) = written.resolve(&mut self.problems, &self.directory);
                Some(Target::Files { roots, files: Box::new(files) })
            }
            written::Target::Pool(name) => {
                let names = pools.iter().map(String::as_str);
                if !names.clone().any(|known| known == name.value) {
                    let hint = suggestion(&name.value, names);
                    self.problems.add(name.line, format!("no [pool.{}]{hint}", name.value));
                }
                Some(Target::Pool(name.value))
            }
            written::Target::Redirect { to, status } => self.redirect(to, status),
            written::Target::Respond(respond) => self.respond(respond),
        }
    }

    fn field_value(&mut self, key: &str, value: At<String>) -> Option<String> {
        let At { value, line } = value;
        if value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Some(value);
        }
        self.problems.add(line, format!("{key} {value:?} is not plain ASCII on one line"));
        None
    }

    fn redirect(&mut self, to: At<String>, status: Option<At<u64>>) -> Option<Target> {
        let status = status.unwrap_or(At { value: 302, line: to.line });
        let is_plain = to.value.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || !["/", "http://", "https://"].iter().any(|p| to.value.starts_with(p)) {
            let what = "is not a place: begin it with https://, http:// or /, without spaces";
            self.problems.add(to.line, format!("redirect {:?} {what}", to.value));
        }
        if has_variable(&to.value.replace("{target}", "")) {
            let what = "only {target}, path and query, can be put in: write the host itself, as \
                        in \"https://example.com{target}\"";
            self.problems.add(to.line, format!("redirect {:?}: {what}", to.value));
        }
        if ![301, 302, 307, 308].contains(&status.value) {
            let what =
                format!("status {} does not redirect: write 301, 302, 307 or 308", status.value);
            self.problems.add(status.line, what);
            return None;
        }
        Some(Target::Redirect { to: to.value, status: status.value as u16 })
    }

    fn respond(&mut self, written: written::Respond) -> Option<Target> {
        let written::Respond { line, status, content, content_type } = written;
        let status = status.unwrap_or(At { value: 200, line });
        if !(200..=599).contains(&status.value) {
            let what = format!("status {} is not a final one: write 200 to 599", status.value);
            self.problems.add(status.line, what);
            return None;
        }
        if let Some(content) = content.as_ref().filter(|content| !content.value.is_empty())
            && WITHOUT_CONTENT.contains(&status.value)
        {
            let what = "has no content: leave `content` out, or write another status";
            self.problems.add(content.line, format!("status {} {what}", status.value));
            return None;
        }
        let plain = || At { value: "text/plain; charset=utf-8".into(), line };
        let content_type = content_type.unwrap_or_else(plain);
        Some(Target::Respond {
            status: status.value as u16,
            content: content.map(|content| content.value).unwrap_or_default(),
            content_type: self.field_value("content_type", content_type)?,
        })
    }

    fn is_used(&mut self, pool: &Pool, routes: &[Route]) -> bool {
        let name = &pool.name.value;
        let leads_here = |route: &Route| matches!(&route.target, Target::Pool(to) if to == name);
        let is_used = routes.iter().any(leads_here);
        if !is_used {
            let what = format!("no route leads to [pool.{name}]: it is left out, with its workers");
            self.warnings.add(pool.name.line, what);
        }
        is_used
    }
}

/// As others write them.
fn has_variable(place: &str) -> bool {
    let after = |dollar: &str| dollar.starts_with(|c: char| c.is_ascii_alphabetic());
    place.contains(['{', '}']) || place.split('$').skip(1).any(after)
}

/// Whether only one of these can be listened on. IPv4 and IPv6 are apart.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let has_all = one.ip().is_unspecified() || other.ip().is_unspecified();
    let is_same_family = one.is_ipv4() == other.is_ipv4();
    one.port() == other.port() && one.port() != 0 && is_same_family && (has_all || one == other)
}

/// RFC 9110 §15.3.5, §15.3.6 and §15.4.5.
const WITHOUT_CONTENT: [u64; 3] = [204, 205, 304];
