//! A site: a folder with a configuration and files, and the edge that serves it.

use crate::binaries::{proxy_bin, worker_bin};
use crate::client::Client;
use crate::process::{Process, children, workers_of};
use crate::sys;
use crate::wait::{PATIENCE, wait_until};
use serde_json::Value;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use tempfile::TempDir;

/// A site that is being put together. Without further words: one listener on a free port of
/// 127.0.0.1, no access log, no routes.
pub struct SiteBuilder {
    dir: TempDir,
    server: String,
    limits: String,
    pool: String,
    rest: String,
    /// Instead of all these lines.
    whole: Option<String>,
    environment: Vec<(String, PathBuf)>,
    /// A program and its arguments that starts the edge.
    starter: Vec<String>,
    adopts_orphans: bool,
    stderr: Option<PathBuf>,
}

/// A site that is served. Dropped, its processes are killed and its folder is removed.
///
/// It is its [`Process`], too: signals, output, end.
pub struct Site {
    dir: TempDir,
    process: Process,
    addresses: Vec<SocketAddr>,
}

impl Site {
    /// A new site in a new folder.
    ///
    /// # Panics
    /// When there is no room for temporary files.
    pub fn builder() -> SiteBuilder {
        let dir = tempfile::Builder::new().prefix("forebay-").tempdir();
        let dir = dir.expect("temporary folders can be made");
        fs::create_dir(dir.path().join("run")).expect("a new folder is writable");
        SiteBuilder {
            dir,
            server: String::new(),
            limits: String::new(),
            pool: String::new(),
            rest: String::new(),
            whole: None,
            environment: Vec::new(),
            starter: Vec::new(),
            adopts_orphans: false,
            stderr: None,
        }
    }

    /// A copy of a folder of `examples`, with its own configuration, but at a free port and with an
    /// access log `access.log`.
    ///
    /// # Panics
    /// When there is no such folder.
    pub fn example(name: &str) -> SiteBuilder {
        let mut builder = Site::builder();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
        copy(&folder, builder.dir.path());
        let text = fs::read_to_string(builder.path(CONFIG)).expect("it was copied");
        let (before, after) = text.split_once("127.0.0.1:8080\"]\n").expect("examples have a port");
        builder.whole =
            Some(format!("{before}127.0.0.1:0\"]\naccess_log = \"access.log\"\n{after}"));
        builder
    }

    /// An application behind some workers, and nothing else.
    ///
    /// # Panics
    /// When it does not start.
    pub fn with_app(app: &str, workers: usize) -> Site {
        Site::builder().app(app, workers).start()
    }

    /// The address of its first listener.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The addresses of its listeners.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// `http://ADDRESS:PORT` and this target.
    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address())
    }

    /// A new connection to it.
    ///
    /// # Panics
    /// When it is not accepted.
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// Sends a GET on a new connection; returns when the edge has seen it, though not answered.
    ///
    /// Needs [`SiteBuilder::in_order`]: the only reactor has answered others that came later.
    ///
    /// # Panics
    /// When the edge answers nobody.
    pub fn begin(&self, target: &str) -> Client {
        let mut client = self.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        for _ in 0..2 {
            assert_eq!(self.client().get(LANDMARK).status, 200);
        }
        client
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The parent of the workers.
    ///
    /// # Panics
    /// When there is not exactly one.
    pub fn arbiter_pid(&self) -> u32 {
        match children(self.process.pid()).as_slice() {
            [arbiter] => *arbiter,
            others => panic!("not one arbiter but {others:?}"),
        }
    }

    /// The pre-forked workers of all pools: the children of the arbiters, which are the edge's
    /// children.
    pub fn worker_pids(&self) -> Vec<u32> {
        children(self.process.pid()).into_iter().flat_map(workers_of).collect()
    }

    /// Its configuration.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn config(&self) -> String {
        fs::read_to_string(self.path(CONFIG)).expect("it was written at the start")
    }

    /// Changes its configuration, which it learns by [`Site::reload`].
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn set_config(&self, text: &str) {
        fs::write(self.path(CONFIG), text).expect("it was written at the start");
    }

    /// Sends HUP and waits until the edge has decided. What it says, if it does not take the
    /// configuration over.
    ///
    /// # Panics
    /// When it does not decide in time.
    pub fn reload(&self) -> Result<(), String> {
        let before = self.stderr().len();
        let said = || self.stderr().split_off(before);
        self.signal(crate::sys::HUP);
        let is_over =
            || said().contains("has been read again") || said().contains("stays in force");
        wait_until("the configuration is read again", PATIENCE, is_over);
        if said().contains("stays in force") { Err(said()) } else { Ok(()) }
    }

    /// What `proxy-bin status --json` says. Needs [`SiteBuilder::control`].
    ///
    /// # Panics
    /// When it says nothing.
    pub fn status(&self) -> Value {
        let mut command = Command::new(proxy_bin());
        command.args(["status", "--json", "--config"]).arg(self.path(CONFIG));
        json_of(command.current_dir("/"))
    }

    /// [`worker_status`] of the workers that were started with the flag
    /// `--control unix:run/workers.sock`.
    ///
    /// # Panics
    /// When it says nothing.
    pub fn worker_status(&self) -> Value {
        worker_status(&self.path("run/workers.sock"))
    }

    /// One of the edge's counters. Needs [`SiteBuilder::control`].
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn counter(&self, name: &str) -> u64 {
        let status = self.status();
        let count = status["counters"][name].as_u64();
        count.unwrap_or_else(|| panic!("no counter {name} in {status}"))
    }

    /// Open descriptors of the edge.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.process.pid());
        fs::read_dir(folder).map_or(0, Iterator::count)
    }

    /// Sends TERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(crate::sys::TERM);
        self.wait_exit(PATIENCE)
    }
}

