//! Flags, environment and file, made into one set of settings.
//!
//! Owns who goes first and the errors about names and values. Must not know what they mean.
//!
//! Text from the environment and values from the file are read by the parser of the flags, so
//! that each setting has one name, one form and one error.

use crate::gunicorn::Ignored;
use crate::options::Options;
use clap::{Args, FromArgMatches};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Settings with their origins.
#[derive(Debug)]
pub(crate) struct Effective {
    pub(crate) options: Options,
    origins: BTreeMap<String, Origin>,
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
    Arguments,
    Flag,
}

/// What is wrong; one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read {0}: {1}{hint}", hint = hint(.0))]
    Unreadable(PathBuf, std::io::Error),
    #[error("{0}: {1}")]
    NotToml(PathBuf, String),
    #[error(
        "{0} is Python, and settings are TOML here: write them as flags, or to another file as \
         workers = 4, for example"
    )]
    Python(PathBuf),
    #[error("{0}: there is no setting `{1}`{2}; --help lists the flags that are settings")]
    Unknown(PathBuf, String, String),
    #[error("{0}: {1}")]
    Value(String, String),
    #[error("GUNICORN_CMD_ARGS: {0}")]
    Arguments(String),
    #[error("--edge and --bind exclude each other: give one of them")]
    Both,
    #[error(
        "--bind, but the edge that has started this sends the requests, as FOREBAY_EDGE says: \
         leave --bind out of the command"
    )]
    Supervised,
}

impl Effective {
    /// `variable` looks up the environment; as in most programs, an empty one counts as none.
    pub(crate) fn new(
        flags: &Options,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Effective, SettingsError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut layers = Layers::default();
        let name = flags.app_name.clone().or_else(|| Some(crate::program_name()));
        let defaults = Options { name, ..Options::defaults() };
        layers.add(table_of(&defaults), |_| Origin::Default)?;
        if let Some(path) = &flags.config {
            layers.add(read_file(path)?, |_| Origin::File(path.clone()))?;
        }
        let mut variables = BTreeMap::new();
        for name in names() {
            for variable_name in variables_for(&name) {
                if let Some(text) = variable(&variable_name) {
                    variables.entry(name.clone()).or_insert((variable_name, text));
                }
            }
        }
        let mut table = toml::Table::new();
        for (name, (variable_name, text)) in &variables {
            table.extend(parse(name, std::slice::from_ref(text), variable_name)?);
        }
        layers.add(table, |name| Origin::Variable(variables[name].0.clone()))?;
        let has_edge = variables.contains_key("edge");
        if has_edge && !flags.bind.is_empty() && variable("FOREBAY_SUPERVISED").is_some() {
            return Err(SettingsError::Supervised);
        }
        let mut arguments = arguments(variable)?;
        // They were written for gunicorn, which knows no edge.
        let has_edge = has_edge || flags.edge.is_some();
        if has_edge && !std::mem::take(&mut arguments.bind).is_empty() {
            arguments.ignored = arguments.ignored.and(&Ignored::bind());
        }
        layers.add(table_of(&arguments), |_| Origin::Arguments)?;
        layers.add(table_of(flags), |_| Origin::Flag)?;
        let mut effective = layers.into_effective();
        effective.options.ignored = flags.ignored.and(&arguments.ignored);
        Ok(effective)
    }

    /// Where a setting was written, unless it is the command line.
    pub(crate) fn source(&self, name: &str) -> Option<String> {
        match self.origins.get(name)? {
            Origin::File(path) => Some(path.display().to_string()),
            Origin::Variable(name) => Some(name.clone()),
            Origin::Arguments => Some("GUNICORN_CMD_ARGS".into()),
            Origin::Default | Origin::Flag => None,
        }
    }

    /// As a file that would come to the same.
    pub(crate) fn to_toml(&self) -> String {
        let table = table_of(&self.options);
        names().into_iter().fold(String::new(), |mut text, name| {
            let origin = self.origins.get(&name).map(ToString::to_string).unwrap_or_default();
            let _ = match table.get(&name) {
                Some(value) => writeln!(text, "{name} = {value}  # {origin}"),
                None => writeln!(text, "# {name} is not set"),
            };
            text
        })
    }
}

