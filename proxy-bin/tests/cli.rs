//! The real binary: exit codes, what it prints where, and how it ends.
#![allow(clippy::unwrap_used)] // Helpers of tests may, as tests do.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn proxy_bin() -> Command {
    Command::new(env!("CARGO_BIN_EXE_proxy-bin"))
}

/// Output of `proxy-bin ACTION --config site.toml` in `directory`, where that is `text`.
fn with_config(action: &str, directory: &Path, text: &str) -> Output {
    std::fs::write(directory.join("site.toml"), text).unwrap();
    let arguments = [action, "--config", "site.toml"];
    proxy_bin().args(arguments).current_dir(directory).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const SITE: &str = r#"[server]
listen = ["127.0.0.1:0"]
access_log = "off"
[[route]]
path = "/"
files = "site"
[[route]]
path = "/app/"
pool = "app"
[pool.app]
socket = "app.sock"
"#;

#[test]
fn check_accepts_what_is_right() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("site")).unwrap();
    let output = with_config("check", directory.path(), SITE);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), "site.toml: ok\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn check_warns_of_a_pool_without_route() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("site")).unwrap();
    let with_spare = format!("{SITE}[pool.spare]\nsocket = \"spare.sock\"\n");
    let output = with_config("check", directory.path(), &with_spare);
    let warning = "proxy-bin: warning: site.toml:12: no route leads to [pool.spare]";
    assert!(text(&output.stderr).starts_with(warning), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn check_and_run_print_all_errors_one_line_each() {
    let directory = tempfile::tempdir().unwrap();
    let wrong = SITE.replace("socket =", "quue = 1\nsocket =").replace("\"off\"", "1");
    for action in ["check", "run"] {
        let output = with_config(action, directory.path(), &wrong);
        let lines: Vec<_> = text(&output.stderr).lines().collect();
        let [log, queue] = &lines[..] else { panic!("{lines:?}") };
        assert!(log.starts_with("proxy-bin: site.toml:3: `access_log` in [server]"), "{log}");
        assert!(queue.starts_with("proxy-bin: site.toml:11: unknown key `quue`"), "{queue}");
        assert_eq!(text(&output.stdout), "");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn a_missing_root_and_a_missing_file() {
    let directory = tempfile::tempdir().unwrap();
    let output = with_config("run", directory.path(), SITE);
    let error = text(&output.stderr);
    assert!(error.starts_with("proxy-bin: site.toml:6: files: directory \""), "{error}");
    assert!(
        error.contains("/site\" cannot be opened: No such file or directory (os error 2): create"),
        "{error}"
    );
    assert_eq!(output.status.code(), Some(1));
    let arguments = ["check", "--config", "/nowhere/f.toml"];
    let output = proxy_bin().args(arguments).output().unwrap();
    let error = "proxy-bin: /nowhere/f.toml: cannot read the configuration: No such file";
    assert!(text(&output.stderr).starts_with(error), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn wrong_usage() {
    for arguments in [&["check"][..], &["serve"], &[], &["demo", "--listen", "8080"]] {
        let output = proxy_bin().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("--help"), "{}", text(&output.stderr));
    }
}

#[test]
fn help_tells_signals_exit_codes_and_defaults() {
    let help = |arguments: &[&str]| {
        let output = proxy_bin().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        text(&output.stdout).to_owned()
    };
    let main = help(&["--help"]);
    for word in ["Signals:", "HUP", "Exit codes:", "Examples:"] {
        assert!(main.contains(word), "{main}");
    }
    assert!(help(&["demo", "--help"]).contains("[default: 127.0.0.1:8080]"));
    assert!(help(&["run", "--help"]).contains("client_header_timeout = \"10s\""));
}

/// Runs with `/bin/sh -c SCRIPT` as the workers.
struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    directory: tempfile::TempDir,
}

impl Running {
    fn start(script: &str) -> Running {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("site")).unwrap();
        let site = format!("{SITE}workers = [\"sh\", \"-c\", '''{script}''']\n");
        std::fs::write(directory.path().join("site.toml"), site).unwrap();
        let mut child = proxy_bin()
            .args(["run", "--config", "site.toml"])
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { child, stdout, directory }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Exit code and standard error, when it ends.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stderr)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const READY: &str = "echo READY > /proc/self/fd/$FOREBAY_READY_FD";
const SLEEP: &str = "while :; do sleep 0.01; done";

#[test]
fn listens_when_workers_are_ready_and_term_ends_both() {
    let script = format!("trap \"echo bye; exit 0\" TERM; echo up > up; echo hi; {READY}; {SLEEP}");
    let mut running = Running::start(&script);
    let line = running.line();
    assert_eq!(running.read("up"), "up\n");
    let port = line.strip_prefix("listening on http://127.0.0.1:").unwrap().trim_end();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    running.signal("TERM");
    let (code, stderr) = running.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("[app] hi\n") && stderr.contains("[app] bye\n"), "{stderr}");
}

#[test]
fn an_interrupt_ends_workers_by_quit() {
    for signal in ["INT", "QUIT"] {
        let script = format!("trap \"echo quick; exit 0\" QUIT; trap \"\" TERM; {READY}; {SLEEP}");
        let mut running = Running::start(&script);
        assert!(running.line().starts_with("listening on "));
        running.signal(signal);
        let (code, stderr) = running.end();
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stderr.contains("[app] quick\n"), "{stderr}");
    }
}

#[test]
fn a_second_term_is_quick() {
    let term = "trap \"echo told\" TERM; trap \"echo quick; exit 0\" QUIT";
    let mut running = Running::start(&format!("{term}; {READY}; {SLEEP}"));
    assert!(running.line().starts_with("listening on "));
    running.signal("TERM");
    // The worker hears of the first only after the edge has drained.
    let mut stderr = BufReader::new(running.child.stderr.take().unwrap()).lines();
    assert!(stderr.any(|line| line.unwrap() == "[app] told"));
    running.signal("TERM");
    assert!(stderr.any(|line| line.unwrap() == "[app] quick"));
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn hang_up_reaches_the_workers() {
    let mut running = Running::start(&format!("trap \"echo again\" HUP; {READY}; {SLEEP}"));
    assert!(running.line().starts_with("listening on "));
    running.signal("HUP");
    let mut stderr = BufReader::new(running.child.stderr.take().unwrap()).lines();
    assert!(stderr.any(|line| line.unwrap() == "[app] again"));
    running.signal("TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn signals_of_gunicorn_for_more_and_fewer_workers_stop_nothing() {
    let mut running = Running::start(&format!("{READY}; {SLEEP}"));
    assert!(running.line().starts_with("listening on "));
    let mut stderr = BufReader::new(running.child.stderr.take().unwrap()).lines();
    for signal in ["TTIN", "TTOU"] {
        running.signal(signal);
        let says = format!("{signal} changes nothing: `workers` of [pool.NAME]");
        assert!(stderr.any(|line| line.unwrap().contains(&says)));
    }
    running.signal("TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn workers_that_do_not_start_stop_everything() {
    let mut running = Running::start("echo no such application; exit 4");
    assert_eq!(running.line(), "");
    let (code, stderr) = running.end();
    assert_eq!(code, Some(1), "{stderr}");
    let lines: Vec<_> = stderr.lines().filter(|line| !line.contains(" INFO ")).collect();
    let error = "proxy-bin: workers of pool `app`: `sh -c \"echo no such application; exit 4\"` \
                 ended with exit code 4 (cannot load the application) before it was ready";
    assert_eq!(lines, ["[app] no such application", error]);
}

#[test]
fn workers_end_with_a_killed_proxy() {
    let mut running =
        Running::start(&format!("trap \"echo > ended; exit 0\" TERM; {READY}; {SLEEP}"));
    assert!(running.line().starts_with("listening on "));
    running.signal("KILL");
    let ended = running.directory.path().join("ended");
    assert_eq!(running.child.wait().unwrap().code(), None);
    let begin = std::time::Instant::now();
    while !ended.exists() {
        assert!(begin.elapsed().as_secs() < 30, "the worker lives on");
        std::thread::yield_now();
    }
}

/// `proxy-bin demo` in a directory of its own, where nothing else is found and `TMPDIR` is `tmp`.
fn demo_in(directory: &Path) -> Command {
    std::fs::create_dir(directory.join("tmp")).unwrap();
    let program = directory.join("proxy-bin");
    std::fs::copy(env!("CARGO_BIN_EXE_proxy-bin"), &program).unwrap();
    let mut command = Command::new(program);
    command.args(["demo", "--listen", "127.0.0.1:0"]).env("PATH", "/usr/bin:/bin");
    command.env("TMPDIR", directory.join("tmp")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn the_demo_says_how_to_build_its_worker() {
    let directory = tempfile::tempdir().unwrap();
    let output = demo_in(directory.path()).output().unwrap();
    let error = text(&output.stderr);
    let expected = "proxy-bin: the demo needs worker-bin, `cargo build --release` builds it: ";
    assert!(error.starts_with(expected), "{error}");
    assert!(error.contains(directory.path().to_str().unwrap()), "{error}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_demo_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = demo_in(directory.path());
    let worker = directory.path().join("worker-bin");
    std::fs::write(&worker, format!("#!/bin/sh\necho \"$@\"; pwd; {READY}; {SLEEP}\n")).unwrap();
    std::fs::set_permissions(&worker, PermissionsExt::from_mode(0o755)).unwrap();
    let mut child = demo.spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut running = Running { child, stdout, directory };
    assert!(running.line().starts_with("listening on http://127.0.0.1:"));
    let places = || std::fs::read_dir(running.directory.path().join("tmp")).unwrap();
    let place = places().next().unwrap().unwrap();
    assert_eq!(place.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert!(place.path().join("site/index.html").is_file());
    running.signal("TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
    assert_eq!(places().count(), 0);
    let mut stderr = String::new();
    running.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.contains("[app] -w 2 --control unix:worker.sock probe\n"), "{stderr}");
}
