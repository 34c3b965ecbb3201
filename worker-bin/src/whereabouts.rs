//! Where the server is found: its pid file and its control socket.
//!
//! Owns them for as long as the server runs, and the wait for them: a command that a reload has
//! changed serves on, and has them, until this one is ready. Must not know what is answered there.

use crate::address::AddressError;
use crate::control::Control;
use crate::identity::Identity;
use crate::log;
use crate::pid_file::{PidFile, PidFileError};
use crate::plan::ProcessSettings;
use rustix::fs::{Access, access};
use std::cell::{Cell, OnceCell, RefCell};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// See the module's documentation. Dropped, they are removed.
#[derive(Debug)]
pub(crate) struct Whereabouts {
    pid_file: Wanted<PidFile>,
    control: Wanted<Control>,
    identity: Identity,
    /// When to look again whether what is missing has become free.
    look_at: Cell<Option<Instant>>,
}

#[derive(Debug)]
struct Wanted<T> {
    /// None: it is there, or not to be had, or not wanted.
    path: RefCell<Option<PathBuf>>,
    has: OnceCell<T>,
}

/// Why something is missing.
enum Missing {
    /// Another server has it.
    Taken(String),
    /// It cannot be had.
    Failed(String),
}

impl Whereabouts {
    /// `waits`: what another server has comes later.
    pub(crate) fn new(settings: &ProcessSettings, waits: bool) -> Result<Whereabouts, String> {
        let ProcessSettings { pid, control, identity, .. } = settings;
        let new = Whereabouts {
            pid_file: Wanted::new(pid),
            control: Wanted::new(control),
            identity: identity.clone(),
            look_at: Cell::new(None),
        };
        for missing in new.take() {
            match missing {
                Missing::Taken(by) if waits => {
                    log::warning!("{by} (waiting for that)");
                    new.look_at.set(Some(Instant::now() + AGAIN));
                }
                Missing::Taken(error) | Missing::Failed(error) => return Err(error),
            }
        }
        Ok(new)
    }

    /// Whether what is waited for can be had then. To be asked by the user whom it will run as.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.pid_file.check()?;
        self.control.check()
    }

    /// Who asks there is answered.
    pub(crate) fn control(&self) -> Option<&Control> {
        self.control.has.get()
    }

    /// When to look next, if something is missing.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        self.look_at.get()
    }

    /// Takes what has become free.
    pub(crate) fn look(&self) {
        let now = Instant::now();
        if self.look_at.get().is_none_or(|at| at > now) {
            return;
        }
        let mut again = None;
        let missing = self.take();
        if missing.is_empty() {
            log::info!("the pid file and the control socket are this server's now");
        }
        for missing in missing {
            match missing {
                Missing::Taken(_) => again = Some(now + AGAIN),
                Missing::Failed(error) => log::error!("{error}"),
            }
        }
        self.look_at.set(again);
    }

    /// What is still missing: one of them does not wait for the other.
    fn take(&self) -> Vec<Missing> {
        let pid_file = self.pid_file.take(|path| PidFile::create(path, &self.identity));
        let control = self.control.take(|path| Control::bind(path, &self.identity));
        pid_file.into_iter().chain(control).collect()
    }
}

impl<T> Wanted<T> {
    fn new(path: &Option<PathBuf>) -> Wanted<T> {
        Wanted { path: RefCell::new(path.clone()), has: OnceCell::new() }
    }

    fn take<E: Into<Missing>>(&self, make: impl FnOnce(&Path) -> Result<T, E>) -> Option<Missing> {
        let path = self.path.take()?;
        match make(&path).map_err(E::into) {
            Ok(made) => {
                let _ = self.has.set(made);
                None
            }
            Err(missing) => {
                let is_taken = matches!(missing, Missing::Taken(_));
                *self.path.borrow_mut() = Some(path).filter(|_| is_taken);
                Some(missing)
            }
        }
    }

    /// Whether this user could make it, if nobody else had it.
    fn check(&self) -> Result<(), String> {
        let path = self.path.borrow();
        let Some(path) = &*path else { return Ok(()) };
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            format!(
                "{} is another server's until this one is ready, and then this user cannot make \
                 it: {error}; restart, or name a directory that it may write",
                path.display()
            )
        })
    }
}

impl From<PidFileError> for Missing {
    fn from(error: PidFileError) -> Missing {
        match error {
            PidFileError::Running(..) => Missing::Taken(error.to_string()),
            _ => Missing::Failed(error.to_string()),
        }
    }
}

impl From<AddressError> for Missing {
    fn from(error: AddressError) -> Missing {
        match error {
            AddressError::InUse(_) => Missing::Taken(error.to_string()),
            _ => Missing::Failed(error.to_string()),
        }
    }
}

/// Between two looks.
const AGAIN: Duration = Duration::from_secs(1);