/// The file that GUNICORN_CMD_ARGS or else FOREBAY_CONFIG names.
pub(crate) fn named_by_environment() -> Option<PathBuf> {
    let arguments = arguments(|name| std::env::var(name).ok());
    let own = std::env::var_os("FOREBAY_CONFIG").filter(|path| !path.is_empty());
    // What is wrong with the arguments is said when they are used.
    arguments.ok().and_then(|arguments| arguments.config).or(own.map(PathBuf::from))
}

/// What gunicorn takes from the environment, split as by a shell.
fn arguments(variable: impl Fn(&str) -> Option<String>) -> Result<Options, SettingsError> {
    let text = variable("GUNICORN_CMD_ARGS").unwrap_or_default();
    let unbalanced = || SettingsError::Arguments("a quotation mark is not closed".into());
    let words = shlex::split(&text).ok_or_else(unbalanced)?;
    options_of(words).map_err(|error| SettingsError::Arguments(crate::one_line(&error, &command())))
}

fn options_of(words: Vec<String>) -> Result<Options, clap::Error> {
    let matches = command().no_binary_name(true).try_get_matches_from(words)?;
    Options::from_arg_matches(&matches)
}

/// The flags alone.
fn command() -> clap::Command {
    Options::augment_args(clap::Command::new("settings").args_override_self(true))
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Variable(name) => write!(f, "environment: {name}"),
            Origin::Arguments => f.write_str("environment: GUNICORN_CMD_ARGS"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

/// Settings, the weakest first.
#[derive(Debug, Default)]
struct Layers {
    table: toml::Table,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    fn add(
        &mut self,
        layer: toml::Table,
        origin: impl Fn(&str) -> Origin,
    ) -> Result<(), SettingsError> {
        // They are two answers to one question: the stronger layer answers it alone.
        match PLACES.map(|place| layer.contains_key(place)) {
            [true, true] => return Err(SettingsError::Both),
            [false, false] => {}
            _ => PLACES.iter().for_each(|&place| drop(self.table.remove(place))),
        }
        for (name, value) in layer {
            self.origins.insert(name.clone(), origin(&name));
            self.table.insert(name, value);
        }
        Ok(())
    }

    fn into_effective(self) -> Effective {
        let options = self.table.try_into().expect("every value was made from options");
        Effective { options, origins: self.origins }
    }
}

fn read_file(path: &Path) -> Result<toml::Table, SettingsError> {
    if is_python(path) {
        return Err(SettingsError::Python(path.into()));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::Unreadable(path.into(), error))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        SettingsError::NotToml(path.into(), error.to_string().trim_end().replace('\n', " "))
    })?;
    let known = known();
    let mut settings = toml::Table::new();
    for (name, value) in &table {
        if !known.contains(name) {
            let hint = suggest(name, &known);
            return Err(SettingsError::Unknown(path.into(), name.clone(), hint));
        }
        let source = format!("{}: {name}", path.display());
        let texts = match value {
            toml::Value::Array(values) if LISTS.contains(&name.as_str()) => {
                values.iter().map(text_of).collect()
            }
            value => text_of(value).map(|text| vec![text]),
        };
        let wrong = || SettingsError::Value(source.clone(), "write a string or a number".into());
        settings.extend(parse(name, &texts.ok_or_else(wrong)?, &source)?);
    }
    Ok(settings)
}

/// As gunicorn takes it: a file, or the name of a module.
fn is_python(path: &Path) -> bool {
    let is_module = |name: &str| name.starts_with("python:");
    path.extension().is_some_and(|extension| extension == "py")
        || path.file_name().and_then(|name| name.to_str()).is_some_and(is_module)
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(choice) => Some(choice.to_string()),
        _ => None,
    }
}

