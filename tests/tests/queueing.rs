//! A request waits only when all workers are busy; then in order, and within bounds.

use forebay_tests::{Client, PATIENCE, RawWorker, Response, Site, SiteBuilder, wait_until};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn no_request_waits_while_a_worker_is_idle() {
    let site = site(2).start();
    let mut busy = site.begin("/sleep/5000");
    let occupied_at = Instant::now();
    let mut client = site.client();
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        let started = Instant::now();
        assert_eq!(client.get("/hello").status, 200);
        longest = longest.max(started.elapsed());
    }
    for _ in 0..20 {
        assert_eq!(site.client().get("/hello").status, 200);
    }
    println!("longest answer beside a busy worker: {longest:?}");
    assert!(occupied_at.elapsed() < Duration::from_secs(4), "220 requests beside a busy worker");
    assert_eq!(busy.read_response().status, 200);
}

#[test]
fn waiting_requests_are_served_in_order() {
    let site = site(1).path_variable("PROBE_LOG", "log").start();
    let mut busy = site.begin("/sleep/1000");
    let mut waiting: Vec<Client> = (0..10).map(|i| site.begin(&format!("/once/{i}"))).collect();
    assert_eq!(busy.read_response().status, 200);
    waiting.iter_mut().for_each(|client| assert_eq!(client.read_response().status, 200));
    let log = fs::read_to_string(site.path("log")).unwrap();
    let order: Vec<_> = log.lines().map(str::trim).collect();
    assert_eq!(order, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn beyond_the_length_of_the_queue_requests_are_refused_at_once() {
    let site = site(1).pool("queue = 2").start();
    let mut busy = site.begin("/sleep/4000");
    let occupied_at = Instant::now();
    let mut waiting = [site.begin("/hello"), site.begin("/hello")];
    for _ in 0..5 {
        assert_unavailable(&site.client().get("/hello"));
    }
    assert!(occupied_at.elapsed() < Duration::from_secs(3), "refused before a worker was free");
    assert_eq!(busy.read_response().status, 200);
    waiting.iter_mut().for_each(|client| assert_eq!(client.read_response().status, 200));
    assert_eq!(site.client().get("/hello").status, 200, "the queue has room again");
}

#[test]
fn waiting_is_bounded_in_time() {
    let site = site(1).pool("queue_timeout = \"300ms\"").start();
    let mut busy = site.begin("/sleep/4000");
    let occupied_at = Instant::now();
    let mut client = site.client();
    assert_unavailable(&client.get("/hello"));
    assert!(occupied_at.elapsed() < Duration::from_secs(3), "refused before a worker was free");
    assert_eq!(busy.read_response().status, 200);
    assert_eq!(client.get("/hello").status, 200, "the connection is still good");
}

#[test]
fn a_client_that_resets_its_connection_costs_no_execution() {
    let site = site(1).path_variable("PROBE_LOG", "log").start();
    let mut busy = site.begin("/sleep/1000");
    site.begin("/once/gone").reset();
    let mut waits = site.begin("/once/waits");
    assert_eq!(busy.read_response().status, 200);
    assert_eq!(waits.read_response().status, 200);
    assert_eq!(fs::read_to_string(site.path("log")).unwrap().trim(), "waits");
}

#[test]
fn a_client_that_closes_its_connection_costs_no_execution_either() {
    let site = Site::builder().server("access_log = \"-\"").control().raw_app().start();
    let wait_for = |queued: u64| {
        wait_until("the queue", PATIENCE, || site.status()["pools"][0]["queued"] == queued);
    };
    let mut worker = RawWorker::dial(&site);
    let begin = |targets: &[&str]| {
        let mut client = site.client();
        let request = |target| format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
        client.send(targets.iter().map(request).collect::<String>());
        client
    };
    let mut busy = begin(&["/busy"]);
    worker.read_head();
    for targets in [&["/closes"][..], &["/closes", "/behind"]] {
        let closes = begin(targets);
        wait_for(1);
        drop(closes);
        wait_for(0);
    }
    let mut waits = begin(&["/waits"]);
    wait_for(1);
    // Once a worker has it, who sends no more is served.
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    busy.half_close();
    worker.send(answer);
    assert_eq!(busy.read_response().status, 200);
    assert!(worker.read_head().starts_with("GET /waits "));
    waits.half_close();
    worker.send(answer);
    assert_eq!(waits.read_response().status, 200);
    let left = "\"GET /closes HTTP/1.1\" 499 0 ";
    wait_until("their lines", PATIENCE, || site.stdout().matches(left).count() == 2);
    assert!(!site.stdout().contains("/behind"));
}

fn site(workers: usize) -> SiteBuilder {
    Site::builder().in_order().app("probe", workers)
}

fn assert_unavailable(response: &Response) {
    assert_eq!(response.status, 503);
    let seconds = response.field("Retry-After").map(str::parse::<u64>);
    assert!(matches!(seconds, Some(Ok(1..))), "{:?}", response.fields);
}
