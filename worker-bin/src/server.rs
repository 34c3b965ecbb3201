//! A server from its settings: what is set up once, in which order, and what each worker does.
//!
//! Owns that order. Must not know how workers are kept alive.

use crate::address::{Address, AddressError, Listener};
use crate::app::App;
use crate::arbiter::{self, Handover, Host, Program, Recipe, Settings, Signals, Station};
use crate::exit::{CANNOT_BOOT, FAILED};
use crate::identity::Identity;
use crate::options::Options;
use crate::outlet::Outlet;
use crate::plan::{Endpoints, Plan, ProcessSettings};
use crate::watched::Watched;
use crate::whereabouts::Whereabouts;
use crate::worker::{self, Source};
use crate::{fail, gunicorn, identity, log, log_file, python, settings};
use std::cell::RefCell;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// What is served.
#[derive(Clone, Copy)]
pub(crate) enum Application<'a> {
    /// It is a part of this program.
    Native(&'a dyn App),
    /// The Python package `forebay` finds it by this name.
    Wsgi(&'a str),
}

/// Serves an application as the arbiter.
pub(crate) fn serve(flags: &Options, plan: Plan, app: Application<'_>) -> ExitCode {
    // First: what comes from now on waits until it is understood.
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(CANNOT_BOOT, error),
    };
    let server = match Server::set_up(flags, plan, app) {
        Ok(server) => server,
        Err(error) => return fail(CANNOT_BOOT, error),
    };
    let Server { program, whereabouts, plan, .. } = &server;
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for reason in plan.without_meaning().into_iter().chain(settings::misspelt(variables)) {
        log::warning!("{reason}");
    }
    if flags.config.is_none() && program.directory().join(gunicorn::SETTINGS).exists() {
        let file = gunicorn::SETTINGS;
        log::warning!("{file} is not read: write its settings as flags, or in TOML for -c FILE");
    }
    if plan.options.reload == Some(true) && matches!(app, Application::Native(_)) {
        log::warning!("--reload: it is for applications of Python");
    }
    arbiter::process::set_name(&format!("arbiter [{}]", plan.worker.name));
    let ended = arbiter::run(&plan.arbiter, program, signals, whereabouts, &server);
    server.listeners().iter().for_each(Listener::remove_path);
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(FAILED, format_args!("the arbiter has failed: {error}")),
    }
}

/// Serves `app` as a worker that an arbiter has started by executing its program.
pub(crate) fn work(plan: Plan, app: &dyn App, handover: Handover) -> ExitCode {
    log::set_least(plan.process.log_level);
    arbiter::process::set_environment(&plan.process.environment);
    let (station, source) = match take_over(&plan.endpoints, handover) {
        Ok(taken) => taken,
        Err(error) => return fail(CANNOT_BOOT, error),
    };
    if let Err(error) = enter_directory(&plan.process) {
        return fail(CANNOT_BOOT, error);
    }
    if let Some(path) = &plan.process.log_file {
        // Standard error is inherited, and good enough if this user may not open the file.
        let _ = log_file::use_file(path);
    }
    ExitCode::from(worker::run(&source, &plan.worker, station, |seat| Watched::new(app, seat)))
}

fn take_over(endpoints: &Endpoints, handover: Handover) -> Result<(Station, Source), String> {
    let (station, listeners) = handover.accept().map_err(text)?;
    Ok((station, Source::inherited(endpoints, listeners).map_err(text)?))
}

struct Server<'a> {
    flags: &'a Options,
    plan: Plan,
    /// As they were read last.
    options: RefCell<Options>,
    environment: RefCell<Vec<(String, String)>>,
    app: Application<'a>,
    program: Program,
    source: Source,
    whereabouts: Whereabouts,
}

impl<'a> Server<'a> {
    /// Privileges are given up last: a low port, and files that only root may write, come first.
    fn set_up(flags: &'a Options, plan: Plan, app: Application<'a>) -> Result<Server<'a>, String> {
        let ProcessSettings { umask, log_file, identity, .. } = &plan.process;
        log::set_least(plan.process.log_level);
        let program = Program::of_this_process().map_err(text)?;
        arbiter::process::set_environment(&plan.process.environment);
        if let Some(mask) = umask {
            identity::set_umask(*mask);
        }
        enter_directory(&plan.process)?;
        let whereabouts = Whereabouts::new(&plan.process, arbiter::is_supervised())?;
        let source = match &plan.endpoints {
            Endpoints::Edge(path) => Source::Edge(path.clone()),
            Endpoints::Bind(addresses) => Source::Clients(bind(addresses).map_err(text)?),
        };
        let access_log = access_log(&plan.endpoints, &plan.options);
        let give = |path: &Path| give_log(path, identity).map_err(|error| cannot_log(path, error));
        let given = log_file.as_deref().map(give).transpose()?.flatten();
        access_log.map(give).transpose()?;
        identity.assume().map_err(text)?;
        whereabouts.check()?;
        if let Some(path) = log_file {
            log_file::use_open_file(path, given).map_err(|error| cannot_log(path, error))?;
        }
        use_access_log(access_log)?;
        let options = RefCell::new(plan.options.clone());
        let environment = RefCell::new(plan.process.environment.clone());
        Ok(Server { flags, plan, options, environment, app, program, source, whereabouts })
    }

    /// Where workers with these settings begin.
    fn directory(&self, options: &Options) -> PathBuf {
        let start = self.program.directory();
        options.chdir.as_ref().map_or_else(|| start.to_owned(), |directory| start.join(directory))
    }

    fn listeners(&self) -> &[Listener] {
        match &self.source {
            Source::Clients(listeners) => listeners,
            Source::Edge(_) => &[],
        }
    }
}

