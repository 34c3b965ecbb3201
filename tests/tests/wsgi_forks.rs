//! A mold makes workers whatever else runs in its process, and what hangs in that goes with it.

use forebay_tests::{Client, KILL, PATIENCE, Process, is_alive, python, send_signal, wait_until};
use std::fs;
use tempfile::TempDir;

const APPLICATION: &str = "def application(environ, start_response):\n    \
                           start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
                           return [b'answer']\n";

/// An application, in a folder where the interpreter runs these lines before all else.
fn start(first: &str, flags: &[&str]) -> Option<(TempDir, Process)> {
    let python = python()?;
    let folder = tempfile::tempdir().expect("there is room");
    for (name, source) in [("sitecustomize.py", first), ("plain.py", APPLICATION)] {
        fs::write(folder.path().join(name), source).expect("its own folder is writable");
    }
    let mut command = python.command(&["--bind", "127.0.0.1:0", "plain"]);
    command.args(flags).current_dir(folder.path()).env("PYTHONPATH", folder.path());
    let arbiter = Process::start(&mut command);
    Some((folder, arbiter))
}

/// A copy of it would stay locked: of one thread of many a fork takes only the one that forks.
#[test]
fn a_lock_of_another_thread_does_not_hang_a_fork() {
    let first = "import os, sys, threading, time\n\
                 lock, taken = threading.Lock(), threading.Event()\n\
                 def hold():\n    \
                 while True:\n        \
                 with lock:\n            \
                 taken.set()\n            \
                 time.sleep(0.05)\n        \
                 time.sleep(0.001)\n\
                 if 'FOREBAY_MOLD' in os.environ:\n    \
                 os.register_at_fork(\n        \
                 before=lock.acquire,\n        \
                 after_in_parent=lock.release,\n        \
                 after_in_child=lock.release)\n    \
                 threading.Thread(target=hold, daemon=True).start()\n    \
                 taken.wait()\n";
    for flags in [&["--no-preload", "-w", "2"][..], &["-w", "2"]] {
        let flags = [flags, &["--boot-timeout", "10"]].concat();
        let Some((_folder, mut arbiter)) = start(first, &flags) else { return };
        let address = arbiter.listening(1, PATIENCE)[0];
        assert_eq!(Client::connect(address).get("/").text(), "answer");
        let log = arbiter.stderr();
        assert!(!log.contains("boot timeout") && !log.contains("Warning"), "{log}");
    }
}

/// It would keep the address for ever.
#[test]
fn a_fork_that_hangs_ends_with_its_mold() {
    let first = "import os, time\n\
                 MOLD = os.getpid()\n\
                 def hang():\n    \
                 with open('new', 'w') as file: file.write(f'{MOLD} {os.getpid()}')\n    \
                 os.rename('new', 'forks')\n    \
                 time.sleep(600)\n\
                 if 'FOREBAY_MOLD' in os.environ:\n    \
                 os.register_at_fork(before=hang)\n";
    let Some((folder, arbiter)) = start(first, &[]) else { return };
    let forks = folder.path().join("forks");
    wait_until("the fork", PATIENCE, || forks.exists());
    let forks = fs::read_to_string(forks).unwrap();
    let [mold, fork] = forks.split(' ').collect::<Vec<_>>()[..] else { panic!("{forks}") };
    let (mold, fork) = (mold.parse().unwrap(), fork.parse().unwrap());
    assert!(mold != fork && is_alive(fork), "{}", arbiter.stderr());
    send_signal(mold, KILL);
    wait_until("its end", PATIENCE, || !is_alive(fork));
}
