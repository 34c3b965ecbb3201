//! Clients who want more memory than is meant for them.

use super::memory_directed::{HI, Used, edge, post, status};
use super::*;
use crate::access_log::AccessLog;

#[test]
fn answers_that_nobody_takes_hold_few_lines_of_the_log() {
    let mut edge = edge(Limits::default());
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = AccessLog::file(file.path()).unwrap();
    edge.reactors[0].as_mut().unwrap().world.log = Some(log);
    edge.kernel.set_capacity(1_000);
    let client = edge.client(0, get("/files/small.txt"));
    let tiny = "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut taken = 0;
    for _ in 0..500 {
        taken += client.send(&tiny.repeat(16).as_bytes()[taken % tiny.len()..]);
        edge.settle();
    }
    assert!(taken > 16 * tiny.len(), "{taken} bytes");
    let lines = 17 * SMALL as u64;
    let most = lines + (64 << 10) + (40 << 10);
    assert!(edge.bytes_in_use() < most, "{} bytes", edge.bytes_in_use());
    client.reset();
    edge.settle();
    edge.finish();
}

#[test]
fn while_memory_is_scarce_little_is_received_that_has_no_room() {
    let mut edge = edge(Limits::default());
    let mut used = Used(0);
    let worker = edge.dial_in(0);
    let idle: Vec<_> = (0..20).map(|_| edge.client(0, get("/fixed"))).collect();
    used.sixteenths(&mut edge, 10);
    let before = edge.bytes_in_use();
    let client = &idle[19];
    assert!(!client.at_end());
    client.send((get("/app/1") + &get("/app/2").repeat(2_000)).as_bytes());
    edge.settle();
    assert!(text(&worker).starts_with("GET /app/1 "));
    // With room for the answer.
    let more = edge.bytes_in_use() - before;
    assert!(more < (64 << 10) + 5 * SMALL as u64, "{more} bytes");
    idle.iter().for_each(Peer::reset);
    // Nothing is received, so that is noticed when an answer is sent.
    edge.say(&worker, HI);
    edge.say(&worker, HI);
    used.sixteenths(&mut edge, 0);
    edge.finish();
}

#[test]
fn heads_that_have_begun_may_not_grow_when_there_is_nothing_left() {
    let mut edge = edge(Limits::default());
    let mut used = Used(0);
    let half_a_head = edge.client(0, "GET /fixed HTTP/1.1\r\nHost: ");
    used.sixteenths(&mut edge, 15);
    assert_eq!(status(&half_a_head), "");
    edge.say(&half_a_head, "x".repeat(5_000));
    assert_eq!(status(&half_a_head), "503");
    used.sixteenths(&mut edge, 0);
    edge.finish();
}

#[test]
fn a_buffer_counts_until_the_kernel_gives_it_back() {
    let mut edge = edge(Limits::default());
    let upload = edge.client(0, post("/app/1", 9_000) + "begin");
    while status(&upload) != "408" {
        edge.pass(Duration::from_secs(1));
    }
    assert!(edge.bytes_in_use() > 9_000, "{} bytes", edge.bytes_in_use());
    edge.say(&upload, "more");
    assert!(edge.bytes_in_use() < 9_000, "{} bytes", edge.bytes_in_use());
    upload.reset();
    edge.settle();
    assert_eq!(edge.bytes_in_use(), 0);
    edge.finish();
}

#[test]
fn whole_requests_are_kept_when_there_is_nothing_left() {
    let mut edge = edge(Limits::default());
    let mut used = Used(0);
    let worker = edge.dial_in(0);
    let targets = ["/app/1", "/echo"];
    let clients = targets.map(|target| edge.client(0, post(target, 6_000)));
    for client in &clients {
        (0..5).for_each(|_| edge.say(client, "x".repeat(1_199)));
    }
    used.sixteenths(&mut edge, 15);
    clients.iter().for_each(|client| edge.say(client, "x".repeat(5)));
    assert!(text(&worker).starts_with("POST /app/1 "));
    edge.say(&worker, HI);
    assert_eq!(clients.each_ref().map(status), ["200", "200"]);
    used.sixteenths(&mut edge, 0);
    edge.finish();
}

#[test]
fn a_reactor_that_sleeps_hears_that_memory_is_scarce() {
    let limits = Limits { memory_budget: 16 << 20, ..Limits::default() };
    let mut edge = Edge::new(&Settings { limits, reactors: 2, ..Settings::default() });
    let mut used = Used(0);
    let silent = edge.client(1, post("/app/1", 1_000) + "half");
    let idle = edge.client(1, get("/fixed"));
    edge.pass(Duration::from_secs(1));
    used.sixteenths(&mut edge, 8);
    used.sixteenths(&mut edge, 12);
    edge.pass(Duration::from_millis(100));
    assert_eq!((status(&idle).as_str(), idle.at_end()), ("200", true));
    edge.pass(Duration::from_secs(8));
    assert_eq!(status(&silent), "408");
    used.sixteenths(&mut edge, 0);
    edge.finish();
}
