//! Messages that nobody can read are lost, and nothing else is.

use forebay_tests::{
    Client, HUP, PATIENCE, Process, Site, TERM, USR1, USR2, proxy_bin, python, wait_until,
    worker_bin, workers_of,
};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn where_they_cannot_be_written_the_edge_goes_on() {
    goes_on(Site::builder().stderr("/dev/full").control().app("probe", 1).start());
}

#[test]
fn workers_may_write_what_is_lost() {
    // More than a pipe takes: it is read though it has no place.
    let program = format!("seq 50000 >&2 || exit 1\nexec '{}' probe\n", worker_bin().display());
    let site = Site::builder().stderr("/dev/full").control().raw_app().file("noisy.sh", program);
    goes_on(site.pool("workers = [\"sh\", \"noisy.sh\"]").start());
}

#[test]
fn who_does_not_read_them_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let (fifo, mut pipe) = full_pipe(dir.path());
    goes_on(Site::builder().stderr(&fifo).control().app("probe", 1).start());
    pipe.read_exact(&mut [0; 4096]).expect("it is full still");
}

#[test]
fn a_standard_output_that_nobody_reads_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let (fifo, _pipe) = full_pipe(dir.path());
    let told = UnixDatagram::bind(dir.path().join("told")).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let config = "[server]\nlisten = [\"127.0.0.1:0\"]\n[[route]]\npath = \"/\"\n\
        respond = { status = 404 }\n";
    fs::write(dir.path().join("forebay.toml"), config).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" run --config forebay.toml >\"$1\""]);
    command.env("NOTIFY_SOCKET", dir.path().join("told")).current_dir(dir.path());
    let mut edge = Process::start(command.arg(proxy_bin()).arg(&fifo));
    let mut said = [0; 64];
    let count = told.recv(&mut said).expect("it is ready, whoever has read that it listens");
    assert_eq!(&said[..count], b"READY=1");
    edge.signal(TERM);
    assert_eq!(edge.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn an_arbiter_goes_on_where_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let (fifo, mut pipe) = full_pipe(dir.path());
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" --bind 127.0.0.1:0 probe 2>\"$1\""]);
    let mut arbiter = Process::start(command.arg(worker_bin()).arg(&fifo));
    let address = arbiter.listening(1, PATIENCE)[0];
    for _ in 0..2 {
        let before = workers_of(arbiter.pid());
        let mut client = Client::connect(address);
        client.send("GET /exit HTTP/1.1\r\nHost: test\r\n\r\n");
        assert!(client.try_response(false).is_err(), "which is logged");
        wait_until("another worker", PATIENCE, || {
            let workers = workers_of(arbiter.pid());
            workers.len() == 1 && workers != before
        });
    }
    let mut filled = vec![0; 64 << 10];
    pipe.read_exact(&mut filled).expect("it is full still");
    assert!(filled.iter().all(|byte| *byte == b'x'));
    arbiter.signal(USR1);
    let mut said = String::new();
    wait_until("how much is lost", PATIENCE, || {
        let mut more = [0; 4096];
        let count = pipe.read(&mut more).expect("it has both ends");
        said.push_str(&String::from_utf8_lossy(&more[..count]));
        said.contains("messages before this one found no room\n")
    });
    arbiter.signal(TERM);
    assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn an_access_log_that_nobody_reads_holds_no_request_up() {
    let dir = tempfile::tempdir().unwrap();
    let (fifo, pipe) = make_pipe(&dir.path().join("stdout"));
    let mut pipe = BufReader::new(pipe);
    let mut command = Command::new("sh");
    let flags = "--bind 127.0.0.1:0 -w 1 --access-logfile -";
    command.args(["-c", &format!("exec \"$0\" {flags} hello >\"$1\"")]);
    let mut arbiter = Process::start(command.arg(worker_bin()).arg(&fifo));
    let mut line = String::new();
    pipe.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").expect("the first line");
    let mut client = Client::connect(address.parse().unwrap());
    let before = workers_of(arbiter.pid());
    let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    for _ in 0..2000 {
        assert_eq!(client.exchange(request).status, 200);
    }
    let mut lines = 0;
    wait_until("how many lines are lost", PATIENCE, || {
        assert_eq!(client.exchange(request).status, 200);
        line.clear();
        pipe.read_line(&mut line).unwrap();
        assert!(line.starts_with("127.0.0.1 - - [") && line.ends_with("\n"), "{line}");
        lines += 1;
        arbiter.stderr().contains("lines of the access log found no room\n")
    });
    assert!(lines < 2000);
    assert_eq!(workers_of(arbiter.pid()), before);
    arbiter.signal(TERM);
    assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn tracebacks_that_nobody_reads_hold_no_request_up() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = "def application(environ, start_response):\n    raise ValueError('x' * 20000)\n";
    std::fs::write(dir.path().join("failing.py"), source).unwrap();
    let (fifo, mut pipe) = make_pipe(&dir.path().join("pipe"));
    let mut command =
        python.command(&["--bind", "127.0.0.1:0", "-w", "1", "failing", "--log-file"]);
    let mut arbiter = Process::start(command.arg(&fifo).current_dir(dir.path()));
    let address = arbiter.listening(1, PATIENCE)[0];
    for _ in 0..10 {
        assert_eq!(Client::connect(address).get("/").status, 500);
    }
    let mut read = vec![0; 1 << 20];
    let count = pipe.read(&mut read).unwrap();
    assert!(String::from_utf8_lossy(&read[..count]).contains("Traceback"));
    arbiter.signal(TERM);
    assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn a_named_pipe_needs_a_reader_only_at_the_start() {
    for flag in ["--log-file", "--access-logfile"] {
        let dir = tempfile::tempdir().unwrap();
        let (fifo, pipe) = make_pipe(&dir.path().join("pipe"));
        drop(pipe);
        let start = || {
            let mut command = Command::new(worker_bin());
            command.args(["--bind", "127.0.0.1:0", "-w", "1", flag]);
            Process::start(command.arg(&fifo).arg("probe"))
        };
        let mut refused = start();
        assert_eq!(refused.wait_exit(PATIENCE).code(), Some(3), "{flag}");
        let said = refused.whole_stderr();
        assert!(said.contains("nobody reads this pipe: start its reader first\n"), "{said}");

        let mut nonblocking = OpenOptions::new();
        nonblocking.read(true).custom_flags(libc::O_NONBLOCK);
        let reader = nonblocking.open(&fifo).unwrap();
        let mut arbiter = start();
        let address = arbiter.listening(1, PATIENCE)[0];
        let before = workers_of(arbiter.pid());
        drop(reader);
        arbiter.signal(USR1);
        Client::connect(address).send("GET /exit HTTP/1.1\r\nHost: test\r\n\r\n");
        wait_until("another worker", PATIENCE, || {
            let workers = workers_of(arbiter.pid());
            workers.len() == 1 && workers != before
        });
        assert_eq!(Client::connect(address).get("/hello").status, 200);
        let reason = "cannot open the access log anew, it goes on as before: nobody reads";
        if flag == "--access-logfile" {
            wait_until("that it is said", PATIENCE, || arbiter.stderr().contains(reason));
        }

        let mut reader = nonblocking.open(&fifo).unwrap();
        let mut read = String::new();
        wait_until("lines for another reader", PATIENCE, || {
            arbiter.signal(USR2);
            Client::connect(address).get("/hello");
            let mut more = [0; 4096];
            let count = reader.read(&mut more).unwrap_or(0);
            read.push_str(&String::from_utf8_lossy(&more[..count]));
            read.contains("GET /hello HTTP/1.1") || read.contains("USR2 has no meaning")
        });
        arbiter.signal(TERM);
        assert_eq!(arbiter.wait_exit(PATIENCE).code(), Some(0), "{flag}");
    }
}

/// A pipe without room, and its end to read from.
fn full_pipe(folder: &Path) -> (PathBuf, File) {
    let (fifo, pipe) = make_pipe(&folder.join("stderr"));
    let mut filling = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&fifo)
        .expect("it was made");
    while filling.write(&[b'x'; 4096]).is_ok() {}
    (fifo, pipe)
}

fn make_pipe(fifo: &Path) -> (PathBuf, File) {
    let made = Command::new("mkfifo").arg(fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo(1) is part of every system");
    // Readable and writable, so it has both ends.
    let pipe = OpenOptions::new().read(true).write(true).open(fifo).expect("it was made");
    (fifo.to_owned(), pipe)
}

fn goes_on(site: Site) {
    assert_eq!(site.client().get("/exit").status, 502, "which is logged");
    wait_until("another worker", PATIENCE, || site.client().get("/hello").status == 200);
    site.signal(HUP);
    wait_until("the reload", PATIENCE, || site.status()["generation"] == 2);
    assert_eq!(site.client().get("/hello").status, 200);
    assert_eq!(site.stop().code(), Some(0));
}