impl Host for Server<'_> {
    fn work(&self, station: Station) -> u8 {
        match self.app {
            Application::Native(app) => {
                let watched = |seat| Watched::new(app, seat);
                worker::run(&self.source, &self.plan.worker, station, watched)
            }
            Application::Wsgi(_) => unreachable!("its workers are made by molds"),
        }
    }

    fn announce(&self) {
        for listener in Server::listeners(self) {
            let line = format!("listening on {}\n", listener.url());
            // Whoever closed standard output, or does not read it, does not want to know.
            Outlet::new().write(io::stdout().as_fd(), line.as_bytes(), 1);
        }
    }

    fn settings(&self) -> Result<Settings, String> {
        // What our own settings have put into the environment must not count as set there.
        let plan = Plan::new(self.flags, |name| self.program.variable(name));
        let mut plan = plan.map_err(text)?;
        if plan.endpoints != self.plan.endpoints || plan.arbiter.slots != self.plan.arbiter.slots {
            return Err("edge, bind and threads cannot change without a restart".into());
        }
        let fixed = keep_fixed(&mut plan.options, &self.plan.options);
        if !fixed.is_empty() {
            let names = fixed.join(", ");
            log::warning!(
                "{names} cannot change without a restart: what was set at the start stays"
            );
        }
        self.options.replace(plan.options);
        self.environment.replace(plan.process.environment);
        Ok(plan.arbiter)
    }

    fn adopt(&self, options: &Options) {
        if let Err(error) = use_access_log(access_log(&self.plan.endpoints, options)) {
            log::warning!("{error}");
        }
    }

    fn options(&self) -> Options {
        let mut options = self.options.borrow().clone();
        let directory = self.directory(&options);
        // An application may work elsewhere before its log is opened.
        for path in [&mut options.log_file, &mut options.access_logfile].into_iter().flatten() {
            if path.as_os_str() != "-" {
                *path = directory.join(&path);
            }
        }
        options
    }

    fn listeners(&self) -> Vec<BorrowedFd<'_>> {
        Server::listeners(self).iter().map(AsFd::as_fd).collect()
    }

    fn recipe(&self) -> Option<Recipe> {
        let Application::Wsgi(application) = self.app else { return None };
        let options = self.options();
        let environment = self.program.environment_with(&self.environment.borrow());
        let in_use = environment.iter().find(|(name, _)| name == "VIRTUAL_ENV");
        let in_use = in_use.map(|(_, path)| path.as_os_str());
        Some(Recipe {
            python: python::find(options.python.as_deref(), self.program.directory(), in_use),
            directory: self.directory(&options),
            application: application.to_owned(),
            boot_timeout: Duration::from_secs(options.boot_timeout.unwrap_or(0).into()),
            environment,
            options,
        })
    }
}

/// Leaves settings that hold for the arbiter as well as they were at its start, and gives the names
/// of those that have changed.
fn keep_fixed(new: &mut Options, start: &Options) -> Vec<&'static str> {
    fn keep<T: Clone + PartialEq>(new: &mut T, start: &T) -> bool {
        let has_changed = new != start;
        new.clone_from(start);
        has_changed
    }
    let all = [
        ("umask", keep(&mut new.umask, &start.umask)),
        ("log_file", keep(&mut new.log_file, &start.log_file)),
        ("log_level", keep(&mut new.log_level, &start.log_level)),
        ("pid", keep(&mut new.pid, &start.pid)),
        ("control", keep(&mut new.control, &start.control)),
        ("user", keep(&mut new.user, &start.user)),
        ("group", keep(&mut new.group, &start.group)),
    ];
    all.into_iter().filter_map(|(name, has_changed)| has_changed.then_some(name)).collect()
}

/// All of them, or nothing is left of any.
fn bind(addresses: &[Address]) -> Result<Vec<Listener>, AddressError> {
    let mut bound = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = Listener::bind(address);
        bound.push(listener.inspect_err(|_| bound.iter().for_each(Listener::remove_path))?);
    }
    Ok(bound)
}

/// A log where only root may write is made, and given to whom this will be. Where somebody else may
/// have put a link, they have to be able to open it themselves: None.
fn give_log(path: &Path, identity: &Identity) -> io::Result<Option<File>> {
    if !identity.is_given() || path.as_os_str() == "-" {
        return Ok(None);
    }
    let made = log_file::make(path)?;
    made.map(|file| identity.own(file.as_fd()).map(|()| file)).transpose()
}

/// Workers write it. That the arbiter has it, too, keeps the reader of a pipe while there are none.
fn use_access_log(path: Option<&Path>) -> Result<(), String> {
    let cannot = |error| cannot_log(path.unwrap_or("-".as_ref()), error);
    log_file::use_access_file(path).map_err(cannot)
}

/// An edge writes its own.
fn access_log<'a>(endpoints: &Endpoints, options: &'a Options) -> Option<&'a Path> {
    let path = options.access_logfile.as_deref();
    path.filter(|_| matches!(endpoints, Endpoints::Bind(_)))
}

fn cannot_log(path: &Path, error: io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => " (over symbolic links this takes --user's own rights)",
        _ => "",
    };
    format!("cannot open the log {}: {}{hint}", path.display(), log_file::reason(&error))
}

fn enter_directory(settings: &ProcessSettings) -> Result<(), String> {
    let Some(directory) = &settings.chdir else { return Ok(()) };
    std::env::set_current_dir(directory)
        .map_err(|error| format!("cannot work in {}: {error}", directory.display()))
}

fn text(error: impl Display) -> String {
    error.to_string()
}
