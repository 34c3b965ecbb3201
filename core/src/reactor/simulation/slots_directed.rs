//! What slots are told and how long they stay.

use super::*;

const OK: &str = "HTTP/1.1 200 ";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// RFC 9112 §9.6.
#[test]
fn a_worker_that_has_said_close_gets_no_other_request() {
    let mut edge = Edge::new(&Settings::default());
    let worker = edge.dial_in(0);
    let first = edge.client(0, get("/app/1"));
    assert!(text(&worker).starts_with("GET /app/1 "));
    edge.say(&worker, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    assert!(text(&first).starts_with(OK));
    let second = edge.client(0, get("/app/2"));
    assert_eq!(text(&worker), "", "though it leaves its connection open");
    let other = edge.dial_in(0);
    assert!(text(&other).starts_with("GET /app/2 "));
    edge.say(&other, ANSWER);
    assert!(text(&second).starts_with(OK));
    edge.finish();
}

#[test]
fn who_dials_in_and_does_not_greet_is_let_go() {
    let mut edge = Edge::new(&Settings::default());
    let workers = [&b""[..], &worker::GREETING[..20]].map(|greeting| {
        let worker = edge.kernel.connect(edge.sockets[0]);
        worker.send(greeting);
        worker
    });
    edge.settle();
    edge.pass(seconds(9));
    assert!(workers.iter().all(|worker| !worker.at_end() && !worker.was_reset()));
    edge.pass(seconds(2));
    assert!(workers.iter().all(|worker| worker.at_end() || worker.was_reset()));
    edge.finish();
}

#[test]
fn a_worker_is_told_the_time_that_it_has() {
    let pool = PoolLimits { deadline: seconds(40), ..PoolLimits::default() };
    let mut edge = Edge::new(&Settings { pool, ..Settings::default() });
    let client = edge.client(0, get("/app/1"));
    edge.pass(seconds(1));
    let worker = edge.dial_in(0);
    let head = text(&worker);
    let field = head.lines().find_map(|line| line.strip_prefix("Forebay-Deadline-Ms: "));
    let milliseconds: u64 = field.expect(&head).parse().unwrap();
    assert!((20_001..=40_000).contains(&milliseconds), "{milliseconds}");
    edge.say(&worker, ANSWER);
    assert!(text(&client).starts_with(OK));
    edge.finish();
}