/// One setting, as its flag would be read, perhaps given several times.
fn parse(name: &str, texts: &[String], source: &str) -> Result<toml::Table, SettingsError> {
    let flag = |text| format!("--{}={text}", name.replace('_', "-"));
    let options = options_of(texts.iter().map(flag).collect());
    options.map(|options| table_of(&options)).map_err(|error| {
        let error = error.to_string();
        let line = error.lines().next().unwrap_or_default();
        SettingsError::Value(source.into(), line.trim_start_matches("error: ").into())
    })
}

fn table_of(options: &Options) -> toml::Table {
    toml::Table::try_from(options).expect("options are plain values")
}

/// All settings, in the order of `--help`.
fn names() -> Vec<String> {
    let command = command();
    let all = command.get_arguments().map(|argument| argument.get_id().to_string());
    all.filter(|name| !NO_SETTINGS.contains(&name.as_str()) && !Ignored::knows(name)).collect()
}

/// What a setting may be called.
fn known() -> Vec<String> {
    names().into_iter().chain([ERROR_LOGFILE.to_owned()]).collect()
}

/// The strongest first.
fn variables_for(name: &str) -> Vec<String> {
    let own = format!("FOREBAY_{}", name.to_uppercase());
    let other = match name {
        "workers" => Some("WEB_CONCURRENCY"),
        "forwarded_allow_ips" => Some("FORWARDED_ALLOW_IPS"),
        "log_file" => Some("FOREBAY_ERROR_LOGFILE"),
        _ => None,
    };
    std::iter::once(own).chain(other.map(str::to_owned)).collect()
}

/// What is wrong with these variables: those that are none of ours, but resemble one. Others may
/// be somebody else's.
pub(crate) fn misspelt(variables: impl Iterator<Item = String>) -> Vec<String> {
    let known = known();
    let what = |variable: String| {
        let name = variable.strip_prefix("FOREBAY_")?.to_lowercase();
        let is_ours = known.contains(&name) || NO_SETTINGS_VARIABLES.contains(&name.as_str());
        let best = nearest(&name, &known).filter(|_| !is_ours)?.to_uppercase();
        Some(format!("there is no setting {variable}, did you mean FOREBAY_{best}?"))
    };
    variables.filter_map(what).collect()
}

fn suggest(name: &str, known: &[String]) -> String {
    let best = nearest(&name.replace('-', "_"), known);
    best.map(|best| format!(", did you mean `{best}`?")).unwrap_or_default()
}

fn nearest<'k>(name: &str, known: &'k [String]) -> Option<&'k String> {
    let likeness = |known: &String| strsim::jaro_winkler(known, name);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.filter(|best| likeness(best) > 0.8)
}

fn hint(unreadable: &Path) -> &'static str {
    if unreadable.ends_with("-") { "; standard input is not read; /dev/stdin is" } else { "" }
}

const PLACES: [&str; 2] = ["edge", "bind"];
/// gunicorn's name of `log_file`.
const ERROR_LOGFILE: &str = "error_logfile";
/// May be a list in the file.
const LISTS: [&str; 2] = ["bind", "env"];
/// Flags about settings.
const NO_SETTINGS: [&str; 2] = ["config", "print_config"];
/// What else is in the environment as FOREBAY_….
const NO_SETTINGS_VARIABLES: [&str; 5] = ["config", "log", "ready_fd", "supervised", "mold"];

#[cfg(test)]
mod tests {
    use super::*;

