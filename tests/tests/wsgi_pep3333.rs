//! Every sentence of PEP 3333 that binds servers, and the case that shows that we keep it.
//!
//! Sections are those of the PEP; *should* marks what it recommends. Cases without a file are here.
//!
//! | section | sentence | case |
//! |---|---|---|
//! | Specification Overview | a server "must not have any dependency on what kind of callable was provided" | `any_callable_is_called_once_by_position` |
//! | A Note On String Types | native strings are `str`, bytestrings `bytes` | `environ_is_as_it_must_be`, `wsgi_input::calls_mix` |
//! | The Server/Gateway Side | "invokes the application callable once for each request" | `any_callable_is_called_once_by_position`; `kill_storm` |
//! | Specification Details | "must invoke the application object using positional (not keyword) arguments" | `any_callable_is_called_once_by_position` |
//! | | `environ` "must be a builtin Python dictionary" | `wsgi_environ::every_key_has_its_type` |
//! | | "the application is allowed to modify the dictionary in any way" | `wsgi_environ::an_environ_is_the_applications_own` |
//! | | `start_response` accepts "two required positional arguments, and one optional" | `content_is_bytes_as_they_are` |
//! | | it "must return a `write(body_data)` callable" of one bytestring | `what_is_written_is_sent_first_and_at_once` |
//! | | "must transmit the yielded bytestrings … in an unbuffered fashion, completing the transmission of each … before requesting another one" | `wsgi_content::a_piece_is_sent_before_the_next_is_made` |
//! | | *should* treat them "as binary byte sequences", line endings "not altered" | `content_is_bytes_as_they_are` |
//! | | if `len(iterable)` succeeds, the server "must be able to rely on the result" | `wsgi_content::content_comes_in_every_form` |
//! | | "must call" `close()` "upon completion of the current request", normally, by an error, or by "an early disconnect" | `wsgi_content::each_iterable_is_closed_once`, `an_iterable_is_closed_when_its_client_has_gone` |
//! | | "must not assume that `start_response()` has been called before they begin iterating" | `wsgi_content::a_generator_begins_late` |
//! | | "must not directly use any other attributes of the iterable" | `nothing_but_close_is_looked_up` |
//! | environ Variables | these variables "must be present", `SERVER_NAME` and `SERVER_PORT` "must never be empty" | `environ_is_as_it_must_be` |
//! | | values of each variable | `wsgi_environ`; `SERVER_PROTOCOL`: `the_protocol_is_the_one_that_reached_us` |
//! | | "presence or absence" of `HTTP_` variables "should correspond" with the fields | `environ_is_as_it_must_be`, `wsgi_environ::no_field_poses_as_another` |
//! | | *should* provide as many other CGI variables as apply, and document them | `wsgi_environ::every_key_has_its_type`; README of `worker-bin` |
//! | | missing variables "should be left out" | `environ_is_as_it_must_be` |
//! | | "a violation … for *any* CGI variable's value to be of any type other than `str`" | `environ_is_as_it_must_be` |
//! | | "must contain" the `wsgi.` variables | `environ_is_as_it_must_be`, `wsgi_environ::threads_are_told` |
//! | | `wsgi.errors` *should* "accept and log arbitrary unicode without raising an error" | `errors_are_logged_whatever_they_are_made_of` |
//! | | server-defined variables "should be named using only lower-case letters", with a prefix | `environ_is_as_it_must_be` |
//! | Input and Error Streams | the methods of the table "must be supported" | `wsgi_input::calls_mix`, `errors_are_logged_whatever_they_are_made_of` |
//! | | *should* "simulate an end-of-file condition" past `Content-Length` | `reading_ends_where_the_content_does` |
//! | | *should* allow `read()` without an argument; "empty bytestrings" at the end | `reading_ends_where_the_content_does`, `wsgi_input::calls_mix` |
//! | | *should* support "the optional size argument to `readline()`" | `wsgi_input::calls_mix` |
//! | The start_response() Callable | "if the application omits a header required by HTTP … the server … must add it" | `required_fields_are_added_once` |
//! | | "header names are case-insensitive" | `required_fields_are_added_once` |
//! | | hop-by-hop fields: *should* "raise an error". As other servers do, we drop them: RFC 9110 §7.6.1 is kept, and applications that say `Connection` go on working | `wsgi_start_response::what_the_application_says_arrives` |
//! | | *should* "check for errors in the headers at the time `start_response` is called" | `a_call_that_has_failed_is_a_call`, `wsgi_start_response::what_is_no_head_is_the_applications_error` |
//! | | "must not actually transmit the response headers" before there is content | `the_head_can_be_replaced_until_there_is_content` |
//! | | `exc_info` before anything was sent: "should replace the currently-stored HTTP response headers" | `the_head_can_be_replaced_until_there_is_content`, `wsgi_start_response::an_error_page_replaces_the_head_while_it_can` |
//! | | `exc_info` afterwards: "must raise an error, and should re-raise" | `wsgi_start_response::an_error_page_replaces_the_head_while_it_can` |
//! | | "a fatal error to call `start_response` without the `exc_info` argument if `start_response` has already been called", also if that "raised an error" | `wsgi_start_response::it_is_called_once`, `a_call_that_has_failed_is_a_call` |
//! | | *should* hold no reference to `exc_info` | `nobody_holds_the_error` |
//! | Handling the Content-Length Header | *should not* transmit more, and *should* "stop iterating … when enough data has been sent, or raise an error" from `write()` | `enough_is_enough`, `wsgi_content::no_more_and_no_less_than_was_said` |
//! | | too little: *should* "close the connection and log" | `wsgi_content::no_more_and_no_less_than_was_said` |
//! | | chunked content "must comply fully", or another strategy | `old_clients_get_no_chunks`; every streaming case, by a strict client |
//! | Buffering and Streaming | "must not delay the transmission of any block" | `wsgi_content::a_piece_is_sent_before_the_next_is_made`, `what_is_written_is_sent_first_and_at_once` |
//! | The write() Callable | treated "exactly as though it had been yielded", sent "before `write()` returns" | `what_is_written_is_sent_first_and_at_once` |
//! | | what is yielded besides "must be treated normally" and comes after it | `what_is_written_is_sent_first_and_at_once` |
//! | Unicode Issues | "must not supply strings … containing any other" than ISO-8859-1 characters | `environ_is_as_it_must_be` |
//! | | "a fatal error for an application to supply" others; bytestrings "must be of type `bytes`" | `a_call_that_has_failed_is_a_call`, `what_is_written_is_bytes`, `wsgi_content::errors_are_500_until_something_has_been_sent` |
//! | Error Handling | *should* "trap and log any exception" | `wsgi_content::errors_are_500_until_something_has_been_sent` |
//! | HTTP 1.1 Expect/Continue | "must provide transparent support" | `expectations_are_met`, `expect_continue` |
//! | Other HTTP Features | *should* "play dumb", change nothing that alters the semantics | `the_application_has_the_say` |
//! | | "must handle any supported inbound hop-by-hop headers" | `wsgi_environ::content_has_a_type_and_a_length` |
//! | Thread Support | *should* run an application "in a single-threaded fashion" | `one_call_at_a_time_unless_asked_for` |
//! | Server Extension APIs | extensions that replace a part of WSGI "must" be invoked through it: there are none | `environ_is_as_it_must_be` |
//! | Application Configuration | *should* let deployers place values in `environ`. Only `SCRIPT_NAME`; the rest of the environment stays in `os.environ`, away from error pages that print `environ` | `wsgi_environ` |
//! | URL Reconstruction | the algorithm gives the URL | `the_url_can_be_reconstructed` |
//! | Optional Platform-Specific File Handling | one required and one optional parameter; "must return an iterable object" | `files_are_sent_when_they_are_returned`, `wsgi_content::content_comes_in_every_form` |
//! | | "must not perform any data transmission until" it is returned | `files_are_sent_when_they_are_returned` |
//! | | its `close()` "must" invoke the file's | `files_are_sent_when_they_are_returned`, `wsgi_content::each_iterable_is_closed_once` |
//! | | from "the current position … at the time that transmission begins" to the end or `Content-Length` | `files_are_sent_when_they_are_returned`, `wsgi_content::no_more_and_no_less_than_was_said` |
//! | | what suits no platform API "must still" be wrapped | `files_are_sent_when_they_are_returned` |

