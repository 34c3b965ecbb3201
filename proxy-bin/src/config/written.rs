//! What was written: the file's tables with their types and lines, not yet what they mean.
//!
//! Owns the tables and their keys. Must not know how values relate to each other.

use super::error::At;
use super::files;
use super::limits;
use super::section::{Reader, Section};
use forebay::{Builder, Limits};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The whole file.
pub(crate) struct Written {
    pub(crate) server: Server,
    pub(crate) limits: Limits,
    pub(crate) routes: Vec<Route>,
    pub(crate) pools: Vec<Pool>,
}

/// `[server]`
#[derive(Default)]
pub(crate) struct Server {
    pub(crate) listen: Option<Vec<At<String>>>,
    /// 0: one per core.
    pub(crate) reactors: Option<At<usize>>,
    pub(crate) access_log: Option<At<String>>,
    pub(crate) spool_dir: Option<At<String>>,
    pub(crate) trusted_proxies: Option<Vec<At<String>>>,
    pub(crate) control: Option<At<String>>,
    pub(crate) drain_timeout: Option<At<Duration>>,
    pub(crate) user: Option<At<String>>,
    pub(crate) group: Option<At<String>>,
}

/// `[[route]]`
pub(crate) struct Route {
    pub(crate) line: usize,
    pub(crate) path: Option<At<String>>,
    pub(crate) host: Option<At<String>>,
    pub(crate) target: Option<Target>,
    pub(crate) rate: Option<At<(u32, Duration)>>,
    pub(crate) burst: Option<At<u64>>,
    pub(crate) concurrent: Option<At<u64>>,
}

/// What answers the requests of a route.
pub(crate) enum Target {
    Files(Box<files::Written>),
    Pool(At<String>),
    Redirect { to: At<String>, status: Option<At<u64>> },
    Respond(Respond),
}

/// `respond = { … }`
pub(crate) struct Respond {
    pub(crate) line: usize,
    pub(crate) status: Option<At<u64>>,
    pub(crate) content: Option<At<String>>,
    pub(crate) content_type: Option<At<String>>,
}

/// `[pool.NAME]`
pub(crate) struct Pool {
    pub(crate) name: At<String>,
    pub(crate) socket: Option<At<String>>,
    pub(crate) workers: Option<Vec<At<String>>>,
    pub(crate) queue: Option<At<u64>>,
    pub(crate) queue_timeout: Option<At<Duration>>,
    pub(crate) queue_target: Option<At<Duration>>,
    pub(crate) deadline: Option<At<Duration>>,
    pub(crate) boot_grace: Option<At<Duration>>,
    pub(crate) mode: Option<At<String>>,
    pub(crate) user: Option<At<String>>,
    pub(crate) group: Option<At<String>>,
    pub(crate) allowed_users: Option<Vec<At<String>>>,
}

/// Reads all tables of the file, whatever is wrong with some of them.
pub(crate) fn read(reader: &mut Reader<'_>, file: &DeTable<'_>) -> Written {
    let known = ["server", "limits", "route", "pool"];
    let root = Section::root(reader, "the file".into(), 1, file, &known);
    if root.value("server").is_none() {
        let what = "[server] is missing: write [server] and listen = [\"127.0.0.1:8080\"]";
        reader.problems.add(0, what);
    }
    if root.value("route").is_none() {
        let what = "nothing would be served: write a [[route]] with path and files, pool, \
                    redirect or respond";
        reader.problems.add(0, what);
    }
    Written {
        server: root.value("server").map(|value| server(reader, value)).unwrap_or_default(),
        limits: root.value("limits").map(|value| limits::read(reader, value)).unwrap_or_default(),
        routes: root.value("route").map(|value| routes(reader, value)).unwrap_or_default(),
        pools: root.value("pool").map(|value| pools(reader, value)).unwrap_or_default(),
    }
}

