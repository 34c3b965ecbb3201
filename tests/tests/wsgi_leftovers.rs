//! What an import leaves is shared by workers only if a fork may share it.

use forebay_tests::{Client, PATIENCE, Process, is_alive, python, wait_until, workers_of};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// An application in a folder of its own, whose workers are ready.
struct App {
    arbiter: Process,
    address: SocketAddr,
    folder: TempDir,
}

impl App {
    /// An application that begins with these lines, and notes who imports it.
    fn start(source: &str, flags: &[&str]) -> Option<App> {
        let folder = tempfile::tempdir().expect("there is room");
        let source = format!("{NOTING}{source}");
        let source = if source.contains("def application") { source } else { source + ANSWERING };
        fs::write(folder.path().join("site_app.py"), source).expect("its own folder is writable");
        let path = folder.path().to_str().expect("temporary paths are UTF-8");
        let own = ["--bind", "127.0.0.1:0", "--chdir", path, "-w", "2", "site_app:application"];
        let mut arbiter = python()?.worker(&[&own, flags].concat());
        let address = arbiter.listening(1, PATIENCE)[0];
        Some(App { arbiter, address, folder })
    }

    fn get(&self, path: &str) -> String {
        Client::connect(self.address).get(path).text().to_owned()
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Whether each worker has imported it, which the log says once, or all of them share it.
    fn is_shared(&self) -> bool {
        let imports = self.lines("imports");
        let workers: Vec<_> = workers_of(self.arbiter.pid()).iter().map(u32::to_string).collect();
        let by_workers = workers.iter().filter(|pid| imports.contains(pid)).count();
        let told = self.arbiter.stderr().matches("warn the application has left").count();
        assert!(
            [(1, 0, 0), (3, 2, 1)].contains(&(imports.len(), by_workers, told)),
            "{}",
            self.log()
        );
        told == 0
    }

    fn log(&self) -> String {
        format!("{:?} {}", self.lines("imports"), self.arbiter.stderr())
    }
}

const NOTING: &str = "import os\n\
                      def note(name, what):\n    \
                      with open(name, 'a') as file: print(what, file=file)\n\
                      note('imports', os.getpid())\n";
const ANSWERING: &str = "def application(environ, start_response):\n    \
                         start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
                         return [b'answer']\n";

#[test]
fn what_is_not_for_forks_is_named_and_each_worker_has_its_own() {
    for (source, words) in [
        (
            "import threading, time\n\
             threading.Thread(None, time.sleep, 'ticker', (600,), daemon=True).start()\n",
            "the thread 'ticker'",
        ),
        ("import asyncio\nloop = asyncio.new_event_loop()\n", "an eventpoll, a pair of sockets"),
        ("pipe = os.pipe()\n", ": a pipe\n"),
        (
            "import subprocess\n\
             child = subprocess.Popen(['cat'], stdin=subprocess.PIPE)\n",
            "(cat), a pipe\n",
        ),
        ("file = open(__file__, 'rb')\n", "site_app.py'\n"),
        ("import sqlite3\ndata = sqlite3.connect('data.db')\n", "/data.db'\n"),
        (
            "import fcntl\n\
             file = open('lock', 'a+')\n\
             fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)\n",
            ": a lock on '",
        ),
        (
            "import tempfile\n\
             folder = tempfile.TemporaryDirectory()\n",
            ": TemporaryDirectory._cleanup at the exit",
        ),
        (
            "import shutil, weakref\n\
             class Folder: pass\n\
             folder = Folder()\n\
             weakref.finalize(folder, shutil.rmtree, 'cache', True)\n",
            ": rmtree at the exit",
        ),
        (
            "pipe, files = os.pipe(), [os.dup(os.open(__file__, 0)) for _ in range(20)]\n",
            "a pipe, the file",
        ),
    ] {
        let Some(app) = App::start(source, &[]) else { return };
        assert!(!app.is_shared(), "{source}: {}", app.log());
        assert!(app.log().contains(words), "{source}: {}", app.log());
        assert_eq!(app.get("/"), "answer");
    }
}

#[test]
fn what_forks_may_share_is_shared() {
    let source = "import asyncio, logging, logging.handlers, mmap, multiprocessing, socket\n\
                  import subprocess, sys, tempfile, weakref\n\
                  from multiprocessing.shared_memory import SharedMemory\n\
                  socket.setdefaulttimeout(5)\n\
                  listener = socket.create_server(('127.0.0.1', 0))\n\
                  log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                  log.connect(('127.0.0.1', 9))\n\
                  idle = socket.socket()\n\
                  logging.basicConfig(filename='w.log', filemode='w', level='INFO')\n\
                  root = logging.getLogger()\n\
                  root.addHandler(logging.handlers.RotatingFileHandler('a.log'))\n\
                  root.addHandler(logging.StreamHandler(os.fdopen(os.dup(2), 'w')))\n\
                  root.info('begins')\n\
                  device, here = open('/dev/urandom', 'rb'), os.open('.', os.O_RDONLY)\n\
                  with open(__file__, 'rb') as file:\n    \
                  memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n\
                  number, block = multiprocessing.Value('i', 0), SharedMemory(None, True, 99)\n\
                  subprocess.run(['true']), asyncio.run(asyncio.sleep(0))\n\
                  with tempfile.TemporaryDirectory(), tempfile.TemporaryFile(): pass\n\
                  class Owner: pass\n\
                  owner = Owner()\n\
                  weakref.finalize(owner, print).atexit = False\n";
    let Some(app) = App::start(source, &[]) else { return };
    assert!(app.is_shared(), "{}", app.log());
}

/// Wherever they are installed: for a user, by a system, or in another environment.
#[test]
fn what_packages_have_for_the_exit_is_shared() {
    for packages in ["lib/site-packages", "lib/dist-packages"] {
        let source = format!(
            "import sys, weakref\n\
             os.makedirs('{packages}', exist_ok=True)\n\
             with open('{packages}/signals.py', 'w') as file: file.write('def forget(): pass')\n\
             sys.path.insert(0, os.path.abspath('{packages}'))\n\
             import signals\n\
             weakref.finalize(signals.forget, signals.forget)\n"
        );
        let Some(app) = App::start(&source, &[]) else { return };
        assert!(app.is_shared(), "{}", app.log());
    }
}

#[test]
fn one_worker_of_all_gets_a_lock() {
    let source = "import fcntl\n\
                  file = open('lock', 'w')\n\
                  try:\n    \
                  fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n    \
                  note('elected', os.getpid())\n\
                  except OSError: pass\n";
    let Some(app) = App::start(source, &[]) else { return };
    assert!(!app.is_shared());
    let workers = workers_of(app.arbiter.pid());
    let elected = app.lines("elected");
    let is_elected = |pid: &&u32| elected.contains(&pid.to_string());
    assert_eq!(workers.iter().filter(is_elected).count(), 1, "{elected:?} of {workers:?}");
}

#[test]
fn a_folder_of_the_import_is_there_whoever_ends() {
    let source = "import tempfile\n\
                  folder = tempfile.TemporaryDirectory(dir='.', prefix='own-')\n\
                  open(folder.name + '/file', 'w').write('content')\n\
                  def application(environ, start_response):\n    \
                  start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
                  return [open(folder.name + '/file', 'rb').read()]\n";
    let Some(app) = App::start(source, &["--max-requests", "2"]) else { return };
    for _ in 0..12 {
        assert_eq!(app.get("/"), "content");
    }
    // That of the first import has gone with it.
    let of_pids = app.lines("imports").len();
    let folders = fs::read_dir(app.folder.path()).expect("it is there").flatten();
    let folders = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with("own-"));
    assert!(folders.count() < of_pids, "{}", app.log());
}

