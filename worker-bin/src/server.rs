//! A server from its settings: what is set up once, in which order, and what each worker does.
//!
//! Owns that order. Must not know how workers are kept alive.

use crate::address::Listener;
use crate::app::App;
use crate::arbiter::{self, Handover, Host, Program, Recipe, Settings, Signals, Station};
use crate::control::Control;
use crate::options::Options;
use crate::pid_file::PidFile;
use crate::plan::{Place, Plan, ProcessSettings};
use crate::watched::Watched;
use crate::worker::{self, Source};
use crate::{fail, identity, log_file, python};
use std::cell::RefCell;
use std::fmt::Display;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
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
        Err(error) => return fail(3, error),
    };
    let server = match Server::set_up(flags, plan, app) {
        Ok(server) => server,
        Err(error) => return fail(3, error),
    };
    let Server { program, control, plan, .. } = &server;
    arbiter::process::set_name(&format!("arbiter [{}]", plan.worker.name));
    let ended = arbiter::run(&plan.arbiter, program, signals, control.as_ref(), &server);
    if let Source::Clients(listener) = &server.source {
        listener.remove_path();
    }
    match ended {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => fail(1, format_args!("the arbiter has failed: {error}")),
    }
}

/// Serves `app` as a worker that an arbiter has started by executing its program.
pub(crate) fn work(plan: Plan, app: &dyn App, handover: Handover) -> ExitCode {
    let (station, source) = match take_over(&plan.place, handover) {
        Ok(taken) => taken,
        Err(error) => return fail(3, error),
    };
    if let Err(error) = enter_directory(&plan.process) {
        return fail(3, error);
    }
    if let Some(path) = &plan.process.log_file {
        // Standard error is inherited, and good enough if this user may not open the file.
        let _ = log_file::use_file(path);
    }
    let code = worker::run(&source, &plan.worker, station, |seat| Watched::new(app, seat));
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn take_over(place: &Place, handover: Handover) -> Result<(Station, Source), String> {
    let (station, listener) = handover.accept().map_err(text)?;
    let source = match (place, listener) {
        (Place::Edge(path), _) => Source::Edge(path.clone()),
        (Place::Bind(address), Some(listener)) => {
            Source::Clients(Listener::inherited(listener, address))
        }
        (Place::Bind(_), None) => return Err("the arbiter has passed no listener".into()),
    };
    Ok((station, source))
}

struct Server<'a> {
    flags: &'a Options,
    plan: Plan,
    /// As they were read last.
    options: RefCell<Options>,
    app: Application<'a>,
    program: Program,
    source: Source,
    control: Option<Control>,
    _pid_file: Option<PidFile>,
}

impl<'a> Server<'a> {
    /// Privileges are given up last: a low port, and files that only root may write, come first.
    fn set_up(flags: &'a Options, plan: Plan, app: Application<'a>) -> Result<Server<'a>, String> {
        let ProcessSettings { umask, log_file, pid, control, identity, .. } = &plan.process;
        let program = Program::of_this_process().map_err(text)?;
        if let Some(mask) = umask {
            identity::set_umask(*mask);
        }
        enter_directory(&plan.process)?;
        let pid_file = pid.as_deref().map(PidFile::create).transpose().map_err(text)?;
        let source = match &plan.place {
            Place::Edge(path) => Source::Edge(path.clone()),
            Place::Bind(address) => Source::Clients(Listener::bind(address).map_err(text)?),
        };
        let control = control.as_deref().map(Control::bind).transpose().map_err(text)?;
        if let Some(path) = log_file {
            let name = path.display();
            let cannot = |error| format!("cannot open the log file {name}: {error}");
            log_file::use_file(path).map_err(cannot)?;
            identity.own(path).map_err(cannot)?;
        }
        identity.assume().map_err(text)?;
        let options = RefCell::new(plan.options.clone());
        Ok(Server { flags, plan, options, app, program, source, control, _pid_file: pid_file })
    }
}

impl Host for Server<'_> {
    fn work(&self, station: Station) -> i32 {
        match self.app {
            Application::Native(app) => {
                let watched = |seat| Watched::new(app, seat);
                worker::run(&self.source, &self.plan.worker, station, watched)
            }
            Application::Wsgi(_) => unreachable!("its workers are made by molds"),
        }
    }

    fn announce(&self) {
        if let Source::Clients(listener) = &self.source {
            // Whoever closed standard output did not want to know.
            let _ = writeln!(std::io::stdout(), "listening on {}", listener.url());
        }
    }

    fn settings(&self) -> Result<Settings, String> {
        let plan = Plan::new(self.flags).map_err(text)?;
        if plan.place != self.plan.place || plan.arbiter.slots != self.plan.arbiter.slots {
            return Err("edge, bind and threads cannot change without a restart".into());
        }
        self.options.replace(plan.options);
        Ok(plan.arbiter)
    }

    fn listener(&self) -> Option<BorrowedFd<'_>> {
        match &self.source {
            Source::Clients(listener) => Some(listener.as_fd()),
            Source::Edge(_) => None,
        }
    }

    fn recipe(&self) -> Option<Recipe> {
        let Application::Wsgi(application) = self.app else { return None };
        let options = self.options.borrow().clone();
        Some(Recipe {
            python: python::find(options.python.as_deref(), self.program.directory()),
            directory: match &options.chdir {
                Some(directory) => self.program.directory().join(directory),
                None => self.program.directory().to_owned(),
            },
            application: application.to_owned(),
            boot_timeout: Duration::from_secs(options.boot_timeout.unwrap_or(0).into()),
            options,
        })
    }
}

fn enter_directory(settings: &ProcessSettings) -> Result<(), String> {
    let Some(directory) = &settings.chdir else { return Ok(()) };
    std::env::set_current_dir(directory)
        .map_err(|error| format!("cannot work in {}: {error}", directory.display()))
}

fn text(error: impl Display) -> String {
    error.to_string()
}
