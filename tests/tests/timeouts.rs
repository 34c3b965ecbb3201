//! Clients that stop sending or reading are let go, each after its own time.

use forebay_tests::{Client, PATIENCE, Response, Site, wait_until};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_head_that_does_not_end_is_408() {
    let site = with_limit("client_header_timeout = \"300ms\"");
    let mut client = site.client();
    client.send("GET / HTTP/1.1\r\nHost: te");
    expect_last(&mut client, 408);
    // Also after a good request: the clock starts with the first byte of the next.
    let mut client = site.client();
    assert_eq!(client.get("/hello").status, 200);
    client.send("G");
    expect_last(&mut client, 408);
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let site = with_limit("client_header_timeout = \"300ms\"");
    let mut client = site.client();
    let answer = client.read_to_end();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
}

#[test]
fn content_that_stops_is_408() {
    let site = with_limit("client_body_timeout = \"300ms\"");
    let with_length = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n0123456789";
    let chunked = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc";
    for request in [with_length, chunked] {
        let mut client = site.client();
        client.send(request);
        expect_last(&mut client, 408);
    }
}

#[test]
fn content_that_only_goes_slowly_is_taken() {
    let site = with_limit("client_body_timeout = \"2s\"");
    let mut client = site.client();
    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 300\r\n\r\n");
    let other = &mut site.client();
    for _ in 0..30 {
        client.send("0123456789");
        // 30 × 100 ms: longer than the timeout in all, never in one piece.
        assert_eq!(other.get("/sleep/100").status, 200);
    }
    assert_eq!(client.read_response().json()["content_length"], 300);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let site = with_limit("keepalive_timeout = \"300ms\"");
    let mut client = site.client();
    assert_eq!(client.get("/hello").status, 200);
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn the_last_request_of_a_connection_is_announced() {
    let site = with_limit("keepalive_requests = 3");
    let mut client = site.client();
    assert!(!client.get("/hello").closes());
    assert!(!client.get("/hello").closes());
    assert!(client.get("/hello").closes());
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_its_worker_freed() {
    let limit = "send_timeout = \"500ms\"";
    // Another reactor could open its ring later than we count.
    let site = Site::builder().server("reactors = 1").limit(limit).app("probe", 1).start();
    let mut other = site.client();
    assert_eq!(other.get("/hello").status, 200, "everything is open");
    let before = site.descriptors();
    let mut deaf = Client::connect_narrow(site.address());
    deaf.send("GET /bytes/20000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(deaf.read_head().map(|head| head.status), Ok(200));
    wait_until("it is cut off", PATIENCE, || site.descriptors() <= before);
    assert_eq!(other.get("/hello").status, 200, "the only worker is free");
    assert!(deaf.read_exactly(20_000_000).is_err(), "the answer was not completed");
}

#[test]
fn a_reader_that_is_only_slow_is_served() {
    let site = with_limit("send_timeout = \"2s\"");
    let mut slow = Client::connect_narrow(site.address());
    slow.send("GET /bytes/2000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(slow.read_head().unwrap().field("Content-Length"), Some("2000000"));
    let mut left = 2_000_000;
    let mut other = site.client();
    while left > 0 {
        let piece = left.min(80_000);
        slow.read_exactly(piece).unwrap();
        left -= piece;
        // 25 × 100 ms, longer than the timeout in all.
        assert_eq!(other.get("/sleep/100").status, 200);
    }
}

/// RFC 9110 §15.5.9. The minimum counts after 10 s, so this takes as long.
#[test]
fn content_below_the_least_rate_is_408_and_answers_taken_below_it_are_cut_off() {
    let site = with_limit("rate_min = \"100KiB\"");
    let mut dripping = site.client();
    dripping.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10000000\r\n\r\n");
    let mut reading = Client::connect_narrow(site.address());
    reading.send("GET /bytes/20000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(reading.read_head().map(|head| head.status), Ok(200));
    let begin = Instant::now();
    let mut sender = dripping.sender();
    let drip = thread::spawn(move || {
        // Until the server has answered and sends no more; then, or soon, it takes no more either.
        while sender.write_all(&[b'x'; 1_000]).is_ok() && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let answer = dripping.read_response();
    assert_eq!((answer.status, answer.closes()), (408, true));
    assert!(begin.elapsed() > Duration::from_secs(9), "not before the average counts");
    let mut taken = 0;
    while begin.elapsed() < PATIENCE && reading.read_exactly(1_000).is_ok() {
        taken += 1_000;
        thread::sleep(Duration::from_millis(10));
    }
    assert!(taken < 20_000_000 / 2, "the answer was not completed: {taken}");
    drop(dripping);
    drip.join().unwrap();
    assert_eq!(site.client().get("/hello").status, 200);
}

fn with_limit(line: &str) -> Site {
    Site::builder().limit(line).app("probe", 2).start()
}

fn expect_last(client: &mut Client, status: u16) -> Response {
    let response = client.read_response();
    assert_eq!(response.status, status);
    assert!(response.closes(), "{:?}", response.fields);
    assert_eq!(client.read_to_end(), b"");
    response
}
