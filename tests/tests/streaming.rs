//! What an application produces piece by piece arrives piece by piece.

use forebay_tests::{Client, Failure, RawWorker, Site};
use std::time::{Duration, Instant};

#[test]
fn chunks_arrive_as_they_are_produced() {
    let site = Site::with_app("probe", 1);
    let mut client = site.client();
    client.send("GET /drip/5/300 HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.read_head().unwrap();
    assert_eq!((head.status, head.field("Transfer-Encoding")), (200, Some("chunked")));
    assert!(!client.read_chunk().unwrap().is_empty());
    let first = Instant::now();
    while !client.read_chunk().unwrap().is_empty() {}
    // Four pauses of 300 ms follow the first chunk.
    assert!(first.elapsed() > Duration::from_millis(600), "{:?}", first.elapsed());
    assert_eq!(client.get("/hello").status, 200, "the connection is kept");
}

#[test]
fn old_clients_get_the_same_until_the_connection_ends() {
    let site = Site::with_app("probe", 1);
    let chunked = site.client().get("/drip/5/1").content;
    let mut client = site.client();
    let response = client.exchange("GET /drip/5/1 HTTP/1.0\r\nHost: test\r\n\r\n");
    assert_eq!(response.field("Transfer-Encoding"), None);
    assert_eq!(response.field("Content-Length"), None);
    assert_eq!(response.content, chunked);
    assert!(!chunked.is_empty());
}

#[test]
fn an_old_client_may_ask_to_keep_the_connection() {
    let site = Site::with_app("probe", 1);
    let mut client = site.client();
    let request = "GET /hello HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n";
    for _ in 0..2 {
        let response = client.exchange(request);
        assert_eq!(response.field("Connection"), Some("keep-alive"));
        assert_eq!(response.text(), "Hello, world!");
    }
    assert!(client.exchange(request.replace("keep-alive", "close")).closes());
}

#[test]
fn head_of_a_stream_has_no_content() {
    let site = Site::with_app("probe", 1);
    let mut client = site.client();
    client.send("HEAD /drip/3/1 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read_response_to_head().status, 200);
    assert_eq!(client.get("/hello").text(), "Hello, world!");
}

#[test]
fn a_worker_is_free_after_its_client_has_left_a_stream() {
    let site = Site::with_app("probe", 1);
    let mut client = site.client();
    client.send("GET /drip/5/100 HTTP/1.1\r\nHost: test\r\n\r\n");
    client.read_head().unwrap();
    drop(client);
    assert_eq!(site.client().get("/hello").status, 200);
}

#[test]
fn a_large_answer_passes_the_bound_of_memory() {
    let site = Site::builder().limit("response_memory = \"64KiB\"").app("probe", 1).start();
    let mut slow = Client::connect_narrow(site.address());
    slow.send("GET /bytes/3000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(slow.read_response().content, site.client().get("/bytes/3000000").content);
}

#[test]
fn an_answer_that_breaks_off_is_not_completed() {
    let site = Site::with_app("probe", 1);
    let mut client = site.client();
    client.send("GET /drip/1000/20 HTTP/1.1\r\nHost: test\r\n\r\n");
    client.read_head().unwrap();
    client.read_chunk().unwrap();
    forebay_tests::send_signal(site.worker_pids()[0], forebay_tests::KILL);
    let failure = loop {
        match client.read_chunk() {
            Ok(chunk) => assert!(!chunk.is_empty(), "the answer looks complete"),
            Err(failure) => break failure,
        }
    };
    assert!(matches!(failure, Failure::Truncated | Failure::Reset), "{failure}");
}

/// RFC 9112 §7.1: a chunk's CRLF is a part of it. Large ones are not copied behind their heads.
#[test]
fn a_chunk_leaves_whole() {
    let site = Site::builder().raw_app().start();
    for len in [5, 100, 40_000, 65_536] {
        let mut client = site.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        let mut worker = RawWorker::dial(&site);
        worker.read_head();
        worker.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        worker.send(format!("{len:x}\r\n{}\r\n", "x".repeat(len)));
        client.read_head().unwrap();
        let mut left = len;
        while left > 0 {
            let line = read_line(&mut client);
            let chunk = usize::from_str_radix(&line, 16).unwrap();
            // The worker says nothing more before this is here.
            let content = client.read_exactly(chunk + 2).unwrap();
            assert!(content.ends_with(b"x\r\n"));
            left -= chunk;
        }
        worker.send("0\r\n\r\n");
        assert_eq!(client.read_exactly(5).unwrap(), b"0\r\n\r\n");
    }
}

/// RFC 9112 §8: what ends by the end of the connection looks whole, if that is an orderly end.
#[test]
fn an_answer_to_an_old_client_that_breaks_off_ends_by_a_reset() {
    let site = Site::builder().raw_app().start();
    let mut client = site.client();
    client.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
    let mut worker = RawWorker::dial(&site);
    worker.read_head();
    worker.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.read_head().unwrap();
    assert_eq!(client.read_exactly(3).unwrap(), b"abc");
    drop(worker);
    let end = client.read_exactly(1).unwrap_err();
    assert!(matches!(end, Failure::Reset), "{end}");
}

fn read_line(client: &mut Client) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(client.read_exactly(1).expect("a line comes"));
    }
    String::from_utf8(line).expect("the edge writes text").trim_end().to_owned()
}
