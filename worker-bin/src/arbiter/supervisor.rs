//! Whoever started the server, if it wants to hear of us.
//!
//! Owns the variables by which it says so.

use super::process;
use crate::{log, notify};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};

/// The parent process looks after this one.
pub(crate) fn is_supervised() -> bool {
    std::env::var(Supervisor::SUPERVISED).as_deref() == Ok("1")
}

/// The other end of the agreement.
#[derive(Debug)]
pub(super) struct Supervisor {
    ready: Option<File>,
    /// Of systemd, or of another that does as it does.
    socket: Option<OsString>,
}

impl Supervisor {
    const READY_FD: &str = "FOREBAY_READY_FD";
    const SUPERVISED: &str = "FOREBAY_SUPERVISED";
    /// Those that are meant for this process alone.
    pub(super) const PRIVATE: [&str; 2] = [Self::READY_FD, Self::SUPERVISED];
    const SOCKET: &str = "NOTIFY_SOCKET";

    pub(super) fn from_environment() -> io::Result<Supervisor> {
        let variable = |name| std::env::var(name).ok();
        let is_supervised = is_supervised();
        if is_supervised {
            process::end_with_parent()?;
        }
        // Then it is about the state of the parent.
        let socket = std::env::var_os(Self::SOCKET).filter(|_| !is_supervised);
        let ready = match variable(Self::READY_FD).map(|text| text.parse()) {
            None => None,
            Some(Ok(fd)) if fd > 2 => Some(File::from(process::inherited(fd)?)),
            Some(_) => return Err(io::Error::other("FOREBAY_READY_FD is not a descriptor")),
        };
        process::forget_environment(&Self::PRIVATE);
        Ok(Supervisor { ready, socket })
    }

    /// What a worker should not inherit.
    pub(super) fn pipe(&self) -> Option<&File> {
        self.ready.as_ref()
    }

    /// Says so, and closes the pipe.
    pub(super) fn tell_ready(&mut self) {
        if let Some(mut pipe) = self.ready.take() {
            // A supervisor that no longer listens has other sorrows.
            let _ = pipe.write_all(b"READY\n");
        }
        self.notify("READY=1");
    }

    /// Says once that the server is ending.
    pub(super) fn tell_stopping(&mut self) {
        self.notify("STOPPING=1");
        self.socket = None;
    }

    /// Nothing hangs on it: who has not been told waits, and says so.
    fn notify(&self, what: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = notify::notify(socket, what) {
            log::warning!("cannot tell {} {what}: {error}", Self::SOCKET);
        }
    }
}
