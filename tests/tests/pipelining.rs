//! Answers come in the order of the requests, however they are cut and whoever answers.

use forebay_tests::{Client, Failure, Site};

#[test]
fn answers_come_in_order() {
    let site = Site::with_app("echo", 2);
    let mut client = site.client();
    client.send((0..50).map(get).collect::<String>());
    for i in 0..50 {
        expect_echo(&mut client, i);
    }
}

#[test]
fn fast_answers_wait_for_slow_ones() {
    let site = Site::builder()
        .files("/static/", "static")
        .file("static/a.txt", "a file")
        .app("probe", 2)
        .start();
    let mut client = site.client();
    let targets = ["/sleep/300", "/static/a.txt", "/sleep/100", "/bytes/5", "/static/none"];
    client.send(targets.map(|t| format!("GET {t} HTTP/1.1\r\nHost: test\r\n\r\n")).concat());
    assert_eq!(client.read_response().status, 200);
    assert_eq!(client.read_response().text(), "a file");
    assert_eq!(client.read_response().status, 200);
    assert_eq!(client.read_response().content.len(), 5);
    assert_eq!(client.read_response().status, 404);
}

#[test]
fn content_and_requests_may_follow_each_other_in_any_pieces() {
    let site = Site::with_app("echo", 1);
    let with_length = "POST /1 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nabcde";
    let chunked = "POST /2 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let all = [with_length, chunked, &get(3)].concat();
    for piece in [1, 2, 7, 64, all.len()] {
        let mut client = site.client();
        all.as_bytes().chunks(piece).for_each(|bytes| client.send(bytes));
        for i in 1..=2 {
            let echo = client.read_response().json();
            assert_eq!(echo["target"], format!("/{i}"), "in pieces of {piece}");
            assert_eq!(echo["content"], "YWJjZGU=", "in pieces of {piece}");
        }
        expect_echo(&mut client, 3);
    }
}

#[test]
fn nothing_is_answered_after_the_last_request() {
    let site = Site::with_app("echo", 1);
    let mut client = site.client();
    let last = "GET /1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    client.send([&get(0), last, &get(2)].concat());
    expect_echo(&mut client, 0);
    let response = client.read_response();
    assert_eq!(response.json()["target"], "/1");
    assert!(response.closes(), "{:?}", response.fields);
    assert_eq!(client.try_response(false), Err(Failure::Closed));
}

#[test]
fn a_client_that_sends_no_more_gets_all_answers() {
    let site = Site::with_app("echo", 1);
    let mut client = site.client();
    client.send((0..3).map(get).collect::<String>());
    client.half_close();
    (0..3).for_each(|i| expect_echo(&mut client, i));
    assert_eq!(client.read_to_end(), b"");
}

fn get(i: usize) -> String {
    format!("GET /{i} HTTP/1.1\r\nHost: test\r\n\r\n")
}

fn expect_echo(client: &mut Client, i: usize) {
    let response = client.read_response();
    assert_eq!(response.status, 200);
    assert_eq!(response.json()["target"], format!("/{i}"));
}
