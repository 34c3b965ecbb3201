//! An application's own child keeps nothing of its dead parent open.

use forebay_tests::{
    Client, KILL, PATIENCE, Site, TERM, is_alive, send_signal, wait_until, worker_bin,
};
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
    let mut command = std::process::Command::new(worker_bin());
    command.args(["--bind", "127.0.0.1:0", "probe"]);
    let mut process = forebay_tests::Process::start(&mut command);
    let address = process.listening(1, PATIENCE)[0];
    let mut client = Client::connect(address);
    let (child, worker) = (child(&mut client, FORK), worker(&mut client));
    let killed_at = Instant::now();
    send_signal(worker, KILL);
    assert!(client.try_response(false).is_err(), "the connection has ended");
    assert_eq!(Client::connect(address).get("/hello").status, 200);
    assert_in_time(child, killed_at);
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
