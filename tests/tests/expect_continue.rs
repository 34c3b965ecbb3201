//! The edge answers `100 (Continue)` when, and only when, it should (RFC 9110 §10.1.1).

use forebay_tests::{Failure, Site};

#[test]
fn content_is_asked_for_once() {
    let site = Site::with_app("echo", 1);
    let mut client = site.client();
    for content in ["abcde", "fghij"] {
        let interim = client.exchange(request("HTTP/1.1", 5));
        assert_eq!((interim.status, interim.content.len()), (100, 0));
        let echo = client.exchange(content).json();
        assert_eq!(echo["content_length"], 5);
        let fields = echo["fields"].to_string();
        assert!(!fields.to_lowercase().contains("expect"), "the edge has dealt with it: {fields}");
    }
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn an_impatient_client_is_served() {
    let site = Site::with_app("echo", 1);
    let mut client = site.client();
    let mut response = client.exchange(request("HTTP/1.1", 5) + "abcde");
    if response.status == 100 {
        response = client.read_response();
    }
    assert_eq!(response.json()["content_length"], 5);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn content_that_will_be_refused_is_not_asked_for() {
    let site = Site::builder().limit("content_max = \"64KiB\"").app("echo", 1).start();
    let mut client = site.client();
    assert_eq!(client.exchange(request("HTTP/1.1", 100_000)).status, 413);
    client.half_close();
    assert_eq!(client.try_response(false), Err(Failure::Closed));
}

#[test]
fn nothing_is_asked_of_a_request_without_content() {
    let site = Site::with_app("echo", 1);
    let get = "GET / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(site.client().exchange(get).status, 200);
    assert_eq!(site.client().exchange(request("HTTP/1.1", 0)).status, 200);
}

#[test]
fn old_clients_do_not_know_it() {
    let site = Site::with_app("echo", 1);
    let response = site.client().exchange(request("HTTP/1.0", 5) + "abcde");
    assert_eq!((response.status, &response.json()["content_length"]), (200, &5.into()));
}

fn request(version: &str, content_length: usize) -> String {
    format!(
        "POST / {version}\r\nHost: test\r\nExpect: 100-continue\r\n\
         Content-Length: {content_length}\r\n\r\n"
    )
}
