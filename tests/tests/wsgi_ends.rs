//! What an import has made, such as processes and temporary directories, ends with the mold that
//! has imported it, after the last worker that uses it. A worker ends as programs of Python do.

use forebay_tests::{
    Client, HUP, INT, PATIENCE, Process, TERM, USR2, is_alive, python, send_signal, wait_until,
    worker_status, workers_of,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// An application in a folder of its own, where it works.
struct Site {
    folder: TempDir,
    arbiter: Process,
}

impl Site {
    /// Answers the ids of the processes that have imported and that run it, and what `answer`
    /// says.
    fn start(import: &str, answer: &str, flags: &[&str]) -> Option<Site> {
        let python = python()?;
        let folder = tempfile::tempdir().expect("there is room");
        let source = format!(
            "import os\nLOADED = os.getpid()\n{import}\n\
             def application(environ, start_response):\n    \
             start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
             return [f'{{LOADED}} {{os.getpid()}} {{{answer}}}'.encode()]\n"
        );
        fs::write(folder.path().join("ending.py"), source).expect("its own folder is writable");
        let mut command = python.command(&["--bind", "127.0.0.1:0", "ending"]);
        command.args(["--control", &format!("unix:{}", folder.path().join(CONTROL).display())]);
        let arbiter = Process::start(command.args(flags).current_dir(folder.path()));
        Some(Site { folder, arbiter })
    }

    fn ask(&mut self) -> (u32, u32, String) {
        let address = self.arbiter.listening(1, PATIENCE)[0];
        let response = Client::connect(address).get("/");
        let [loaded, pid, answer] = response.text().splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("{}", response.text());
        };
        let id = |text: &str| text.parse().expect("the id of a process");
        (id(loaded), id(pid), answer.to_owned())
    }

    fn reload(&mut self) {
        let seen = |arbiter: &Process| arbiter.stderr().matches("replaces the older ones").count();
        let before = seen(&self.arbiter);
        self.arbiter.signal(HUP);
        wait_until("the new generation", PATIENCE, || seen(&self.arbiter) > before);
    }

    /// Waits until all workers are of the last generation, and none boots or leaves.
    fn settle(&self) {
        wait_until("idle workers, as many as wanted", PATIENCE, || {
            let status = worker_status(&self.folder.path().join(CONTROL));
            let workers = status["workers"].as_array().expect("a list");
            let is_settled = |worker: &Value| {
                worker["state"] == "idle" && worker["generation"] == status["generation"]
            };
            workers.len() as u64 == status["workers_wanted"] && workers.iter().all(is_settled)
        });
    }

    fn end(mut self) -> TempDir {
        self.arbiter.signal(TERM);
        let end = self.arbiter.wait_exit(PATIENCE);
        assert_eq!(end.code(), Some(0), "{}", self.arbiter.stderr());
        self.folder
    }
}

const CONTROL: &str = "control.sock";

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Files and folders whose names begin so.
fn made(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("it is there").flatten();
    entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"made-")).count()
}

#[test]
fn processes_of_the_import_end_with_their_mold() {
    let import = "import multiprocessing\nmanager = multiprocessing.Manager()\n\
                  CHILD = manager._process.pid";
    let Some(mut site) = Site::start(import, "CHILD", &["-w", "2"]) else { return };
    let (_, _, first) = site.ask();
    site.reload();
    let first = first.parse().unwrap();
    wait_until("the end of the first", PATIENCE, || !is_alive(first));
    let mut second = String::new();
    wait_until("an answer of the second", PATIENCE, || {
        second = site.ask().2;
        second != first.to_string()
    });
    let second = second.parse().unwrap();
    assert!(is_alive(second));
    site.end();
    assert!(!is_alive(second), "it has ended first");
}

