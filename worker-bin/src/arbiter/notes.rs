//! Lines in the log about what the operator did not ask for, and about what was made of it.
//!
//! Owns their wording. Must not decide anything.

use super::decisions::Core;
use super::events::{Action, End, Event, Flaw, Kill, Request};
use super::memory::OutOfMemory;
use super::watch::{Sight, Watch};
use crate::liveness::Snapshot;
use crate::log;

/// Before the core hears of it.
pub(super) fn event(core: &Core, event: Event, out_of_memory: &mut OutOfMemory, watch: &Watch) {
    match event {
        Event::Exited(pid, end) => {
            let Some(worker) = core.worker(pid) else { return };
            for Snapshot { request_id, age, .. } in
                watch.snapshots(pid).filter(Snapshot::is_running)
            {
                let (id, age) = (named(&request_id), age.as_secs_f64());
                log::error!("worker {pid} has ended in request {id}, begun {age:.3} s ago");
            }
            match end {
                End::Signal(9) if worker.is_overdue() => {
                    log::error!("worker {pid} was killed by us: a request took too long");
                }
                End::Signal(9) if worker.is_leaving() => {
                    log::warning!("worker {pid} did not stop in time and was killed by us");
                }
                End::Signal(9) => {
                    let why = cause(out_of_memory.has_killed());
                    log::error!("worker {pid} was killed by signal 9, not by us{why}");
                }
                _ if worker.is_leaving() => {}
                End::Code(code) => log::error!("worker {pid} has exited with code {code}"),
                End::Signal(signal) => log::error!("worker {pid} was killed by signal {signal}"),
            }
        }
        Event::OnTime(pid) => {
            log::info!("worker {pid}: that request has ended; it is replaced when its others have");
        }
        Event::Asked(request) => log::info!("{}", describe(request)),
        _ => {}
    }
}

/// When the core has decided.
pub(super) fn action(action: Action) {
    match action {
        Action::Adopted(generation) => {
            log::info!("generation {generation} is ready and replaces the older ones");
        }
        Action::Rejected(generation, flaw) => {
            let why = match flaw {
                Flaw::Ended(End::Code(code)) => format!("it has exited with code {code}"),
                Flaw::Ended(End::Signal(signal)) => format!("it was killed by signal {signal}"),
                Flaw::Late => "it was not ready within the boot timeout".into(),
                Flaw::NotStarted => "it could not be started".into(),
            };
            log::error!(
                "the reload has failed, the old workers stay: generation {generation}: {why}"
            );
        }
        Action::Signal(pid, Kill::Explain) => {
            log::error!("worker {pid} goes on in spite of the interruption: killing it");
        }
        Action::NotBooted(pid) => {
            log::error!("worker {pid} has not booted within the boot timeout: killing it");
        }
        Action::TooLargeAgain(pid) => {
            log::error!(
                "worker {pid} is too large soon after its start, and so was the one before it: \
                 raise --max-memory above what the application needs; until then workers are \
                 replaced ever more slowly"
            );
        }
        _ => {}
    }
}

pub(super) fn sight(sight: &Sight) {
    match sight {
        Sight::Overdue { pid, request_id, age } => {
            let id = named(request_id);
            let age = age.as_secs_f64();
            log::error!(
                "worker {pid}: request {id} has been running for {age:.1} s, past its deadline: \
                 interrupting it, and killing the process if it goes on for a second"
            );
        }
        Sight::TooLarge { pid, bytes } => {
            let mebibytes = bytes >> 20;
            log::warning!("worker {pid} uses {mebibytes} MiB, more than it may: replacing it");
        }
    }
}

fn named(request_id: &str) -> &str {
    if request_id.is_empty() { "(without id)" } else { request_id }
}

fn cause(killed_for_memory: Option<bool>) -> &'static str {
    match killed_for_memory {
        Some(true) => ": out of memory, says the control group",
        Some(false) => "",
        None => ", perhaps out of memory",
    }
}

fn describe(request: Request) -> &'static str {
    match request {
        Request::Stop => "stopping: workers finish their requests",
        Request::Quit => "stopping at once",
        Request::Reload(_) => "reloading: a first worker of the new generation is started",
        Request::More => "one worker more",
        Request::Less => "one worker less",
        Request::Rest => "stopping all workers until HUP or TTIN",
        Request::Reopen => "log files are open anew",
    }
}
