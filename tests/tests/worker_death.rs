//! The death of a worker costs at most the request that it was running.

use forebay_tests::{KILL, Load, PATIENCE, Site, send_signal, wait_until};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[test]
fn a_request_whose_worker_dies_is_502() {
    let site = Site::with_app("probe", 2);
    let mut client = site.client();
    for _ in 0..3 {
        assert_eq!(client.exchange(post("/exit")).status, 502);
        assert_eq!(client.get("/hello").status, 200, "another worker, or a new one");
    }
}

#[test]
fn the_only_worker_is_replaced() {
    let site = Site::with_app("probe", 1);
    let mut client = site.client();
    let before = site.worker_pids();
    assert_eq!(client.exchange(post("/exit")).status, 502);
    assert_eq!(client.get("/hello").status, 200, "the request waited for the new worker");
    assert_ne!(site.worker_pids(), before);
}

#[test]
fn the_death_of_idle_workers_is_not_noticed() {
    let site = Site::with_app("probe", 2);
    for round in 0..3 {
        let workers = site.worker_pids();
        send_signal(workers[round % 2], KILL);
        let mut client = site.client();
        for _ in 0..20 {
            assert_eq!(client.get("/hello").status, 200);
        }
        let is_replaced = || site.worker_pids().len() == 2 && site.worker_pids() != workers;
        wait_until("a new worker", PATIENCE, is_replaced);
    }
}

#[test]
fn the_death_of_all_idle_workers_is_survived() {
    let site = Site::with_app("probe", 2);
    site.worker_pids().into_iter().for_each(|pid| send_signal(pid, KILL));
    assert_eq!(site.client().get("/hello").status, 200);
}

#[test]
fn under_load_each_death_costs_at_most_one_request() {
    let site = Site::with_app("probe", 2);
    let load = Load::start(site.address(), "GET /hello HTTP/1.1\r\nHost: test\r\n\r\n", 4);
    let deaths = 3;
    for _ in 0..deaths {
        let (answered, workers) = (load.answered(), site.worker_pids());
        send_signal(workers[0], KILL);
        wait_until("a new worker", PATIENCE, || !site.worker_pids().contains(&workers[0]));
        wait_until("answers", PATIENCE, || load.answered() > answered + 100);
        wait_until("all workers", PATIENCE, || site.worker_pids().len() == 2);
    }
    let report = load.stop();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert!(report.statuses.len() <= deaths, "{:?}", report.statuses);
    assert!(report.statuses.iter().all(|status| *status == 502), "{:?}", report.statuses);
}

#[test]
fn nothing_is_executed_twice() {
    let site = Site::builder().app("probe", 2).path_variable("PROBE_LOG", "log").start();
    let mut client = site.client();
    let mut answered = Vec::new();
    for id in 0..20 {
        if id % 5 == 0 {
            site.worker_pids().into_iter().take(1).for_each(|pid| send_signal(pid, KILL));
        }
        match client.exchange(post(&format!("/once/{id}"))).status {
            200 => answered.push(id.to_string()),
            status => assert_eq!(status, 502),
        }
    }
    let log = std::fs::read_to_string(site.path("log")).unwrap();
    let executed: Vec<&str> = log.lines().collect();
    let distinct: BTreeSet<&str> = executed.iter().copied().collect();
    assert_eq!(distinct.len(), executed.len(), "executed twice: {log}");
    assert!(answered.iter().all(|id| distinct.contains(id.as_str())), "answered, not executed");
}

#[test]
fn without_any_worker_requests_are_refused_in_time() {
    let site = Site::builder()
        .route("path = \"/\"\npool = \"app\"")
        .pool("socket = \"run/app.sock\"")
        .pool("boot_grace = \"300ms\"")
        .start();
    let started = Instant::now();
    assert_eq!(site.client().get("/").status, 503);
    assert!(started.elapsed() < Duration::from_secs(5));
}

fn post(target: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
}
