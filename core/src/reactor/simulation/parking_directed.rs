//! Connections that wait for their next request: how little they have.

use super::*;
use crate::reactor::PARKED_OPERATION;

/// Answered by each kind of route that needs no content, and kept alive.
fn idle_clients(edge: &mut Edge, worker: &Peer, count: usize) -> Vec<Peer> {
    let client = |n: usize| {
        let client = edge.client(0, get(["/fixed", "/files/small.txt", "/app/x"][n % 3]));
        if n % 3 == 2 {
            assert!(text(worker).starts_with("GET /app/x"));
            edge.say(worker, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        assert!(text(&client).starts_with("HTTP/1.1 200 OK"));
        client
    };
    (0..count).map(client).collect()
}

fn limits() -> Limits {
    Limits { connections_per_address: 10_000, ..Limits::default() }
}

#[test]
fn an_idle_connection_holds_no_buffer_and_few_bytes() {
    const COUNT: usize = 2_000;
    let mut edge = Edge::new(&Settings { limits: limits(), ..Settings::default() });
    let worker = edge.dial_in(0);
    let clients = idle_clients(&mut edge, &worker, COUNT);
    edge.pass(Duration::from_secs(20));
    assert_eq!(edge.stats().parked, COUNT as u64);
    assert_eq!(edge.bytes_in_use(), 0);
    let reactor = edge.reactors[0].as_ref().unwrap();
    assert!(reactor.clients.iter().all(|client| matches!(client, Connection::Parked(_))));
    let bytes = reactor.clients.bytes() + reactor.timers.bytes();
    let operations = PARKED_OPERATION + PARKED_OPERATION / 8;
    let each = bytes / COUNT + operations;
    assert!(each as u64 <= Connection::PARKED_BYTES, "{each} bytes");
    drop(clients);
    edge.finish();
}

/// Afterwards nothing wakes the reactor before somebody's patience ends.
#[test]
fn what_a_crowd_needed_goes_when_it_is_quiet() {
    let mut edge = Edge::new(&Settings { limits: limits(), ..Settings::default() });
    let worker = edge.dial_in(0);
    let clients = idle_clients(&mut edge, &worker, 300);
    let trim_at = |edge: &Edge| edge.reactors[0].as_ref().unwrap().trim_at;
    assert!(trim_at(&edge).is_some(), "there are buffers that nobody uses");
    edge.pass(Duration::from_secs(20));
    let world = &edge.reactors[0].as_ref().unwrap().world;
    assert_eq!(world.buffers.free_bytes(), 0);
    assert!(!world.has_spare() && trim_at(&edge).is_none());
    let before = edge.kernel.now();
    assert!(edge.next_deadline().is_some_and(|at| at > before.after(Duration::from_secs(30))));
    drop(clients);
    edge.settle();
    edge.pass(Duration::from_secs(1));
    let clients = &edge.reactors[0].as_ref().unwrap().clients;
    assert!(clients.bytes() < 100 * size_of::<Connection>(), "{} bytes", clients.bytes());
    edge.finish();
}

#[test]
fn whoever_was_parked_goes_on_as_if_it_had_not_been() {
    let most = Limits { keepalive_requests: 3, ..limits() };
    let mut edge = Edge::new(&Settings { limits: most, ..Settings::default() });
    let worker = edge.dial_in(0);
    for client in idle_clients(&mut edge, &worker, 30) {
        edge.say(&client, get("/fixed"));
        assert!(!text(&client).contains("Connection: close"));
        edge.say(&client, get("/app/y"));
        assert!(text(&worker).contains("192.0.2."), "its address is still known");
        edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let last = text(&client);
        assert!(last.contains("Connection: close") && last.ends_with("ok"), "its third: {last}");
        assert!(client.at_end());
    }
    edge.finish();
}

#[test]
fn whoever_is_silent_for_too_long_is_woken_for_its_end() {
    let mut edge = Edge::new(&Settings::default());
    let worker = edge.dial_in(0);
    let clients = idle_clients(&mut edge, &worker, 3);
    edge.pass(Duration::from_secs(74));
    assert!(clients.iter().all(|client| !client.at_end()));
    edge.pass(Duration::from_secs(2));
    assert!(clients.iter().all(Peer::at_end));
    assert_eq!(edge.stats().keepalive_timeout, 3);
    edge.finish();
}
