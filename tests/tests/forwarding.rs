//! Applications see canonical requests and only trustworthy facts.

use forebay_tests::{Client, PATIENCE, Site, wait_until};
use serde_json::Value;

#[test]
fn the_target_is_passed_whole_with_dot_segments_resolved() {
    let site = Site::with_app("echo", 1);
    let mut client = site.client();
    for (sent, seen) in [
        ("/a/b?c=d&e", "/a/b?c=d&e"),
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/%61", "/a"),
        ("/a%2Fb", "/a%2Fb"),
        ("//a", "//a"),
        ("/.%2fa//%40", "/.%2Fa//%40"),
        ("/?", "/?"),
        ("http://test/a?b", "/a?b"),
        ("http://test", "/"),
    ] {
        let request = format!("GET {sent} HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.exchange(request).json()["target"], seen, "{sent}");
    }
}

#[test]
fn fields_pass_in_order_unless_they_concern_the_connection() {
    let site = Site::with_app("echo", 1);
    let seen = echoed(
        &mut site.client(),
        "B: 1\r\nA: 2\r\nB: 3\r\nConnection: Private, keep-alive\r\nPrivate: x\r\n\
         Keep-Alive: x\r\nProxy-Connection: x\r\nTE: trailers\r\nUpgrade: x\r\nUnder_score: x\r\n",
    );
    let ours: Vec<_> = seen.iter().filter(|(name, _)| name.len() == 1).collect();
    let expected = [("B", "1"), ("A", "2"), ("B", "3")].map(|(n, v)| (n.into(), v.into()));
    assert_eq!(ours, expected.iter().collect::<Vec<&(String, String)>>());
    for gone in ["private", "keep-alive", "proxy-connection", "upgrade", "under_score"] {
        assert_eq!(values(&seen, gone), Vec::<&str>::new(), "{gone}");
    }
    assert_eq!(values(&seen, "host"), ["test"]);
}

#[test]
fn facts_about_the_client_are_the_edges_own() {
    let site = Site::with_app("echo", 1);
    let mut client = site.client();
    let lies = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\
                Forebay-Peer: 192.0.2.1:1\r\nForebay-Anything: 192.0.2.1\r\n\
                Forwarded: for=192.0.2.1\r\nX-Forwarded-Host: 192.0.2.1\r\n\
                X-Real-IP: 192.0.2.1\r\nX-Request-Id: 192.0.2.1\r\n";
    let seen = echoed(&mut client, lies);
    assert_eq!(values(&seen, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["http"]);
    assert!(!format!("{seen:?}").contains("192.0.2.1"), "{seen:?}");
    assert_eq!(values(&seen, "x-forwarded-host"), ["test"]);
    assert_eq!(values(&seen, "x-real-ip"), ["127.0.0.1"]);
    // RFC 7239 §4.
    assert_eq!(values(&seen, "forwarded"), ["for=127.0.0.1;host=\"test\";proto=http"]);
    assert_eq!(values(&seen, "x-request-id").len(), 1);
}

#[test]
fn a_trusted_proxy_is_believed() {
    let server = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\naccess_log = \"-\"";
    let site = Site::builder().server(server).app("echo", 1).start();
    let told = "X-Forwarded-For: 6.6.6.6, 2001:db8::7\r\nX-Forwarded-For: 10.1.2.3\r\n\
                X-Forwarded-Proto: https\r\nX-Forwarded-Host: www.example.com\r\n\
                Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Request-Id: its-own\r\n\
                Forebay-Peer: 6.6.6.6:6\r\nX-Forwarded-Port: 6\r\n";
    let mut client = site.client();
    let seen = echoed(&mut client, told);
    for (name, value) in [
        ("host", "test"),
        ("x-forwarded-for", "2001:db8::7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.example.com"),
        ("forwarded", "for=\"[2001:db8::7]\";host=\"www.example.com\";proto=https"),
        ("x-real-ip", "2001:db8::7"),
        ("x-request-id", "its-own"),
    ] {
        assert_eq!(values(&seen, name), [value], "{name}");
    }
    assert_eq!(values(&seen, "x-forwarded-port"), Vec::<&str>::new());
    wait_until("its line", PATIENCE, || site.stdout().contains("2001:db8::7 - - ["));
    // The next request on the same connection is another client's.
    assert_eq!(values(&echoed(&mut client, ""), "x-forwarded-for"), ["127.0.0.1"]);
    let next = echoed(&mut client, "X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(values(&next, "x-forwarded-for"), ["192.0.2.1"]);
}

#[test]
fn others_than_the_trusted_proxies_are_not_believed() {
    let server = "trusted_proxies = [\"10.0.0.0/8\"]";
    let site = Site::builder().server(server).app("echo", 1).start();
    let seen = echoed(&mut site.client(), "X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(values(&seen, "x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn content_comes_with_its_length_however_it_was_sent() {
    let site = Site::with_app("echo", 1);
    let chunked = "Transfer-Encoding: chunked\r\nTrailer: A\r\n";
    let content = "3\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n";
    let request = format!("POST / HTTP/1.1\r\nHost: test\r\n{chunked}\r\n{content}");
    let echo = site.client().exchange(request).json();
    let seen = fields(&echo);
    assert_eq!(echo["content"], "YWJjZGU=");
    assert_eq!(values(&seen, "content-length"), ["5"]);
    assert_eq!(values(&seen, "transfer-encoding"), Vec::<&str>::new());
    assert_eq!(values(&seen, "a"), Vec::<&str>::new(), "trailers are dropped");
}

#[test]
fn request_ids_differ() {
    let site = Site::with_app("echo", 1);
    let mut client = site.client();
    let mut ids: Vec<String> = (0..20)
        .flat_map(|_| echoed(&mut client, ""))
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-request-id"))
        .map(|(_, value)| value)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}

#[test]
fn answers_have_one_date_and_no_fields_of_the_hand_over() {
    let site = Site::with_app("hello", 1);
    let response = site.client().get("/");
    assert!(response.field("Date").is_some());
    assert_eq!(response.field("Content-Length"), Some("13"));
    let ours = response.fields.iter().find(|(n, _)| n.to_lowercase().starts_with("forebay-"));
    assert_eq!(ours, None);
}

fn echoed(client: &mut Client, lines: &str) -> Vec<(String, String)> {
    fields(&client.exchange(format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n")).json())
}

fn fields(echo: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("names and values are strings").to_owned();
    let pairs = echo["fields"].as_array().expect("fields is a list");
    pairs.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn values<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_str()).collect()
}
