//! What a reload makes of settings that have changed, for applications of Python.

use forebay_tests::{Client, HUP, PATIENCE, Process, python, wait_until};
use std::fs;

#[test]
fn a_log_stays_where_it_was_named() {
    let Some(python) = python() else { return };
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = format!(
        "import os\nos.chdir('{}')\n\
         def application(environ, start_response):\n    \
         start_response('200 OK', [])\n    \
         return [b'ok']\n",
        other.path().display()
    );
    fs::write(folder.path().join("moving.py"), source).unwrap();
    let logs = ["--log-file", "log", "--access-logfile", "access"];
    let mut command = python.command(&["--bind", "127.0.0.1:0", "moving"]);
    let mut arbiter = Process::start(command.args(logs).current_dir(folder.path()));
    let address = arbiter.listening(1, PATIENCE)[0];
    assert_eq!(Client::connect(address).get("/").text(), "ok");
    let is_logged = || {
        let log = fs::read_to_string(folder.path().join("access")).unwrap_or_default();
        log.contains("GET /")
    };
    wait_until("the line", PATIENCE, is_logged);
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
}

#[test]
fn folders_of_modules_stay_where_they_were_named() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("there is room");
    let source = "import importlib, os\nos.chdir('/')\nimportlib.invalidate_caches()\n\
                  def application(environ, start_response):\n    \
                  import late\n    \
                  start_response('200 OK', [])\n    \
                  return [late.TEXT]\n";
    fs::write(folder.path().join("moving.py"), source).unwrap();
    fs::create_dir(folder.path().join("lib")).unwrap();
    fs::write(folder.path().join("lib/late.py"), "TEXT = b'found'\n").unwrap();
    let mut command = python.command(&["--bind", "127.0.0.1:0", "--pythonpath", "lib", "moving"]);
    let mut arbiter = Process::start(command.current_dir(folder.path()));
    let address = arbiter.listening(1, PATIENCE)[0];
    assert_eq!(Client::connect(address).get("/").text(), "found");
}

#[test]
fn a_reload_starts_from_the_environment_of_the_start() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("there is room");
    let source = "import os\n\
                  def application(environ, start_response):\n    \
                  start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
                  names = ('KEPT', 'SET', 'WEB_CONCURRENCY')\n    \
                  return [' '.join(str(os.environ.get(name)) for name in names).encode()]\n";
    fs::write(folder.path().join("variables.py"), source).unwrap();
    let config = folder.path().join("worker.toml");
    let set = |text: &str| fs::write(&config, text).unwrap();
    set("env = [\"KEPT=new\", \"SET=1\", \"WEB_CONCURRENCY=3\"]\n");
    let mut command = python.command(&["--bind", "127.0.0.1:0", "-c", "worker.toml", "variables"]);
    command.env("KEPT", "old").env_remove("WEB_CONCURRENCY").current_dir(folder.path());
    let mut arbiter = Process::start(&mut command);
    let address = arbiter.listening(1, PATIENCE)[0];
    let ask = || Client::connect(address).get("/").text().to_owned();
    assert_eq!(ask(), "new 1 3");
    set("");
    arbiter.signal(HUP);
    wait_until("the new generation", PATIENCE, || ask() == "old None None");
    assert!(!arbiter.stderr().contains("cannot change"), "{}", arbiter.stderr());
}
