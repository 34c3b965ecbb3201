//! Requests that take too long: the log says where they are, they are interrupted, and who does
//! not heed that is killed.

use forebay_tests::{Client, PATIENCE, Process, Python, python, wait_until};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn start(python: &Python, flags: &[&str]) -> (Process, SocketAddr) {
    start_application(python, "late", flags)
}

fn start_application(python: &Python, name: &str, flags: &[&str]) -> (Process, SocketAddr) {
    let own = ["--bind", "127.0.0.1:0", "--timeout", "1", name];
    let mut worker = python.worker(&[flags, &own].concat());
    let address = worker.listening(1, PATIENCE)[0];
    (worker, address)
}

fn wait_for_log(worker: &Process, text: &str) {
    wait_until(text, PATIENCE, || worker.stderr().contains(text));
}

#[test]
fn a_request_is_interrupted_where_it_is_and_answered() {
    let Some(python) = python() else { return };
    for (path, place) in [
        ("/loop", "in loop"),
        ("/sleep", "in sleep"),
        ("/backtracks", "in backtracks"),
        ("/catches-exceptions", "in catches_exceptions"),
    ] {
        let (worker, address) = start(python, &[]);
        let response = Client::connect(address).get(path);
        assert_eq!((response.status, response.text()), (504, "Gateway Timeout\n"), "{path}");
        // What a process has written is read a moment later.
        wait_for_log(&worker, "is interrupted with forebay.RequestTimeout, here:");
        wait_for_log(&worker, place);
        let log = worker.stderr();
        assert!(log.contains("late.py"), "{path}: {log}");
        assert!(!log.contains("forebay/mold.py"), "our own frames help nobody: {log}");
        let again = Client::connect(address).get("/at-once");
        assert_eq!(again.text(), "at once", "another process");
        assert!(!worker.stderr().contains("killed by us"), "{}", worker.stderr());
    }
}

#[test]
fn among_greenlets_a_request_is_interrupted() {
    let Some(python) = python() else { return };
    for flags in [&[][..], &["--no-preload"]] {
        let (worker, address) = start_application(python, "green", flags);
        assert_eq!(Client::connect(address).get("/sleep").status, 504, "{flags:?}");
        wait_for_log(&worker, "in sleep");
        assert_eq!(Client::connect(address).get("/at-once").text(), "at once");
    }
    let (worker, address) = start_application(python, "green", &["--threads", "2"]);
    assert_eq!(Client::connect(address).get("/loop").status, 504);
    wait_for_log(&worker, "in loop");
}

#[test]
fn a_request_that_is_interrupted_cleans_up() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut command = python.command(&["--bind", "127.0.0.1:0", "--timeout", "1", "late"]);
    let mut worker = Process::start(command.env("LATE_LOG", &log));
    let address = worker.listening(1, PATIENCE)[0];
    assert_eq!(Client::connect(address).get("/cleans-up").status, 504);
    assert_eq!(std::fs::read_to_string(log).unwrap(), "cleaned up\n");
}

#[test]
fn who_does_not_let_go_is_shown_and_killed() {
    let Some(python) = python() else { return };
    for (path, place) in [
        ("/holds-the-interpreter", "in holds_the_interpreter"),
        ("/catches-everything", "in catches_everything"),
    ] {
        let (worker, address) = start(python, &[]);
        let mut client = Client::connect(address);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert!(client.try_response(false).is_err(), "{path}");
        wait_for_log(&worker, "was killed by us: a request took too long");
        let log = worker.stderr();
        let (_, dump) = log.split_once("goes on in spite of the interruption").expect(&log);
        assert!(dump.contains("late.py") && dump.contains(place), "{path}: {log}");
        assert_eq!(Client::connect(address).get("/at-once").text(), "at once");
    }
}

/// The thread that answers cannot even look at the request.
#[test]
fn a_worker_whose_interpreter_is_held_by_another_thread_is_killed() {
    let Some(python) = python() else { return };
    for flags in [&[][..], &["--threads", "2"]] {
        let (worker, address) = start(python, flags);
        let ask = |path: &str| {
            let mut client = Client::connect(address);
            client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
            client.try_response(false).ok().map(|response| response.text().to_owned())
        };
        let stuck = ask("/holds-the-interpreter-later");
        wait_until("the request that waits in vain", PATIENCE, || ask("/pid").is_none());
        wait_for_log(&worker, "was killed by us: a request took too long");
        assert!(worker.stderr().contains("in holds_the_interpreter"), "{}", worker.stderr());
        assert_ne!(ask("/pid"), stuck);
    }
}

