//! Flags of gunicorn that have no meaning here, so that its command lines start.
//!
//! Owns which they are, and why. What has a meaning is in [`Options`](crate::Options) under
//! gunicorn's name.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// Those that were given, each with the reason why it has no meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored(Vec<&'static Flag>);

#[derive(Debug, PartialEq, Eq)]
struct Flag {
    name: &'static str,
    short: Option<char>,
    kind: Kind,
    why: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Switch,
    Value,
    /// Whoever gives it would not get what they want: an error.
    Refused,
    RefusedSwitch,
    /// The same, unless it has one of these values.
    RefusedUnless(&'static [&'static str]),
}

/// What gunicorn reads where it is started, if nothing else is named.
pub(crate) const SETTINGS: &str = "gunicorn.conf.py";

impl Ignored {
    /// What to tell about each: its name, and why it has no meaning.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0.iter().map(|flag| (flag.name, flag.why))
    }

    /// Those of two command lines.
    pub(crate) fn and(&self, other: &Ignored) -> Ignored {
        let mut all = self.0.clone();
        all.extend(other.0.iter().filter(|flag| !self.0.contains(flag)));
        Ignored(all)
    }

    /// The addresses of gunicorn where an edge is named beside them.
    pub(crate) fn bind() -> Ignored {
        Ignored(vec![&BIND])
    }

    /// Whether this is the name of one.
    pub(crate) fn knows(name: &str) -> bool {
        FLAGS.iter().any(|flag| flag.name == name)
    }
}

impl Args for Ignored {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, flag| {
            let action = match flag.kind {
                Kind::Switch | Kind::RefusedSwitch => ArgAction::SetTrue,
                _ => ArgAction::Append,
            };
            let mut argument = Arg::new(flag.name).long(flag.name).hide(true).action(action);
            match flag.name {
                "paste" => argument = argument.alias("paster"),
                // It was a switch once.
                "proxy-protocol" => argument = argument.num_args(0..=1).default_missing_value("on"),
                _ => {}
            }
            command.arg(flag.short.map_or(argument.clone(), |short| argument.short(short)))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Ignored::augment_args(command)
    }
}

