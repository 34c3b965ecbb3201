//! A server process: its output, its children, its end.

use crate::sys;
use crate::wait::wait_until;
use rustix::io::Errno;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A running process in a group of its own. The whole group is killed on drop.
pub struct Process {
    child: Child,
    status: Option<ExitStatus>,
    stdout: Captured,
    stderr: Captured,
}

impl Process {
    /// Starts `command`, its output captured.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Process {
        command.process_group(0).env_remove("FOREBAY_EDGE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stdout = Captured::from(child.stdout.take());
        let stderr = Captured::from(child.stderr.take());
        Process { child, status: None, stdout, stderr }
    }

    /// The addresses of its first `count` lines `listening on http://ADDRESS:PORT`.
    ///
    /// # Panics
    /// When they do not come within `timeout`, or the process ends; the message has its output.
    pub fn listening(&mut self, count: usize, timeout: Duration) -> Vec<SocketAddr> {
        let deadline = Instant::now() + timeout;
        loop {
            let ended = self.try_wait();
            let found = addresses(&self.stdout());
            if found.len() >= count {
                return found;
            }
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{} of {count} listeners within {timeout:?}, process ended: {ended:?}\n{}",
                found.len(),
                self.output()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        send_signal(self.pid(), signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended after `timeout`; the message has its output.
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.try_wait() {
                return status;
            }
            assert!(Instant::now() < deadline, "still there after {timeout:?}\n{}", self.output());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it has written to standard output so far: all of it once [`Process::wait_exit`] has
    /// returned, but for what its children still write.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to standard error so far, as [`Process::stdout`].
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// All that it has written to standard error, after its end and its children's.
    pub fn whole_stderr(&self) -> String {
        wait_until("standard error is closed", Duration::from_secs(20), || self.stderr.is_whole());
        self.stderr()
    }

    fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("our own child can be waited for");
        }
        self.status
    }

    fn output(&self) -> String {
        format!("standard output:\n{}\nstandard error:\n{}", self.stdout(), self.stderr())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.output());
        }
        let family = if self.try_wait().is_none() { descendants(self.pid()) } else { Vec::new() };
        sys::kill_group(self.pid(), sys::KILL);
        for pid in family {
            sys::kill(pid, sys::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that this test started.
pub fn send_signal(pid: u32, signal: i32) {
    sys::kill(pid, signal);
}

/// The children of a process, from `/proc`.
pub fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<u32> = pids
        .filter(|pid| stat(*pid).is_some_and(|s| s.parent == parent && s.state != 'Z'))
        .collect();
    found.sort_unstable();
    found
}

/// The workers of an arbiter: its children without molds, also such as do not yet say that they
/// are.
pub fn workers_of(arbiter: u32) -> Vec<u32> {
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let is_mold = |pid: &u32| ["mold", "python"].iter().any(|start| name(pid).starts_with(start));
    children(arbiter).into_iter().filter(|pid| !is_mold(pid)).collect()
}

/// Whether a process exists and is not merely waiting for its parent to notice its end.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z')
}

/// Bytes of memory that a process occupies (`VmRSS` in proc(5)).
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.expect("a living process has a resident set") * 1024
}

fn descendants(pid: u32) -> Vec<u32> {
    let below = children(pid);
    let deeper: Vec<u32> = below.iter().flat_map(|child| descendants(*child)).collect();
    below.into_iter().chain(deeper).collect()
}

struct Stat {
    state: char,
    parent: u32,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything; what follows its end does not.
    let mut words = text.rsplit_once(')')?.1.split_whitespace();
    Some(Stat { state: words.next()?.chars().next()?, parent: words.next()?.parse().ok()? })
}

fn addresses(output: &str) -> Vec<SocketAddr> {
    let complete = output.rfind('\n').map_or("", |end| &output[..end]);
    let lines = complete.lines().filter_map(|line| line.strip_prefix("listening on http://"));
    lines
        .map(|address| address.trim().parse().unwrap_or_else(|e| panic!("{address:?}: {e}")))
        .collect()
}

/// What has been written to a pipe. A thread empties it, so that nobody waits to write; whoever
/// asks empties it first, so that what a process wrote before its end is there when it has ended.
#[derive(Clone)]
struct Captured(Arc<Mutex<Capture>>);

struct Capture {
    pipe: OwnedFd,
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Captured {
    fn from(pipe: Option<impl Into<OwnedFd>>) -> Captured {
        let pipe = pipe.expect("the pipe was asked for").into();
        rustix::io::ioctl_fionbio(&pipe, true).expect("a pipe need not block");
        let watched = pipe.try_clone().expect("a descriptor is free");
        let capture = Capture { pipe, bytes: Vec::new(), is_whole: false };
        let captured = Captured(Arc::new(Mutex::new(capture)));
        let theirs = captured.clone();
        thread::spawn(move || {
            while !theirs.is_whole() {
                sys::readable(&[watched.as_fd()], Duration::from_secs(60));
            }
        });
        captured
    }

    fn read<T>(&self, look: impl FnOnce(&Capture) -> T) -> T {
        let mut capture = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        capture.read_all();
        look(&capture)
    }

    fn text(&self) -> String {
        self.read(|capture| String::from_utf8_lossy(&capture.bytes).into_owned())
    }

    fn is_whole(&self) -> bool {
        self.read(|capture| capture.is_whole)
    }
}

impl Capture {
    /// All that is in the pipe now.
    fn read_all(&mut self) {
        let mut piece = [0; 4096];
        while !self.is_whole {
            match rustix::io::read(&self.pipe, &mut piece) {
                Ok(len @ 1..) => self.bytes.extend_from_slice(&piece[..len]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Ok(0) | Err(_) => self.is_whole = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_whole_lines_only() {
        let output = "hello\nlistening on http://127.0.0.1:80\nlistening on http://[::1]:81";
        assert_eq!(addresses(output), ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(addresses(&format!("{output}\n")).len(), 2);
    }

    #[test]
    fn a_process_is_captured_and_its_end_seen() {
        let mut process = Process::start(Command::new("sh").args(["-c", "echo oops >&2; exit 3"]));
        assert_eq!(process.wait_exit(Duration::from_secs(20)).code(), Some(3));
        assert_eq!(process.whole_stderr(), "oops\n");
    }

    #[test]
    fn all_that_an_ended_process_wrote_is_there_at_once() {
        for _ in 0..50 {
            let mut echo =
                Process::start(Command::new("sh").args(["-c", "echo out; echo err >&2"]));
            echo.wait_exit(Duration::from_secs(20));
            assert_eq!((echo.stdout(), echo.stderr()), ("out\n".into(), "err\n".into()));
        }
    }

    #[test]
    fn children_end_with_their_group() {
        let process = Process::start(Command::new("sh").args(["-c", "sleep 600 & sleep 600"]));
        let pid = process.pid();
        wait_until("two children", Duration::from_secs(20), || children(pid).len() == 2);
        let family = children(pid);
        drop(process);
        wait_until("all ended", Duration::from_secs(20), || !family.iter().any(|p| is_alive(*p)));
    }
}