#[test]
fn a_thread_among_others_is_interrupted() {
    let Some(python) = python() else { return };
    let (worker, address) = start(python, &["--threads", "3"]);
    let mut late = Client::connect(address);
    late.send("GET /loop HTTP/1.1\r\nHost: test\r\n\r\n");
    for _ in 0..5 {
        assert_eq!(Client::connect(address).get("/at-once").text(), "at once");
    }
    assert_eq!(late.read_response().status, 504);
    wait_for_log(&worker, "is interrupted with");
    wait_for_log(&worker, "in loop");
    let mut asleep = Client::connect(address);
    asleep.send("GET /sleep HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(asleep.try_response(false).is_err(), "what sleeps in C is killed");
    wait_for_log(&worker, "in sleep");
}

#[test]
fn an_application_that_handles_abrt_gets_it_and_nothing_new() {
    let Some(python) = python() else { return };
    let site = python.site_builder("late", &["--timeout", "1"]);
    let site = site.path_variable("LATE_ABORTS", "aborts").start();
    let mut client = site.client();
    let mut post = |path: &str| {
        // Not idempotent: another worker would not run it again.
        let request = format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        let response = client.exchange(request);
        assert_eq!(response.status, 200, "{path}");
        response.text().to_owned()
    };
    let late = post("/until-abort");
    assert_ne!(post("/pid"), late, "it was about to end");
    assert!(!site.stderr().contains("killed by us"), "{}", site.stderr());
}

#[test]
fn a_stream_that_stops_is_cut() {
    let Some(python) = python() else { return };
    let (worker, address) = start(python, &[]);
    let mut client = Client::connect(address);
    client.send("GET /stream HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(client.try_response(false).is_err());
    wait_for_log(&worker, "in stream");
}

#[test]
fn behind_the_edge_the_request_is_named() {
    let Some(python) = python() else { return };
    let site = python.site("late", &["--timeout", "1"]);
    assert_eq!(site.client().get("/sleep").status, 504);
    wait_until("the traceback", PATIENCE, || site.stderr().contains("in sleep"));
    let log = site.stderr();
    assert!(log.contains("is interrupted with") && !log.contains("without id"), "{log}");
    assert_eq!(site.client().get("/holds-the-interpreter").status, 502);
    assert_eq!(site.client().get("/at-once").text(), "at once");
}

/// How long a client takes to receive what is written is not the application's time.
#[test]
fn a_slow_client_makes_nobody_late() {
    let Some(python) = python() else { return };
    let (worker, address) = start(python, &[]);
    let mut slow = Client::connect_narrow(address);
    slow.send("GET /writes HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(slow.read_head().unwrap().status, 200);
    // More than the timeout, and what is added to it until something happens.
    std::thread::sleep(Duration::from_secs(3));
    assert!(!worker.stderr().contains("past its deadline"), "{}", worker.stderr());
    assert_eq!(slow.read_chunk().unwrap().len(), 32 << 20);
    assert_eq!(slow.read_chunk().unwrap(), b"end");
}

/// Nor is it when nothing but the end is left to be sent.
#[test]
fn a_slow_client_makes_nobody_late_at_the_end() {
    let Some(python) = python() else { return };
    for (path, end) in [("/fills-and-ends", "0\r\n\r\n"), ("/fills-and-fails", "Server Error\n")] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let bind = format!("unix:{}", socket.display());
        let mut command = python.command(&["--bind", &bind, "--timeout", "1", "late"]);
        let worker = Process::start(command.env("LATE_SOCKET", &socket));
        wait_until("the socket", PATIENCE, || UnixStream::connect(&socket).is_ok());
        let mut slow = UnixStream::connect(&socket).unwrap();
        slow.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(slow, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        // More than the timeout, and what is added to it until something happens.
        std::thread::sleep(Duration::from_secs(3));
        assert!(!worker.stderr().contains("past its deadline"), "{path}: {}", worker.stderr());
        let mut all = String::new();
        slow.read_to_string(&mut all).unwrap();
        assert!(all.ends_with(end), "{path}: {:?}", &all[all.len().saturating_sub(100)..]);
    }
}
