//! The life of one command: start, readiness, end, and again.
//!
//! Owns the decision what an end means. Must not know other pools.

use super::back_off::BackOff;
use super::{CommandId, FirstStart, Report, Shared, WorkerCommand, output};
use crate::sys;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Runs `command` until it is told to stop or does not start. The kernel ends the process with
/// the thread that calls this.
pub(super) fn watch(
    id: CommandId,
    command: &WorkerCommand,
    first: FirstStart,
    shared: &Shared,
    report: &dyn Fn(Report),
) {
    let pool = command.pool.as_str();
    let mut back_off = BackOff::new();
    let mut may_fail = first == FirstStart::IsRepeated;
    loop {
        let started = Instant::now();
        let end = match start(command, shared) {
            Ok(None) => break,
            Ok(Some(process)) => process.attend(shared, &mut || {
                may_fail = true;
                shared.lock().ready();
                report(Report::Ready(id));
            }),
            Err(error) => format!("cannot be started: {error}"),
        };
        if shared.lock().is_stopping {
            break;
        }
        let quoted = quote(&command.argv);
        if !may_fail {
            let message = format!("workers of pool `{pool}`: `{quoted}` {end} before it was ready");
            report(Report::StartFailed(id, message));
            break;
        }
        let wait = back_off.after(started.elapsed());
        tracing::warn!(pool, "`{quoted}` {end}, starts again in {wait:?}");
        if !shared.waits(wait) {
            break;
        }
    }
    report(Report::Ended(id));
}

struct Process {
    child: Child,
    pidfd: OwnedFd,
    ready: PipeReader,
    /// Disconnected when both outputs are at their end.
    outputs: Receiver<()>,
}

/// `None` if it is time to stop instead.
fn start(command: &WorkerCommand, shared: &Shared) -> io::Result<Option<Process>> {
    let (ready, ready_sender) = io::pipe()?;
    let mut edge = std::ffi::OsString::from("unix:");
    edge.push(&command.socket);
    let mut prepared = Command::new(&command.program);
    prepared
        .args(&command.argv[1..])
        .current_dir(&command.directory)
        .env("FOREBAY_EDGE", edge)
        .env("FOREBAY_SUPERVISED", "1")
        .env("FOREBAY_READY_FD", ready_sender.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Not ours, so that an interrupt from the terminal reaches it through us, in order.
        .process_group(0);
    sys::bind_to_this_thread(&mut prepared, ready_sender.as_fd());

    // Locked until the number is known: a stop in between would miss the process.
    let mut state = shared.lock();
    if state.is_stopping {
        return Ok(None);
    }
    let mut child = prepared.spawn()?;
    let pidfd = match sys::pidfd(child.id()) {
        Ok(pidfd) => pidfd,
        Err(error) => {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
    };
    state.pid = Some(child.id());
    drop(state);
    let (done, outputs) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        output::forward(&command.pool, stdout, done.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        output::forward(&command.pool, stderr, done);
    }
    Ok(Some(Process { child, pidfd, ready, outputs }))
}

impl Process {
    /// Waits for its end and says how it came; meanwhile calls `on_ready` if it becomes ready.
    fn attend(mut self, shared: &Shared, on_ready: &mut dyn FnMut()) -> String {
        let waited = self.wait_ready(on_ready).and_then(|()| self.wait_end());
        if let Err(error) = waited {
            tracing::error!(%error, "cannot watch workers, they are ended");
            let _ = self.child.kill();
        }
        let mut state = shared.lock();
        let status = self.child.wait();
        state.ended();
        drop(state);
        // What it wrote last explains its end. Its children may keep the pipes open for long.
        let _ = self.outputs.recv_timeout(OUTPUT_GRACE);
        status.map_or_else(|error| format!("cannot be waited for ({error})"), describe)
    }

    /// Returns when the process has ended, is ready, or can no longer become ready.
    fn wait_ready(&mut self, on_ready: &mut dyn FnMut()) -> io::Result<()> {
        let mut said = Vec::new();
        loop {
            // The process first: what it said before its end is then seen with its end.
            let fds = [self.pidfd.as_fd(), self.ready.as_fd()];
            let [has_ended, has_said] = sys::wait_readable(fds)?;
            if has_said {
                let mut buffer = [0; READY.len()];
                let count = self.ready.read(&mut buffer)?;
                said.extend_from_slice(&buffer[..count]);
                if said.starts_with(READY) {
                    on_ready();
                    return Ok(());
                }
                if count == 0 || !READY.starts_with(&said) {
                    return Ok(());
                }
            } else if has_ended {
                return Ok(());
            }
        }
    }

    fn wait_end(&self) -> io::Result<()> {
        sys::wait_readable([self.pidfd.as_fd()]).map(|_| ())
    }
}

/// In one line; what a shell would take apart or the log would break is quoted.
fn quote(argv: &[String]) -> String {
    let is_plain =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    let quote = |word: &String| if is_plain(word) { word.clone() } else { format!("{word:?}") };
    argv.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(3), _) => "ended with exit code 3 (cannot boot)".into(),
        (Some(4), _) => "ended with exit code 4 (cannot load the application)".into(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        _ => format!("ended: {status}"),
    }
}

/// What a command writes to `FOREBAY_READY_FD`.
const READY: &[u8] = b"READY\n";

const OUTPUT_GRACE: Duration = Duration::from_secs(1);
