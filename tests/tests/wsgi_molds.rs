//! Applications are loaded once, reloaded safely, and say why they cannot be.

use forebay_tests::{
    Client, HUP, KILL, PATIENCE, Process, TERM, TTIN, is_alive, limit_descriptors, python,
    send_signal, wait_until, worker_bin, workers_of,
};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// An application in a folder of its own, that is changed between loads.
struct Changing {
    folder: TempDir,
}

impl Changing {
    fn new(source: &str) -> Changing {
        let changing = Changing { folder: tempfile::tempdir().expect("there is room") };
        changing.write(source);
        changing
    }

    /// Python tells a changed file by seconds and size; without bytecode it reads it.
    fn write(&self, source: &str) {
        fs::write(self.folder.path().join("site_app.py"), source)
            .expect("its own folder is writable");
        let _ = fs::remove_dir_all(self.folder.path().join("__pycache__"));
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn start(&self, arguments: &[&str]) -> Option<Process> {
        let python = python()?;
        let folder = self.path().to_str().expect("temporary paths are UTF-8");
        Some(python.worker(&[&["--bind", "127.0.0.1:0", "--chdir", folder], arguments].concat()))
    }
}

/// Answers with this text, the id of the process that has imported it and of the one that runs it.
fn answering(text: &str) -> String {
    format!(
        "import os\nLOADED = os.getpid()\n\
         def application(environ, start_response):\n    \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [f'{text} {{LOADED}} {{os.getpid()}}'.encode()]\n"
    )
}

fn ask(address: SocketAddr) -> Vec<String> {
    let text = Client::connect(address).get("/").text().to_owned();
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn an_application_is_imported_once_for_all_workers() {
    let changing = Changing::new(&answering("one"));
    let Some(mut arbiter) = changing.start(&["-w", "3", "site_app:application"]) else { return };
    let address = arbiter.listening(1, PATIENCE)[0];
    let workers = workers_of(arbiter.pid());
    assert_eq!(workers.len(), 3, "they are the arbiter's own children");
    let first = ask(address);
    let pids: Vec<_> = workers.iter().map(u32::to_string).collect();
    assert!(pids.contains(&first[2]) && !pids.contains(&first[1]), "{first:?}");
    for _ in 0..10 {
        assert_eq!(ask(address)[1], first[1]);
    }
    arbiter.signal(TERM);
    assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(0), "{}", arbiter.stderr());
    let mold = first[1].parse().unwrap();
    wait_until("the mold's end", PATIENCE, || !is_alive(mold));
}

#[test]
fn without_preloading_each_worker_imports_for_itself() {
    let changing = Changing::new(&answering("one"));
    let arguments = ["--no-preload", "-w", "2", "site_app:application"];
    let Some(mut arbiter) = changing.start(&arguments) else { return };
    let answer = ask(arbiter.listening(1, PATIENCE)[0]);
    assert_eq!(answer[1], answer[2]);
}

#[test]
fn what_the_import_has_changed_is_as_before_for_workers_that_import_for_themselves() {
    let source = "import os, signal, sys, threading, time\n\
                  del os.environ['SECRET']\n\
                  mask = os.umask(0o77)\n\
                  blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n\
                  pipe = signal.signal(signal.SIGTTIN, signal.SIG_IGN)\n\
                  assert (mask, blocked, pipe) == (0o27, set(), signal.SIG_DFL)\n\
                  folder, sys.executable = os.getcwd(), '/nowhere'\n\
                  os.chdir('/')\n\
                  target, args = time.sleep, (600,)\n\
                  threading.Thread(None, target, args=args, daemon=True).start()\n";
    let changing = Changing::new(&(source.to_owned() + &answering("one")));
    let arguments = ["-e", "SECRET=1", "--umask", "27", "-w", "2", "site_app:application"];
    let Some(mut arbiter) = changing.start(&arguments) else { return };
    let answer = ask(arbiter.listening(1, PATIENCE)[0]);
    assert_eq!(answer[1], answer[2]);
}

#[test]
fn an_application_may_see_to_the_ends_of_children() {
    let reaping = "def reap(*_):\n    \
                   try:\n        \
                   while os.waitpid(-1, os.WNOHANG)[0]: pass\n    \
                   except ChildProcessError: pass\n";
    for handler in ["signal.SIG_IGN", "reap"] {
        let source =
            format!("import os, signal\n{reaping}signal.signal(signal.SIGCHLD, {handler})\n");
        let changing = Changing::new(&(source + &answering("one")));
        let Some(mut arbiter) = changing.start(&["-w", "2", "site_app:application"]) else {
            return;
        };
        let address = arbiter.listening(1, PATIENCE)[0];
        let before = ask(address);
        send_signal(before[2].parse().unwrap(), KILL);
        wait_until("another worker", PATIENCE, || {
            let workers = workers_of(arbiter.pid());
            workers.len() == 2 && workers.iter().all(|pid| pid.to_string() != before[2])
        });
        assert_eq!(ask(address)[1], before[1], "{handler}: {}", arbiter.stderr());
        assert!(!arbiter.stderr().contains("ChildProcessError"), "{}", arbiter.stderr());
    }
}

#[test]
fn a_dead_worker_is_made_anew_without_another_import() {
    let changing = Changing::new(&answering("one"));
    let Some(mut arbiter) = changing.start(&["-w", "1", "site_app:application"]) else { return };
    let address = arbiter.listening(1, PATIENCE)[0];
    let before = ask(address);
    changing.write("raise RuntimeError('must not be imported')");
    send_signal(before[2].parse().unwrap(), KILL);
    let another = || workers_of(arbiter.pid()).iter().any(|pid| pid.to_string() != before[2]);
    wait_until("another worker", PATIENCE, another);
    let after = ask(address);
    assert!(after[1] == before[1] && after[2] != before[2], "{before:?} {after:?}");
}

#[test]
fn a_reload_imports_anew_and_a_broken_application_changes_nothing() {
    let changing = Changing::new(&answering("one"));
    let Some(mut arbiter) = changing.start(&["-w", "2", "site_app:application"]) else { return };
    let address = arbiter.listening(1, PATIENCE)[0];
    let before = ask(address);
    for broken in ["import nothing_of_the_kind\n", "raise SystemExit(1)\n", "def f(:\n"] {
        changing.write(broken);
        let failures = || arbiter.stderr().matches("the reload has failed").count();
        let seen = failures();
        arbiter.signal(HUP);
        wait_until("the refusal", PATIENCE, || failures() > seen);
        assert_eq!(ask(address)[1], before[1], "{broken}");
    }
    let log = arbiter.stderr();
    assert!(log.contains("No module named 'nothing_of_the_kind'"), "{log}");
    assert!(log.contains("Traceback") && log.contains("SyntaxError"), "{log}");
    changing.write(&answering("two"));
    arbiter.signal(HUP);
    let adopted = || arbiter.stderr().contains("replaces the older ones");
    wait_until("the new generation", PATIENCE, adopted);
    let mold = before[1].parse().unwrap();
    wait_until("the old mold's end", PATIENCE, || !is_alive(mold));
    wait_until("the old workers' end", PATIENCE, || {
        workers_of(arbiter.pid()).len() == 2 && ask(address)[0] == "two"
    });
}

#[test]
fn a_reload_goes_on_while_workers_of_the_old_generation_are_started() {
    let waits = "import os, time\nwhile os.path.exists('wait'): time.sleep(0.01)\n";
    let changing = Changing::new(&(waits.to_owned() + &answering("one")));
    let Some(mut arbiter) = changing.start(&["-w", "2", "site_app:application"]) else { return };
    let address = arbiter.listening(1, PATIENCE)[0];
    let before = ask(address);
    fs::write(changing.path().join("wait"), "").unwrap();
    changing.write(&(waits.to_owned() + &answering("two")));
    arbiter.signal(HUP);
    wait_until("the reload", PATIENCE, || arbiter.stderr().contains("reloading"));
    send_signal(before[2].parse().unwrap(), KILL);
    arbiter.signal(TTIN);
    wait_until("two more workers", PATIENCE, || {
        let workers = workers_of(arbiter.pid());
        workers.len() == 3 && workers.iter().all(|pid| pid.to_string() != before[2])
    });
    assert_eq!(ask(address)[1], before[1], "the old one has made them");
    fs::remove_file(changing.path().join("wait")).unwrap();
    let adopted = || arbiter.stderr().contains("replaces the older ones");
    wait_until("the new generation", PATIENCE, adopted);
    assert!(!arbiter.stderr().contains("failed"), "{}", arbiter.stderr());
}

#[test]
fn what_cannot_be_loaded_at_first_ends_the_server() {
    let changing = Changing::new("import os\nvalue = 7\n");
    for (application, reason) in [
        ("site_app:absent", "has no `absent`"),
        ("site_app:value", "is not callable but int"),
        ("site_app", "neither `application` nor `app`"),
        ("site_app:os.", "neither a name nor a call"),
        ("site_app:value(os)", "not literals"),
        ("absent_app:application", "there is no module `absent_app`"),
        ("absent.py", "absent.py"),
    ] {
        let Some(mut arbiter) = changing.start(&["-w", "2", application]) else { return };
        assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(4), "{application}");
        assert!(arbiter.stderr().contains(reason), "{application}: {}", arbiter.stderr());
    }
    changing.write("1 / 0\n");
    let Some(mut arbiter) = changing.start(&["site_app"]) else { return };
    assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(4));
    let log = arbiter.stderr();
    assert!(log.contains("ZeroDivisionError") && log.contains("line 1, in <module>"), "{log}");
    assert!(!log.contains("importlib"), "{log}");
    changing.write("1 / 0\n");
    let Some(mut arbiter) = changing.start(&["--no-preload", "site_app"]) else { return };
    assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(4));
}