impl Deref for Site {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl SiteBuilder {
    /// One more line below `[server]`, such as `reactors = 2`.
    pub fn server(mut self, line: &str) -> SiteBuilder {
        self.server += &format!("{line}\n");
        self
    }

    /// A control socket, for [`Site::status`].
    pub fn control(self) -> SiteBuilder {
        self.server(&format!("control = {CONTROL:?}"))
    }

    /// One more line below `[limits]`, such as `content_max = "1MiB"`.
    pub fn limit(mut self, line: &str) -> SiteBuilder {
        self.limits += &format!("{line}\n");
        self
    }

    /// A route `/` to the pool `app`, whose workers are started by the edge.
    pub fn app(self, app: &str, workers: usize) -> SiteBuilder {
        self.app_with(app, &["-w", &workers.to_string()])
    }

    /// The same with these flags of `worker-bin`.
    pub fn app_with(mut self, app: &str, flags: &[&str]) -> SiteBuilder {
        let command = format!("{:?}", [&["worker-bin"], flags, &[app]].concat());
        self.pool += &format!("socket = \"run/app.sock\"\nworkers = {command}\n");
        self.route("path = \"/\"\npool = \"app\"")
    }

    /// A route `/` to the pool `app`, whose workers come from the test: [`RawWorker`].
    ///
    /// [`RawWorker`]: crate::RawWorker
    pub fn raw_app(self) -> SiteBuilder {
        self.pool("socket = \"run/app.sock\"").route("path = \"/\"\npool = \"app\"")
    }

    /// One more line below `[pool.app]`, such as `queue = 2`.
    pub fn pool(mut self, line: &str) -> SiteBuilder {
        self.pool += &format!("{line}\n");
        self
    }

    /// A route to a folder of the site, which is made.
    pub fn files(self, prefix: &str, folder: &str) -> SiteBuilder {
        fs::create_dir_all(self.path(folder)).expect("a new folder is writable");
        self.route(&format!("path = \"{prefix}\"\nfiles = \"{folder}\""))
    }

    /// One reactor, so that requests on different connections are seen in the order in which they
    /// were sent, and a file beside the application. For [`Site::begin`].
    pub fn in_order(self) -> SiteBuilder {
        let site = self.server("reactors = 1").files("/landmark/", "landmark");
        site.file(&LANDMARK[1..], "was here")
    }

    /// The lines of one more `[[route]]`.
    pub fn route(self, lines: &str) -> SiteBuilder {
        self.config(&format!("[[route]]\n{lines}\n"))
    }

    /// More configuration, after all else.
    pub fn config(mut self, text: &str) -> SiteBuilder {
        self.rest += text;
        self
    }

    /// A file in the site's folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> SiteBuilder {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("names are below the folder"))
            .and_then(|()| fs::write(&path, content))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self
    }

