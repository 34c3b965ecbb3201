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
use std::cell::{Cell, OnceCell};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// See the module's documentation. Dropped, they are removed.
#[derive(Debug)]
pub(crate) struct Whereabouts {
    pid_path: Option<PathBuf>,
    control_path: Option<PathBuf>,
    identity: Identity,
    pid_file: OnceCell<PidFile>,
    control: OnceCell<Control>,
    /// When to look again whether what is missing has become free.
    look_at: Cell<Option<Instant>>,
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
            pid_path: pid.clone(),
            control_path: control.clone(),
            identity: identity.clone(),
            pid_file: OnceCell::new(),
            control: OnceCell::new(),
            look_at: Cell::new(None),
        };
        match new.take() {
            Ok(()) => {}
            Err(Missing::Taken(by)) if waits => {
                log::warning!("{by} (waiting for that)");
                new.look_at.set(Some(Instant::now() + AGAIN));
            }
            Err(Missing::Taken(error) | Missing::Failed(error)) => return Err(error),
        }
        Ok(new)
    }

    /// Who asks there is answered.
    pub(crate) fn control(&self) -> Option<&Control> {
        self.control.get()
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
        let again = match self.take() {
            Ok(()) => {
                log::info!("the pid file and the control socket are this server's now");
                None
            }
            Err(Missing::Taken(_)) => Some(now + AGAIN),
            Err(Missing::Failed(error)) => {
                log::error!("{error}");
                None
            }
        };
        self.look_at.set(again);
    }

    /// One of them does not wait for the other.
    fn take(&self) -> Result<(), Missing> {
        let (pid_file, control) = (self.take_pid_file(), self.take_control());
        pid_file.and(control)
    }

    fn take_pid_file(&self) -> Result<(), Missing> {
        if let Some(path) = &self.pid_path
            && self.pid_file.get().is_none()
        {
            let _ = self.pid_file.set(PidFile::create(path, &self.identity)?);
        }
        Ok(())
    }

    fn take_control(&self) -> Result<(), Missing> {
        if let Some(path) = &self.control_path
            && self.control.get().is_none()
        {
            let _ = self.control.set(Control::bind(path, &self.identity)?);
        }
        Ok(())
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
