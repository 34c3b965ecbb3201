//! Exchanges over a socket pair, with the other end written by hand.

use super::*;
use crate::app::Request;
use bytes::Bytes;
use forebay::http::FIELDS_MOST;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::thread;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

pub(super) fn terms<'a>(from_edge: bool) -> Terms<'a> {
    Terms {
        from_edge,
        head: HeadLimits { bytes: 32 << 10, fields: FIELDS_MOST, target_bytes: 8 << 10 },
        content_max: 16 << 20,
        header_timeout: Some(Duration::from_secs(10)),
        body_timeout: Some(Duration::from_secs(10)),
        stop: None,
        keep_alive: true,
        yields_to: &[],
        peer: None,
        trusts_peer: false,
        logs_access: false,
    }
}

/// Serves everything that `write` sends, and returns all that came back.
pub(super) fn talk_under(
    terms: &Terms<'_>,
    app: impl App,
    write: impl FnOnce(&mut UnixStream) + Send,
) -> String {
    let (mut far, near) = UnixStream::pair().unwrap();
    let mut input = far.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            write(&mut far);
            let _ = far.shutdown(Shutdown::Write);
        });
        let output = scope.spawn(move || {
            let mut output = Vec::new();
            // A reset after the answer ends it as well.
            let _ = input.read_to_end(&mut output);
            String::from_utf8(output).unwrap()
        });
        let socket = Socket::new(near);
        let mut exchanger = Exchanger::new(32 << 10);
        while exchanger.exchange(&socket, &app, terms) == Outcome::Next {}
        drop(socket);
        output.join().unwrap()
    })
}

fn from_edge(app: impl App, bytes: &[u8]) -> String {
    talk_under(&terms(true), app, |far| far.write_all(bytes).unwrap())
}

pub(super) fn from_client(app: impl App, bytes: &[u8]) -> String {
    talk_under(&terms(false), app, |far| far.write_all(bytes).unwrap())
}

fn echo(request: Request) -> Response {
    let content = request.content().clone();
    Response::new(content).with_field("X-Target", request.target().to_owned())
}

#[test]
fn a_response_to_the_edge_has_what_is_needed_and_no_more() {
    let app = |_: Request| Response::text("Hello, world!");
    assert_eq!(
        from_edge(app, GET),
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: 13\r\n\r\nHello, world!"
    );
}

#[test]
fn requests_follow_one_another_however_they_are_cut() {
    let post = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    let all = [GET, post, GET].concat();
    let expected = "HTTP/1.1 200 OK\r\nX-Target: /a\r\nContent-Length: 0\r\n\r\n\
                    HTTP/1.1 200 OK\r\nX-Target: /b\r\nContent-Length: 5\r\n\r\nhello\
                    HTTP/1.1 200 OK\r\nX-Target: /a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(from_edge(echo, &all), expected);
    let byte_by_byte = talk_under(&terms(true), echo, |far| {
        for byte in &all {
            far.write_all(&[*byte]).unwrap();
            thread::yield_now();
        }
    });
    assert_eq!(byte_by_byte, expected);
}

#[test]
fn large_content_goes_both_ways() {
    let content = "0123456789abcdef".repeat(320 << 10);
    let head = format!("PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", content.len());
    let answer = from_edge(echo, format!("{head}{content}").as_bytes());
    let (_, back) = answer.split_once("\r\n\r\n").unwrap();
    assert!(back == content, "{} bytes came back", back.len());
}

#[test]
fn when_the_application_is_called_the_request_has_left_the_kernel_whole() {
    let large =
        [b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n", &[b'x'; 90_000][..]];
    let chunked =
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    let huge = [
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n",
        &[b'x'; 9 << 20][..9_000_000],
    ];
    for (request, part) in [
        (GET, GET.len()),
        (GET, 1),
        (&large.concat(), 1 << 20),
        (&large.concat(), 3000),
        (&huge.concat(), 1 << 20),
        (chunked, chunked.len()),
        (chunked, 7),
    ] {
        let (mut far, near) = UnixStream::pair().unwrap();
        let mut writer = far.try_clone().unwrap();
        let parts: Vec<Vec<u8>> = request.chunks(part).map(<[u8]>::to_vec).collect();
        let writer = thread::spawn(move || {
            for part in parts {
                writer.write_all(&part).unwrap();
                thread::yield_now();
            }
        });
        let left = Socket::new(near.try_clone().unwrap());
        let app = move |_: Request| {
            let [unread] = wait_readable([left.as_fd()], Some(Duration::ZERO)).unwrap();
            Response::new(if unread { "unread" } else { "all taken" })
        };
        let outcome = Exchanger::new(32 << 10).exchange(&Socket::new(near), &app, &terms(true));
        assert_eq!(outcome, Outcome::Next);
        drop(app);
        writer.join().unwrap();
        let mut answer = String::new();
        far.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("all taken"), "{answer}");
    }
}

