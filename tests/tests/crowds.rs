//! Crowds of slow clients are served whole, within the memory budget, and occupy no worker.
//!
//! With `FOREBAY_FULL=1` they are as many and as slow as the edge is made for, and figures are
//! asserted, too; in a short run on a shared machine they are chance.

use forebay_tests::{
    Crowd, Load, PATIENCE, Pace, Peak, Pieces, Report, Site, SiteBuilder, is_full, own_bytes,
    pattern, python, raise_descriptor_limit, wait_until,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// 2,000 clients send a megabyte each at 20 kB/s: that is 2 GB, and there is memory for 64 MiB.
#[test]
fn slow_uploads_arrive_whole_within_the_memory_budget() {
    let (count, sends) = if is_full() { (2_000, 20_000) } else { (100, 400_000) };
    let site = site().limit("memory_budget = \"64MiB\"");
    // In a short run they end within a second, faster than they are answered.
    let site = site.pool("queue_timeout = \"60s\"").pool("queue_target = \"60s\"").start();
    let quiet = Others::start(&site).run(if is_full() { 5 } else { 1 });
    let (before, peak) = (own_bytes(site.pid()), Peak::watch(site.pid()));
    let (uploads, sums) = uploads(count);
    let (began, crowd) = (Instant::now(), Pace { sends, ..PACE }.start(site.address(), uploads));
    let busy = Others::start(&site).run_beside(&crowd);
    let (spent, peak) = (began.elapsed(), peak.end());
    for (number, (response, sum)) in crowd.join().into_iter().zip(sums).enumerate() {
        let response = response.unwrap_or_else(|failure| panic!("upload {number}: {failure}"));
        assert_eq!(response.status, 200, "upload {number}: {}", response.text());
        assert_eq!(response.json()["content_sha256"], sum, "upload {number}");
    }
    println!(
        "{count} uploads in {spent:.1?}; the edge had {} kB, and at most {} kB",
        before / 1000,
        peak / 1000
    );
    assert!(peak <= BUDGET, "{peak} bytes are beyond the budget");
    assert_eq!((site.counter("memory_budget"), site.counter("spool_refused")), (0, 0));
    assert!(site.counter("requests_spooled") >= count as u64, "no upload was in memory whole");
    compare(&quiet, &busy);
}

/// 200 clients read a megabyte of an application each at 20 kB/s: the two workers have written it
/// long before.
#[test]
fn slow_readers_leave_the_workers_idle() {
    let (count, reads) = if is_full() { (200, 20_000) } else { (200, 200_000) };
    let site = site().start();
    let download = format!("GET /bytes/{MB} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let downloads = vec![vec![download.into_bytes().into()]; count];
    let (began, crowd) = (Instant::now(), Pace { reads, ..PACE }.start(site.address(), downloads));
    wait_until("the workers have written all", PATIENCE, || written(&site) == count as u64);
    let busy = began.elapsed();
    assert!(!crowd.is_over(), "the clients still read");
    let busy_each = busy * WORKERS as u32 / count as u32;
    println!("{count} responses written in {busy:.1?}, {busy_each:.1?} of a worker each at most");
    for (number, response) in crowd.join().into_iter().enumerate() {
        let response = response.unwrap_or_else(|failure| panic!("download {number}: {failure}"));
        assert_eq!((response.status, response.content.len()), (200, MB), "download {number}");
        let (first, rest) = response.content.split_at(64);
        assert!(rest.chunks(64).all(|piece| first.starts_with(piece)), "download {number}");
    }
    println!("{count} responses read in {:.1?}", began.elapsed());
    if is_full() {
        assert!(busy < Duration::from_secs(5) && busy_each < Duration::from_millis(30));
    }
}

/// Hundreds of clients send a megabyte each, and as many read one, all of them slowly: together
/// that would be many times the budget.
#[test]
fn crowds_in_both_directions_stay_within_the_memory_budget() {
    let (count, speed) = if is_full() { (150, 20_000) } else { (150, 300_000) };
    let site = site().limit("memory_budget = \"16MiB\"");
    let site = site.pool("queue_timeout = \"60s\"").pool("queue_target = \"60s\"").start();
    let (before, peak) = (own_bytes(site.pid()), Peak::watch(site.pid()));
    let (uploads, sums) = uploads(count);
    let download = format!("GET /bytes/{MB} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let download: Arc<[u8]> = download.into_bytes().into();
    let both = uploads.into_iter().flat_map(|upload| [upload, vec![Arc::clone(&download)]]);
    let pace = Pace { sends: speed, reads: speed, ..PACE };
    let responses = pace.start(site.address(), both.collect()).join();
    let peak = peak.end();
    for (number, pair) in responses.chunks(2).enumerate() {
        let [sent, read] = [&pair[0], &pair[1]].map(|response| {
            response.as_ref().unwrap_or_else(|failure| panic!("clients {number}: {failure}"))
        });
        assert_eq!((sent.status, read.status), (200, 200), "clients {number}");
        assert_eq!(sent.json()["content_sha256"], sums[number], "upload {number}");
        assert_eq!(read.content.len(), MB, "download {number}");
    }
    println!("the edge had {} kB, and at most {} kB", before / 1000, peak / 1000);
    let most = before + (16 << 20) + UNCOUNTED;
    assert!(peak <= most, "{peak} bytes, {before} of them before, are beyond {most}");
    assert_eq!((site.counter("memory_budget"), site.counter("spool_refused")), (0, 0));
    assert!(site.counter("requests_spooled") >= count as u64, "no upload was in memory whole");
}

/// 2,000 clients take seconds for a head each; two workers run Flask for everybody else meanwhile.
#[test]
fn slow_heads_leave_flask_to_others() {
    let Some(python) = python() else { return };
    raise_descriptor_limit();
    let (count, sends) = if is_full() { (2_000, 30) } else { (300, 60) };
    let site = python.site("flask_site:app", &["-w", &WORKERS.to_string()]);
    let others = || [Load::start(site.address(), "GET / HTTP/1.1\r\nHost: test\r\n\r\n", 2)];
    let quiet = Others(others()).run(if is_full() { 5 } else { 1 });
    // Of different lengths, so that they do not all end at once.
    let name = |number: usize| "n".repeat(1 + number % 100);
    let request = |number| {
        let name = name(number);
        format!("GET /?name={name} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    };
    let requests = (0..count).map(|number| vec![request(number).into_bytes().into()]).collect();
    let (began, crowd) = (Instant::now(), Pace { sends, ..PACE }.start(site.address(), requests));
    let busy = Others(others()).run_beside(&crowd);
    println!("{count} heads in {:.1?}", began.elapsed());
    for (number, response) in crowd.join().into_iter().enumerate() {
        let response = response.unwrap_or_else(|failure| panic!("client {number}: {failure}"));
        let text = format!("Hello, {}", name(number));
        assert_eq!((response.status, response.text()), (200, &*text), "client {number}");
    }
    compare(&quiet, &busy);
}

/// Requests that the workers have answered, if both are idle now; else 0.
fn written(site: &Site) -> u64 {
    let status = site.worker_status();
    let workers = status["workers"].as_array().expect("a list");
    assert_eq!(workers.len(), WORKERS);
    match workers.iter().all(|worker| worker["state"] == "idle") {
        true => workers.iter().filter_map(|worker| worker["requests"].as_u64()).sum(),
        false => 0,
    }
}

fn site() -> SiteBuilder {
    raise_descriptor_limit();
    let flags = ["-w", &WORKERS.to_string(), "--control", "unix:run/workers.sock"];
    Site::builder().control().app_with("probe", &flags)
}

/// Requests, and the checksums of their contents, which differ only at the end.
fn uploads(count: usize) -> (Vec<Pieces>, Vec<Value>) {
    let same: Arc<[u8]> = pattern(MB + 50_000).into();
    let hash = Sha256::new_with_prefix(&same);
    let upload = |number| {
        let end = format!("the end of number {number:4}").into_bytes();
        let length = same.len() + end.len();
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
            Content-Length: {length}\r\n\r\n"
        );
        let sum = hash.clone().chain_update(&end).finalize();
        let sum = sum.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
            text
        });
        (vec![head.into_bytes().into(), Arc::clone(&same), end.into()], sum.into())
    };
    (0..count).map(upload).unzip()
}

/// Clients that are not slow, with and without content.
struct Others<const COUNT: usize>([Load; COUNT]);

impl Others<2> {
    fn start(site: &Site) -> Others<2> {
        let content = "x".repeat(1_000);
        let get = "GET /hello HTTP/1.1\r\nHost: test\r\n\r\n".to_owned();
        let post = "POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n";
        Others([get, format!("{post}{content}")].map(|one| Load::start(site.address(), one, 1)))
    }
}

impl<const COUNT: usize> Others<COUNT> {
    fn run(self, seconds: u64) -> [Report; COUNT] {
        let began = Instant::now();
        let is_over = || began.elapsed() > Duration::from_secs(seconds);
        wait_until("time has passed", PATIENCE * 10, is_over);
        self.stop()
    }

    fn run_beside(self, crowd: &Crowd) -> [Report; COUNT] {
        wait_until("the crowd is served", PATIENCE * 10, || crowd.is_over());
        self.stop()
    }

    fn stop(self) -> [Report; COUNT] {
        self.0.map(|load| {
            let report = load.stop();
            report.assert_all_answered();
            report
        })
    }
}

fn compare<const COUNT: usize>(quiet: &[Report; COUNT], busy: &[Report; COUNT]) {
    for (what, (quiet, busy)) in ["GET", "POST"].into_iter().zip(quiet.iter().zip(busy)) {
        let [quiet, busy] = [quiet, busy].map(|report| report.percentile(99.0));
        println!("p99 of {what}: {quiet:.1?} alone, {busy:.1?} beside the crowd");
        if is_full() {
            let bound = quiet * 2 + Duration::from_millis(10);
            assert!(busy <= bound, "{what}: beyond {bound:?}");
        }
    }
}

const MB: usize = 1_000_000;
const BUDGET: u64 = 64 << 20;
/// What `memory_budget` does not count: tables, transit buffers, and what the allocator loses.
const UNCOUNTED: u64 = 8 << 20;
const WORKERS: usize = 2;
const PACE: Pace = Pace { sends: MB, reads: MB, turn: Duration::from_millis(200) };
