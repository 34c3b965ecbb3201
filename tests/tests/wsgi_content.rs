//! What a WSGI application gives arrives, and no more and no less than it said (PEP 3333,
//! "Handling the Content-Length Header", "Buffering and Streaming").

use forebay_tests::{Client, PATIENCE, Site, python, wait_until};
use std::fs;

fn number_closed(site: &Site) -> String {
    site.client().get("/closed").text().to_owned()
}

#[test]
fn content_comes_in_every_form() {
    let Some(python) = python() else { return };
    let site = python.site("content:application", &[]);
    let (_worker, address) = python.bound("content:application");
    for address in [site.address(), address] {
        let mut client = Client::connect(address);
        for (path, content) in [
            ("/list", "content"),
            ("/pieces", "content"),
            ("/tuple", "content"),
            ("/nothing", ""),
            ("/generator", "content"),
            ("/single", "content"),
            ("/closing", "content"),
            ("/exact", "content"),
            ("/write", "one two three"),
            ("/write-with-length", "one two"),
            ("/many", &"0123456789".repeat(5000)),
            ("/large", &"0123456789".repeat(100_000)),
            ("/file", &"0123456789".repeat(20_000)),
            ("/file/199998", "89"),
            ("/file/200000", ""),
            ("/file-with-length/4", "0123"),
            ("/no-file", &"0123456789".repeat(2000)),
            ("/named-file", "named"),
            ("/written-file", &format!("0123####89{}", "0123456789".repeat(299))),
            ("/gzip-file", "unpacked"),
            ("/bz2-file", "unpacked"),
            ("/lzma-file", "unpacked"),
            ("/buffered-gzip-file", "unpacked"),
            ("/upper-file", "UNPACKED"),
            ("/upper-raw-file", "UNPACKED"),
            ("/upper-wrapper", "UNPACKED"),
        ] {
            let response = client.get(path);
            assert_eq!(response.status, 200, "{path}");
            assert!(response.text() == content, "{path}: {} bytes", response.content.len());
        }
        assert!(client.get("/made-up-file").text().contains("forebay"));
        for path in ["/list", "/pieces", "/single", "/nothing", "/file", "/named-file", "/raw-file"]
        {
            assert!(client.get(path).field("content-length").is_some(), "{path}");
        }
    }
}

/// "The application iterator may call start_response only when it is first iterated."
#[test]
fn a_generator_begins_late() {
    let Some(python) = python() else { return };
    let site = python.site("content:application", &[]);
    let response = site.client().get("/lazy");
    assert_eq!((response.status, response.text()), (404, "nothing"));
    assert_eq!(response.field("x-lazy"), Some("yes"));
}

/// "WSGI servers … must not delay the transmission of any block."
#[test]
fn a_piece_is_sent_before_the_next_is_made() {
    let Some(python) = python() else { return };
    let site = python.site("content:application", &[]);
    let go_on = site.path("go-on");
    let mut client = site.client();
    client.send(format!("GET /slow{} HTTP/1.1\r\nHost: test\r\n\r\n", go_on.display()));
    assert_eq!(client.read_head().unwrap().status, 200);
    // The end of a chunk may come with the next one.
    assert_eq!(client.read_exactly(8).unwrap(), b"5\r\nfirst");
    fs::write(&go_on, "").unwrap();
    assert_eq!(client.read_exactly(11).unwrap(), b"\r\n6\r\nsecond");
}

