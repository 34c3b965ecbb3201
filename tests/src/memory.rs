//! What memory a process takes.

use std::fs;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A look at [`own_bytes`] of a process twenty times a second.
pub struct Peak {
    stop: Sender<()>,
    thread: JoinHandle<u64>,
}

impl Peak {
    /// Begins to look.
    pub fn watch(pid: u32) -> Peak {
        let (stop, stopped) = mpsc::channel();
        let look = move || {
            let mut peak = own_bytes(pid);
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                peak = peak.max(own_bytes(pid));
            }
            peak
        };
        Peak { stop, thread: thread::spawn(look) }
    }

    /// The most that was seen.
    ///
    /// # Panics
    /// When the process has ended meanwhile.
    pub fn end(self) -> u64 {
        drop(self.stop);
        self.thread.join().expect("the process lives")
    }
}

/// Bytes of memory that are a process's own: its share (PSS, proc(5)) of what is in memory and no
/// page of a file.
pub fn own_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
    };
    let parts = kib("Pss_Anon:").zip(kib("Pss_Shmem:"));
    parts.map(|(anonymous, shared)| (anonymous + shared) * 1024).expect("a living process")
}

const INTERVAL: Duration = Duration::from_millis(50);
