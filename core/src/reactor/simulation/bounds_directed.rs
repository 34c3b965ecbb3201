//! Bounds of routes for one client address.

use super::*;
use crate::per_address::{Concurrency, Rate};
use crate::route::{Bounds, Routed};

const OK: &str = "HTTP/1.1 200 ";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// With `/bound` to a pool and `/bound/files` to files. Clients are in 192.0.2.0/24, which is
/// trusted.
fn edge(bounds: Bounds) -> Edge {
    let mut edge = Edge::new(&Settings { reactors: 2, ..Settings::default() });
    let mut policy = edge.policy(0..POOLS.len());
    let pool = edge.routed[0].clone().unwrap();
    let bounds = Some(Arc::new(bounds));
    for (path, action) in [("/bound", Action::Pool(pool)), ("/bound/files", Action::Files(0))] {
        let routed = Routed { action, bounds: bounds.clone() };
        policy.routes.add(None, path, routed).unwrap();
    }
    policy.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    let policy = Arc::new(policy);
    edge.reactors.iter_mut().flatten().for_each(|r| r.world.policy = Arc::clone(&policy));
    edge
}

fn concurrent(most: usize) -> Edge {
    edge(Bounds { rate: None, concurrent: Some((Concurrency::new(1), most)) })
}

fn of(address: &str) -> String {
    format!("GET /bound HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\n\r\n")
}

fn is_429(client: &Peer, retry_after: u32) {
    let answer = text(client);
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains(&format!("\r\nRetry-After: {retry_after}\r\n")), "{answer}");
    assert!(!answer.contains("Connection: close"), "{answer}");
}

/// RFC 6585 §4.
#[test]
fn more_requests_than_the_rate_are_429_at_whichever_reactor() {
    let rate = Rate::new(1, Duration::from_millis(1_500), 3);
    let mut edge = edge(Bounds { rate: Some(Arc::new(rate)), concurrent: None });
    let worker = edge.dial_in(0);
    let clients = [0, 1].map(|reactor| edge.client(reactor, ""));
    let ask = |edge: &mut Edge, n: usize, address: &str| {
        edge.say(&clients[n], of(address));
        let passes = text(&worker).contains("GET /bound ");
        if passes {
            edge.say(&worker, ANSWER);
            assert!(text(&clients[n]).starts_with(OK));
        }
        passes
    };
    for n in [0, 1, 1] {
        assert!(ask(&mut edge, n, "2001:db8::1"));
    }
    for n in [0, 1] {
        assert!(!ask(&mut edge, n, "2001:db8::2"), "the same /64");
        is_429(&clients[n], 2);
    }
    assert!(ask(&mut edge, 0, "198.51.100.7"), "somebody else behind the same proxy");
    edge.pass(Duration::from_millis(1_400));
    assert!(!ask(&mut edge, 0, "2001:db8::1"));
    is_429(&clients[0], 1);
    edge.pass(Duration::from_millis(100));
    assert!(ask(&mut edge, 1, "2001:db8::1"));
    assert_eq!((edge.stats().rate, edge.stats().concurrent), (3, 0));
    edge.finish();
}

#[test]
fn more_requests_at_the_same_time_are_429() {
    let mut edge = concurrent(2);
    let waiting = [0, 1].map(|reactor| edge.client(reactor, of("198.51.100.7")));
    let third = edge.client(0, of("198.51.100.7"));
    is_429(&third, 1);
    let other = edge.client(0, of("198.51.100.8"));
    let worker = edge.dial_in(0);
    assert!(text(&worker).starts_with("GET /bound "));
    edge.say(&worker, ANSWER);
    assert!(waiting.iter().any(|client| text(client).starts_with(OK)));
    // An answer makes room, also for the one who was refused.
    edge.say(&third, of("198.51.100.7"));
    assert!(text(&third).is_empty());
    for _ in 0..3 {
        assert!(text(&worker).starts_with("GET /bound "));
        edge.say(&worker, ANSWER);
    }
    assert!(text(&third).starts_with(OK) && text(&other).starts_with(OK));
    assert_eq!((edge.stats().rate, edge.stats().concurrent), (0, 1));
    edge.finish();
}

