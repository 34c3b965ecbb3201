//! The life of a worker process, from the fork to its exit code.
//!
//! Owns what is set up before the first request. Must not know the arbiter's decisions.

use crate::address::Listener;
use crate::app::App;
use crate::arbiter::{Readiness, core::CANNOT_BOOT};
use crate::signals::Stop;
use crate::{dial, listen, log, threads};
use std::path::PathBuf;
use std::time::Duration;

/// Where requests come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The edge that listens at this path.
    Edge(PathBuf),
    /// Whoever connects.
    Clients(Listener),
}

/// Works until told to stop.
pub(crate) fn run(
    source: &Source,
    threads: usize,
    app: &dyn App,
    arbiter: u32,
    grace: Duration,
    mut readiness: Readiness,
) -> i32 {
    std::panic::set_hook(Box::new(log_panic));
    let stop = match Stop::new().and_then(|stop| stop.on_signals(arbiter, grace)) {
        Ok(stop) => stop,
        Err(error) => {
            log::error!("cannot boot: {error}");
            return CANNOT_BOOT;
        }
    };
    let all_ready = || readiness.announce();
    let served = match source {
        Source::Edge(path) => threads::run(threads, stop, all_ready, |mut ready| {
            dial::serve(path, app, stop, || ready.tell());
        }),
        Source::Clients(listener) => {
            listen::Server::new(listener, threads, app, stop).and_then(|server| {
                threads::run(threads, stop, all_ready, |mut ready| {
                    ready.tell();
                    server.serve();
                })
            })
        }
    };
    match served {
        Ok(()) => 0,
        Err(error) => {
            log::error!("cannot boot: {error}");
            CANNOT_BOOT
        }
    }
}

fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("(no message)");
    match panic.location() {
        Some(location) => log::error!("panic at {location}: {message}"),
        None => log::error!("panic: {message}"),
    }
}
