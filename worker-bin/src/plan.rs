//! What the settings come to.
//!
//! Owns their meaning and the errors about it. Must not start anything.

use crate::address::{Address, AddressError};
use crate::arbiter::{Settings, Targets};
use crate::forwarded::Trusted;
use crate::identity::{Identity, IdentityError};
use crate::log::Level;
use crate::options::Options;
use crate::settings::{Effective, SettingsError};
use std::path::PathBuf;
use std::time::Duration;

/// The whole of it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) endpoints: Endpoints,
    pub(crate) arbiter: Settings,
    pub(crate) worker: WorkerSettings,
    pub(crate) process: ProcessSettings,
    /// What all of it has come from.
    pub(crate) options: Options,
}

/// Where requests will come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoints {
    Edge(PathBuf),
    /// At least one.
    Bind(Vec<Address>),
}

/// What a worker heeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerSettings {
    pub(crate) graceful_timeout: Duration,
    pub(crate) timeout: Option<Duration>,
    /// Requests that run at the same time in one process.
    pub(crate) threads: usize,
    /// 0: no limit.
    pub(crate) max_requests: u32,
    pub(crate) max_requests_jitter: u32,
    /// What processes call themselves.
    pub(crate) name: String,
    /// Whose word on the scheme is taken, where there is no edge.
    pub(crate) trusted: Trusted,
    /// Bytes of content of a request, where there is no edge.
    pub(crate) content_max: u64,
    /// `-` is standard output.
    pub(crate) access_log: Option<PathBuf>,
}

/// What holds for arbiter and workers.
#[derive(Debug)]
pub(crate) struct ProcessSettings {
    pub(crate) umask: Option<u32>,
    pub(crate) chdir: Option<PathBuf>,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) log_level: Level,
    /// Variables for the application.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) pid: Option<PathBuf>,
    pub(crate) control: Option<PathBuf>,
    pub(crate) identity: Identity,
}