use forebay_tests::{Client, Failure, PATIENCE, Process, Python, Site, python, wait_until};
use std::fs;
use std::net::SocketAddr;

/// Behind the edge, and listening plainly.
struct Both {
    site: Site,
    worker: Process,
    address: SocketAddr,
}

impl Both {
    fn start(python: &Python) -> Both {
        let site = python.site(APPLICATION, &[]);
        let (worker, address) = python.bound(APPLICATION);
        Both { site, worker, address }
    }

    fn each(&self) -> [Client; 2] {
        [self.site.client(), Client::connect(self.address)]
    }

    fn both_say(&self, path: &str, expected: &str) {
        for mut client in self.each() {
            let response = client.get(path);
            assert_eq!((response.status, response.text()), (200, expected), "{path}");
        }
    }
}

#[test]
fn any_callable_is_called_once_by_position() {
    let Some(python) = python() else { return };
    for name in
        ["application", "Class", "instance", "instance.method", "Instance.static", "partial"]
    {
        let (_worker, address) = python.bound(&format!("conformance:{name}"));
        let mut client = Client::connect(address);
        for calls in 1..4 {
            assert_eq!(client.get("/seen/calls").text(), calls.to_string(), "{name}");
        }
    }
}

#[test]
fn environ_is_as_it_must_be() {
    let Some(python) = python() else { return };
    let both = Both::start(python);
    for mut client in both.each() {
        let mut request = b"GET /keys/%E2%82%AC%FF?a=%FF HTTP/1.1\r\nHost: test\r\n".to_vec();
        request.extend(b"X-Bytes: \xe2\x82\xac\xff\r\n\r\n");
        let response = client.exchange(request);
        assert_eq!((response.status, response.text()), (200, "[]"));
    }
}