/// "If the iterable returned by the application has a close() method, the server … must call that
/// method upon completion of the current request, whether the request was completed normally, or
/// terminated early due to an application error … or an early disconnect of the browser."
#[test]
fn each_iterable_is_closed_once() {
    let Some(python) = python() else { return };
    let site = python.site("content:application", &[]);
    let mut expected = 0;
    for path in [
        "/closing",
        "/exact",
        "/short",
        "/long",
        "/fails-first",
        "/fails-later",
        "/text-generator",
        "/not-modified",
        "/single",
        "/closing-file",
    ] {
        let mut client = site.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
        client.read_to_end();
        expected += 1;
        assert_eq!(number_closed(&site), expected.to_string(), "{path}");
    }
    let mut client = site.client();
    client.send("HEAD /closing HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read_response_to_head().status, 200);
    assert_eq!(number_closed(&site), (expected + 1).to_string());
}

#[test]
fn no_more_and_no_less_than_was_said() {
    let Some(python) = python() else { return };
    let site = python.site("content:application", &[]);
    for path in ["/long", "/long-list"] {
        let mut client = site.client();
        assert_eq!(client.get(path).text(), "conte", "{path}");
        assert_eq!(client.get("/list").text(), "content", "{path}");
    }
    for path in ["/short", "/short-list", "/file-with-length/11"] {
        let mut client = site.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert!(client.try_response(false).is_err(), "{path}");
    }
    for line in
        ["GET /long: the response was cut short", "its content is less than its Content-Length"]
    {
        wait_until(line, PATIENCE, || site.stderr().contains(line));
    }
}

/// RFC 9110 §9.3.2, §15.3.5, §15.4.5.
#[test]
fn some_responses_have_no_content() {
    let Some(python) = python() else { return };
    let site = python.site("content:application", &[]);
    let (_worker, address) = python.bound("content:application");
    for address in [site.address(), address] {
        let mut client = Client::connect(address);
        for (path, status) in [("/no-content", 204), ("/not-modified", 304)] {
            let response = client.get(path);
            assert_eq!((response.status, response.text()), (status, ""), "{path}");
            assert_eq!(response.field("content-length"), None, "{path}");
        }
        client.send("GET /not-modified-7 HTTP/1.1\r\nHost: test\r\n\r\n");
        let response = client.read_response_to_head();
        assert_eq!((response.status, response.field("content-length")), (304, Some("7")));
        for (path, length) in [
            ("/list", Some("7")),
            ("/exact", Some("7")),
            ("/generator", None),
            ("/file", Some("200000")),
        ] {
            client.send(format!("HEAD {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
            let response = client.read_response_to_head();
            assert_eq!(
                (response.status, response.field("content-length")),
                (200, length),
                "{path}"
            );
        }
        assert_eq!(client.get("/list").text(), "content");
    }
}

#[test]
fn errors_are_500_until_something_has_been_sent() {
    let Some(python) = python() else { return };
    let site = python.site("content:application", &[]);
    for path in [
        "/raise",
        "/exit",
        "/none",
        "/number",
        "/text",
        "/unstarted",
        "/unstarted-generator",
        "/fails-first",
    ] {
        let response = site.client().get(path);
        assert_eq!(response.status, 500, "{path}");
        let id = response.field("x-request-id").map(str::to_owned);
        // The edge passes on what its workers write.
        let line = format!("GET {path}: the application has failed");
        wait_until(&line, PATIENCE, || site.stderr().contains(&line));
        if let Some(id) = id {
            assert!(site.stderr().contains(&id), "{path}: {}", site.stderr());
        }
    }
    let said = || site.stderr().contains("RuntimeError: at once");
    wait_until("the traceback", PATIENCE, said);
    for path in ["/fails-later", "/text-generator"] {
        let mut client = site.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert!(client.try_response(false).is_err(), "{path}");
    }
    assert_eq!(site.client().get("/list").text(), "content");
    assert!(!site.stderr().contains("has exited"), "{}", site.stderr());
}

/// A file that is written anew in place after it was read is the old one for a client that is slow.
#[test]
fn without_sendfile_an_answer_is_what_the_file_was() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report");
    // More than the sockets on the way hold.
    fs::write(&path, vec![b'a'; 32 << 20]).unwrap();
    let site = python.site("content:application", &["--no-sendfile"]);
    let mut slow = Client::connect_narrow(site.address());
    slow.send(format!("GET /file-at{} HTTP/1.1\r\nHost: test\r\n\r\n", path.display()));
    assert_eq!(slow.read_head().unwrap().status, 200);
    // There is one worker: it has done with the file.
    let rewritten = site.client().get(&format!("/rewrite{}", path.display()));
    assert_eq!(rewritten.text(), "done");
    assert_eq!(fs::read(&path).unwrap()[0], b'b');
    let content = slow.read_exactly(32 << 20).unwrap();
    assert!(content.iter().all(|&byte| byte == b'a'));
}
