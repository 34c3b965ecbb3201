//! The real binary, and the edge's end of its socket.

use rustix::event::{PollFd, PollFlags, poll};
use socket2::SockRef;
use std::fs::{self, DirEntry};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Generous: only a hang takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A started program; killed when dropped.
pub(crate) struct Program(pub(crate) Child);

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Program {
        Program::spawn(Command::new(env!("CARGO_BIN_EXE_worker-bin")).args(arguments))
    }

    /// Through `sh -c SCRIPT`, in which `"$0" "$@"` is the program with its arguments.
    pub(crate) fn start_by(script: &str, arguments: &[&str]) -> Program {
        let program = env!("CARGO_BIN_EXE_worker-bin");
        Program::spawn(Command::new("sh").args(["-c", script, program]).args(arguments))
    }

    pub(crate) fn spawn(command: &mut Command) -> Program {
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.as_encoded_bytes().starts_with(b"FOREBAY_")) {
            if !command.get_envs().any(|(set, _)| set == name) {
                command.env_remove(name);
            }
        }
        if !command.get_envs().any(|(set, _)| set == "WEB_CONCURRENCY") {
            command.env_remove("WEB_CONCURRENCY");
        }
        Program(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.0.id(), name);
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> String {
        let stdout = self.0.stdout.as_mut().unwrap();
        read_line(stdout, Instant::now() + PATIENCE).trim_end().to_owned()
    }

    /// Waits for a line on standard error that contains `text`.
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        let stderr = self.0.stderr.as_mut().unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let line = read_line(stderr, until);
            assert!(!line.is_empty(), "no log line with {text:?}");
            if line.contains(text) {
                return;
            }
        }
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::yield_now();
        }
    }

    /// Its exit code, and what it said on standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let code = self.wait().code();
        let mut stderr = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (code, stderr)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The next line, with its end; nothing at the end of the stream.
fn read_line(pipe: &mut (impl Read + AsFd), until: Instant) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let left = until.saturating_duration_since(Instant::now()).try_into().unwrap();
        let is_there = poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&left)).unwrap() > 0;
        assert!(is_there, "no line but {:?}", String::from_utf8_lossy(&line));
        let mut byte = [0];
        if pipe.read(&mut byte).unwrap() == 0 {
            break;
        }
        line.extend(byte);
    }
    String::from_utf8(line).unwrap()
}

/// Says that a test of what only root can do is skipped; with `FOREBAY_REQUIRE=all` it fails
/// instead, if this is root.
pub(crate) fn skip(why: &str) {
    let is_required = std::env::var("FOREBAY_REQUIRE").is_ok_and(|value| value == "all");
    assert!(!(is_required && is_root()), "{why}, and FOREBAY_REQUIRE=all forbids to skip");
    println!("skipped: {why}");
}

pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").unwrap().contains("Uid:\t0\t0\t0\t0")
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {name} {pid}");
}

/// Stops a process until it is told otherwise: afterwards none of its threads does anything.
pub(crate) fn stop(pid: u32) {
    signal(pid, "STOP");
    let is_stopped = |task: io::Result<DirEntry>| {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    };
    let deadline = Instant::now() + PATIENCE;
    while !fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(is_stopped) {
        assert!(Instant::now() < deadline, "{pid} does not stop");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A pool's socket, as an edge would have it.
pub(crate) struct Edge {
    listener: UnixListener,
    directory: TempDir,
}

impl Edge {
    pub(crate) fn new() -> Edge {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        // What accept(2) waits for as well.
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        Edge { listener, directory }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.directory.path().join("socket").display())
    }

    /// Starts the program with one worker that serves `probe`, and takes its slot.
    pub(crate) fn with_probe(&self) -> (Program, Slot) {
        let program = Program::start(&["--edge", &self.address(), "probe"]);
        (program, self.slot())
    }

    /// Starts the program with one worker of so many threads that serves `probe`, and takes its
    /// slots.
    pub(crate) fn with_threads(&self, threads: usize) -> (Program, Vec<Slot>) {
        let number = threads.to_string();
        let arguments = ["--edge", &self.address(), "--threads", &number, "probe"];
        (Program::start(&arguments), (0..threads).map(|_| self.slot()).collect())
    }

    /// Accepts the next worker that dials in.
    pub(crate) fn slot(&self) -> Slot {
        self.try_slot().expect("an upgrade to forebay-slot/1")
    }

    /// None: whoever dialled in was no worker, or left at once.
    pub(crate) fn try_slot(&self) -> Option<Slot> {
        let (stream, _) = self.listener.accept().expect("a worker that dials in");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut slot = Slot(stream);
        if !slot.try_head().is_ok_and(|head| head.contains("Upgrade: forebay-slot/1")) {
            return None;
        }
        // A worker that was told to stop meanwhile does not read it.
        let _ = slot.0.write_all(SWITCHING.as_bytes());
        Some(slot)
    }
}

const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: forebay-slot/1\r\n\r\n";

/// The edge's end of a slot.
pub(crate) struct Slot(pub(crate) UnixStream);

impl Slot {
    pub(crate) fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn ask(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
    }

    /// The content of the answer.
    pub(crate) fn get(&mut self, path: &str) -> String {
        self.ask(path);
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> String {
        let head = self.head();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut content = vec![0; length.expect(&head).parse().unwrap()];
        self.0.read_exact(&mut content).unwrap();
        String::from_utf8(content).unwrap()
    }

    pub(crate) fn pid(&mut self) -> u32 {
        self.get("/pid").parse().unwrap()
    }

    /// What is still sent until the end of the stream.
    pub(crate) fn rest(&mut self) -> std::io::Result<String> {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).map(|_| rest)
    }

    fn head(&mut self) -> String {
        self.try_head().unwrap()
    }

    fn try_head(&mut self) -> std::io::Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.extend_from_slice(&byte);
        }
        Ok(String::from_utf8(head).unwrap())
    }
}

/// Until there is no such process.
pub(crate) fn wait_for_end_of(pid: u32) {
    let until = Instant::now() + PATIENCE;
    while std::path::Path::new(&format!("/proc/{pid}")).exists() {
        assert!(Instant::now() < until, "process {pid} stays");
        std::thread::yield_now();
    }
}

/// The program at a path of its own, where another one can be put in its place.
pub(crate) struct Deployed {
    directory: TempDir,
}

impl Deployed {
    pub(crate) fn new() -> Deployed {
        let deployed = Deployed { directory: tempfile::tempdir().unwrap() };
        deployed.restore();
        deployed
    }

    /// For other users, too.
    pub(crate) fn readable() -> Deployed {
        use std::os::unix::fs::PermissionsExt;
        let deployed = Deployed::new();
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(deployed.directory.path(), everybody).unwrap();
        deployed
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Program {
        Program::spawn(Command::new(self.path()).args(arguments))
    }

    pub(crate) fn restore(&self) {
        let new = self.directory.path().join("new");
        let program = env!("CARGO_BIN_EXE_worker-bin");
        // A copy might be busy: a child of another test that has just been forked can hold it.
        if std::fs::hard_link(program, &new).is_err() {
            std::fs::copy(program, &new).unwrap();
        }
        std::fs::rename(new, self.path()).unwrap();
    }

    pub(crate) fn replace_by_script(&self, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let new = self.directory.path().join("new");
        // By another process, for the same reason.
        let script = "printf %s \"$1\" > \"$0\"";
        assert!(
            Command::new("sh").args(["-c", script]).arg(&new).arg(text).status().unwrap().success()
        );
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    pub(crate) fn remove(&self) {
        std::fs::remove_file(self.path()).unwrap();
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("program")
    }
}