#[test]
fn an_application_that_ends_its_process_while_it_is_imported_is_told_and_tried_again() {
    let changing = Changing::new("");
    for (source, end) in [
        ("import os; os.abort()\n", "was killed by signal 6"),
        ("import os; os._exit(0)\n", "has exited with code 0"),
    ] {
        changing.write(source);
        let Some(mut arbiter) = changing.start(&["-w", "2", "site_app"]) else { return };
        let line = format!("the application was not loaded: its process {end} while importing");
        let told = || arbiter.stderr().matches(&format!("{line}; trying again\n")).count();
        wait_until("a second try", PATIENCE, || told() >= 2);
        changing.write(&answering("one"));
        let address = arbiter.listening(1, PATIENCE)[0];
        changing.write(source);
        arbiter.signal(HUP);
        let is_rejected = || arbiter.stderr().contains("the reload has failed");
        wait_until("the refusal", PATIENCE, is_rejected);
        assert!(arbiter.stderr().contains(&format!("{line}\n")), "{}", arbiter.stderr());
        assert_eq!(ask(address)[0], "one");
    }
}

#[test]
fn a_slow_import_is_said_to_be_late_and_nothing_else() {
    let changing = Changing::new("import time; time.sleep(600)\n");
    let Some(arbiter) = changing.start(&["--boot-timeout", "1", "site_app"]) else { return };
    let told = |text: &str| arbiter.stderr().matches(text).count();
    let late = "the mold has not loaded the application within the boot timeout";
    wait_until("a second try", PATIENCE, || told(late) >= 2);
    assert_eq!(told("while importing"), 0, "{}", arbiter.stderr());
}

