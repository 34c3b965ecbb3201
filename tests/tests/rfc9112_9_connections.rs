//! RFC 9112 §9: which bytes belong to which request, and how a connection ends.

use forebay_tests::{Client, Failure, Site, SiteBuilder, Strict};
use std::io::Write;

const SMUGGLED: &str = "GET /once/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn site() -> SiteBuilder {
    Site::builder()
        .files("/static/", "static")
        .file("static/a.txt", "a file")
        .route("path = \"/fixed\"\nrespond = { content = \"always the same\" }")
        .route("path = \"/moved\"\nredirect = \"/elsewhere\"")
}

/// §9.3: "MUST either close the connection … or read the entire request message body": an answer
/// that does not wait for the content ends the connection, so that content is never a request.
#[test]
fn unread_content_is_no_request_rfc_9112_9_3() {
    let mut edge = Strict::on(site());
    for (target, status) in [
        ("/static/a.txt", 200),
        ("/static/none", 404),
        ("/static/../static/a.txt", 200),
        ("/fixed", 200),
        ("/moved", 302),
    ] {
        let length = SMUGGLED.len();
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n");
        let known = format!("{head}Content-Length: {length}\r\n\r\n{SMUGGLED}");
        edge.answers_last(target, known, &[status]);
        let head = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
        let chunked = format!("{head}{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n");
        edge.answers_last(format_args!("{target}, chunked"), chunked, &[status]);
    }
    for head in ["OPTIONS * HTTP/1.1\r\nHost: a\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n"] {
        let status = if head.starts_with('O') { 204 } else { 501 };
        let request = format!("{head}Content-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len());
        edge.answers_last(head, request, &[status]);
    }
    edge.finish();
}

/// §9.3.2: answers come in the order of the requests; what follows a refused one is no request.
#[test]
fn what_comes_before_a_refused_request_is_answered_rfc_9112_9_3_2() {
    let mut edge = Strict::on(site());
    let good = "GET /fixed HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    let bad = "GET /once/bad HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n";
    edge.answers_last("two before", format!("{good}{bad}"), &[200, 200, 400]);
    let bad = "POST /once/bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n";
    edge.answers_last("two before bad content", format!("{good}{bad}"), &[200, 200, 400]);
    edge.finish();
}

/// §9.6: a request with `close` is the last, whatever follows.
#[test]
fn what_follows_close_is_no_request_rfc_9112_9_6() {
    let mut edge = Strict::on(site());
    for option in ["close", "Close", "keep-alive, close", "x, close"] {
        let request = format!("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: {option}\r\n\r\n");
        edge.answers_last(option, request, &[200]);
    }
    edge.answers_last("HTTP/1.0", "GET /hello HTTP/1.0\r\n\r\n", &[200]);
    edge.finish();
}

/// §9.6: who still sends when we end is not reset before it has read the answer.
#[test]
fn a_refused_client_can_read_why_rfc_9112_9_6() {
    let edge = Strict::edge();
    let mut client = edge.site().client();
    client.send("GET /once/bad HTTP/1.1\r\n\r\n");
    let mut sender = client.sender();
    for _ in 0..100 {
        // It reads only when it has written everything, as many clients do.
        sender.write_all(&[b'x'; 10_000]).expect("a refused client may go on sending");
    }
    assert_eq!(client.read_response().status, 400);
    client.half_close();
    assert_eq!(client.read_to_end(), b"");
    edge.finish();
}

/// §9.6: nor who says more after a request that it has called its last.
#[test]
fn a_last_answer_can_be_read_whole_rfc_9112_9_6() {
    let edge = Strict::edge();
    for request in [
        "GET /bytes/3000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /bytes/3000000 HTTP/1.0\r\n\r\n",
    ] {
        let mut client = edge.site().client();
        client.send(request);
        // The beginning of the answer is here: what is said now comes behind it.
        let mut sender = client.sender();
        let mut first = [0];
        sender.peek(&mut first).unwrap();
        sender.write_all(b"\r\n").unwrap();
        let response = client.read_response();
        assert_eq!((response.status, response.content.len()), (200, 3_000_000));
        assert_eq!(client.read_to_end(), b"");
    }
    edge.finish();
}

/// §9.6: nor for ever.
#[test]
fn a_refused_client_that_goes_on_is_let_go_rfc_9112_9_6() {
    let site = Site::builder().limit("lingering_timeout = \"200ms\"");
    let edge = Strict::on(site);
    let mut client = edge.site().client();
    client.send("GET /once/bad HTTP/1.1\r\n\r\n");
    assert_eq!(client.read_response().status, 400);
    assert_eq!(client.read_to_end(), b"", "it ends although we do not");
    edge.finish();
}

/// §8: content that ends too soon makes no request.
#[test]
fn incomplete_requests_never_run_rfc_9112_8() {
    let mut edge = Strict::edge();
    for (what, request) in [
        ("half a head", "GET /once/bad HTTP/1.1\r\nHost: a\r\n"),
        ("half the content", "POST /once/bad HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na"),
        (
            "no last chunk",
            "POST /once/bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
        ),
        (
            "no end of the trailers",
            "POST /once/bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n",
        ),
    ] {
        let mut client = edge.site().client();
        client.send(request);
        client.half_close();
        let answer = client.try_response(false);
        edge.holds(format_args!("{what}: {answer:?}"), answer == Err(Failure::Closed));
    }
    edge.finish();
}

/// §7.8 of RFC 9110: nothing is switched, nothing is passed through.
#[test]
fn nothing_is_upgraded_rfc_9110_7_8() {
    let edge = Strict::edge();
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Connection: Upgrade\r\nUpgrade: forebay-slot/1\r\n",
        "Upgrade: h2c\r\n",
    ] {
        let mut client = edge.site().client();
        let response = client.exchange(format!("GET /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(response.status, 200, "{fields}");
        assert_eq!(seen(&response, "upgrade") + seen(&response, "http2-settings"), 0, "{fields}");
        assert_eq!(next(&mut client), 200, "the connection still speaks HTTP/1.1");
    }
    edge.finish();
}

fn next(client: &mut Client) -> u16 {
    client.get("/hello").status
}

fn seen(echo: &forebay_tests::Response, name: &str) -> usize {
    let json = echo.json();
    let fields = json["fields"].as_array().expect("a list");
    let is_it = |field: &&serde_json::Value| {
        field[0].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name))
    };
    fields.iter().filter(is_it).count()
}