#[test]
fn a_request_that_is_not_begun_is_left_and_the_sender_hears_of_it() {
    let (mut far, near) = UnixStream::pair().unwrap();
    far.write_all(GET).unwrap();
    let stop = Stop::new().unwrap();
    stop.request();
    let socket = Socket::new(near);
    let terms = Terms { stop: Some(&stop), ..terms(true) };
    let outcome = Exchanger::new(32 << 10).exchange(&socket, &echo, &terms);
    assert_eq!(outcome, Outcome::Stopped);
    drop(socket);
    let error = far.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn head_204_and_304_have_no_content() {
    let app = |request: Request| {
        let status = request.path()[1..].parse().unwrap_or(200);
        Response::text("content").with_status(status)
    };
    let head = from_edge(app, b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(head.ends_with("Content-Length: 7\r\n\r\n"), "{head}");
    for status in ["204", "304"] {
        let answer =
            from_edge(app, format!("GET /{status} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        assert!(answer.ends_with("charset=utf-8\r\n\r\n"), "{answer}");
    }
}

#[test]
fn a_head_request_does_not_run_the_stream() {
    let app = |_: Request| Response::stream(std::iter::from_fn(|| panic!("run")));
    let head = from_edge(app, b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

fn pieces(pieces: &'static [&'static str]) -> Response {
    Response::stream(pieces.iter().map(|&piece| match piece {
        "error" => Err(io::Error::other("broken")),
        "panic" => panic!("broken"),
        piece => Ok(Bytes::from(piece)),
    }))
}

#[test]
fn streams_are_chunked() {
    let app = |_: Request| pieces(&["one", "", "seventeen letters"]);
    let answer = from_edge(app, &[GET, GET].concat());
    let one = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
               3\r\none\r\n11\r\nseventeen letters\r\n0\r\n\r\n";
    assert_eq!(answer, one.repeat(2));
    let answer = from_edge(|_: Request| pieces(&[]), GET);
    assert!(answer.ends_with("chunked\r\n\r\n0\r\n\r\n"), "{answer}");
}

#[test]
fn each_piece_is_sent_before_the_next_is_asked_for() {
    let (mut far, near) = UnixStream::pair().unwrap();
    let (next, asked) = std::sync::mpsc::channel::<()>();
    let asked = Mutex::new(Some(asked));
    let app = move |_: Request| {
        let asked = asked.lock().unwrap().take().unwrap();
        let waits = (0..2).map(move |_| {
            asked.recv().map_err(io::Error::other)?;
            Ok(Bytes::from_static(b"piece"))
        });
        Response::stream(waits)
    };
    let server = thread::spawn(move || {
        Exchanger::new(32 << 10).exchange(&Socket::new(near), &app, &terms(true))
    });
    far.write_all(GET).unwrap();
    next.send(()).unwrap();
    let mut first = [0; 57];
    far.read_exact(&mut first).unwrap();
    assert!(first.ends_with(b"5\r\npiece\r\n"), "{}", first.escape_ascii());
    next.send(()).unwrap();
    assert_eq!(server.join().unwrap(), Outcome::Next);
}

#[test]
fn a_stream_with_a_length_is_held_to_it() {
    let sized = |length: &'static str, parts| {
        from_edge(
            move |_: Request| pieces(parts).with_field("Content-Length", length),
            &[GET, GET].concat(),
        )
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n";
    assert_eq!(sized("6", &["abc", "def"]), format!("{head}abcdef").repeat(2));
    assert_eq!(sized("6", &["abc"]), format!("{head}abc"), "closed: nobody takes it for whole");
    assert_eq!(sized("6", &["abc", "defg"]), format!("{head}abc"));
}

#[test]
fn a_failure_is_500_before_the_first_byte_and_the_end_of_the_connection_after() {
    let error = "HTTP/1.1 500 Internal Server Error\r\n";
    for broken in [&["error"][..], &["panic"]] {
        let answer = from_edge(move |_: Request| pieces(broken), &[GET, GET].concat());
        assert_eq!(answer.matches(error).count(), 2, "{answer}");
    }
    for broken in [&["abc", "error"][..], &["abc", "panic"]] {
        let answer = from_edge(move |_: Request| pieces(broken), &[GET, GET].concat());
        assert!(answer.ends_with("3\r\nabc\r\n"), "{answer}");
    }
}

#[test]
fn a_panic_is_500_and_the_next_request_is_served() {
    let app = |request: Request| match request.path() {
        "/a" => panic!("on purpose"),
        _ => Response::text("fine"),
    };
    let answer = from_edge(app, &[GET, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"].concat());
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(answer.ends_with("fine"), "{answer}");
}

#[test]
fn a_response_that_cannot_be_written_is_500() {
    let bad: [fn() -> Response; 4] = [
        || Response::text("").with_status(199),
        || Response::text("").with_status(600),
        || Response::text("").with_field("X Y", "z"),
        || Response::text("").with_field("X", "a\r\nSet-Cookie: b"),
    ];
    for response in bad {
        let answer = from_edge(move |_: Request| response(), GET);
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    }
}

#[test]
fn framing_is_the_workers_own_business() {
    let app = |_: Request| {
        let response = Response::new("abc").with_field("content-length", "7");
        response.with_field("Transfer-Encoding", "chunked").with_field("Connection", "close")
    };
    assert_eq!(from_edge(app, GET), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
}

fn facts(request: Request) -> Response {
    assert!(request.fields().all(|(name, _)| !name.to_ascii_lowercase().starts_with("forebay")));
    let left = request.deadline().map(|at| at.saturating_duration_since(Instant::now()).as_secs());
    Response::new(format!("{:?} {:?} {left:?}", request.peer(), request.request_id()))
}

#[test]
fn reserved_fields_are_believed_only_from_the_edge() {
    let request =
        b"GET / HTTP/1.1\r\nHost: h\r\nForebay-Peer: [::1]:80\r\nforebay-request-id: r1\r\n\
                    Forebay-Deadline-Ms: 99900\r\nForebay-Scheme: http\r\n\r\n";
    let answer = from_edge(facts, request);
    assert!(answer.ends_with("Some([::1]:80) Some(\"r1\") Some(99)"), "{answer}");
    let answer = from_client(facts, request);
    assert!(answer.ends_with("None None None"), "{answer}");
    let odd = b"GET / HTTP/1.1\r\nHost: h\r\nForebay-Peer: x\r\n\
                Forebay-Deadline-Ms: 18446744073709551615\r\n\r\n";
    assert!(from_edge(facts, odd).starts_with("HTTP/1.1 200 "));
}

#[test]
fn clients_get_a_date_and_the_state_of_the_connection() {
    let answer = from_client(echo, GET);
    assert!(answer.contains("\r\nDate: ") && !answer.contains("Connection"), "{answer}");
    let old = from_client(echo, b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(old.contains("\r\nConnection: keep-alive\r\n"), "{old}");
    let close = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answer = from_client(echo, &[close, GET].concat());
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
}

#[test]
fn a_connection_yields_to_whoever_waits_and_says_so() {
    let waiting = Stop::new().unwrap();
    let fds = [waiting.as_fd()];
    let terms = Terms { yields_to: &fds, ..terms(false) };
    let twice = [GET, GET].concat();
    let app = |request: Request| {
        waiting.request();
        echo(request)
    };
    let answer = talk_under(&terms, app, |far| far.write_all(&twice).unwrap());
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");

    let terms = Terms { keep_alive: false, ..self::terms(false) };
    let answer = talk_under(&terms, echo, |far| far.write_all(&twice).unwrap());
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
}

#[test]
fn a_stream_to_an_old_client_ends_with_the_connection() {
    let answer = from_client(|_: Request| pieces(&["abc", "def"]), b"GET /a HTTP/1.0\r\n\r\n");
    assert!(answer.contains("Connection: close") && answer.ends_with("\r\n\r\nabcdef"), "{answer}");
}

#[test]
fn chunked_content_is_decoded_and_what_follows_is_the_next_request() {
    let post = b"POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: z\r\n\r\n";
    let all = [post, GET].concat();
    let answer = from_client(echo, &all);
    assert!(answer.contains("\r\n\r\nabcdefgHTTP/1.1 200 OK\r\nX-Target: /a\r\n"), "{answer}");
    let byte_by_byte = talk_under(&terms(false), echo, |far| {
        for byte in &all {
            far.write_all(&[*byte]).unwrap();
            thread::yield_now();
        }
    });
    assert!(byte_by_byte.contains("abcdefgHTTP/1.1 200 OK"), "{byte_by_byte}");
}

#[test]
fn who_expects_100_continue_gets_it_unless_the_content_is_here() {
    let head = b"POST /b HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let (mut far, near) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || {
        Exchanger::new(32 << 10).exchange(&Socket::new(near), &echo, &terms(false))
    });
    far.write_all(head).unwrap();
    let mut interim = [0; 25];
    far.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    far.write_all(b"abc").unwrap();
    assert_eq!(server.join().unwrap(), Outcome::Next);

    let answer = from_client(echo, &[head, &b"abc"[..]].concat());
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[test]
fn what_is_malformed_or_too_large_is_refused() {
    let large = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(33 << 10));
    for (request, status) in [
        (&b"GET /\n\n"[..], "400"),
        (b"GET / HTTP/1.1\r\n\r\n", "400"),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", "505"),
        (b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 16777217\r\n\r\n", "413"),
        (b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "400"),
        (large.as_bytes(), "431"),
        (b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", "501"),
    ] {
        let answer = from_client(echo, request);
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{status}: {answer}");
    }
}

#[test]
fn a_refusal_of_head_has_no_content() {
    let large = format!("HEAD /{} HTTP/1.1\r\n", "x".repeat(40 << 10));
    for (request, status) in [
        ("HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n", "413"),
        ("HEAD / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "400"),
        ("HEAD / HTTP/1.1\r\n\r\n", "400"),
        ("\r\nHEAD / HTTP/1.1\nHost: h\n\n", "400"),
        (large.as_str(), "414"),
    ] {
        let answer = from_client(echo, request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        assert!(
            answer.contains("\r\nContent-Length: ") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
    }
}

#[test]
fn who_may_lose_its_answer_by_a_reset_lingers_and_nobody_else() {
    let waiting = Stop::new().unwrap();
    waiting.request();
    let fds = [waiting.as_fd()];
    let app = |request: Request| match request.path() {
        "/large" => Response::new(vec![b'x'; 20_000]),
        "/broken" => pieces(&["abc", "error"]),
        _ => Response::text("small"),
    };
    for (request, from_edge, must_yield, expected) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", false, false, Outcome::Next),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", false, true, Outcome::Lingers),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false, true, Outcome::Last),
        ("GET / HTTP/1.0\r\n\r\n", false, false, Outcome::Last),
        ("GET /large HTTP/1.0\r\n\r\n", false, false, Outcome::Lingers),
        ("HEAD /large HTTP/1.0\r\n\r\n", false, false, Outcome::Last),
        ("GET /broken HTTP/1.1\r\nHost: h\r\n\r\n", false, false, Outcome::Lingers),
        ("GET /broken HTTP/1.1\r\nHost: h\r\n\r\n", true, false, Outcome::Last),
        ("GET / HTTP/1.1\r\n\r\n", false, false, Outcome::Lingers),
    ] {
        let (mut far, near) = UnixStream::pair().unwrap();
        far.write_all(request.as_bytes()).unwrap();
        let yields_to = if must_yield { &fds[..] } else { &[] };
        let terms = Terms { yields_to, ..terms(from_edge) };
        let outcome = Exchanger::new(32 << 10).exchange(&Socket::new(near), &app, &terms);
        assert_eq!(outcome, expected, "{request:?}");
    }
}

#[test]
fn an_empty_line_before_a_request_is_no_reason_to_wait_for_one() {
    let (mut far, near) = UnixStream::pair().unwrap();
    let (socket, mut exchanger) = (Socket::new(near), Exchanger::new(32 << 10));
    let mut exchange = || exchanger.exchange(&socket, &echo, &terms(false));
    for _ in 0..2 {
        far.write_all(b"\r\n").unwrap();
        assert_eq!(exchange(), Outcome::Nothing);
    }
    far.write_all(&[b"\r\n", GET].concat()).unwrap();
    assert_eq!(exchange(), Outcome::Next);
}

#[test]
fn who_is_too_slow_is_told() {
    let short = Terms {
        header_timeout: Some(Duration::from_millis(20)),
        body_timeout: Some(Duration::from_millis(20)),
        ..terms(false)
    };
    let half_content = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab";
    for (request, status, expected) in [
        (&b"GET / HTT"[..], "HTTP/1.1 408 ", Outcome::Lingers),
        (half_content, "HTTP/1.1 408 ", Outcome::Lingers),
        (b"", "", Outcome::Ended),
    ] {
        let (mut far, near) = UnixStream::pair().unwrap();
        far.write_all(request).unwrap();
        let socket = Socket::new(near);
        let outcome = Exchanger::new(32 << 10).exchange(&socket, &echo, &short);
        assert_eq!(outcome, expected);
        drop(socket);
        let mut answer = String::new();
        let _ = far.read_to_string(&mut answer);
        assert!(answer.starts_with(status), "{answer}");
    }
}
