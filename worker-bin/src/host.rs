//! What whoever hosts applications of another language in this server builds on: the package
//! `forebay` for Python does.
//!
//! A [`Mold`] has loaded an application and forks workers; in each of them a [`Service`] answers
//! the requests of one thread. Applications in Rust need nothing of this.

use crate::signals::Deferred;
use std::io;
use std::os::fd::RawFd;

pub use crate::mold::{Mold, Order};
pub use crate::watched::{Begun, Running, Seat};
pub use crate::wire::{Answered, Arrival, Gone, Responder, Service, server_error};

/// Writes an error to the log: one line, and below it what explains it, if there is something.
pub fn log_error(text: std::fmt::Arguments<'_>, details: &str) {
    crate::log::with_details(text, details);
}

/// Whether this process is no worker, but a child that its application has forked. Such a child has
/// no business with the server: what comes back from the application there ends, by [`exit`].
pub fn is_forked() -> bool {
    crate::signals::is_forked()
}

/// Has `run` called in a worker whose wait for requests is interrupted by a signal, or by a byte
/// that is written to this descriptor. Of several the first one stays.
///
/// # Errors
/// There is no descriptor left.
pub fn on_interruption(run: fn()) -> io::Result<RawFd> {
    Deferred::set(run)
}

/// In a worker: nothing new is begun, and it ends, as if it had got TERM.
pub fn stop() {
    crate::signals::request_stop();
}

/// In a worker whose work is done: TERM has the worker's handler again, which does no more then,
/// whatever its language has put in the place of that.
///
/// # Errors
/// The kernel refuses.
pub fn keep_term() -> io::Result<()> {
    crate::signals::keep_term()
}

/// Ends the process at once: nothing is flushed, and nothing runs that was registered for its end.
pub fn exit(code: i32) -> ! {
    crate::signals::exit_now(code)
}