#[test]
fn applications_are_found_by_a_path() {
    let changing = Changing::new(&answering("one"));
    let file = changing.path().join("site_app.py");
    for name in [file.to_str().unwrap(), "./site_app.py:application", "site_app.py"] {
        let Some(mut arbiter) = changing.start(&[name]) else { return };
        assert_eq!(ask(arbiter.listening(1, PATIENCE)[0])[0], "one", "{name}");
    }
}

#[test]
fn applications_are_found_where_python_would_not_look() {
    let Some(python) = python() else { return };
    let changing = Changing::new(&answering("one"));
    let mut command = python.command(&["--bind", "127.0.0.1:0", "--chdir"]);
    command.arg(changing.path()).arg("site_app").env("PYTHONSAFEPATH", "1");
    let mut arbiter = Process::start(&mut command);
    assert_eq!(ask(arbiter.listening(1, PATIENCE)[0])[0], "one");
}

#[test]
fn a_python_without_the_package_is_told_how_to_get_it() {
    if python().is_none() {
        return;
    }
    let name = std::env::var("FOREBAY_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut command = Command::new(worker_bin());
    command
        .args(["--bind", "127.0.0.1:0", "--python", &name, "site_app"])
        .env_remove("VIRTUAL_ENV");
    let mut arbiter = Process::start(&mut command);
    assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(4));
    let log = arbiter.stderr();
    assert!(log.contains(&format!("{name} -m pip install ./worker-bin")), "{log}");
    let mut command = Command::new(worker_bin());
    command.args(["--bind", "127.0.0.1:0", "--python", "/nowhere/python", "site_app"]);
    let mut arbiter = Process::start(&mut command);
    assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(3));
    assert!(arbiter.stderr().contains("/nowhere/python"), "{}", arbiter.stderr());
}