    fn effective(
        flags: &Options,
        environment: &[(&str, &str)],
        file: Option<&str>,
    ) -> Result<Effective, String> {
        let directory = tempfile::tempdir().unwrap();
        let config = file.map(|text| {
            let path = directory.path().join("worker.toml");
            std::fs::write(&path, text).unwrap();
            path
        });
        let flags = Options { config, ..flags.clone() };
        let variable = |name: &str| {
            environment.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string())
        };
        Effective::new(&flags, variable).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_go_before_environment_before_file_before_defaults() {
        let file = Some("workers = 2\ntimeout = 20\nboot_timeout = 20\nuser = \"33\"\n");
        let environment = [("WEB_CONCURRENCY", "3"), ("FOREBAY_TIMEOUT", "30")];
        let flags = Options { workers: Some(4), ..Options::default() };
        let effective = effective(&flags, &environment, file).unwrap();
        let options = &effective.options;
        assert_eq!(options.workers, Some(4));
        assert_eq!(options.timeout, Some(30));
        assert_eq!(options.boot_timeout, Some(20));
        assert_eq!(options.graceful_timeout, Some(30));
        assert_eq!(options.user.as_deref(), Some("33"));
        let text = effective.to_toml();
        for line in [
            "workers = 4  # flag",
            "timeout = 30  # environment: FOREBAY_TIMEOUT",
            "graceful_timeout = 30  # default",
            "# edge is not set",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} in {text}");
        }
        assert!(text.contains("boot_timeout = 20  # /"), "{text}");
        let again = self::effective(&Options::default(), &[], Some(&text)).unwrap();
        assert_eq!(again.options.workers, Some(4));
    }

    #[test]
    fn a_stronger_layer_says_alone_where_requests_come_from() {
        let environment = [("FOREBAY_EDGE", "unix:a")];
        let bind = Options { bind: vec!["[::]:80".into()], ..Options::default() };
        let found = effective(&bind, &environment, Some("edge = 'unix:b'")).unwrap().options;
        assert_eq!((found.edge, found.bind), (None, vec!["[::]:80".into()]));
        let several = effective(&Options::default(), &[("FOREBAY_BIND", "a:1,b:2")], None);
        assert_eq!(several.unwrap().options.bind, ["a:1", "b:2"]);
        let file = Some("bind = ['a:1', 'b:2']\nenv = 'A=1,2'\nreload = true");
        let found = effective(&Options::default(), &[], file).unwrap();
        assert_eq!(
            (found.options.bind.len(), found.options.env.clone()),
            (2, vec!["A=1,2".into()])
        );
        assert_eq!(found.options.reload, Some(true));
        let again = effective(&Options::default(), &[], Some(&found.to_toml())).unwrap();
        assert_eq!(again.options.bind, ["a:1", "b:2"]);
        let found = effective(&Options::default(), &environment, Some("bind = 'b:1'")).unwrap();
        assert_eq!(found.options.edge.as_deref(), Some("unix:a"));
        let gunicorn = [environment[0], ("GUNICORN_CMD_ARGS", "-b :80 -w 3 --bind :81")];
        let found = effective(&Options::default(), &gunicorn, None).unwrap().options;
        assert_eq!((found.edge.as_deref(), found.bind.len()), (Some("unix:a"), 0));
        assert_eq!((found.workers, found.ignored.reasons().count()), (Some(3), 1));
        let flag = Options { edge: Some("unix:c".into()), ..Options::default() };
        let found = effective(&flag, &gunicorn[1..], None).unwrap().options;
        assert_eq!((found.bind.len(), found.ignored.reasons().count()), (0, 1));
        let supervised = [environment[0], ("FOREBAY_SUPERVISED", "1")];
        assert!(effective(&bind, &supervised, None).unwrap_err().contains("leave --bind out"));
        let both = Options { edge: Some("unix:a".into()), ..bind };
        assert!(effective(&both, &[], None).unwrap_err().contains("exclude"));
    }

    #[test]
    fn gunicorns_variable_is_between_flags_and_the_others() {
        let arguments = "-w 3 --timeout=40 -e 'A=b c' --keep-alive 5";
        let environment =
            [("GUNICORN_CMD_ARGS", arguments), ("FOREBAY_TIMEOUT", "50"), ("FOREBAY_THREADS", "2")];
        let flags = Options { workers: Some(4), ..Options::default() };
        let effective = self::effective(&flags, &environment, Some("timeout = 60")).unwrap();
        let Options { workers, timeout, threads, env, ignored, .. } = &effective.options;
        assert_eq!((*workers, *timeout, *threads), (Some(4), Some(40), Some(2)));
        assert_eq!(env, &["A=b c"]);
        assert_eq!(ignored.reasons().map(|(name, _)| name).collect::<Vec<_>>(), ["keep-alive"]);
        let line = "timeout = 40  # environment: GUNICORN_CMD_ARGS";
        assert!(effective.to_toml().contains(line), "{}", effective.to_toml());
        for (arguments, reason) in [
            ("--wrokers 2", "unexpected argument '--wrokers' found; did you mean --workers?"),
            ("-e 'A", "a quotation mark is not closed"),
            ("-k gevent", "--worker-class gevent is not possible here"),
        ] {
            let environment = [("GUNICORN_CMD_ARGS", arguments)];
            let error = self::effective(&Options::default(), &environment, None).unwrap_err();
            assert!(error.starts_with("GUNICORN_CMD_ARGS: ") && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn misspelt_variables_get_suggestions() {
        let said = |names: &[&str]| misspelt(names.iter().map(|name| name.to_string()));
        assert_eq!(
            said(&["PATH", "FOREBAY_WORKER", "FOREBAY_GRACEFULL_TIMEOUT", "FOREBAY_TIMEOUT"]),
            [
                "there is no setting FOREBAY_WORKER, did you mean FOREBAY_WORKERS?",
                "there is no setting FOREBAY_GRACEFULL_TIMEOUT, did you mean \
                 FOREBAY_GRACEFUL_TIMEOUT?",
            ]
        );
        let ours = ["CONFIG", "LOG", "READY_FD", "SUPERVISED", "MOLD"];
        // Of tests, and of a service of this name in Kubernetes.
        let others = ["FULL", "REQUIRE", "TEST_PYTHON", "SEED", "PORT", "SERVICE_HOST"];
        for name in ours.iter().chain(&others) {
            assert_eq!(said(&[&format!("FOREBAY_{name}")]), [""; 0]);
        }
    }

    #[test]
    fn the_log_file_has_two_names() {
        let variable = ("FOREBAY_ERROR_LOGFILE", "a");
        for (environment, file) in [(&[variable][..], None), (&[], Some("error_logfile = 'a'"))] {
            let found = effective(&Options::default(), environment, file).unwrap();
            assert!(found.to_toml().contains("\nlog_file = \"a\"  # "), "{}", found.to_toml());
        }
        let both = [variable, ("FOREBAY_LOG_FILE", "b")];
        let found = effective(&Options::default(), &both, None).unwrap();
        assert_eq!(found.options.log_file, Some("b".into()));
        assert_eq!(misspelt([variable.0.to_owned()].into_iter()), [""; 0]);
    }

    #[test]
    fn errors_name_the_place_and_say_what_to_do() {
        let error = |environment: &[_], file| {
            effective(&Options::default(), environment, file).unwrap_err()
        };
        let unknown = error(&[], Some("wrokers = 2"));
        assert!(unknown.contains("worker.toml") && unknown.contains("did you mean `workers`?"));
        assert!(error(&[], Some("config = 'x'")).contains("no setting `config`"));
        assert!(error(&[], Some("workers = [")).contains("worker.toml"));
        assert!(error(&[], Some("workers = 'many'")).contains("workers: invalid value 'many'"));
        assert!(error(&[], Some("workers = [1]")).contains("a string or a number"));
        let variable = error(&[("FOREBAY_TIMEOUT", "-1")], None);
        assert!(variable.starts_with("FOREBAY_TIMEOUT: invalid value '-1'"), "{variable}");
        let web = error(&[("WEB_CONCURRENCY", "many")], None);
        assert!(web.starts_with("WEB_CONCURRENCY: invalid value"), "{web}");
        let empty = effective(&Options::default(), &[("WEB_CONCURRENCY", "")], None).unwrap();
        assert_eq!(empty.options.workers, Some(1));
        let missing = Options { config: Some("/nowhere.toml".into()), ..Options::default() };
        let missing = Effective::new(&missing, |_| None).unwrap_err().to_string();
        assert!(missing.contains("cannot read /nowhere.toml"));
        for name in ["/a/gunicorn.conf.py", "/a/python:site.settings"] {
            let python = Options { config: Some(name.into()), ..Options::default() };
            let error = Effective::new(&python, |_| None).unwrap_err().to_string();
            assert!(error.contains("is Python, and settings are TOML here"), "{error}");
        }
    }
}