#[test]
fn what_is_registered_for_the_end_runs_after_the_last_worker() {
    let import = "import atexit, time\n\
                  def note():\n    \
                  with open('ends', 'a') as file: file.write(f'{os.getpid()}\\n')\n\
                  atexit.register(note)\n\
                  def wait():\n    \
                  if os.path.exists('hold'):\n        \
                  open('held', 'w').close()\n        \
                  while os.path.exists('hold'): time.sleep(0.01)";
    let Some(mut site) = Site::start(import, "wait()", &[]) else { return };
    let (mold, worker, _) = site.ask();
    let address = site.arbiter.listening(1, PATIENCE)[0];
    let at = |name: &str| site.folder.path().join(name);
    let (hold, held, ends) = (at("hold"), at("held"), at("ends"));
    fs::write(&hold, "").unwrap();
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    wait_until("the request", PATIENCE, || held.exists());
    site.reload();
    wait_until("the second one", PATIENCE, || workers_of(site.arbiter.pid()).len() == 2);
    assert!(is_alive(mold), "its worker is at work");
    assert_eq!(lines(&ends), [""; 0]);
    fs::remove_file(&hold).unwrap();
    assert_eq!(client.read_response().status, 200);
    wait_until("the end of the mold", PATIENCE, || !is_alive(mold));
    assert_eq!(lines(&ends), [worker.to_string(), mold.to_string()]);
    let (mold, worker, _) = site.ask();
    let folder = site.end();
    let noted = lines(&folder.path().join("ends"));
    assert_eq!(noted[2..], [worker.to_string(), mold.to_string()]);
}

#[test]
fn who_does_not_end_is_killed() {
    let import = "import atexit, time\n\
                  atexit.register(lambda: time.sleep(600 if LOADED == os.getpid() else 0))";
    let Some(mut site) = Site::start(import, "0", &[]) else { return };
    let (mold, ..) = site.ask();
    site.arbiter.signal(TERM);
    assert_eq!(site.arbiter.wait_exit(PATIENCE).code(), Some(0));
    assert!(site.arbiter.stderr().contains("the mold has not ended within 2 s: killing it"));
    assert!(!is_alive(mold));
}

/// The import's directory is that of a program which another takes the place of.
#[test]
fn an_import_that_is_not_shared_leaves_nothing() {
    let import = "import tempfile, threading, time\n\
                  directory = tempfile.TemporaryDirectory(dir='.', prefix='made-')\n\
                  target, args = time.sleep, (600,)\n\
                  threading.Thread(target=target, args=args, daemon=True).start()";
    let Some(mut site) = Site::start(import, "0", &["-w", "2"]) else { return };
    site.ask();
    site.reload();
    site.settle();
    assert_eq!(made(site.folder.path()), 2, "one of each worker");
    let folder = site.end();
    assert_eq!(made(folder.path()), 0);
}

/// A process of the import that outlives everything would keep the address.
#[test]
fn processes_of_the_import_do_not_listen() {
    let import = "import socket, time\n\
                  def listening(name):\n    \
                  try: end = socket.socket(fileno=os.dup(int(name)))\n    \
                  except OSError: return False\n    \
                  with end: return end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1\n\
                  if os.fork() == 0:\n    \
                  with open('new', 'w') as file:\n        \
                  file.write(str(any(map(listening, os.listdir('/proc/self/fd')))))\n    \
                  os.rename('new', f'listens-{os.getppid()}')\n    \
                  os._exit(0)";
    for flags in [&[][..], &["--no-preload"]] {
        let Some(mut site) = Site::start(import, "0", flags) else { return };
        let (loaded, ..) = site.ask();
        let said = site.folder.path().join(format!("listens-{loaded}"));
        wait_until("what the child says", PATIENCE, || said.exists());
        assert_eq!(fs::read_to_string(said).unwrap(), "False", "{flags:?}");
    }
}

