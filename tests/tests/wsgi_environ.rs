//! A WSGI application is told what PEP 3333 says, and what is true ("environ Variables").

use forebay_tests::{Client, python};
use serde_json::Value;

#[test]
fn every_key_has_its_type() {
    let Some(python) = python() else { return };
    let site = python.site("environ:application", &[]);
    let mut client = site.client();
    let request = "GET /a%20b/%C3%A9?c=%20d?e HTTP/1.1\r\nHost: example.test:81\r\n\
                   Accept: */*\r\nX-One-Two: three\r\n\r\n";
    let environ = client.exchange(request).json();
    let port = site.address().port().to_string();
    for (key, value) in [
        ("type", "dict"),
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", ""),
        // Decoded, and its bytes as characters: "Unicode Issues".
        ("PATH_INFO", "/a b/\u{c3}\u{a9}"),
        ("QUERY_STRING", "c=%20d?e"),
        ("RAW_URI", "/a%20b/%C3%A9?c=%20d?e"),
        ("REQUEST_URI", "/a%20b/%C3%A9?c=%20d?e"),
        ("SERVER_NAME", "127.0.0.1"),
        ("SERVER_PORT", &port),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REMOTE_PORT", &client.local_address().port().to_string()),
        ("HTTP_HOST", "example.test:81"),
        ("HTTP_ACCEPT", "*/*"),
        ("HTTP_X_ONE_TWO", "three"),
        ("wsgi.version", "tuple (1, 0)"),
        ("wsgi.url_scheme", "http"),
        ("wsgi.multithread", "bool False"),
        ("wsgi.multiprocess", "bool True"),
        ("wsgi.run_once", "bool False"),
        ("wsgi.input_terminated", "bool True"),
    ] {
        assert_eq!(environ[key], value, "{key} in {environ}");
    }
    for absent in ["CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_CONTENT_LENGTH", "HOME", "PATH"] {
        assert_eq!(environ[absent], Value::Null, "{absent}");
    }
    assert!(!environ.to_string().contains("FOREBAY_"), "{environ}");
}

#[test]
fn content_has_a_type_and_a_length() {
    let Some(python) = python() else { return };
    let site = python.site("environ:application", &[]);
    let post = |fields: &str| {
        let head = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Type: a/b\r\n{fields}");
        site.client().exchange(head).json()
    };
    for request in [
        "Content-Length: 3\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
    ] {
        let environ = post(request);
        assert_eq!(environ["CONTENT_TYPE"], "a/b");
        assert_eq!(environ["CONTENT_LENGTH"], "3");
        for absent in ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"] {
            assert_eq!(environ[absent], Value::Null, "{absent}");
        }
    }
    assert_eq!(post("Content-Length: 0\r\n\r\n")["CONTENT_LENGTH"], "0");
    let (_worker, address) = python.bound("environ:application");
    for address in [site.address(), address] {
        let empty = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let environ = Client::connect(address).exchange(empty).json();
        assert_eq!(environ["CONTENT_LENGTH"], "0", "{address}");
        assert_eq!(Client::connect(address).get("/").json()["CONTENT_LENGTH"], Value::Null);
    }
}

/// RFC 9110 §5.3; cookies as RFC 6265 §4.2.1 has them.
#[test]
fn repeated_fields_are_one_value() {
    let Some(python) = python() else { return };
    let site = python.site("environ:application", &[]);
    let request = "GET / HTTP/1.1\r\nHost: test\r\nCookie: a=1\r\nX-A: 1\r\ncookie: b=2\r\n\
                   x-a: 2\r\nX-a: \u{e9}\r\n\r\n";
    let mut client = site.client();
    for _ in 0..2 {
        let environ = client.exchange(request).json();
        assert_eq!(environ["HTTP_COOKIE"], "a=1; b=2");
        assert_eq!(environ["HTTP_X_A"], "1,2,\u{c3}\u{a9}");
    }
    let environ = client.exchange("GET / HTTP/1.1\r\nHost: test\r\nX-A: 3\r\n\r\n").json();
    assert_eq!(environ["HTTP_X_A"], "3");
    assert_eq!(environ["HTTP_COOKIE"], Value::Null);
}

#[test]
fn no_field_poses_as_another() {
    let Some(python) = python() else { return };
    let (_worker, address) = python.bound("environ:application");
    let request = "GET / HTTP/1.1\r\nHost: test\r\nX_A: evil\r\nProxy: http://evil\r\n\
                   Forebay-Peer: 192.0.2.1:1\r\n\r\n";
    let environ = Client::connect(address).exchange(request).json();
    assert!(!environ.to_string().contains("evil"), "{environ}");
    assert_eq!(environ["REMOTE_ADDR"], "127.0.0.1");
}

#[test]
fn more_names_than_are_kept_in_mind_are_told_all_the_same() {
    let Some(python) = python() else { return };
    let site = python.site("environ:application", &[]);
    let mut client = site.client();
    for round in 0..8 {
        let names = (0..50).map(|number| format!("X-{round}-{number}: {number}\r\n"));
        let fields: String = names.collect();
        let request =
            format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}X-{round}-49: again\r\n\r\n");
        let environ = client.exchange(request).json();
        assert_eq!(environ[format!("HTTP_X_{round}_7")], "7");
        assert_eq!(environ[format!("HTTP_X_{round}_49")], "49,again");
    }
}

#[test]
fn an_environ_is_the_applications_own() {
    let Some(python) = python() else { return };
    let site = python.site("environ:application", &[]);
    let mut client = site.client();
    assert_eq!(client.get("/changed").json()["PATH_INFO"], "mine");
    let environ = client.get("/after").json();
    assert_eq!(environ["PATH_INFO"], "/after");
    assert_eq!(environ["wsgi.version"], "tuple (1, 0)");
}

#[test]
fn threads_are_told() {
    let Some(python) = python() else { return };
    let site = python.site("environ:application", &["--threads", "2"]);
    assert_eq!(site.client().get("/").json()["wsgi.multithread"], "bool True");
}

#[test]
fn the_checker_of_pythons_library_finds_nothing() {
    let Some(python) = python() else { return };
    let site = python.site("environ:checked", &[]);
    let (_worker, address) = python.bound("environ:checked");
    for address in [site.address(), address] {
        let mut client = Client::connect(address);
        assert_eq!(client.get("/a?b").text(), "content");
        let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(client.exchange(post).text(), "content");
    }
}
