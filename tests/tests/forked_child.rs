//! An application's own child keeps nothing of its dead parent open, and never becomes a worker.

use forebay_tests::{
    Client, INT, KILL, PATIENCE, Process, Site, TERM, USR1, is_alive, python, send_signal,
    wait_until, worker_bin,
};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long the child sleeps; far longer than anything may take here.
const FORK: &str = "/fork/60000";

#[test]
fn a_worker_that_is_killed_is_missed_at_once() {
    is_missed_beside_a_child(FORK);
}

#[test]
fn an_idle_worker_that_is_killed_is_replaced() {
    let site = Site::with_app("probe", 1);
    let mut client = site.client();
    for _ in 0..3 {
        let (child, worker) = (child(&mut client, FORK), worker(&mut client));
        let killed_at = Instant::now();
        send_signal(worker, KILL);
        assert_replaced(&site, worker, child, killed_at);
        send_signal(child, KILL);
    }
}

#[test]
fn a_worker_that_is_retired_goes_like_any_other() {
    let site = Site::with_app("probe", 1);
    let mut client = site.client();
    let (child, worker) = (child(&mut client, FORK), worker(&mut client));
    let asked_at = Instant::now();
    send_signal(worker, TERM);
    assert_replaced(&site, worker, child, asked_at);
}

/// A child that was not made by fork(3) has the slots open, and nothing else says that they have
/// ended: the edge watches the process.
#[test]
fn a_child_that_keeps_the_slots_hides_no_death() {
    is_missed_beside_a_child("/keep/60000");
}

/// Nothing has run in this child that would have freed it of its parent's signal handlers, as when
/// a signal is faster than that.
#[test]
fn a_signal_to_a_child_does_not_reach_its_worker() {
    let site = Site::with_app("probe", 1);
    let mut client = site.client();
    let worker = worker(&mut client);
    for signal in [TERM, INT, USR1] {
        let child = child(&mut client, "/keep/60000");
        send_signal(child, signal);
        wait_until("the child's end", PATIENCE, || !is_alive(child));
        for _ in 0..50 {
            assert_eq!(self::worker(&mut client), worker, "signal {signal}");
        }
    }
}

