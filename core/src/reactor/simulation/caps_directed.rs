//! As many connections as may be: who has to leave, and who is not let in.

use super::*;

const OK: &str = "HTTP/1.1 200 ";

fn edge(limits: Limits) -> Edge {
    Edge::new(&Settings { limits, ..Settings::default() })
}

fn trusting(limits: Limits) -> Edge {
    let mut edge = edge(limits);
    let mut policy = edge.policy(0..POOLS.len());
    policy.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    let policy = Arc::new(policy);
    edge.reactors.iter_mut().flatten().for_each(|r| r.world.policy = Arc::clone(&policy));
    edge
}

/// Closed without a word; with a reset, if it had said something.
fn is_refused(client: &Peer) -> bool {
    text(client).is_empty() && (client.at_end() || client.was_reset())
}

#[test]
fn who_has_idled_longest_makes_room() {
    let mut edge = edge(Limits { connections: 4, ..Limits::default() });
    let busy = edge.client(0, get("/app/1"));
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(edge.client(0, get("/fixed")));
        edge.pass(Duration::from_secs(1));
    }
    // The second has idled longest now.
    edge.say(&idle[0], get("/fixed"));
    edge.pass(Duration::from_secs(1));
    let new = [(); 2].map(|()| edge.client(0, get("/app/2")));
    for (client, stays) in idle.iter().zip([true, false, false]) {
        assert!(text(client).starts_with(OK));
        assert_eq!(client.at_end(), !stays);
    }
    assert_eq!(edge.shared.connections.load(super::super::Ordering::SeqCst), 4);
    // Nobody idles who could make room for two more.
    let more = [(); 2].map(|()| edge.client(0, get("/fixed")));
    assert!(idle[0].at_end() && text(&more[0]).starts_with(OK));
    assert!(is_refused(&more[1]));
    let worker = edge.dial_in(0);
    for _ in 0..3 {
        assert!(text(&worker).starts_with("GET /app/"));
        edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
    assert!(new.iter().chain([&busy]).all(|client| text(client).ends_with("ok")));
    let stats = edge.stats();
    assert_eq!((stats.connections_evicted, stats.connections), (3, 1));
    edge.finish();
}

#[test]
fn who_has_sent_an_empty_line_behind_a_request_idles_rfc_9112_2_2() {
    for line in ["\r", "\r\n"] {
        let mut edge = edge(Limits { connections: 2, ..Limits::default() });
        let idle = [(); 2].map(|()| edge.client(0, get("/fixed") + line));
        assert!(idle.iter().all(|client| text(client).starts_with(OK)));
        assert_eq!((edge.stats().parked, edge.bytes_in_use()), (2, 0), "{line:?}");
        let new = edge.client(0, get("/fixed"));
        assert!(text(&new).starts_with(OK), "{line:?}");
        assert!(idle[0].at_end() && !idle[1].at_end());
        edge.say(&idle[1], "\r\n".strip_prefix(line).unwrap().to_owned() + &get("/fixed"));
        assert!(text(&idle[1]).starts_with(OK), "the line goes on where it was: {line:?}");
        edge.say(&idle[1], "\r\n\r\n");
        assert!(text(&idle[1]).starts_with("HTTP/1.1 400 "), "only one is ignored");
        edge.finish();
    }
}

#[test]
fn half_a_head_and_a_half_taken_answer_are_not_idle() {
    let mut edge = edge(Limits { connections: 3, ..Limits::default() });
    let silent = edge.client(0, "");
    let half = edge.client(0, get("/fixed") + "GET / HT");
    edge.kernel.set_capacity(1_000);
    let slow = edge.client(0, get("/files/large.bin"));
    let new = edge.client(0, get("/fixed"));
    assert!(is_refused(&new));
    assert!(!silent.at_end() && !half.at_end() && !slow.at_end());
    assert_eq!((edge.stats().connections_evicted, edge.stats().connections), (0, 1));
    edge.finish();
}

#[test]
fn one_address_has_so_many_connections_without_a_head() {
    let mut edge = edge(Limits { connections_per_address: 3, ..Limits::default() });
    let silent = edge.client(0, "");
    let half = edge.client(0, "GET /fixed HT");
    let third = edge.client(0, "");
    let refused = edge.client(0, get("/fixed"));
    assert!(is_refused(&refused));
    edge.say(&half, "TP/1.1\r\nHost: x\r\n\r\n");
    assert!(text(&half).starts_with(OK));
    let new = edge.client(0, "");
    assert!(!new.at_end(), "a complete head makes room");
    assert!(is_refused(&edge.client(0, get("/fixed"))));
    drop(silent);
    edge.settle();
    for _ in 0..10 {
        let client = edge.client(0, get("/fixed"));
        assert!(text(&client).starts_with(OK), "an end makes room, and heads take none for long");
        edge.say(&client, get("/fixed"));
    }
    assert!(!third.at_end());
    assert_eq!(edge.stats().connections_per_address, 2);
    edge.finish();
}

#[test]
fn trusted_proxies_may_have_as_many_as_there_are() {
    let mut edge = trusting(Limits { connections_per_address: 1, ..Limits::default() });
    let clients: Vec<_> = (0..20).map(|_| edge.client(0, "")).collect();
    assert!(clients.iter().all(|client| !client.at_end()));
    assert_eq!(edge.stats().connections_per_address, 0);
    edge.finish();
}

#[test]
fn workers_dial_in_as_often_as_slots_says() {
    let mut edge = Edge::new(&Settings {
        reactors: 2,
        limits: Limits { slots: 3, ..Limits::default() },
        ..Settings::default()
    });
    let slots = [0, 0, 1].map(|pool| edge.dial_in(pool));
    let refused = edge.kernel.connect(edge.sockets[0]);
    edge.settle();
    assert!(refused.at_end() || refused.was_reset());
    assert_eq!(edge.stats().slots, 1);
    drop(slots);
    edge.settle();
    edge.dial_in(0);
    assert_eq!(edge.stats().slots, 1);
    edge.finish();
}