fn server(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Server {
    let Some(section) = Section::open(reader, "[server]".into(), value, &SERVER_KEYS) else {
        return Server::default();
    };
    Server {
        listen: listen(reader, &section),
        reactors: reactors(reader, &section),
        access_log: section.string(reader, "access_log"),
        spool_dir: section.string(reader, "spool_dir"),
        trusted_proxies: section.strings(reader, "trusted_proxies"),
        control: section.string(reader, "control"),
        drain_timeout: section.duration(reader, "drain_timeout"),
        user: section.name(reader, "user"),
        group: section.name(reader, "group"),
    }
}

fn listen(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> Option<Vec<At<String>>> {
    let value = section.value("listen");
    let lacks = match value.map(|value| value.get_ref().as_array()) {
        None => "is missing",
        Some(Some(addresses)) if addresses.is_empty() => "is empty",
        _ => return section.strings(reader, "listen"),
    };
    let line = value.map_or(section.line, |value| reader.lines.of(value.span()));
    let what = format!("{lacks}: write listen = [\"127.0.0.1:8080\"]");
    section.complain(reader, "listen", line, &what);
    None
}

fn reactors(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> Option<At<usize>> {
    let value = section.value("reactors")?;
    let line = reader.lines.of(value.span());
    let most = Builder::REACTORS_MOST;
    let what = match value.get_ref() {
        DeValue::String(text) if text == "auto" => return Some(At { value: 0, line }),
        DeValue::Integer(number) => match usize::from_str_radix(number.as_str(), number.radix()) {
            Ok(count @ 1..=Builder::REACTORS_MOST) => return Some(At { value: count, line }),
            _ => format!("= {number} is not possible: write \"auto\" or 1 to {most}"),
        },
        _ => format!("must be \"auto\" or a number from 1 to {most}"),
    };
    section.complain(reader, "reactors", line, &what);
    None
}

fn routes(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Vec<Route> {
    match value.get_ref() {
        DeValue::Array(routes) => routes.iter().filter_map(|r| route(reader, r)).collect(),
        _ => {
            let line = reader.lines.of(value.span());
            reader.problems.add(line, "`route` must be a list: write [[route]], not [route]");
            Vec::new()
        }
    }
}

fn route(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Route> {
    let known = [&ROUTE_KEYS[..], &files::KEYS].concat();
    let section = Section::open(reader, "[[route]]".into(), value, &known)?;
    Some(Route {
        line: section.line,
        path: section.required(reader, "path", "\"/\""),
        host: section.string(reader, "host"),
        target: target(reader, &section),
        rate: section.rate(reader, "rate"),
        burst: section.count(reader, "burst"),
        concurrent: section.count(reader, "concurrent"),
    })
}

fn target(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> Option<Target> {
    let written: Vec<_> = TARGETS.iter().filter(|key| section.value(key).is_some()).collect();
    let [target] = written[..] else {
        let what = match written.is_empty() {
            true => "[[route]] has no target: write one of files, pool, redirect, respond".into(),
            false => format!("[[route]] has {} targets: keep one of {written:?}", written.len()),
        };
        reader.problems.add(section.line, what);
        return None;
    };
    let of_files = files::KEYS.map(|key| (key, "files"));
    for (key, owner) in of_files.into_iter().chain([("status", "redirect")]) {
        if let Some(value) = section.value(key).filter(|_| owner != *target) {
            let line = reader.lines.of(value.span());
            section.complain(reader, key, line, &format!("belongs to `{owner}`, not `{target}`"));
        }
    }
    match *target {
        "files" => files::read(reader, section).map(Box::new).map(Target::Files),
        "pool" => section.string(reader, "pool").map(Target::Pool),
        "redirect" => Some(Target::Redirect {
            to: section.string(reader, "redirect")?,
            status: section.count(reader, "status"),
        }),
        _ => section.value("respond").and_then(|value| respond(reader, value)),
    }
}

fn respond(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Target> {
    let known = ["status", "content", "content_type"];
    let section = Section::open(reader, "`respond`".into(), value, &known)?;
    Some(Target::Respond(Respond {
        line: section.line,
        status: section.count(reader, "status"),
        content: section.text(reader, "content"),
        content_type: section.string(reader, "content_type"),
    }))
}

fn pools(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Vec<Pool> {
    let line = reader.lines.of(value.span());
    let Some(table) = value.get_ref().as_table() else {
        reader.problems.add(line, "`pool` must be a table: write [pool.NAME]");
        return Vec::new();
    };
    let names: Vec<_> = table.keys().map(|key| key.get_ref().as_ref()).collect();
    let section = Section::root(reader, "[pool]".into(), line, table, &names);
    let entries = section.entries(reader);
    entries.filter_map(|(name, value)| pool(reader, name, value)).collect()
}

fn pool(reader: &mut Reader<'_>, name: At<&str>, value: &Spanned<DeValue<'_>>) -> Option<Pool> {
    let section = Section::open(reader, format!("[pool.{}]", name.value), value, &POOL_KEYS)?;
    Some(Pool {
        name: name.with(name.value.to_owned()),
        socket: section.required(reader, "socket", "\"run/app.sock\""),
        workers: section.strings(reader, "workers"),
        queue: section.count(reader, "queue"),
        queue_timeout: section.duration(reader, "queue_timeout"),
        queue_target: section.duration(reader, "queue_target"),
        deadline: section.duration(reader, "deadline"),
        boot_grace: section.duration(reader, "boot_grace"),
        mode: section.string(reader, "mode"),
        user: section.name(reader, "user"),
        group: section.name(reader, "group"),
        allowed_users: section.names(reader, "allowed_users"),
    })
}

const SERVER_KEYS: [&str; 9] = [
    "listen",
    "reactors",
    "access_log",
    "spool_dir",
    "trusted_proxies",
    "control",
    "drain_timeout",
    "user",
    "group",
];

/// Besides those that go with `files`.
const ROUTE_KEYS: [&str; 10] = [
    "path",
    "host",
    "files",
    "pool",
    "redirect",
    "status",
    "respond",
    "rate",
    "burst",
    "concurrent",
];

/// The keys of which a route has exactly one.
const TARGETS: [&str; 4] = ["files", "pool", "redirect", "respond"];

const POOL_KEYS: [&str; 11] = [
    "socket",
    "workers",
    "queue",
    "queue_timeout",
    "queue_target",
    "deadline",
    "boot_grace",
    "mode",
    "user",
    "group",
    "allowed_users",
];
