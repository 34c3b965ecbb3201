//! The control socket: whoever connects is told how the server is.
//!
//! Owns both ends. Must not know how the arbiter knows.

use crate::address::{Address, AddressError, Listener};
use crate::arbiter::Status;
use crate::identity::Identity;
use crate::log;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// The arbiter's end. Only its user and root may connect to it.
#[derive(Debug)]
pub(crate) struct Control {
    listener: Listener,
    rests_until: Cell<Option<Instant>>,
}

impl Control {
    /// The arbiter will be `owner`.
    pub(crate) fn bind(path: &Path, owner: &Identity) -> Result<Control, AddressError> {
        let address = Address::Unix(std::path::absolute(path).unwrap_or_else(|_| path.into()));
        let listener = Listener::bind_own(&address, owner)?;
        Ok(Control { listener, rests_until: Cell::new(None) })
    }

    /// Answers whoever waits. A client that takes nothing holds the arbiter up only for a moment.
    pub(crate) fn answer(&self, status: &Status) {
        let socket = match self.listener.accept() {
            Ok(Some((socket, _))) => socket,
            Ok(None) => return,
            Err(error) => return self.rest(&error),
        };
        let Ok(mut text) = serde_json::to_vec(status) else { return };
        text.push(b'\n');
        // A client that is gone needs no answer.
        let _ = socket.set_send_timeout(PATIENCE);
        let _ = socket.send_all(&mut [io::IoSlice::new(&text)]);
    }

    /// Until when nobody should be answered, if it rests.
    pub(crate) fn rests_until(&self) -> Option<Instant> {
        self.rests_until.get().filter(|&until| until > Instant::now())
    }

    /// Without descriptors (EMFILE of accept(2)) the client still waits: it would be heard of
    /// without end.
    fn rest(&self, error: &io::Error) {
        log::warning!("the control socket has not answered: {error}");
        self.rests_until.set(Some(Instant::now() + REST));
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.listener.remove_path();
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Asks the server whose control socket is at `path`, and prints what it says.
pub(crate) fn show(path: &Path, json: bool) -> io::Result<()> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    if !json {
        text = table(&serde_json::from_str(&text)?);
    }
    io::stdout().write_all(text.as_bytes())
}

fn table(status: &Status) -> String {
    let Status { pid, generation, workers_wanted, uptime_seconds, restarts, workers } = status;
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(workers.iter().map(|worker| {
        let current = worker.current.iter().map(|request| {
            let id = if request.request_id.is_empty() { "-" } else { &request.request_id };
            format!("{id} {:.1}s", request.age_ms as f64 / 1000.0)
        });
        [
            worker.number.to_string(),
            worker.pid.to_string(),
            worker.generation.to_string(),
            worker.state.clone(),
            format!("{}s", worker.age_seconds),
            worker.requests.to_string(),
            format!("{:.1}M", worker.memory_bytes as f64 / f64::from(1 << 20)),
            current.collect::<Vec<_>>().join(", "),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; HEADINGS.len()] = std::array::from_fn(width);
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    });
    let head = format!(
        "arbiter {pid}, up {uptime_seconds}s, generation {generation}, {} of {workers_wanted} \
         workers, {restarts} restarts\n\n",
        workers.len()
    );
    std::iter::once(head).chain(lines).collect()
}

const HEADINGS: [&str; 8] =
    ["WORKER", "PID", "GENERATION", "STATE", "AGE", "REQUESTS", "MEMORY", "CURRENT REQUEST"];
const PATIENCE: Duration = Duration::from_millis(200);
const REST: Duration = Duration::from_secs(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_table() {
        let status = serde_json::from_str(
            r#"{"pid": 7, "generation": 2, "workers_wanted": 2, "uptime_seconds": 61,
                "restarts": 3, "workers": [{"number": 1, "pid": 8, "generation": 2,
                "state": "busy", "age_seconds": 60, "requests": 12, "memory_bytes": 3145728,
                "failures": 0, "current": [{"request_id": "abc", "age_ms": 1500,
                "sending": false}]}]}"#,
        )
        .unwrap();
        let expected = "\
arbiter 7, up 61s, generation 2, 1 of 2 workers, 3 restarts

WORKER  PID  GENERATION  STATE  AGE  REQUESTS  MEMORY  CURRENT REQUEST
1       8    2           busy   60s  12        3.0M    abc 1.5s
";
        assert_eq!(table(&status), expected);
    }
}