#[test]
fn what_is_refused_otherwise_does_not_count_for_the_rate() {
    let rate = Rate::new(1, Duration::from_secs(100), 2);
    let concurrent = Some((Concurrency::new(1), 1));
    let mut edge = edge(Bounds { rate: Some(Arc::new(rate)), concurrent });
    let first = edge.client(0, of("198.51.100.7"));
    let second = edge.client(1, of("198.51.100.7"));
    for _ in 0..5 {
        is_429(&second, 1);
        edge.say(&second, of("198.51.100.7"));
    }
    is_429(&second, 1);
    let worker = edge.dial_in(0);
    assert!(text(&worker).starts_with("GET /bound "));
    edge.say(&worker, ANSWER);
    assert!(text(&first).starts_with(OK));
    edge.say(&second, of("198.51.100.7"));
    assert!(text(&worker).starts_with("GET /bound "));
    edge.say(&worker, ANSWER);
    assert!(text(&second).starts_with(OK));
    assert_eq!((edge.stats().rate, edge.stats().concurrent), (0, 6));
    edge.finish();
}

#[test]
fn what_a_worker_does_for_somebody_who_has_gone_counts() {
    let mut edge = concurrent(1);
    let gone = edge.client(0, of("198.51.100.7"));
    let worker = edge.dial_in(0);
    assert!(text(&worker).starts_with("GET /bound "));
    gone.reset();
    edge.settle();
    assert_eq!(edge.stats().closed, 1);
    let next = edge.client(1, of("198.51.100.7"));
    is_429(&next, 1);
    edge.say(&worker, ANSWER);
    edge.say(&next, of("198.51.100.7"));
    assert!(text(&worker).starts_with("GET /bound "));
    edge.say(&worker, ANSWER);
    assert!(text(&next).starts_with(OK));
    edge.finish();
}

#[test]
fn a_download_counts_until_it_has_been_sent() {
    let mut edge = concurrent(1);
    edge.kernel.set_capacity(1_000);
    let large = "GET /bound/files/large.bin HTTP/1.1\r\nHost: x\r\n\r\n";
    let slow = edge.client(0, large);
    let next = edge.client(1, large);
    is_429(&next, 1);
    let mut received = 0;
    while received <= LARGE_FILE.1 {
        received += text(&slow).len();
        edge.settle();
    }
    while !text(&slow).is_empty() {
        edge.settle();
    }
    edge.say(&next, large);
    assert!(text(&next).starts_with(OK));
    edge.finish();
}

#[test]
fn a_download_counts_until_it_has_been_sent_whatever_comes_behind_it() {
    let large = "GET /bound/files/large.bin HTTP/1.1\r\nHost: x\r\n\r\n";
    for behind in [get("/fixed"), large.into(), of("198.51.100.7"), get("/app/1")] {
        for pipelined in [true, false] {
            let mut edge = concurrent(1);
            edge.kernel.set_capacity(1_000);
            let slow = edge.client(0, large.to_owned() + if pipelined { &behind } else { "" });
            if !pipelined {
                edge.say(&slow, behind.clone());
            }
            for _ in 0..2 {
                is_429(&edge.client(1, large), 1);
            }
            edge.kernel.set_capacity(1 << 20);
            let worker = edge.dial_in(0);
            let (mut answers, mut received) = (0, Vec::new());
            while answers < 2 {
                edge.settle();
                if !text(&worker).is_empty() {
                    edge.say(&worker, ANSWER);
                }
                slow.receive_into(usize::MAX, &mut received);
                answers = received.windows(OK.len()).filter(|seen| *seen == OK.as_bytes()).count();
            }
            edge.settle();
            while slow.receive_into(usize::MAX, &mut received) > 0 {
                edge.settle();
            }
            assert!(received.len() > LARGE_FILE.1);
            let next = edge.client(1, large);
            assert!(text(&next).starts_with(OK), "{behind}, pipelined: {pipelined}");
            edge.finish();
        }
    }
}

#[test]
fn requests_of_one_connection_count_as_one() {
    let mut edge = concurrent(1);
    let client =
        edge.client(0, "GET /bound/files/small.txt HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50));
    let mut answers = 0;
    while !client.peek().is_empty() {
        answers += text(&client).matches(OK).count();
        edge.settle();
    }
    assert_eq!(answers, 50);
    edge.finish();
}

#[test]
fn a_refused_request_with_content_ends_its_connection() {
    let mut edge = concurrent(0);
    let post = "POST /bound HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let client = edge.client(0, post);
    let answer = text(&client);
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("Connection: close"));
    assert!(client.at_end() && !client.was_reset());
    edge.finish();
}