/// The edge speaks HTTP/1.1 to workers, whatever its clients speak.
#[test]
fn the_protocol_is_the_one_that_reached_us() {
    let Some(python) = python() else { return };
    let both = Both::start(python);
    for (mut client, expected) in both.each().into_iter().zip(["HTTP/1.1", "HTTP/1.0"]) {
        let response = client.exchange("GET /protocol HTTP/1.0\r\nHost: test\r\n\r\n");
        assert_eq!(response.text(), expected);
    }
}

#[test]
fn the_url_can_be_reconstructed() {
    let Some(python) = python() else { return };
    let both = Both::start(python);
    for (mut client, address) in both.each().into_iter().zip([both.site.address(), both.address]) {
        let target = "/url/a%20b?c=%20d";
        let request = format!("GET {target} HTTP/1.1\r\nHost: test:81\r\n\r\n");
        assert_eq!(client.exchange(request).text(), format!("http://test:81{target}"));
        let response = client.exchange(format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        assert_eq!(response.text(), format!("http://{address}{target}"));
    }
    let response = Client::connect(both.address).exchange("GET /url/a HTTP/1.0\r\n\r\n");
    assert_eq!(response.text(), format!("http://{}/url/a", both.address));
}

#[test]
fn errors_are_logged_whatever_they_are_made_of() {
    let Some(python) = python() else { return };
    let both = Both::start(python);
    both.both_say("/errors", "written");
    for line in ["a line: ", "first of two\n", "second of two\n"] {
        // The edge passes on what its workers write.
        wait_until(line, PATIENCE, || both.site.stderr().contains(line));
        wait_until(line, PATIENCE, || both.worker.stderr().contains(line));
    }
}

#[test]
fn reading_ends_where_the_content_does() {
    let Some(python) = python() else { return };
    for mut client in Both::start(python).each() {
        // What follows is the next request.
        client.send(
            "POST /read HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc\
             GET /read HTTP/1.1\r\nHost: test\r\n\r\n",
        );
        assert_eq!(client.read_response().text(), "(b'abc', b'', b'', [])");
        assert_eq!(client.read_response().text(), "(b'', b'', b'', [])");
    }
}

#[test]
fn content_is_bytes_as_they_are() {
    let Some(python) = python() else { return };
    let expected: Vec<u8> = (0..=255).chain(*b"\n\r\r\n\n").collect();
    for mut client in Both::start(python).each() {
        assert_eq!(client.get("/binary").content, expected);
    }
}

#[test]
fn nothing_but_close_is_looked_up() {
    let Some(python) = python() else { return };
    let both = Both::start(python);
    both.both_say("/watched", "content");
    both.both_say("/used", "['close']");
}

#[test]
fn an_iterable_is_closed_when_its_client_has_gone() {
    let Some(python) = python() else { return };
    let both = Both::start(python);
    for (mut client, mut after) in both.each().into_iter().zip(both.each()) {
        client.send("GET /endless HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.read_head().unwrap().status, 200);
        client.reset();
        // The only worker is busy until then.
        assert_eq!(after.get("/seen/closed").text(), "1");
    }
}

#[test]
fn required_fields_are_added_once() {
    let Some(python) = python() else { return };
    for mut client in Both::start(python).each() {
        let response = client.get("/several");
        assert!(response.field("date").is_some(), "RFC 9110 §6.6.1: {response:?}");
        let response = client.get("/cases");
        assert_eq!(response.text(), "content");
        for (name, expected) in
            [("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("server", "mine"), ("content-length", "7")]
        {
            let fields = response.fields.iter();
            let values = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
            let values: Vec<_> = values.map(|(_, value)| &value[..]).collect();
            assert_eq!(values, [expected], "{name}");
        }
    }
}

#[test]
fn the_head_can_be_replaced_until_there_is_content() {
    let Some(python) = python() else { return };
    for mut client in Both::start(python).each() {
        let response = client.get("/late");
        assert_eq!((response.status, response.text()), (500, "error page"));
    }
}

#[test]
fn a_call_that_has_failed_is_a_call() {
    let Some(python) = python() else { return };
    let both = Both::start(python);
    for mistake in ["status", "control", "name", "value"] {
        both.both_say(&format!("/failed-before/{mistake}"), "refused");
    }
}

#[test]
fn nobody_holds_the_error() {
    let Some(python) = python() else { return };
    for mut client in Both::start(python).each() {
        let response = client.get("/reference");
        assert_eq!((response.status, response.text()), (500, "gone"));
    }
}

#[test]
fn enough_is_enough() {
    let Some(python) = python() else { return };
    let both = Both::start(python);
    both.both_say("/enough/12", "012345678901");
    both.both_say("/seen/pieces", "1");
    both.both_say("/enough/10001", &format!("{}0", "0123456789".repeat(1000)));
    both.both_say("/seen/pieces", "3");
    both.both_say("/seen/closed", "2");
    both.both_say("/write-beyond", "abc");
    both.both_say("/seen/beyond", "refused");
}

/// RFC 9112 §6.1: no Transfer-Encoding for HTTP/1.0.
#[test]
fn old_clients_get_no_chunks() {
    let Some(python) = python() else { return };
    for mut client in Both::start(python).each() {
        client.send("GET /several HTTP/1.0\r\nHost: test\r\n\r\n");
        let response = client.read_response();
        assert_eq!(response.field("transfer-encoding"), None);
        assert_eq!(response.text(), "content");
        assert_eq!(client.try_response(false), Err(Failure::Closed));
    }
}

#[test]
fn what_is_written_is_sent_first_and_at_once() {
    let Some(python) = python() else { return };
    let both = Both::start(python);
    for (mut client, name) in both.each().into_iter().zip(["one", "two"]) {
        let go_on = both.site.path(name);
        let path = format!("/write-slowly{}", go_on.display());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert_eq!(client.read_head().unwrap().status, 200);
        // The end of a chunk may come with the next one.
        assert_eq!(client.read_exactly(8).unwrap(), b"5\r\nfirst");
        fs::write(&go_on, "").unwrap();
        assert_eq!(client.read_exactly(2).unwrap(), b"\r\n");
        let chunk = || Some(client.read_chunk().unwrap()).filter(|chunk| !chunk.is_empty());
        assert_eq!(std::iter::from_fn(chunk).collect::<Vec<_>>().concat(), b"secondthird");
        assert_eq!(client.get("/write-only").text(), "content");
    }
}

#[test]
fn what_is_written_is_bytes() {
    let Some(python) = python() else { return };
    Both::start(python).both_say("/write-text", "refused");
}

/// The edge answers by itself as soon as it wants the content.
#[test]
fn expectations_are_met() {
    let Some(python) = python() else { return };
    for mut client in Both::start(python).each() {
        client.send("POST /read HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n");
        client.send("Content-Length: 3\r\n\r\n");
        assert_eq!(client.read_response().status, 100);
        client.send("abc");
        assert_eq!(client.read_response().text(), "(b'abc', b'', b'', [])");
    }
}

#[test]
fn the_application_has_the_say() {
    let Some(python) = python() else { return };
    for mut client in Both::start(python).each() {
        let response = client.exchange(
            "GET /own-fields HTTP/1.1\r\nHost: test\r\nIf-None-Match: \"a\"\r\n\
             Range: bytes=0-1\r\nAccept-Encoding: br\r\n\r\n",
        );
        assert_eq!((response.status, response.text()), (200, "no gzip"));
        for (name, expected) in [
            ("etag", "\"a\""),
            ("content-encoding", "gzip"),
            ("cache-control", "private"),
            ("vary", "*"),
            ("x-asked", "\"a\"bytes=0-1"),
        ] {
            assert_eq!(response.field(name), Some(expected), "{name}");
        }
    }
}

#[test]
fn one_call_at_a_time_unless_asked_for() {
    let Some(python) = python() else { return };
    let site = python.site(APPLICATION, &[]);
    let mut clients: Vec<_> = (0..4).map(|_| site.client()).collect();
    for client in &mut clients {
        client.send("GET /running HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.read_response().text(), "ran");
    }
    assert_eq!(site.client().get("/seen/most").text(), "1");
}

#[test]
fn files_are_sent_when_they_are_returned() {
    let Some(python) = python() else { return };
    let both = Both::start(python);
    for (path, expected) in [
        ("/unsent-file", "0"),
        ("/moved-file", "89"),
        ("/file-in-middleware", "ABC"),
        ("/bare-file", "bare"),
        ("/closed-file", "True"),
    ] {
        both.both_say(path, expected);
    }
}

const APPLICATION: &str = "conformance:application";
