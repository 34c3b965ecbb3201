//! Whoever started the server, if it wants to hear of us.
//!
//! Owns the two variables by which it says so.

use super::process;
use std::fs::File;
use std::io::{self, Write};

/// The other end of the agreement.
#[derive(Debug)]
pub(super) struct Supervisor {
    ready: Option<File>,
}

impl Supervisor {
    const READY_FD: &str = "FOREBAY_READY_FD";
    const SUPERVISED: &str = "FOREBAY_SUPERVISED";

    pub(super) fn from_environment() -> io::Result<Supervisor> {
        let variable = |name| std::env::var(name).ok();
        if variable(Self::SUPERVISED).as_deref() == Some("1") {
            process::end_with_parent()?;
        }
        let ready = match variable(Self::READY_FD).map(|text| text.parse()) {
            None => None,
            Some(Ok(fd)) if fd > 2 => Some(File::from(process::inherited(fd)?)),
            Some(_) => return Err(io::Error::other("FOREBAY_READY_FD is not a descriptor")),
        };
        process::forget_environment(&[Self::READY_FD, Self::SUPERVISED]);
        Ok(Supervisor { ready })
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
    }
}
