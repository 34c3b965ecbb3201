//! What the arbiter tells of itself.
//!
//! Owns the form of the answer on the control socket: one JSON document.

use super::decisions::Core;
use super::memory;
use super::watch::Watch;
use crate::liveness::State;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The server.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) pid: u32,
    /// Of the workers that are started now; reloads count it up.
    pub(crate) generation: u64,
    pub(crate) workers_wanted: usize,
    pub(crate) uptime_seconds: u64,
    /// Workers that ended unasked, and were started again.
    pub(crate) restarts: u64,
    pub(crate) workers: Vec<WorkerStatus>,
}

/// A worker process.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct WorkerStatus {
    pub(crate) number: usize,
    pub(crate) pid: i32,
    pub(crate) generation: u64,
    pub(crate) state: String,
    pub(crate) age_seconds: u64,
    /// Answered.
    pub(crate) requests: u64,
    pub(crate) memory_bytes: u64,
    /// How often in a row this place had failed when the worker was started.
    pub(crate) failures: u32,
    /// Running now: one for each thread at most.
    pub(crate) current: Vec<CurrentRequest>,
}

/// A request that is running.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct CurrentRequest {
    pub(crate) request_id: String,
    pub(crate) age_ms: u64,
    /// The response is being sent.
    pub(crate) sending: bool,
}

/// As it is now.
pub(super) fn status(core: &Core, watch: &Watch, started: Instant) -> Status {
    let now = Instant::now();
    let worker = |worker: &super::member::Worker| {
        let mut status = WorkerStatus {
            number: watch.row_of(worker.pid).map_or(0, |row| row + 1),
            pid: worker.pid,
            generation: worker.generation,
            age_seconds: now.duration_since(worker.since).as_secs(),
            memory_bytes: memory::resident(worker.pid).unwrap_or(0),
            failures: worker.failures,
            ..WorkerStatus::default()
        };
        for thread in watch.snapshots(worker.pid) {
            status.requests += thread.requests;
            if thread.is_running() {
                status.current.push(CurrentRequest {
                    request_id: thread.request_id,
                    age_ms: u64::try_from(thread.age.as_millis()).unwrap_or(u64::MAX),
                    sending: thread.state == State::Sending,
                });
            }
        }
        status.state = match () {
            () if worker.is_overdue() => "overdue",
            () if worker.is_leaving() => "leaving",
            () if !worker.booted => "booting",
            () if !worker.ready => "waiting for the edge",
            () if status.current.is_empty() => "idle",
            () => "busy",
        }
        .into();
        status
    };
    Status {
        pid: std::process::id(),
        generation: core.generation(),
        workers_wanted: core.target(),
        uptime_seconds: now.duration_since(started).as_secs(),
        restarts: core.crashes(),
        workers: core.workers().iter().map(worker).collect(),
    }
}