fn is_missed_beside_a_child(made_by: &str) {
    for flags in [&["-w", "1"][..], &["-w", "1", "--threads", "4"]] {
        let site = Site::builder().app_with("probe", flags).path_variable("PROBE_LOG", "log");
        let site = site.start();
        let mut client = site.client();
        let (child, worker) = (child(&mut client, made_by), worker(&mut client));
        let mut running = site.client();
        // Not idempotent: another worker would run it again.
        running.send("POST /once/1/50000 HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        wait_until("it runs", PATIENCE, || site.path("log").exists());
        let killed_at = Instant::now();
        send_signal(worker, KILL);
        assert_eq!(running.read_response().status, 502, "its end was seen");
        assert_replaced(&site, worker, child, killed_at);
    }
}

/// Nobody watches slots here: the kernel closes the connection, or the child keeps it open.
#[test]
fn a_plain_connection_ends_with_its_worker() {
    let (_process, address) = bound(&[]);
    let mut client = Client::connect(address);
    let (child, worker) = (child(&mut client, FORK), worker(&mut client));
    let killed_at = Instant::now();
    send_signal(worker, KILL);
    assert!(client.try_response(false).is_err(), "the connection has ended");
    assert_eq!(Client::connect(address).get("/hello").status, 200);
    assert_in_time(child, killed_at);
}

#[test]
fn a_child_that_comes_back_ends() {
    for flags in [&["-w", "1"][..], &["-w", "1", "--threads", "4"]] {
        let site = Site::builder().app_with("probe", flags).control().start();
        assert_strays_end(&mut site.client());
        assert_eq!(site.worker_pids().len(), 1);
        let (process, address) = bound(flags);
        assert_strays_end(&mut Client::connect(address));
        assert!(process.stderr().contains("panic at"), "{}", process.stderr());
    }
}

/// Without an end of the child the worker would wait for it until its own.
fn assert_strays_end(client: &mut Client) {
    let worker = worker(client);
    for (how, end) in [("return", "Code(0)"), ("stream", "Code(0)"), ("panic", "Code(1)")] {
        for _ in 0..3 {
            let response = client.get(&format!("/stray/{how}"));
            let expected = format!("Some({end})");
            assert_eq!((response.status, response.text()), (200, &*expected), "{how}");
        }
    }
    assert_eq!(self::worker(client), worker, "and nobody else has answered");
}

#[test]
fn a_child_in_python_that_comes_back_ends() {
    let Some(python) = python() else { return };
    for flags in [&["-w", "1"][..], &["-w", "1", "--threads", "4"]] {
        let site = python.site("children", flags);
        assert_children_end(|| site.client());
        wait_until("what they have said", PATIENCE, || has_said_all(&site.stderr()));
        assert_eq!(site.worker_pids().len(), 1);
        let own = ["--bind", "127.0.0.1:0", "children"];
        let mut process = python.worker(&[flags, &own].concat());
        let address = process.listening(1, PATIENCE)[0];
        assert_children_end(|| Client::connect(address));
        wait_until("what they have said", PATIENCE, || has_said_all(&process.stderr()));
        assert!(process.stdout().contains("kept back until the end"));
        process.signal(TERM);
        process.wait_exit(PATIENCE);
        let ends = process.stdout().matches("at exit").count();
        assert_eq!(ends, 1, "that is the worker's\n{}", process.stdout());
    }
}

/// A connection ends early when the worker has been in `close()` for long.
fn assert_children_end(connect: impl Fn() -> Client) {
    let worker = worker(&mut connect());
    for (path, code) in [
        ("/returns", 0),
        ("/exits", 0),
        ("/exits/3", 3),
        ("/exits/text", 1),
        ("/raises", 1),
        ("/stream-exits", 5),
        ("/stream-goes-on", 0),
        ("/close-exits", 0),
    ] {
        let response = connect().get(path);
        assert_eq!((response.status, response.text()), (200, &*code.to_string()), "{path}");
    }
    wait_until("the last child's end", PATIENCE, || connect().get("/last").text() == "6");
    assert_eq!(self::worker(&mut connect()), worker, "and nobody else has answered");
}

fn has_said_all(log: &str) -> bool {
    let failed = "a child of the application has failed";
    assert!(!log.contains(": the application has failed"), "{log}");
    log.contains(failed)
        && log.contains("RuntimeError: in the child")
        && log.lines().any(|line| line.ends_with("text"))
}

/// A worker of `probe` without an edge.
fn bound(flags: &[&str]) -> (Process, SocketAddr) {
    let mut command = std::process::Command::new(worker_bin());
    command.args(["--bind", "127.0.0.1:0"]).args(flags).arg("probe");
    let mut process = Process::start(&mut command);
    let address = process.listening(1, PATIENCE)[0];
    (process, address)
}

/// Has the only worker make a child.
fn child(client: &mut Client, made_by: &str) -> u32 {
    client.get(made_by).text().parse().expect("the number of the child")
}

/// The only worker.
fn worker(client: &mut Client) -> u32 {
    client.get("/pid").text().parse().expect("the number of the worker")
}

fn assert_replaced(site: &Site, worker: u32, child: u32, since: Instant) {
    let mut client = site.client();
    assert_eq!(client.get("/hello").status, 200, "by another worker");
    wait_until("the old worker's end", PATIENCE, || !is_alive(worker));
    assert_ne!(client.get("/pid").text(), worker.to_string());
    assert_eq!(site.worker_pids().len(), 1);
    assert_in_time(child, since);
}

/// The child is there still, so that nothing has waited for its end.
fn assert_in_time(child: u32, since: Instant) {
    println!("served again after {:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(20));
    assert!(is_alive(child), "the child sleeps");
    send_signal(child, KILL);
}
