//! What is too large is refused, and the client can read why, even while it is still sending.

use forebay_tests::{Client, Failure, PATIENCE, Response, Site, wait_until};
use std::io::Write;
use std::thread;

#[test]
fn too_much_content_is_413() {
    let site = Site::builder().limit("content_max = \"64KiB\"").app("echo", 1).start();
    let most = 64 << 10;
    let response = post(&mut site.client(), most);
    assert_eq!((response.status, &response.json()["content_length"]), (200, &most.into()));
    expect_last(&mut site.client(), &head(most + 1), 413);
}

#[test]
fn a_client_reads_413_while_it_sends() {
    let site = Site::builder().limit("content_max = \"64KiB\"").app("echo", 1).start();
    let chunk = format!("{:x}\r\n{}\r\n", 10_000, "x".repeat(10_000));
    let chunked = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (head, piece) in [(head(5_000_000), "x".repeat(10_000)), (chunked.into(), chunk)] {
        let mut client = site.client();
        let mut sender = client.sender();
        let sending = thread::spawn(move || {
            // The server may stop reading once it has answered for a while.
            sender
                .write_all(head.as_bytes())
                .and_then(|()| (0..500).try_for_each(|_| sender.write_all(piece.as_bytes())))
        });
        let response = client.read_response();
        assert_eq!(response.status, 413);
        assert!(response.closes(), "{:?}", response.fields);
        let _ = sending.join().unwrap();
    }
}

#[test]
fn an_honest_client_is_not_reset_by_413() {
    let site = Site::builder().limit("content_max = \"64KiB\"").app("echo", 1).start();
    let mut client = site.client();
    client.send(head(1_000_000));
    client.send("x".repeat(1_000_000));
    assert_eq!(client.read_response().status, 413);
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn too_large_a_head_is_431() {
    let site = Site::builder().limit("head_bytes = \"4KiB\"").app("hello", 1).start();
    let fill = |len| format!("GET / HTTP/1.1\r\nHost: test\r\nFill: {}\r\n\r\n", "x".repeat(len));
    assert_eq!(site.client().exchange(fill(3000)).status, 200);
    expect_last(&mut site.client(), &fill(5000), 431);
    // Also if it never ends.
    expect_last(&mut site.client(), fill(5000).trim_end(), 431);
}

#[test]
fn too_many_fields_are_431() {
    let site = Site::builder().limit("head_fields = 20").app("hello", 1).start();
    let many = |count| {
        let fields = (2..=count).map(|i| format!("Field-{i}: value\r\n")).collect::<String>();
        format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
    };
    assert_eq!(site.client().exchange(many(20)).status, 200);
    expect_last(&mut site.client(), &many(21), 431);
}

#[test]
fn too_long_a_target_is_414() {
    let site = Site::builder().limit("target_bytes = \"1KiB\"").app("hello", 1).start();
    let long = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(len - 1));
    assert_eq!(site.client().exchange(long(1024)).status, 200);
    expect_last(&mut site.client(), &long(1025), 414);
}

#[test]
fn too_large_a_head_of_an_answer_is_502() {
    let site = Site::builder().limit("response_head_bytes = \"4KiB\"").app("probe", 1).start();
    let mut client = site.client();
    assert_eq!(client.get("/headers/20").status, 200);
    assert_eq!(client.get("/headers/2000").status, 502);
    assert_eq!(client.get("/hello").status, 200, "the worker is still good, or another is there");
}

#[test]
fn beyond_the_most_connections_new_ones_are_closed_if_none_idles() {
    let limit = "connections = 10";
    let site = Site::builder().server("reactors = 1").limit(limit).app("hello", 1).start();
    let mut within: Vec<Client> = (0..10).map(|_| site.client()).collect();
    within.iter_mut().for_each(|client| {
        assert_eq!(client.get("/").status, 200);
        client.send("GET / HTTP/1.1\r\n");
    });
    // It has been seen when a later request is answered.
    within[9].send("Host: test\r\n\r\nGET / HTTP/1.1\r\n");
    assert_eq!(within[9].read_response().status, 200);
    assert_closed(&mut site.client());
    within
        .iter_mut()
        .for_each(|client| assert_eq!(client.exchange("Host: test\r\n\r\n").status, 200));
}

#[test]
fn at_the_most_connections_the_oldest_idle_one_makes_room() {
    let limit = "connections = 10";
    let site = Site::builder().server("reactors = 1").limit(limit).app("hello", 1).start();
    let mut within: Vec<Client> = (0..10).map(|_| site.client()).collect();
    within.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    assert_eq!(site.client().get("/").status, 200);
    assert!(within[0].try_response(false).is_err(), "the oldest one has ended");
    within[1..].iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
}

#[test]
fn one_address_has_few_connections_without_a_head() {
    let limit = "connections_per_address = 5";
    let site = Site::builder().server("reactors = 1").limit(limit).app("hello", 1).start();
    let mut within: Vec<Client> = (0..5).map(|_| site.client()).collect();
    within.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\n"));
    assert_closed(&mut site.client());
    within[0].send("Host: test\r\n\r\n");
    assert_eq!(within[0].read_response().status, 200);
    assert_eq!(site.client().get("/").status, 200);
    within[1..].iter_mut().for_each(|client| client.send("Host: test\r\n\r\n"));
    within[1..].iter_mut().for_each(|client| assert_eq!(client.read_response().status, 200));
}

/// Not a byte is answered.
#[test]
fn more_connections_than_descriptors_are_warned_of() {
    let site = Site::builder().limit("connections = 1000000000000").app("hello", 1).start();
    let is_said = || site.stderr().contains("`connections` is 1000000000000, but this process may");
    wait_until("it warns", PATIENCE, is_said);
}

fn assert_closed(client: &mut Client) {
    let _ = client.try_send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let answer = client.try_response(false);
    assert!(matches!(answer, Err(Failure::Closed | Failure::Reset)), "{answer:?}");
}

fn head(content_length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {content_length}\r\n\r\n")
}

fn post(client: &mut Client, content_length: usize) -> Response {
    client.send(head(content_length));
    client.exchange("x".repeat(content_length))
}

fn expect_last(client: &mut Client, request: &str, status: u16) {
    let response = client.exchange(request);
    assert_eq!(response.status, status);
    assert!(response.closes(), "{:?}", response.fields);
    client.half_close();
    assert_eq!(client.read_to_end(), b"");
}
