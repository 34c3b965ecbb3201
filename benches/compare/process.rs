//! Started programs, and that they end whatever happens.
//!
//! Owns process groups. Each program leads one of its own; it ends when its [`Component`] is
//! dropped, and by the kernel's hand if this program dies. Must not know what it starts.
#![allow(unsafe_code)]

use crate::Failure;
use crate::server::find_program;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A program on a core.
pub(crate) struct Component {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// # Errors
/// A program is missing; with the way to get it.
pub(crate) fn check_tools() -> Result<(), Failure> {
    match find_program("taskset") {
        Some(_) => Ok(()),
        None => Err("taskset is missing: apt-get install util-linux".into()),
    }
}

/// For this program, and for those that it starts from now on: all that they may have.
///
/// # Errors
/// That is less than needed.
pub(crate) fn raise_descriptor_limit(needed: usize) -> Result<(), Failure> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if maximum.is_some_and(|maximum| maximum < needed as u64) {
        return Err(format!("{needed} descriptors are needed: ulimit -Hn {needed}").into());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

impl Component {
    /// Starts `command` on some cores, as taskset(1) lists them; what it prints goes to `log`.
    pub(crate) fn start(
        name: &'static str,
        cores: &str,
        command: &Command,
        log: PathBuf,
    ) -> Result<Component, Failure> {
        let output = File::create(&log)?;
        let mut pinned = Command::new("taskset");
        pinned
            .args(["-c", cores])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        // SAFETY: between fork and exec only setsid(2) and prctl(2) are called, which are safe
        // there.
        unsafe { pinned.pre_exec(begin_session) };
        let child = pinned.spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
        Ok(Component { name, child, log })
    }

    /// Of the leader of the process group, and so of the group.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far.
    pub(crate) fn output(&self) -> String {
        let output = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&output).into_owned()
    }

    /// # Errors
    /// It has ended; with its last words.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.failure(status)),
        }
    }

    fn failure(&self, status: ExitStatus) -> Failure {
        let output = self.output();
        let lines: Vec<&str> = output.lines().rev().take(5).collect();
        let last: Vec<&str> = lines.into_iter().rev().collect();
        format!("{} ended ({status}): {}", self.name, last.join(" | ")).into()
    }

    /// Tells the leader of the group.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn ask_to_reload(&self, signal: i32) -> Result<(), Failure> {
        let leader = i32::try_from(self.child.id()).expect("process ids are small");
        // SAFETY: kill(2) takes two numbers; the process is a child that was not waited for, or
        // there is none.
        match unsafe { libc::kill(leader, signal) } {
            0 => Ok(()),
            _ => Err(format!("{}: {}", self.name, io::Error::last_os_error()).into()),
        }
    }

    fn signal(&self, signal: i32) -> bool {
        let group = -i32::try_from(self.child.id()).expect("process ids are small");
        // SAFETY: kill(2) takes two numbers; the group is one that we have made.
        unsafe { libc::kill(group, signal) == 0 }
    }

    /// Whether the whole group has ended within so much time.
    fn has_ended(&mut self, within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            let leader_has = !matches!(self.child.try_wait(), Ok(None));
            if leader_has && !self.signal(0) {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        for (signal, patience) in
            [(libc::SIGTERM, Duration::from_secs(3)), (libc::SIGKILL, Duration::from_secs(3))]
        {
            self.signal(signal);
            if self.has_ended(patience) {
                return;
            }
        }
        eprintln!("{}: process group {} does not end", self.name, self.child.id());
    }
}

/// A session of its own: its group can be ended as a whole, and the scheduler shares a core
/// between sessions (sched(7), autogroup), so that many processes of a server do not take the load
/// generator's time. SIGTERM when the thread that started it is gone: every server takes its
/// children along then.
fn begin_session() -> io::Result<()> {
    // SAFETY: system calls with numbers only.
    match unsafe { libc::setsid().min(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM)) } {
        ..0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