#[test]
fn a_package_of_other_sources_says_so_before_anything_else() {
    let Some(python) = python() else { return };
    let interpreter = python.interpreter();
    for task in [
        r#"{"version":"0.0.1"}"#,
        r#"{"version":"0.1.0","options":[]}"#,
        r#"{"version":"0.1.0+00000000","arbiter":"of other sources","options":[]}"#,
    ] {
        let mut mold = Command::new(&interpreter);
        let output = mold.args(["-m", "forebay.mold"]).env("FOREBAY_MOLD", task).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(4), 1), "{said}");
        let pip = format!("{} -m pip install --force-reinstall", interpreter.display());
        assert!(said.contains("but worker-bin is 0.") && said.contains(&pip), "{said}");
    }
}

#[test]
fn a_mold_that_ends_is_replaced_when_it_is_needed() {
    let changing = Changing::new(&answering("one"));
    let Some(mut arbiter) = changing.start(&["-w", "1", "site_app:application"]) else { return };
    let address = arbiter.listening(1, PATIENCE)[0];
    let before = ask(address);
    let mold: u32 = before[1].parse().unwrap();
    send_signal(mold, KILL);
    wait_until("its end", PATIENCE, || !is_alive(mold));
    assert_eq!(ask(address), before, "workers do not need it");
    send_signal(before[2].parse().unwrap(), KILL);
    let another = || workers_of(arbiter.pid()).iter().any(|pid| pid.to_string() != before[2]);
    wait_until("another worker", PATIENCE, another);
    assert_ne!(ask(address)[1], before[1]);
}

#[test]
fn a_mold_that_is_replaced_after_a_rejected_reload_is_as_before() {
    let source = answering("one").replace("one {LOADED}", "{os.environ[\"WHO\"]} {LOADED}");
    let refusing = "import os\nassert os.environ['WHO'] == 'old'\n".to_owned() + &source;
    let changing = Changing::new(&refusing);
    let settings = changing.path().join("settings.toml");
    let set = |who: &str| fs::write(&settings, format!("env = [\"WHO={who}\"]\n")).unwrap();
    set("old");
    let arguments = ["-c", settings.to_str().unwrap(), "-w", "1", "site_app:application"];
    let Some(mut arbiter) = changing.start(&arguments) else { return };
    let address = arbiter.listening(1, PATIENCE)[0];
    let before = ask(address);
    set("new");
    arbiter.signal(HUP);
    let is_rejected = || arbiter.stderr().contains("the reload has failed");
    wait_until("the refusal", PATIENCE, is_rejected);
    for pid in &before[1..] {
        let pid = pid.parse().unwrap();
        send_signal(pid, KILL);
        wait_until("its end", PATIENCE, || !is_alive(pid));
    }
    wait_until("another worker", PATIENCE, || !workers_of(arbiter.pid()).is_empty());
    let after = ask(address);
    assert!(after[0] == "old" && after[1] != before[1], "{before:?} {after:?}");
}

#[test]
fn a_worker_that_cannot_be_ordered_for_want_of_descriptors_is_ordered_again() {
    let changing = Changing::new(&answering("one"));
    let Some(mut arbiter) = changing.start(&["-w", "1", "site_app:application"]) else { return };
    let address = arbiter.listening(1, PATIENCE)[0];
    let before = ask(address);
    let usual = limit_descriptors(arbiter.pid(), 3);
    send_signal(before[2].parse().unwrap(), KILL);
    let failed = || arbiter.stderr().contains("cannot have a worker made: Too many open files");
    wait_until("the failure", PATIENCE, failed);
    limit_descriptors(arbiter.pid(), usual);
    wait_until("another worker", PATIENCE, || !workers_of(arbiter.pid()).is_empty());
    let after = ask(address);
    assert!(after[1] == before[1] && after[2] != before[2], "{before:?} {after:?}");
}

#[test]
fn what_is_registered_for_forks_runs_once_for_each_worker() {
    let source = "import os\n\
                  def note(word):\n    \
                  with open('forks', 'a') as file: file.write(word + '\\n')\n\
                  os.register_at_fork(before=lambda: note('before'),\n    \
                  after_in_parent=lambda: note('parent'), after_in_child=lambda: note('child'))\n";
    let changing = Changing::new(&(source.to_owned() + &answering("one")));
    let Some(mut arbiter) = changing.start(&["-w", "3", "site_app:application"]) else { return };
    arbiter.listening(1, PATIENCE);
    let noted = || {
        let text = fs::read_to_string(changing.path().join("forks")).unwrap_or_default();
        ["before", "parent", "child"].map(|word| text.lines().filter(|line| *line == word).count())
    };
    wait_until("three forks", PATIENCE, || noted().iter().all(|count| *count >= 3));
    assert_eq!(noted(), [3, 3, 3]);
}
