//! Clients that are too slow, and those that are only slow.

use super::*;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn edge(limits: Limits) -> Edge {
    Edge::new(&Settings { limits, ..Settings::default() })
}

const POST: &str = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n";

/// RFC 9110 §15.5.9.
#[test]
fn content_that_drips_is_408_once_the_average_counts() {
    let mut edge = edge(Limits::default());
    let (dripping, slow) = (edge.client(0, POST), edge.client(0, POST));
    for second in 0..60 {
        edge.say(&slow, [b'x'; 510]);
        if second < 10 {
            assert!(text(&dripping).is_empty(), "{second}");
            edge.say(&dripping, [b'x'; 400]);
        }
        edge.pass(seconds(1));
    }
    let answer = text(&dripping);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("Connection: close"));
    assert!(dripping.at_end() && !dripping.was_reset());
    assert!(text(&slow).is_empty() && !slow.at_end());
    let stats = edge.stats();
    assert_eq!((stats.rate_min, stats.client_body_timeout), (1, 0));
    edge.finish();
}

#[test]
fn content_is_not_too_slow_while_it_waits_for_our_disk() {
    let limits = Limits { content_memory: 1_000, ..Limits::default() };
    let mut edge = edge(limits);
    let large = "POST /app/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n";
    let client = edge.client(0, large);
    let worker = edge.dial_in(0);
    for _ in 0..90 {
        edge.say(&client, [b'x'; 10_000]);
        edge.pass(seconds(1));
    }
    assert!(text(&worker).starts_with("POST /app/1 "));
    edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert!(text(&client).ends_with("ok"));
    assert_eq!(edge.stats().rate_min, 0);
    edge.finish();
}

#[test]
fn an_answer_that_is_taken_in_drips_is_aborted() {
    let mut edge = edge(Limits::default());
    edge.kernel.set_capacity(30_000);
    let [dripping, slow] = [(); 2].map(|()| edge.client(0, get("/files/large.bin")));
    for second in 0..60 {
        let piece = slow.receive_at_most(1_000).len();
        assert!(piece == 1_000 && !slow.was_reset(), "{second}: {piece}");
        dripping.receive_at_most(400);
        edge.pass(seconds(1));
        assert!(second > 9 || !dripping.was_reset());
    }
    assert!(dripping.was_reset(), "the kernel keeps nothing for it");
    let stats = edge.stats();
    assert_eq!((stats.rate_min, stats.send_timeout), (1, 0));
    edge.finish();
}

/// The kernel takes nothing from us until a third of its buffer is free. That is no stall.
#[test]
fn who_empties_a_full_socket_slowly_is_not_stalled() {
    let mut edge = edge(Limits::default());
    edge.kernel.set_capacity(60_000);
    let client = edge.client(0, get("/files/large.bin"));
    let before = edge.stats().bytes_out;
    for _ in 0..80 {
        assert_eq!(client.receive_at_most(600).len(), 600);
        edge.pass(seconds(1));
    }
    assert!(edge.stats().bytes_out > before, "it goes on");
    assert_eq!((edge.stats().send_timeout, edge.stats().rate_min), (0, 0));
    edge.finish();
}

#[test]
fn a_stream_that_says_little_is_not_too_slow() {
    let mut edge = edge(Limits::default());
    let client = edge.client(0, get("/app/1"));
    let worker = edge.dial_in(0);
    assert!(text(&worker).starts_with("GET /app/1 "));
    edge.say(&worker, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..30 {
        edge.say(&worker, "1\r\nx\r\n");
        edge.pass(seconds(10));
        assert!(!text(&client).is_empty());
    }
    edge.say(&worker, "0\r\n\r\n");
    assert_eq!((edge.stats().send_timeout, edge.stats().rate_min), (0, 0));
    edge.finish();
}

#[test]
fn the_idle_time_begins_when_the_answer_has_left() {
    let mut edge = edge(Limits::default());
    edge.kernel.set_capacity(1_000);
    let client = edge.client(0, get("/files/large.bin"));
    let mut received = 0;
    for _ in 0..74 {
        edge.pass(seconds(1));
        received += client.receive_at_most(1_000).len();
    }
    while received <= LARGE_FILE.1 {
        received += client.receive().len();
        edge.settle();
    }
    edge.pass(seconds(70));
    assert!(!client.at_end(), "idle for 70 s");
    edge.pass(seconds(10));
    assert!(client.at_end());
    edge.finish();
}

#[test]
fn silence_is_not_waited_for_while_the_server_ends() {
    let mut edge = edge(Limits::default());
    let before = edge.client(0, "");
    edge.drain();
    // Accepted while the listener is given up.
    let after = edge.client(0, "");
    edge.pass(seconds(3));
    assert!(before.at_end() && after.at_end());
    edge.assert_clean();
}
