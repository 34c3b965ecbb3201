//! Signals that Python handles, when this thread is not executing Python.
//!
//! Owns what becomes of what a handler raises then: it is about no request. Must not know which
//! signals there are.

use crate::errors;
use forebay_worker::host;
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Builder};

/// Runs the handlers of signals that have come, if this is the thread that does so.
pub(crate) fn run(py: Python<'_>) {
    while let Err(error) = py.check_signals() {
        match error.is_instance_of::<PySystemExit>(py) {
            true => host::stop(),
            false => {
                let what = "a signal handler of the application has failed";
                errors::log_without_request(py, what, error);
            }
        }
    }
}

/// The same, for a thread that does not hold the interpreter.
pub(crate) fn run_while_waiting() {
    Python::attach(run);
}

/// What wakes a main thread that does nothing but run them, while others answer requests.
pub(crate) struct Bell {
    near: UnixStream,
    far: UnixStream,
}

impl Bell {
    /// That of this process.
    pub(crate) fn set() -> io::Result<&'static Bell> {
        if let Some(bell) = BELL.get() {
            return Ok(bell);
        }
        let (near, far) = UnixStream::pair()?;
        far.set_nonblocking(true)?;
        Ok(BELL.get_or_init(|| Bell { near, far }))
    }

    /// What a byte is to be written to, if there is a handler to be run.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.far.as_raw_fd()
    }

    /// Has `work` done by another thread, and returns when that has ended, with all that the
    /// application has stored for it. This one does not hold the interpreter.
    pub(crate) fn beside<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let (bell, has_ended) = (Bell::set()?, AtomicBool::new(false));
        thread::scope(|scope| {
            let slot = Builder::new().name("slot-0".into()).stack_size(STACK);
            let slot = slot.spawn_scoped(scope, || {
                let _end = End { bell, has_ended: &has_ended };
                work()
            })?;
            while !has_ended.load(Ordering::Acquire) {
                match (&bell.near).read(&mut [0; 64]) {
                    Err(error) if error.kind() != ErrorKind::Interrupted => break,
                    _ => run_while_waiting(),
                }
            }
            slot.join().map_err(|_| io::Error::other("the thread has panicked"))
        })
    }
}

/// That of a thread's work, however that comes.
struct End<'a> {
    bell: &'a Bell,
    has_ended: &'a AtomicBool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Release);
        // If there is no room, it rings already.
        let _ = (&self.bell.far).write(&[0]);
    }
}

static BELL: OnceLock<Bell> = OnceLock::new();
/// Bytes, as other threads of a worker have.
const STACK: usize = 8 << 20;