    /// An environment variable that holds a path in the site's folder, or an absolute one.
    pub fn path_variable(mut self, variable: &str, name: &str) -> SiteBuilder {
        self.environment.push((variable.to_owned(), self.path(name)));
        self
    }

    /// So many descriptors, and no more, for the edge (`RLIMIT_NOFILE`); for its workers, too.
    pub fn descriptors(self, most: usize) -> SiteBuilder {
        self.started_by(&["prlimit", &format!("--nofile={most}:{most}")])
    }

    /// The edge is started by this program, with these words before its own.
    pub fn started_by(mut self, words: &[&str]) -> SiteBuilder {
        self.starter.extend(words.iter().map(ToString::to_string));
        self
    }

    /// The edge is what orphans below it get for a parent, as process 1 of a container is.
    pub fn adopts_orphans(mut self) -> SiteBuilder {
        self.adopts_orphans = true;
        self
    }

    /// Standard error of the edge is this file, and not captured.
    pub fn stderr(mut self, path: impl Into<PathBuf>) -> SiteBuilder {
        self.stderr = Some(path.into());
        self
    }

    /// A path in the site's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the configuration and starts the edge without waiting until it serves.
    ///
    /// # Panics
    /// When it cannot be started at all.
    pub fn launch(self) -> (TempDir, Process) {
        let config = self.path(CONFIG);
        fs::write(&config, self.text()).expect("a new folder is writable");
        let process = Process::start(&mut self.command(&config));
        (self.dir, process)
    }

    /// Starts the edge and waits until it serves.
    ///
    /// # Panics
    /// When it does not; the message has what it wrote to standard error.
    pub fn start(self) -> Site {
        let (dir, mut process) = self.launch();
        let addresses = process.listening(1, PATIENCE);
        Site { dir, process, addresses }
    }

    fn command(&self, config: &Path) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(path) = &self.stderr {
            words.extend(["sh", "-c", "exec \"$@\" 2>\"$0\""].map(OsString::from));
            words.push(path.into());
        }
        words.extend(self.starter.iter().map(OsString::from));
        words.push(proxy_bin().into());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(["run", "--config"])
            .arg(config)
            .current_dir(self.dir.path());
        command.envs(self.environment.iter().map(|(name, path)| (name, path)));
        if self.adopts_orphans {
            sys::adopt_orphans(&mut command);
        }
        command
    }

    fn text(&self) -> String {
        if let Some(text) = &self.whole {
            return text.clone();
        }
        let mut text = String::from("[server]\n");
        for (key, default) in [("listen", r#"["127.0.0.1:0"]"#), ("access_log", r#""off""#)] {
            if !self.server.lines().any(|line| line.starts_with(key)) {
                writeln!(text, "{key} = {default}").expect("writing to a string cannot fail");
            }
        }
        text += &self.server;
        for (table, lines) in [("limits", &self.limits), ("pool.app", &self.pool)] {
            if !lines.is_empty() {
                text += &format!("\n[{table}]\n{lines}");
            }
        }
        text + "\n" + &self.rest
    }
}

/// What it prints, which is to be one JSON document.
/// What `worker-bin status --json` says of the arbiter with this control socket.
///
/// # Panics
/// When it says nothing.
pub fn worker_status(control: &Path) -> Value {
    let socket = format!("unix:{}", control.display());
    json_of(Command::new(worker_bin()).args(["status", "--json", "--control", &socket]))
}

fn json_of(command: &mut Command) -> Value {
    let output = command.output().expect("a program that was built runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

/// Copies a folder without what its `.gitignore` names: what has come about by trying it out.
fn copy(from: &Path, to: &Path) {
    let ignored = fs::read_to_string(from.join(".gitignore")).unwrap_or_default();
    let is_ignored = |name: &str| {
        ignored.lines().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern.trim_end_matches('/'),
        })
    };
    let entries = fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    for entry in entries.flatten() {
        let name = entry.file_name();
        let (path, copied) = (entry.path(), to.join(&name));
        if is_ignored(&name.to_string_lossy()) {
            continue;
        }
        if path.is_dir() {
            fs::create_dir_all(&copied).expect("a new folder is writable");
            copy(&path, &copied);
        } else {
            fs::copy(&path, &copied).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}

const CONFIG: &str = "forebay.toml";
const CONTROL: &str = "run/forebay.sock";

/// A file that says that the edge has come so far.
const LANDMARK: &str = "/landmark/file";
