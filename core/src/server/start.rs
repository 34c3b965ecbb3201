//! Reactor threads: one per core, pinned, each with its own ring.

use super::Server;
use super::control::Control;
use super::error::RunError;
use super::random;
use crate::conn::{Spool, WorldParts};
use crate::files::{CacheLimits, FileCache};
use crate::handler::{Remains, dispose};
use crate::io::{self, Errno, Graveyard, Uring, UringOptions};
use crate::reactor::{Change, Leftovers, Message, Reactor, Source};
use std::net::TcpListener;
use std::os::fd::IntoRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

/// Where the reactors of the process's next server begin.
static NEXT_CORE: AtomicUsize = AtomicUsize::new(0);

/// Runs a server's reactors until all have ended; the first error is the result. Calls `begun` when
/// each has its ring.
pub(super) fn run(server: &mut Server, begun: impl FnOnce()) -> Result<(), RunError> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let first = NEXT_CORE.fetch_add(server.listeners.len(), Ordering::Relaxed);
    let listeners = std::mem::take(&mut server.listeners);
    let changes = std::mem::take(&mut server.changes);
    let control = &*Arc::clone(&server.control);
    let remains = server.remains();
    let open = Leftovers::default();
    let left_open = &open;
    let (mut result, mut panic) = (Ok(()), None);
    let (sender, rings) = mpsc::channel();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, start) in listeners.into_iter().zip(changes).enumerate() {
            let core = cores.get(first.wrapping_add(number) % cores.len().max(1)).copied();
            let sender = sender.clone();
            let body = move || {
                if let Some(core) = core {
                    core_affinity::set_for_current(core);
                }
                let result = catch_unwind(AssertUnwindSafe(|| {
                    run_one(control, number, start, left_open, sender)
                }));
                let result = result.unwrap_or_else(|payload| {
                    dispose(payload);
                    Err(RunError::Panic(number))
                });
                if result.is_err() {
                    abandon_all(control);
                }
                let _ = control.remains.send(Remains::Reactor);
                result
            };
            let builder = thread::Builder::new().name(format!("forebay-{number}"));
            match builder.spawn_scoped(scope, body) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    abandon_all(control);
                    result = Err(RunError::Thread(error));
                    break;
                }
            }
        }
        drop(sender);
        // Who fails before is one less.
        if result.is_ok() && rings.iter().count() == threads.len() {
            let called = catch_unwind(AssertUnwindSafe(begun));
            panic = called.inspect_err(|_| abandon_all(control)).err();
        }
        dispose_of(remains, threads.len());
        for (number, thread) in threads.into_iter().enumerate() {
            let ended = thread.join().unwrap_or(Err(RunError::Panic(number)));
            if result.is_ok() {
                result = ended;
            }
        }
    });
    panic.map_or(result, |payload| resume_unwind(payload))
}

/// Drops what reactors leave, until so many of them have ended.
fn dispose_of(remains: &Receiver<Remains>, mut running: usize) {
    while running > 0
        && let Ok(left) = remains.recv()
    {
        match left {
            Remains::Thing(it) => dispose(it),
            Remains::Reactor => running -= 1,
        }
    }
}

fn run_one(
    control: &Control,
    number: usize,
    (listeners, start): (Vec<TcpListener>, Change),
    left_open: &Leftovers,
    has_ring: Sender<()>,
) -> Result<(), RunError> {
    io::block_broken_pipes();
    let graveyard = Graveyard::default();
    let backend = Uring::new(UringOptions::default())?;
    let _ = has_ring.send(());
    drop(has_ring);
    // From here on the reactor closes them, by its ring.
    let mut sources: Vec<Source> =
        listeners.into_iter().map(|l| Source::Clients(l.into_raw_fd())).collect();
    sources.extend(start.sources);
    let parts = WorldParts {
        reactor: number as u16,
        seed: random(),
        limits: start.limits,
        counters: Arc::clone(&control.counters[number]),
        policy: start.policy,
        file_routes: start.file_routes.into_iter().map(|r| r.into_route(&graveyard)).collect(),
        files: FileCache::new(
            CacheLimits { seed: random(), ..CacheLimits::default() },
            graveyard.clone(),
        ),
        spool: Spool::new(&start.spool_dir, control.spool_budget.clone(), graveyard.clone()),
        memory: control.memory_budget.clone(),
        log: start.log,
    };
    let shared = Arc::clone(&control.shared);
    let mut reactor = Reactor::new(backend, parts, sources, shared, graveyard);
    let ended = catch_unwind(AssertUnwindSafe(|| reactor.run()));
    reactor.dismantle(left_open);
    let result = ended.unwrap_or_else(|payload| resume_unwind(payload));
    result.map_err(|errno: Errno| RunError::Kernel { reactor: number, error: errno.into() })
}

/// A reactor has failed, or who began them: the others can neither serve its share nor wait for its
/// end.
fn abandon_all(control: &Control) {
    control.tell(|| Message::Stop);
    control.tell(|| Message::Abandon);
}
