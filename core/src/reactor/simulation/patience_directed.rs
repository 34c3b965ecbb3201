//! How long requests wait for a worker, and whose.

use super::*;

const OK: &str = "HTTP/1.1 200 ";
const UNAVAILABLE: &str = "HTTP/1.1 503 ";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// With a queue that never stands.
fn edge(queue_timeout: u64, boot_grace: u64) -> Edge {
    let pool = PoolLimits {
        queue_timeout: ms(queue_timeout),
        boot_grace: ms(boot_grace),
        queue_target: Duration::MAX,
        ..PoolLimits::default()
    };
    Edge::new(&Settings { reactors: 2, pool, ..Settings::default() })
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn counts(edge: &Edge) -> (usize, usize, usize) {
    let PoolCounts { slots, idle, queued, .. } = edge.pools[0].core().counts();
    (slots, idle, queued)
}

#[test]
fn a_request_waits_so_long_and_no_longer() {
    let mut edge = edge(7_000, 3_000);
    let without = edge.client(0, get("/app/1"));
    edge.pass(ms(2900));
    assert!(text(&without).is_empty());
    edge.pass(ms(200));
    assert!(text(&without).starts_with(UNAVAILABLE));
    let worker = edge.dial_in(0);
    let running = edge.client(0, get("/app/2"));
    let waiting = edge.client(1, get("/app/3"));
    edge.pass(ms(6900));
    assert!(text(&waiting).is_empty());
    edge.pass(ms(200));
    assert!(text(&waiting).contains("Retry-After: 1\r\n"));
    assert!(text(&worker).starts_with("GET /app/2 "));
    edge.say(&worker, ANSWER);
    assert!(text(&running).starts_with(OK));
    assert!(text(&worker).is_empty(), "who has waited too long is not served");
    assert_eq!((edge.stats().queue_timeout, counts(&edge)), (2, (1, 1, 0)));
    edge.finish();
}

#[test]
fn who_has_come_before_the_first_worker_waits_for_it_to_be_free() {
    let mut edge = edge(10_000, 1_000);
    let clients = [0, 1, 0, 1, 0].map(|reactor| edge.client(reactor, get("/app/1")));
    edge.pass(ms(500));
    let worker = edge.dial_in(0);
    for client in &clients {
        edge.pass(ms(400));
        assert!(!text(&worker).is_empty());
        edge.say(&worker, ANSWER);
        assert!(text(client).starts_with(OK));
    }
    edge.finish();
}

#[test]
fn when_the_last_worker_leaves_who_waits_does_so_for_the_boot_grace() {
    let mut edge = edge(10_000, 1_000);
    let worker = edge.dial_in(0);
    let clients = [0, 1, 1].map(|reactor| edge.client(reactor, get("/app/1")));
    edge.pass(ms(1_700));
    drop(worker);
    edge.settle();
    assert_eq!(counts(&edge), (0, 0, 3), "the first one was not started");
    edge.pass(ms(900));
    assert!(clients.iter().all(|client| text(client).is_empty()));
    edge.pass(ms(200));
    assert!(clients.iter().all(|client| text(client).starts_with(UNAVAILABLE)));
    assert_eq!((edge.stats().queue_timeout, counts(&edge)), (3, (0, 0, 0)));
    edge.finish();
}

#[test]
fn time_with_a_worker_that_did_not_start_it_is_no_waiting() {
    let mut edge = edge(1_000, 1_000);
    let busy = edge.dial_in(0);
    let first = edge.client(0, get("/app/1"));
    let second = edge.client(1, get("/app/2"));
    edge.pass(ms(600));
    let leaving = edge.dial_in(0);
    edge.pass(ms(1_500));
    drop(leaving);
    edge.settle();
    edge.pass(ms(300));
    assert!(text(&second).is_empty(), "of its second it has waited nine tenths");
    edge.pass(ms(200));
    assert!(text(&second).starts_with(UNAVAILABLE));
    text(&busy);
    edge.say(&busy, ANSWER);
    assert!(text(&first).starts_with(OK));
    edge.finish();
}

#[test]
fn who_sends_no_more_leaves_the_queue_and_who_has_a_worker_is_served() {
    for earlier in [0, 1] {
        let mut edge = edge(10_000, 10_000);
        let worker = edge.dial_in(0);
        let clients: Vec<_> =
            (0..4).map(|_| edge.client(0, get("/fixed").repeat(earlier))).collect();
        for (n, client) in clients.iter().enumerate() {
            edge.say(client, get(&format!("/app/{n}")));
        }
        assert_eq!(counts(&edge), (1, 0, 3));
        clients[0].finish();
        clients[1].reset();
        clients[2].finish();
        edge.settle();
        assert_eq!(counts(&edge), (1, 0, 1), "after {earlier} requests");
        assert_eq!(text(&clients[2]).matches(OK).count(), earlier);
        assert!(clients[2].at_end() && !clients[0].at_end());
        for n in [0, 3] {
            assert!(text(&worker).starts_with(&format!("GET /app/{n} ")));
            clients[n].finish();
            edge.settle();
            edge.say(&worker, ANSWER);
            assert_eq!(text(&clients[n]).matches(OK).count(), 1 + earlier);
        }
        edge.finish();
    }
}

#[test]
fn of_a_client_that_sends_no_more_nothing_waits_for_a_worker() {
    for is_busy in [false, true] {
        let mut edge = edge(10_000, 10_000);
        let worker = edge.dial_in(0);
        let other = edge.client(0, if is_busy { get("/app/0") } else { String::new() });
        let client = edge.connect(0);
        client.send(["/fixed", "/app/1", "/app/2"].map(get).concat().as_bytes());
        client.finish();
        edge.settle();
        if is_busy {
            assert!(text(&worker).starts_with("GET /app/0 "));
            edge.say(&worker, ANSWER);
            assert!(text(&other).starts_with(OK));
        }
        for n in if is_busy { 1..1 } else { 1..3 } {
            assert!(text(&worker).starts_with(&format!("GET /app/{n} ")));
            edge.say(&worker, ANSWER);
        }
        assert_eq!(text(&client).matches(OK).count(), if is_busy { 1 } else { 3 });
        assert!(client.at_end() && text(&worker).is_empty());
        assert_eq!(counts(&edge), (1, 1, 0));
        edge.finish();
    }
}

#[test]
fn who_sends_no_more_waits_again_if_its_worker_leaves() {
    let mut edge = edge(10_000, 10_000);
    let worker = edge.dial_in(0);
    let client = edge.client(0, get("/app/1"));
    assert!(text(&worker).starts_with("GET /app/1 "));
    client.finish();
    edge.settle();
    edge.say(&worker, crate::http::slot::GOODBYE);
    drop(worker);
    edge.settle();
    assert_eq!(counts(&edge), (0, 0, 1));
    let worker = edge.dial_in(0);
    assert!(text(&worker).starts_with("GET /app/1 "));
    edge.say(&worker, ANSWER);
    assert!(text(&client).starts_with(OK) && client.at_end());
    edge.finish();
}
