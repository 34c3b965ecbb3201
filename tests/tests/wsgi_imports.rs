//! What is beside an application, and what an import that fails leaves, is in nobody's way.

use forebay_tests::{Client, PATIENCE, Process, python, wait_until, write_module};
use std::fs;
use tempfile::TempDir;

/// In the working directory, as most people start it. None: there is no Python.
fn start(folder: &TempDir, flags: &[&str]) -> Option<Process> {
    let mut command = python()?.command(&["--bind", "127.0.0.1:0", "written"]);
    // Nobody writes for applications what they have in their buffers.
    command.args(flags).env_remove("PYTHONUNBUFFERED").current_dir(folder.path());
    Some(Process::start(&mut command))
}

#[test]
fn files_named_like_the_standard_library_are_not_taken_for_it() {
    let answering = "def application(environ, start_response):\n    \
                     start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
                     return [b'answer']\n";
    // With a thread, which a fork would lose, the process starts once more.
    let thread = "import threading, time\n\
                  threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n";
    for source in [answering.to_owned(), format!("{thread}{answering}")] {
        let folder = write_module(&source);
        for name in ["ast", "glob", "operator", "signal", "socket", "struct", "token", "types"] {
            fs::write(folder.path().join(name).with_extension("py"), "1 / 0\n").unwrap();
        }
        let Some(mut arbiter) = start(&folder, &[]) else { return };
        let address = arbiter.listening(1, PATIENCE)[0];
        assert_eq!(Client::connect(address).get("/").text(), "answer", "{source}");
    }
}

/// Whatever it has begun, which may go on for ever.
#[test]
fn an_import_that_has_failed_is_not_waited_for() {
    let folder = write_module(
        "import threading, time\n\
         threading.Thread(target=time.sleep, args=(3600,)).start()\n1 / 0\n",
    );
    for flags in [&[][..], &["--no-preload"]] {
        let Some(mut arbiter) = start(&folder, flags) else { return };
        assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(4), "{flags:?}");
        assert!(arbiter.stderr().contains("ZeroDivisionError"), "{}", arbiter.stderr());
    }
}

#[test]
fn what_it_has_said_before_is_not_lost() {
    let source = "import atexit, sys\natexit.register(print, 'left')\n\
                  print('DATABASE is missing')\nsys.exit(1)\n";
    let folder = write_module(source);
    for flags in [&[][..], &["--no-preload"]] {
        let Some(mut arbiter) = start(&folder, flags) else { return };
        assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(4), "{flags:?}");
        wait_until("both lines", PATIENCE, || {
            arbiter.stdout().lines().eq(["DATABASE is missing", "left"])
        });
    }
}
