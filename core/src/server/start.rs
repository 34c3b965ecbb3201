//! Reactor threads: one per core, pinned, each with its own ring.

use super::Server;
use super::error::RunError;
use crate::conn::{Spool, WorldParts};
use crate::files::{CacheLimits, FileCache, Root};
use crate::io::{Errno, Graveyard, SharedFile, Uring, UringOptions};
use crate::reactor::{Message, Reactor, Source};
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::os::fd::IntoRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

/// Runs a server's reactors until all have ended; the first error is the result.
pub(super) fn run(mut server: Server) -> Result<(), RunError> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let listeners = std::mem::take(&mut server.listeners);
    let server = &server;
    let mut result = Ok(());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, listeners) in listeners.into_iter().enumerate() {
            let core = cores.get(number % cores.len().max(1)).copied();
            let body = move || {
                if let Some(core) = core {
                    core_affinity::set_for_current(core);
                }
                let result = run_one(server, number, listeners);
                if result.is_err() {
                    stop_all(server);
                }
                result
            };
            let builder = thread::Builder::new().name(format!("forebay-{number}"));
            match builder.spawn_scoped(scope, body) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    stop_all(server);
                    result = Err(RunError::Thread(error));
                    break;
                }
            }
        }
        for (number, thread) in threads.into_iter().enumerate() {
            let ended = thread.join().unwrap_or(Err(RunError::Panic(number)));
            if result.is_ok() {
                result = ended;
            }
        }
    });
    if let Some(log) = &server.log {
        log.flush();
    }
    result
}

fn run_one(server: &Server, number: usize, listeners: Vec<TcpListener>) -> Result<(), RunError> {
    let graveyard = Graveyard::default();
    let backend = Uring::new(UringOptions::default())?;
    // From here on the reactor closes them, by its ring.
    let mut sources: Vec<Source> =
        listeners.into_iter().map(|l| Source::Clients(l.into_raw_fd())).collect();
    let pools = server.pools.iter().enumerate();
    sources.extend(pools.map(|(pool, bound)| Source::Workers(bound.socket.fd(), pool)));
    let parts = WorldParts {
        reactor: number as u16,
        seed: random(),
        limits: Arc::clone(&server.limits),
        counters: Arc::clone(&server.counters[number]),
        policy: Arc::clone(&server.policy),
        roots: roots(server, &graveyard)?,
        files: FileCache::new(
            CacheLimits { seed: random(), ..CacheLimits::default() },
            graveyard.clone(),
        ),
        pools: server.pools.iter().map(|p| Arc::clone(&p.core)).collect(),
        spool: Spool::new(&server.spool_dir, server.spool_budget.clone(), graveyard.clone()),
        log: server.log.clone(),
    };
    let shared = Arc::clone(&server.shared);
    let mut reactor = Reactor::new(backend, parts, sources, shared, graveyard);
    reactor.run().map_err(|errno: Errno| RunError::Kernel { reactor: number, error: errno.into() })
}

fn roots(server: &Server, graveyard: &Graveyard) -> Result<Vec<Root>, RunError> {
    let open = |(id, files): (usize, &crate::files::Files)| {
        let failed = |error| RunError::Root { directory: files.directory.clone(), error };
        let fd = File::open(&files.directory).map_err(failed)?.into_raw_fd();
        let directory = SharedFile::new(fd, graveyard);
        Ok(Root::new(id as u32, directory, Rc::new(files.clone())))
    };
    server.files.iter().enumerate().map(open).collect()
}

fn stop_all(server: &Server) {
    for mailbox in &server.shared.mailboxes {
        mailbox.post(Message::Stop);
    }
}

/// Not to be guessed: the standard library seeds its hashers from the kernel.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