/// What is wrong with the settings; one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error(
        "nowhere to take requests from: give --edge unix:PATH (or FOREBAY_EDGE) to serve an edge, \
         or --bind HOST:PORT to listen"
    )]
    Nowhere,
    #[error(
        "nowhere to take requests from: the sockets of a socket unit (LISTEN_FDS) are not \
         supported: give --bind HOST:PORT or unix:PATH, and start the service by itself"
    )]
    Activated,
    /// What another error is about was written here.
    #[error("{0}: {1}")]
    In(String, Box<PlanError>),
    #[error("`{1}` is no socket, but --{0} needs one: write unix:PATH")]
    NotASocket(&'static str, String),
    #[error("workers = {0} is not possible: write a number from 1 to {MOST_WORKERS}")]
    Workers(u32),
    #[error("threads = {0} is not possible: write a number from 1 to {MOST_THREADS}")]
    Threads(u32),
    #[error("boot_timeout = 0 is not possible: write how many seconds the application may take")]
    BootTimeout,
    #[error("{0} `{1}` is no size: write bytes, or a number with K, M or G")]
    Size(&'static str, String),
    #[error("umask `{0}` is not octal: write 022, for example")]
    Umask(String),
    #[error("log_level `{0}` is none of debug, info, warning, error and critical")]
    Level(String),
    #[error("env `{0}` is no variable: write NAME=VALUE")]
    Variable(String),
    #[error("forwarded_allow_ips: {0}")]
    Network(#[from] forebay::NetworkError),
    #[error("{1}")]
    Address(&'static str, AddressError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl Plan {
    /// From flags, the environment, in which `variable` looks, and the file.
    pub(crate) fn new(
        flags: &Options,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Plan, PlanError> {
        let effective = Effective::new(flags, &variable)?;
        Plan::effective(&effective).map_err(|error| match error {
            PlanError::Nowhere if variable("LISTEN_FDS").is_some() => PlanError::Activated,
            error => error,
        })
    }

    /// The same, with errors that name where a value was written.
    pub(crate) fn effective(effective: &Effective) -> Result<Plan, PlanError> {
        Plan::of(&effective.options).map_err(|error| {
            match error.setting().and_then(|name| effective.source(name)) {
                Some(source) => PlanError::In(source, Box::new(error)),
                None => error,
            }
        })
    }

    /// From settings that an arbiter has passed on, which may be of another version; nothing else
    /// is asked.
    pub(crate) fn inherited(options: &Options) -> Result<Plan, PlanError> {
        Plan::of(&Effective::new(options, |_| None)?.options)
    }

    /// From settings that are complete.
    pub(crate) fn of(options: &Options) -> Result<Plan, PlanError> {
        let workers = count(options.workers, MOST_WORKERS).map_err(PlanError::Workers)?;
        let threads = count(options.threads, MOST_THREADS).map_err(PlanError::Threads)?;
        let graceful_timeout = seconds(options.graceful_timeout);
        let timeout = seconds(options.timeout);
        let boot_timeout = seconds(options.boot_timeout);
        if boot_timeout.is_zero() {
            return Err(PlanError::BootTimeout);
        }
        let max_memory = size("max_memory", options.max_memory.as_deref().unwrap_or("0"))?;
        Ok(Plan {
            arbiter: Settings {
                targets: Targets {
                    workers,
                    graceful_timeout,
                    boot_timeout,
                    max_memory: (max_memory > 0).then_some(max_memory),
                },
                slots: threads,
            },
            worker: WorkerSettings {
                graceful_timeout,
                timeout: (!timeout.is_zero()).then_some(timeout),
                threads,
                max_requests: options.max_requests.unwrap_or(0),
                max_requests_jitter: options.max_requests_jitter.unwrap_or(0),
                name: options.name.clone().unwrap_or_default(),
                trusted: options
                    .forwarded_allow_ips
                    .as_deref()
                    .map_or(Ok(Trusted::default()), str::parse)?,
                content_max: size("content_max", options.content_max.as_deref().unwrap_or("16M"))?,
                access_log: options.access_logfile.clone(),
            },
            process: ProcessSettings {
                umask: options.umask.as_deref().map(octal).transpose()?,
                chdir: options.chdir.clone(),
                log_file: options.log_file.clone().filter(|path| path.as_os_str() != "-"),
                log_level: level(options.log_level.as_deref().unwrap_or("info"))?,
                environment: variables(&options.env)?,
                pid: options.pid.clone(),
                control: options.control.as_deref().map(control_path).transpose()?,
                identity: Identity::find(options.user.as_deref(), options.group.as_deref())?,
            },
            // Nowhere: only if nothing else is wrong.
            endpoints: endpoints(options)?,
            options: options.clone(),
        })
    }
}

impl PlanError {
    /// The one that it is about.
    fn setting(&self) -> Option<&'static str> {
        match self {
            PlanError::NotASocket(name, _)
            | PlanError::Address(name, _)
            | PlanError::Size(name, _) => Some(name),
            PlanError::Workers(_) => Some("workers"),
            PlanError::Threads(_) => Some("threads"),
            PlanError::BootTimeout => Some("boot_timeout"),
            PlanError::Umask(_) => Some("umask"),
            PlanError::Level(_) => Some("log_level"),
            PlanError::Variable(_) => Some("env"),
            PlanError::Network(_) => Some("forwarded_allow_ips"),
            PlanError::Identity(IdentityError::NoUser(_)) => Some("user"),
            PlanError::Identity(IdentityError::NoGroup(_)) => Some("group"),
            PlanError::Identity(_) => None,
            PlanError::Nowhere
            | PlanError::Activated
            | PlanError::In(..)
            | PlanError::Settings(_) => None,
        }
    }

    /// It is about user or group.
    pub(crate) fn is_of_identity(&self) -> bool {
        match self {
            PlanError::In(_, error) => error.is_of_identity(),
            error => matches!(error, PlanError::Identity(_)),
        }
    }
}

impl Plan {
    /// What was asked for and has no meaning, each with the reason.
    pub(crate) fn without_meaning(&self) -> Vec<String> {
        let ignored = self.options.ignored.reasons();
        let mut all: Vec<_> = ignored.map(|(name, why)| format!("--{name}: {why}")).collect();
        if let Endpoints::Edge(_) = self.endpoints {
            if self.options.access_logfile.is_some() {
                all.push("--access-logfile: the edge writes the access log".into());
            }
            if self.options.forwarded_allow_ips.is_some() {
                all.push("--forwarded-allow-ips: the edge knows its trusted_proxies".into());
            }
            if self.options.content_max.is_some() {
                all.push("--content-max: the edge's content_max bounds content".into());
            }
        }
        all
    }
}

impl WorkerSettings {
    /// How many requests one worker should answer: jitter included, different for each process.
    pub(crate) fn budget(&self) -> u64 {
        if self.max_requests == 0 {
            return 0;
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nanos = now.map_or(0, |since| since.subsec_nanos());
        let seed = u64::from(nanos ^ std::process::id().rotate_left(16));
        // Fibonacci hashing spreads neighbouring seeds.
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        u64::from(self.max_requests) + random % (u64::from(self.max_requests_jitter) + 1)
    }
}

/// The path of a control socket.
pub(crate) fn control_path(text: &str) -> Result<PathBuf, PlanError> {
    socket("control", text)
}

fn endpoints(options: &Options) -> Result<Endpoints, PlanError> {
    if let Some(edge) = &options.edge {
        return Ok(Endpoints::Edge(socket("edge", edge)?));
    }
    let addresses = options.bind.iter().map(|text| Address::parse(text));
    let addresses = addresses.collect::<Result<Vec<_>, _>>();
    let addresses = addresses.map_err(|error| PlanError::Address("bind", error))?;
    if addresses.is_empty() { Err(PlanError::Nowhere) } else { Ok(Endpoints::Bind(addresses)) }
}

fn socket(name: &'static str, text: &str) -> Result<PathBuf, PlanError> {
    match Address::parse(text) {
        Ok(Address::Unix(path)) => Ok(path),
        Err(error @ AddressError::TooLong(..)) => Err(PlanError::Address(name, error)),
        _ => Err(PlanError::NotASocket(name, text.into())),
    }
}

/// From 1 to `most`; else what was written.
fn count(written: Option<u32>, most: u32) -> Result<usize, u32> {
    let number = written.unwrap_or(0);
    if (1..=most).contains(&number) { Ok(number as usize) } else { Err(number) }
}

fn seconds(seconds: Option<u32>) -> Duration {
    Duration::from_secs(seconds.unwrap_or(0).into())
}

fn size(name: &'static str, text: &str) -> Result<u64, PlanError> {
    let upper = text.trim().to_ascii_uppercase();
    let units = [("K", 10), ("M", 20), ("G", 30)];
    let unit = units.iter().find_map(|(unit, bits)| Some((upper.strip_suffix(unit)?, *bits)));
    let (number, bits) = unit.unwrap_or((&upper, 0));
    let number: Option<u64> = number.trim().parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << bits));
    bytes.ok_or_else(|| PlanError::Size(name, text.into()))
}

fn octal(text: &str) -> Result<u32, PlanError> {
    let mask = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok();
    mask.filter(|&mask| mask <= 0o777).ok_or_else(|| PlanError::Umask(text.into()))
}

fn level(name: &str) -> Result<Level, PlanError> {
    Level::parse(name).ok_or_else(|| PlanError::Level(name.into()))
}

fn variables(texts: &[String]) -> Result<Vec<(String, String)>, PlanError> {
    let variable = |text: &String| {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
        (!text.contains('\0')).then(|| (name.to_owned(), value.to_owned()))
    };
    texts.iter().map(|text| variable(text).ok_or(PlanError::Variable(text.clone()))).collect()
}

const MOST_WORKERS: u32 = 1024;
const MOST_THREADS: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(change: impl FnOnce(&mut Options)) -> Result<Plan, String> {
        let mut options = Options { edge: Some("unix:a".into()), ..Options::defaults() };
        change(&mut options);
        Plan::of(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_gunicorns() {
        let Plan { endpoints, arbiter, worker, .. } = plan(|_| {}).unwrap();
        assert_eq!(endpoints, Endpoints::Edge("a".into()));
        assert_eq!(arbiter.targets.workers, 1);
        assert_eq!(arbiter.targets.graceful_timeout, Duration::from_secs(30));
        assert_eq!(arbiter.targets.max_memory, None);
        assert_eq!(worker.timeout, Some(Duration::from_secs(30)));
        assert_eq!(worker.max_requests, 0);
    }

    #[test]
    fn sizes_masks_and_times_are_read() {
        let memory = |text: &str| {
            let set = |options: &mut Options| options.max_memory = Some(text.into());
            plan(set).map(|plan| plan.arbiter.targets.max_memory)
        };
        assert_eq!(memory("1000"), Ok(Some(1000)));
        assert_eq!(memory("512M"), Ok(Some(512 << 20)));
        assert_eq!(memory("2 g"), Ok(Some(2 << 30)));
        assert!(memory("99999999999G").unwrap_err().contains("99999999999G"));
        assert!(memory("much").unwrap_err().contains("K, M or G"));
        let content = |text: Option<&str>| {
            let plan = plan(|options| options.content_max = text.map(str::to_owned));
            plan.map(|plan| plan.worker.content_max)
        };
        assert_eq!((content(None), content(Some("1G"))), (Ok(16 << 20), Ok(1 << 30)));
        assert!(content(Some("all")).unwrap_err().contains("content_max `all` is no size"));
        let umask = plan(|options| options.umask = Some("027".into())).unwrap().process.umask;
        assert_eq!(umask, Some(0o27));
        assert!(plan(|options| options.umask = Some("9".into())).unwrap_err().contains("octal"));
        let never = plan(|options| options.boot_timeout = Some(0)).unwrap_err();
        assert!(never.contains("boot_timeout = 0 is not possible"), "{never}");
        let forever = plan(|options| options.timeout = Some(0)).unwrap();
        assert_eq!(forever.worker.timeout, None);
    }

    #[test]
    fn what_has_no_meaning_is_said() {
        let behind_an_edge = plan(|options| {
            options.access_logfile = Some("-".into());
            options.forwarded_allow_ips = Some("*".into());
            options.content_max = Some("1G".into());
        });
        let said = behind_an_edge.unwrap().without_meaning();
        assert!(said.len() == 3 && said[0].contains("the edge writes the access log"), "{said:?}");
        let alone = plan(|options| {
            (options.edge, options.bind) = (None, vec!["a:1".into(), ":2".into()]);
            options.access_logfile = Some("-".into());
            options.env = vec!["A=b=c".into()];
        });
        let alone = alone.unwrap();
        assert_eq!(alone.without_meaning(), Vec::<String>::new());
        assert_eq!(alone.process.environment, [("A".into(), "b=c".into())]);
        assert!(matches!(alone.endpoints, Endpoints::Bind(addresses) if addresses.len() == 2));
    }

    #[test]
    fn budgets_are_spread_by_the_jitter() {
        let Plan { mut worker, .. } = plan(|options| options.max_requests = Some(10)).unwrap();
        assert_eq!(worker.budget(), 10);
        worker.max_requests_jitter = 5;
        assert!((10..=15).contains(&worker.budget()));
        worker.max_requests = 0;
        assert_eq!(worker.budget(), 0, "no limit");
    }

    #[test]
    fn errors_say_what_to_do() {
        let error = |change: fn(&mut Options)| plan(change).unwrap_err();
        assert!(error(|options| options.edge = None).contains("--edge unix:PATH"));
        assert!(error(|o| o.edge = Some("localhost:80".into())).contains("write unix:PATH"));
        assert!(error(|o| o.control = Some("run/ctl".into())).contains("write unix:PATH"));
        assert!(error(|options| options.workers = Some(0)).contains("from 1"));
        assert!(error(|o| o.log_level = Some("loud".into())).contains("none of debug"));
        assert!(error(|o| o.env = vec!["=x".into()]).contains("write NAME=VALUE"));
        assert!(error(|o| o.forwarded_allow_ips = Some("x".into())).contains("no network"));
        assert!(error(|o| o.user = Some("no-such-user".into())).contains("no-such-user"));
        assert!(error(|o| (o.edge, o.threads) = (None, Some(0))).starts_with("threads = 0 is not"));
    }

    #[test]
    fn errors_say_where_a_value_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("w.toml");
        std::fs::write(&file, "umask = '9'\nbind = 'unix:'").unwrap();
        let error = |flags: &Options, name: &str, value: &str| {
            let variable = |asked: &str| (asked == name).then(|| value.to_owned());
            Plan::effective(&Effective::new(flags, variable).unwrap()).unwrap_err()
        };
        let none = Options::default();
        let starts = |error: PlanError, with: &str| {
            assert!(error.to_string().starts_with(with), "{error} does not start with {with}");
        };
        starts(error(&none, "FOREBAY_WORKERS", "0"), "FOREBAY_WORKERS: workers = 0 is not");
        starts(error(&none, "WEB_CONCURRENCY", "0"), "WEB_CONCURRENCY: workers = 0 is not");
        starts(error(&none, "GUNICORN_CMD_ARGS", "-w 0"), "GUNICORN_CMD_ARGS: workers = 0 is");
        starts(error(&none, "FOREBAY_EDGE", "x:1"), "FOREBAY_EDGE: `x:1` is no socket, but --edge");
        let long = format!("unix:{}", "x".repeat(200));
        starts(error(&none, "FOREBAY_CONTROL", &long), "FOREBAY_CONTROL: the socket path");
        let in_file = Options { config: Some(file.clone()), ..Options::default() };
        starts(error(&in_file, "", ""), &format!("{}: umask `9`", file.display()));
        let address = error(&in_file, "FOREBAY_UMASK", "022");
        starts(address, &format!("{}: `unix:` is no address", file.display()));
        let flag = Options { workers: Some(0), ..Options::default() };
        starts(error(&flag, "FOREBAY_WORKERS", "1"), "workers = 0 is not possible");
        let user = error(&none, "FOREBAY_USER", "no-such-user");
        assert!(user.is_of_identity());
        starts(user, "FOREBAY_USER: there is no user");
        assert!(matches!(error(&none, "", ""), PlanError::Nowhere));
    }
}