impl FromArgMatches for Ignored {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Ignored, Error> {
        let mut ignored = Ignored::default();
        for flag in FLAGS.iter().filter(|flag| flag.was_given(matches)) {
            flag.check(matches)?;
            ignored.0.push(flag);
        }
        Ok(ignored)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Ignored::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Flag {
    fn was_given(&self, matches: &ArgMatches) -> bool {
        match self.kind {
            Kind::Switch | Kind::RefusedSwitch => matches.get_flag(self.name),
            _ => matches.contains_id(self.name),
        }
    }

    fn check(&self, matches: &ArgMatches) -> Result<(), Error> {
        let values = || matches.get_many::<String>(self.name).into_iter().flatten();
        let refused = match self.kind {
            Kind::Switch | Kind::Value => None,
            Kind::Refused | Kind::RefusedSwitch => Some(String::new()),
            Kind::RefusedUnless(fitting) => values()
                .find(|value| !fitting.contains(&value.as_str()))
                .map(|value| format!(" {value}")),
        };
        match refused {
            None => Ok(()),
            Some(value) => Err(Error::raw(
                ErrorKind::InvalidValue,
                format!("--{}{value} is not possible here: {}\n", self.name, self.why),
            )),
        }
    }
}

const BIND: Flag = value("bind", "the edge goes before that in GUNICORN_CMD_ARGS");

const fn switch(name: &'static str, why: &'static str) -> Flag {
    Flag { name, short: None, kind: Kind::Switch, why }
}

const fn value(name: &'static str, why: &'static str) -> Flag {
    Flag { name, short: None, kind: Kind::Value, why }
}

const fn refused_switch(name: &'static str, why: &'static str) -> Flag {
    Flag { name, short: None, kind: Kind::RefusedSwitch, why }
}

const fn refused(name: &'static str, why: &'static str) -> Flag {
    Flag { name, short: None, kind: Kind::Refused, why }
}

const fn short(flag: Flag, short: char) -> Flag {
    Flag { short: Some(short), ..flag }
}

const fn refused_unless(
    name: &'static str,
    fitting: &'static [&'static str],
    why: &'static str,
) -> Flag {
    Flag { name, short: None, kind: Kind::RefusedUnless(fitting), why }
}

const OURS: &str = "the log has its own form";
const NO_TLS: &str = "workers speak no TLS: the edge, or another front server, does";
const NO_EVENTS: &str = "a worker has no event loop: --threads N runs N requests at the same time";
const NO_SYSLOG: &str = "nothing goes to syslog: run it under a supervisor that takes its output";
const NO_STATSD: &str = "`worker-bin status` and `proxy-bin status` tell what is counted";
const NO_PASTE: &str = "name the application as module:attribute, in a module that loads the file";
const NO_PROXY: &str = "the edge tells workers who the client is";
const NO_HTTP2: &str = "workers speak HTTP/1.1: leave the rest to a front server";
const NO_ASGI: &str = "applications are those of WSGI";
const NO_DIRTY: &str = "start what runs long under a supervisor of its own, with --bind unix:PATH";
const STRICT: &str = "who sends what is no HTTP/1.1 to the letter is answered 400: mend the client";

/// The classes of `--worker-class` whose applications run here.
const CLASSES: &[&str] = &[
    "sync",
    "gthread",
    "egg:gunicorn#sync",
    "egg:gunicorn#gthread",
    "gunicorn.workers.sync.SyncWorker",
    "gunicorn.workers.gthread.ThreadWorker",
];

static FLAGS: &[Flag] = &[
    short(
        refused_unless(
            "worker-class",
            CLASSES,
            "a worker runs as many requests at the same time as it has --threads, and --timeout \
             bounds each of them, as it does not with gthread of gunicorn",
        ),
        'k',
    ),
    switch("preload", "applications are imported before the fork, unless --no-preload is given"),
    value("worker-connections", NO_EVENTS),
    value("worker-tmp-dir", "workers are watched without files"),
    value(
        "keep-alive",
        "the edge keeps the connections of clients; with --bind an idle one is kept for 2 s",
    ),
    value("backlog", "the queue is the edge's; with --bind it is 2048 connections long"),
    value("limit-request-line", "the edge has `target_bytes`; with --bind it is 8 KiB"),
    value("limit-request-fields", "the edge has `head_fields`; with --bind it is 100"),
    value("limit-request-field_size", "the edge has `head_bytes`; with --bind all have 32 KiB"),
    switch("reuse-port", "workers share one listener, so that no connection waits for a busy one"),
    switch("initgroups", "--user comes with all groups of the user"),
    short(switch("enable-stdio-inheritance", "standard output is always inherited"), 'R'),
    switch("capture-output", "with --log-file, all that goes to standard error is in the file"),
    value("access-logformat", "it is the combined format"),
    value("logger-class", OURS),
    value("log-config", OURS),
    value("log-config-json", OURS),
    value("reload-engine", "files are looked at each second"),
    value("reload-extra-file", "--reload looks at sources of Python: send HUP after other changes"),
    refused_switch("spew", "a test of the application in `python -m trace` shows its lines"),
    refused_switch("check-config", "--print-config reads the settings, and starts nothing"),
    short(refused_switch("daemon", "run it under a supervisor, or from proxy-bin"), 'D'),
    switch("disable-redirect-access-to-syslog", NO_SYSLOG),
    refused_switch("log-syslog", NO_SYSLOG),
    value("log-syslog-to", NO_SYSLOG),
    value("log-syslog-prefix", NO_SYSLOG),
    value("log-syslog-facility", NO_SYSLOG),
    refused("statsd-host", NO_STATSD),
    value("statsd-prefix", NO_STATSD),
    value("dogstatsd-tags", NO_STATSD),
    switch("enable-backlog-metric", NO_STATSD),
    refused("paste", NO_PASTE),
    refused("paste-global", NO_PASTE),
    refused_unless("proxy-protocol", &["off"], NO_PROXY),
    value("proxy-allow-from", NO_PROXY),
    refused_unless("protocol", &["http"], "workers speak HTTP/1.1: `proxy_pass` to them"),
    value("uwsgi-allow-from", "nobody speaks uWSGI's protocol here"),
    refused("certfile", NO_TLS),
    refused("keyfile", NO_TLS),
    refused("ca-certs", NO_TLS),
    value("ssl-version", NO_TLS),
    value("cert-reqs", NO_TLS),
    value("ciphers", NO_TLS),
    switch("suppress-ragged-eofs", NO_TLS),
    switch("do-handshake-on-connect", NO_TLS),
    refused_unless("http-protocols", &["h1"], NO_HTTP2),
    refused_unless("http2-cleartext", &["off"], NO_HTTP2),
    value("http2-max-concurrent-streams", NO_HTTP2),
    value("http2-initial-window-size", NO_HTTP2),
    value("http2-max-frame-size", NO_HTTP2),
    value("http2-max-header-list-size", NO_HTTP2),
    value("http-parser", "there is one parser"),
    refused_switch("permit-obsolete-folding", STRICT),
    refused_switch("strip-header-spaces", STRICT),
    refused_switch("permit-unconventional-http-version", STRICT),
    refused_switch("casefold-http-method", STRICT),
    switch("permit-unconventional-http-method", "methods of all letters are passed on"),
    value("forwarder-headers", "SCRIPT_NAME is a variable of the environment, and no field"),
    refused_unless("header-map", &["drop"], "fields with `_` in their name are dropped"),
    value("asgi-loop", NO_ASGI),
    value("asgi-lifespan", NO_ASGI),
    value("asgi-disconnect-grace-period", NO_ASGI),
    value("websocket-max-message-size", NO_ASGI),
    value("root-path", "SCRIPT_NAME in the environment says where the application is"),
    refused("dirty-app", NO_DIRTY),
    value("dirty-workers", NO_DIRTY),
    value("dirty-timeout", NO_DIRTY),
    value("dirty-threads", NO_DIRTY),
    value("dirty-graceful-timeout", NO_DIRTY),
    refused("control-socket", "give --control unix:PATH, and ask it by `worker-bin status`"),
    value("control-socket-mode", "the socket of --control is its user's alone"),
    switch("no-control-socket", "there is none unless --control is given"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Ignored, String> {
        let command = Ignored::augment_args(Command::new("test").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments);
        let parsed = matches.and_then(|matches| Ignored::from_arg_matches(&matches));
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn what_was_given_is_named() {
        let ignored = parse(&["-k", "gthread", "--preload", "--keep-alive=5", "-R"]).unwrap();
        let names: Vec<_> = ignored.reasons().map(|(name, _)| name).collect();
        assert_eq!(names, ["worker-class", "preload", "keep-alive", "enable-stdio-inheritance"]);
        assert_eq!(ignored.and(&ignored), ignored);
        assert_eq!(parse(&[]).unwrap(), Ignored::default());
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        let error = parse(&["-k", "gevent"]).unwrap_err();
        assert!(error.contains("--worker-class gevent is not possible here"), "{error}");
        for arguments in [&["-D"][..], &["--certfile", "a.pem"], &["--daemon"]] {
            assert!(parse(arguments).unwrap_err().contains("not possible here"));
        }
    }
}
