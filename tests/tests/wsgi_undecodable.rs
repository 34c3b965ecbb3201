//! Names that are no text: they are logged as well as they can be, and nothing fails for them.

use forebay_tests::{Client, PATIENCE, Process, Python, python, wait_until};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// An application in a folder whose name is Latin-1.
struct Cafe {
    _parent: TempDir,
    folder: PathBuf,
}

impl Cafe {
    fn new(source: &str) -> Cafe {
        let parent = tempfile::tempdir().expect("there is room");
        let folder = parent.path().join(OsStr::from_bytes(b"caf\xe9"));
        fs::create_dir(&folder).expect("its own folder is writable");
        fs::write(folder.join("cafe.py"), source).expect("its own folder is writable");
        Cafe { _parent: parent, folder }
    }

    fn start(&self, python: &Python, flags: &[&str]) -> Process {
        let mut command = python.command(&["--bind", "127.0.0.1:0", "cafe"]);
        Process::start(command.args(flags).current_dir(&self.folder))
    }
}

const APPLICATION: &str = "import time\n\
    def application(environ, start_response):\n    \
    time.sleep(600 if environ['PATH_INFO'] == '/late' else 0)\n    \
    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
    return [b'ok']\n";

#[test]
fn an_import_that_fails_says_why() {
    let Some(python) = python() else { return };
    let cafe = Cafe::new("import os\nraise RuntimeError('no ' + os.fsdecode(b'caf\\xe9'))\n");
    for flags in [&[][..], &["--no-preload"]] {
        let mut arbiter = cafe.start(python, flags);
        assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(4), "{}", arbiter.stderr());
        let log = arbiter.stderr();
        assert!(log.contains("RuntimeError: no caf") && log.contains("cafe.py"), "{log}");
        assert!(!log.contains("UnicodeEncodeError") && !log.contains("pip install"), "{log}");
    }
}

#[test]
fn a_request_that_takes_too_long_is_shown_and_interrupted() {
    let Some(python) = python() else { return };
    let cafe = Cafe::new(APPLICATION);
    let mut arbiter = cafe.start(python, &["--timeout", "1"]);
    let address = arbiter.listening(1, PATIENCE)[0];
    assert_eq!(Client::connect(address).get("/late").status, 504, "{}", arbiter.stderr());
    wait_until("the traceback", PATIENCE, || arbiter.stderr().contains("in application"));
    assert!(!arbiter.stderr().contains("UnicodeEncodeError"), "{}", arbiter.stderr());
}

#[test]
fn a_source_that_changes_is_loaded_anew() {
    let Some(python) = python() else { return };
    let cafe = Cafe::new(APPLICATION);
    let mut arbiter = cafe.start(python, &["--reload"]);
    let address = arbiter.listening(1, PATIENCE)[0];
    fs::write(cafe.folder.join("cafe.py"), APPLICATION.replace("b'ok'", "b'new'")).unwrap();
    let _ = fs::remove_dir_all(cafe.folder.join("__pycache__"));
    wait_until("the new one", PATIENCE, || Client::connect(address).get("/").text() == "new");
    assert!(arbiter.stderr().contains("cafe.py has changed"), "{}", arbiter.stderr());
}
