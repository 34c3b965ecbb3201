//! What flags of gunicorn do for an application of Python.

use forebay_tests::{Client, PATIENCE, Process, python, wait_until};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

const APPLICATION: &str = "import os, part
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    words = [part.word, os.environ.get('GREETING', '-'), environ['wsgi.url_scheme']]
    return [' '.join(words).encode()]
";

fn start(folder: &Path, arguments: &[&str]) -> Option<(Process, SocketAddr)> {
    let folder = folder.to_str().expect("temporary paths are UTF-8");
    let own = ["--bind", "127.0.0.1:0", "--chdir", folder];
    let mut worker = python()?.worker(&[&own, arguments, &["site_app"]].concat());
    let address = worker.listening(1, PATIENCE)[0];
    Some((worker, address))
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("its own folder is writable");
    let _ = fs::remove_dir_all(folder.join("__pycache__"));
}

fn ask(address: SocketAddr, fields: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    Client::connect(address).exchange(request).text().to_owned()
}

#[test]
fn a_changed_source_file_is_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "site_app.py", APPLICATION);
    for flags in [&["--reload"][..], &["--reload", "--no-preload"]] {
        write(folder.path(), "part.py", "word = 'one'\n");
        let Some((worker, address)) = start(folder.path(), flags) else { return };
        assert_eq!(ask(address, ""), "one - http");
        // Neither a loaded module nor the right one.
        write(folder.path(), "part.py", "word = 'oops\n");
        let refused = || worker.stderr().contains("the reload has failed, the old workers stay");
        wait_until("the refusal", PATIENCE, refused);
        assert!(worker.stderr().contains("part.py has changed"), "{}", worker.stderr());
        assert_eq!(ask(address, ""), "one - http");
        write(folder.path(), "part.py", "word = 'two'\n");
        wait_until("the new one", PATIENCE, || ask(address, "") == "two - http");
    }
}

#[test]
fn settings_in_python_are_not_read_and_that_is_said() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "site_app.py", APPLICATION);
    write(folder.path(), "part.py", "word = 'one'\n");
    write(folder.path(), "gunicorn.conf.py", "workers = 3\n");
    write(folder.path(), "settings.toml", "workers = 2\n");
    for (flags, count) in [(&[][..], 1), (&["-c", "settings.toml"], 0)] {
        let mut command = python.command(&["--bind", "127.0.0.1:0"]);
        let mut worker = Process::start(command.args(flags).arg("site_app").current_dir(&folder));
        worker.listening(1, PATIENCE);
        let log = worker.stderr();
        assert_eq!(log.matches("gunicorn.conf.py is not read").count(), count, "{log}");
    }
}

#[test]
fn the_environment_and_the_scheme_are_as_said() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "site_app.py", APPLICATION);
    write(folder.path(), "part.py", "word = 'one'\n");
    let Some((_worker, address)) = start(folder.path(), &["-e", "GREETING=good day"]) else {
        return;
    };
    let https = "X-Forwarded-Proto: https\r\n";
    assert_eq!(ask(address, ""), "one good day http");
    assert_eq!(ask(address, https), "one good day https", "127.0.0.1 is believed");
    let others = ["--forwarded-allow-ips", "192.0.2.0/24"];
    let Some((_worker, address)) = start(folder.path(), &others) else { return };
    assert_eq!(ask(address, https), "one - http");
}
