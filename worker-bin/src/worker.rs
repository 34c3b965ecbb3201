//! The life of a worker process, from its birth to its exit code.
//!
//! Owns what is set up before the first request. Must not know the arbiter's decisions.

use crate::address::Listener;
use crate::arbiter::{Station, Word, process};
use crate::exit::CANNOT_BOOT;
use crate::plan::{Endpoints, WorkerSettings};
use crate::signals::Stop;
use crate::watched::{Duty, Seat};
use crate::wire::Service;
use crate::{dial, listen, log, log_file, threads};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// Where requests come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The edge that listens at this path.
    Edge(PathBuf),
    /// Whoever connects.
    Clients(Vec<Listener>),
}

impl Source {
    /// `listeners` are those of the arbiter, in the order of the addresses.
    pub(crate) fn inherited(endpoints: &Endpoints, listeners: Vec<OwnedFd>) -> io::Result<Source> {
        let addresses = match endpoints {
            Endpoints::Edge(path) => return Ok(Source::Edge(path.clone())),
            Endpoints::Bind(addresses) => addresses,
        };
        if addresses.len() != listeners.len() {
            return Err(io::Error::other("the arbiter has not passed the listeners"));
        }
        let inherited = listeners.into_iter().zip(addresses);
        let inherited = inherited.map(|(fd, address)| Listener::inherited(fd, address));
        Ok(Source::Clients(inherited.collect()))
    }
}

/// Works until told to stop. Each thread makes its own `service`.
pub(crate) fn run<S: Service>(
    source: &Source,
    settings: &WorkerSettings,
    station: Station,
    service: impl Fn(Seat) -> S + Sync,
) -> u8 {
    std::panic::set_hook(Box::new(log_panic));
    let Station { arbiter, number, row, words } = station;
    process::set_name(&format!("worker {} [{}]", number + 1, settings.name));
    let grace = settings.graceful_timeout;
    let access_log = match source {
        Source::Clients(_) => settings.access_log.as_deref(),
        Source::Edge(_) => None,
    };
    let logged = match log_file::use_access_file(access_log) {
        // That costs lines and no worker. It is said below.
        Err(error) if log_file::is_unread(&error) => Ok(()),
        logged => logged,
    };
    let stop = logged.and_then(|()| Stop::new()?.on_signals(arbiter, grace));
    let stop = match stop {
        Ok(stop) => stop,
        Err(error) => {
            log::error!("cannot boot: {error}");
            return CANNOT_BOOT;
        }
    };
    // In case that USR1 came before there was a handler for it, or a pipe had no reader.
    log::reopen();
    words.say(Word::Booted);
    let threads = settings.threads;
    let duty = Duty::new(words, settings.timeout, settings.budget(), threads);
    // Another attempt after a panic goes on with the same entry.
    let seats: Vec<_> =
        (0..threads).map(|slot| Seat::new(Arc::clone(&duty), row.entry(slot))).collect();
    let served = match source {
        Source::Edge(path) => threads::run(threads, stop, |slot| {
            let service = service(seats[slot].clone());
            dial::serve(path, &service, stop, || seats[slot].ready());
        }),
        Source::Clients(listeners) => {
            listen::Server::new(listeners, settings, stop).and_then(|server| {
                threads::run(threads, stop, |slot| {
                    let service = service(seats[slot].clone());
                    seats[slot].ready();
                    server.serve(&service);
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
