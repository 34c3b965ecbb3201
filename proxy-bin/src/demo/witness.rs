//! A visitor who wants nothing special, and notes how long it takes.
//!
//! Owns two measurements: a file from the edge, and a small answer of the application.

use super::visitors::visit;
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// Looks when asked to, in a thread of its own: an answer may take its time.
pub(super) struct Witness {
    seen: Arc<Mutex<Seen>>,
    looks: SyncSender<SocketAddr>,
}

/// What it has seen last.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Seen {
    /// How often it has looked.
    looks: u64,
    file: Glance,
    hello: Glance,
}

/// One request.
#[derive(Clone, Copy, Default, Serialize)]
struct Glance {
    /// From connecting to the last byte, in milliseconds.
    ms: f64,
    /// 0: no answer.
    status: u16,
}

impl Witness {
    /// Has seen nothing yet.
    ///
    /// # Errors
    /// No thread.
    pub(super) fn start() -> io::Result<Witness> {
        let (looks, asked) = mpsc::sync_channel(1);
        let seen = Arc::<Mutex<Seen>>::default();
        let notes = Arc::clone(&seen);
        let watch = move || {
            for address in asked {
                let file = glance(address, "/static/flow.svg");
                lock(&notes).file = file;
                let hello = glance(address, "/hello");
                let mut notes = lock(&notes);
                notes.hello = hello;
                notes.looks += 1;
            }
        };
        thread::Builder::new().name("witness".into()).spawn(watch)?;
        Ok(Witness { seen, looks })
    }

    /// Looks again, unless it still waits for an answer.
    pub(super) fn look(&self, address: SocketAddr) {
        let _ = self.looks.try_send(address);
    }

    pub(super) fn seen(&self) -> Seen {
        *lock(&self.seen)
    }
}

fn glance(address: SocketAddr, path: &str) -> Glance {
    let begin = Instant::now();
    let status = visit(address, path).unwrap_or(0);
    Glance { ms: begin.elapsed().as_secs_f64() * 1000.0, status }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