/// As of a terminal that is closed, or of systemd.
#[test]
fn signals_to_all_are_for_the_arbiter() {
    let import = "import atexit\n\
                  def note():\n    \
                  with open('ends', 'a') as file: file.write(f'{os.getpid()}\\n')\n\
                  atexit.register(note)";
    let Some(mut site) = Site::start(import, "0", &[]) else { return };
    let (mold, ..) = site.ask();
    for signal in [HUP, USR2] {
        send_signal(mold, signal);
    }
    site.reload();
    wait_until("the end of the mold", PATIENCE, || !is_alive(mold));
    assert!(!site.arbiter.stderr().contains("mold of generation 0 has ended"));
    for signal in [INT, TERM] {
        let Some(mut site) = Site::start(import, "0", &[]) else { return };
        let (mold, ..) = site.ask();
        let group = format!("-{}", site.arbiter.pid());
        let sent = Command::new("kill").args(["-s", &signal.to_string(), "--", &group]).status();
        assert!(sent.is_ok_and(|status| status.success()));
        assert_eq!(site.arbiter.wait_exit(PATIENCE).code(), Some(0));
        let log = site.arbiter.stderr();
        assert!(!log.contains("mold") && !log.contains("Traceback"), "{log}");
        assert!(lines(&site.folder.path().join("ends")).contains(&mold.to_string()));
    }
}

/// A class is not freed before the garbage collector sees it.
#[test]
fn what_was_written_is_in_the_file_once() {
    let import = "class Kept: file = open('requests', 'a')\n\
                  imports = open('imports', 'a')\n\
                  imports.write(f'{LOADED}\\n')\n\
                  print('imported by', LOADED)";
    let retiring = ["--max-requests", "3", "--no-preload"];
    for flags in [&retiring[..2], &retiring, &["-w", "2"], &["--threads", "2"]] {
        let Some(mut site) = Site::start(import, "Kept.file.write(chr(10))", flags) else { return };
        (0..10).for_each(|_| drop(site.ask()));
        site.settle();
        site.arbiter.signal(TERM);
        assert_eq!(site.arbiter.wait_exit(PATIENCE).code(), Some(0));
        let at = |name: &str| lines(&site.folder.path().join(name));
        assert_eq!(at("requests").len(), 10, "{flags:?}");
        let output = site.arbiter.stdout();
        let said = output.lines().filter_map(|line| line.strip_prefix("imported by "));
        let mut said: Vec<_> = said.collect();
        let mut noted = at("imports");
        said.sort_unstable();
        noted.sort_unstable();
        assert_eq!(said, noted, "{flags:?}");
        assert_eq!(noted.iter().collect::<BTreeSet<_>>().len(), noted.len(), "{flags:?}");
    }
}

/// They are open for reading, too, so each worker has its own, and so has the import that was not
/// shared.
#[test]
fn temporary_files_end_with_their_process() {
    let import = "import tempfile\nfile = tempfile.NamedTemporaryFile(dir='.', prefix='made-')";
    let Some(mut site) = Site::start(import, "0", &["--max-requests", "1"]) else { return };
    (0..4).for_each(|_| drop(site.ask()));
    assert!(site.arbiter.stderr().contains("cannot share"), "{}", site.arbiter.stderr());
    assert_eq!(made(site.end().path()), 0);
}

#[test]
fn a_worker_whose_end_takes_too_long_is_killed() {
    let import = "import time\n\
                  class Endless:\n    \
                  def __del__(self, getpid=os.getpid, sleep=time.sleep, mold=LOADED):\n        \
                  if getpid() != mold: sleep(600)\n\
                  endless = Endless()";
    let Some(mut site) = Site::start(import, "0", &["--graceful-timeout", "1"]) else { return };
    site.ask();
    site.arbiter.signal(TERM);
    assert_eq!(site.arbiter.wait_exit(PATIENCE).code(), Some(0));
    let log = site.arbiter.stderr();
    assert!(log.contains("did not stop in time and was killed by us"), "{log}");
}
