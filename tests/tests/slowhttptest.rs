//! slowhttptest(1), which attacks servers slowly in four ways, disconnects nobody but itself.
//!
//! With `FOREBAY_FULL=1` there are more attackers, and the limits have their defaults; else these
//! are so short that it takes a few seconds.

use forebay_tests::{INT, Load, Peak, Process, Site, is_full, tool, wait_until};
use std::time::Duration;

/// Slowloris: heads that never end.
#[test]
fn slow_heads() {
    attack(&["-H", "-i", "5"], "/hello", &["client_header_timeout"]);
}

/// R-U-Dead-Yet: content that comes in drops.
#[test]
fn slow_content() {
    let flags = ["-B", "-s", "100000", "-i", "10"];
    attack(&flags, "/hello", &["client_body_timeout", "rate_min"]);
}

/// Apache Killer: hundreds of overlapping ranges. Nobody is slow, and all are answered.
#[test]
fn many_ranges() {
    attack(&["-R", "-a", "5", "-b", "2000"], "/files/large.bin", &[]);
}

/// Answers that are hardly read, in windows of a few bytes.
#[test]
fn slow_reading() {
    attack(READING, "/files/large.bin", &["send_timeout", "rate_min"]);
}

/// The kernel takes the whole of such an answer, however little of it the client takes. Then the
/// connection is idle, and among the first that end when the answers that the kernel has not taken
/// yet fill the memory.
#[test]
fn slow_reading_of_what_the_kernel_holds() {
    let ends = ["keepalive_timeout", "send_timeout", "rate_min", "memory_parked"];
    attack(READING, "/bytes/500000", &ends);
}

/// All attackers are let go of, each counted by one of `ends`, or answered if there is none; others
/// are answered all the while, and memory is bounded.
fn attack(flags: &[&str], target: &str, ends: &[&str]) {
    let Some(slowhttptest) = tool("slowhttptest") else { return };
    let site = site();
    let (others, peak) = (others(&site), Peak::watch(site.pid()));
    let (count, url) = (attackers().to_string(), site.url(target));
    let common = ["-c", &count, "-r", "100", "-l", "240", "-p", "10", "-v", "1", "-u", &url];
    let mut attack = Process::start(slowhttptest.command().args(flags).args(common));
    if !ends.is_empty() {
        let ended = || ends.iter().map(|name| site.counter(name)).sum::<u64>();
        wait_until("all attackers are let go of", LONG, || ended() >= attackers());
        // Whoever does not read does not notice.
        attack.signal(INT);
    }
    attack.wait_exit(LONG);
    let (peak, said) = (peak.end(), without_colours(&attack.stdout()));
    assert!(said.contains("service available:   YES"), "{said}");
    assert!(!said.contains("service available:   NO"), "{said}");
    assert!(!ends.is_empty() || said.contains("No open connections left"), "{said}");
    for report in others.map(Load::stop) {
        report.assert_all_answered();
        let (count, p99) = (report.latencies.len(), report.percentile(99.0));
        println!("{} beside {count} other requests, p99 {p99:.1?}", flags[0]);
    }
    println!("{} and at most {} kB", flags[0], peak / 1000);
    assert!(peak <= BUDGET, "{peak} bytes are beyond the budget");
}

fn without_colours(text: &str) -> String {
    let parts = text.split("\x1b[").skip(1).filter_map(|part| part.split_once(['m', 'H', 'J']));
    parts.map(|(_, rest)| rest).collect()
}

fn site() -> Site {
    let site = Site::builder().control().limit("memory_budget = \"64MiB\"").app("probe", 2);
    // In a short run they come faster than a worker without optimisation answers.
    let site = site.pool("queue_timeout = \"60s\"").pool("queue_target = \"60s\"");
    let site = site.files("/files/", "files").file("files/large.bin", vec![b'x'; 16_000_000]);
    let limits =
        ["client_header_timeout", "client_body_timeout", "send_timeout", "keepalive_timeout"];
    match is_full() {
        true => site.start(),
        false => {
            limits.iter().fold(site, |site, key| site.limit(&format!("{key} = \"2s\""))).start()
        }
    }
}

/// On a connection that is kept, and on new ones.
fn others(site: &Site) -> [Load; 2] {
    let get = |rest| format!("GET /hello HTTP/1.1\r\nHost: test\r\n{rest}\r\n");
    ["", "Connection: close\r\n"].map(|rest| Load::start(site.address(), get(rest), 1))
}

fn attackers() -> u64 {
    if is_full() { 2_000 } else { 200 }
}

const READING: &[&str] = &["-X", "-w", "16", "-y", "64", "-n", "5", "-z", "8"];
const BUDGET: u64 = 64 << 20;
const LONG: Duration = Duration::from_secs(240);