/// As at the end of a program: exit handlers run, and nobody goes on.
#[test]
fn an_import_that_is_given_up_ends() {
    let source = "import atexit, subprocess\n\
                  first = not os.path.exists('child')\n\
                  if first:\n    \
                  child = subprocess.Popen(['sleep', '600'])\n    \
                  note('child', child.pid)\n\
                  pipe = os.pipe()\n\
                  os.set_inheritable(pipe[0], True)\n\
                  target = os.readlink(f'/proc/self/fd/{pipe[0]}')\n\
                  if first: note('pipe', target)\n\
                  atexit.register(note, 'ended', os.getpid())\n";
    let Some(app) = App::start(source, &[]) else { return };
    assert!(!app.is_shared());
    assert_eq!(app.lines("ended"), app.lines("imports")[..1]);
    let child: u32 = app.lines("child")[0].parse().expect("it is a process");
    wait_until("its end", PATIENCE, || !is_alive(child));
    for pid in workers_of(app.arbiter.pid()) {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
        let mut targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        assert!(targets.all(|target| target != Path::new(&app.lines("pipe")[0])), "{pid}");
    }
}

/// Repeats each line a moment later.
fn slow_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut out = stream.try_clone().expect("there are descriptors");
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    thread::sleep(Duration::from_millis(30));
                    let _ = writeln!(out, "{line}");
                }
            });
        }
    });
    address
}

#[test]
fn answers_go_to_the_worker_that_has_asked() {
    let echo = slow_echo();
    let connection = format!(
        "import socket\n\
         server = socket.create_connection(('127.0.0.1', {}))\n\
         send, lines = server.sendall, server.makefile('r')\n",
        echo.port()
    );
    let helper = "import subprocess\n\
                  helper = subprocess.Popen(['cat'], stdin=-1, stdout=-1, bufsize=0)\n\
                  send, lines = helper.stdin.write, open(helper.stdout.fileno())\n";
    for (source, words) in [(&connection[..], &echo.to_string()[..]), (helper, "a pipe")] {
        let source = format!(
            "{source}\
             def application(environ, start_response):\n    \
             send(environ['QUERY_STRING'].encode() + b'\\n')\n    \
             start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
             return [lines.readline().strip().encode()]\n"
        );
        let Some(app) = App::start(&source, &[]) else { return };
        thread::scope(|scope| {
            for client in 0..4 {
                let app = &app;
                scope.spawn(move || {
                    for number in 0..10 {
                        let question = format!("{client}-{number}");
                        assert_eq!(app.get(&format!("/?{question}")), question);
                    }
                });
            }
        });
        assert!(!app.is_shared() && app.log().contains(words), "{}", app.log());
    }
}
