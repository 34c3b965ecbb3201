//! Responses of applications are held to the standard of requests: what is wrong is 502 while
//! nothing has gone to the client, and afterwards cut off so that the client can tell.

use forebay_tests::{Client, Failure, RawWorker, Response, Site};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A client whose request a worker has.
fn exchange(site: &Site, method: &str) -> (Client, RawWorker) {
    let mut worker = RawWorker::dial(site);
    let mut client = site.client();
    client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
    let request = worker.read_head();
    assert!(request.starts_with(method), "{request}");
    (client, worker)
}

fn site() -> Site {
    Site::builder().raw_app().limit("response_head_bytes = \"4KiB\"").start()
}

/// The response costs its worker the slot; the client is told, and its connection goes on.
fn assert_bad_gateway(site: &Site, what: &str, response: impl AsRef<[u8]>) {
    let (mut client, mut worker) = exchange(site, "GET");
    worker.send(response);
    let answer = client.try_response(false);
    let answer = answer.unwrap_or_else(|failure| panic!("{what}: {failure}"));
    assert_eq!(answer.status, 502, "{what}");
    assert!(!answer.text().contains("evil") && answer.field("Evil").is_none(), "{what}");
    worker.expect_end();
    assert_goes_on(site, &mut client, what);
}

/// The next response on this connection is the next worker's.
fn assert_goes_on(site: &Site, client: &mut Client, what: &str) {
    let mut worker = RawWorker::dial(site);
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(worker.read_head().starts_with("GET /next "), "{what}");
    worker.send(OK);
    let answer = client.try_response(false).map(|answer| answer.content);
    assert_eq!(answer.as_deref(), Ok(&b"ok"[..]), "{what}");
}

#[test]
fn status_lines_are_strict_rfc_9112_4() {
    let site = site();
    for line in [
        "HTTP/2.0 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1 000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 600 OK",
        "HTTP/1.1 999 OK",
        "HTTP/1.1",
        "http/1.1 200 OK",
        "XTTP/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 O\nK",
        "\r\nHTTP/1.1 200 OK",
        "GET / HTTP/1.1",
        "<html>evil</html>",
    ] {
        assert_bad_gateway(&site, line, format!("{line}\r\nContent-Length: 4\r\n\r\nevil"));
    }
    // At once, not when a line has ended.
    assert_bad_gateway(&site, "no line", "Traceback (most recent call last)");
    assert_bad_gateway(&site, "no HTTP/1", "HTTP/2");
}

#[test]
fn fields_are_as_strict_as_in_requests_rfc_9112_5() {
    let site = site();
    for lines in [
        "abc",
        ": b",
        "A : b",
        "A\t: b",
        " A: b",
        "A B: c",
        "A\0: b",
        "A(: b",
        "A\u{e4}: b",
        "A: b\r\n c",
        "A: b\r\n\tc",
        "A: b\nEvil: c",
        "A: b\rEvil: c",
        "A: b\r\r\nEvil: c",
        "A: \0",
        "A: b\x0bc",
        "A: \x1b[0m",
        "A: \x7f",
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{lines}\r\nContent-Length: 4\r\n\r\nevil");
        assert_bad_gateway(&site, lines, response);
    }
}

#[test]
fn framing_is_beyond_doubt_rfc_9112_6_3() {
    let site = site();
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4, 4",
        "Content-Length: +4",
        "Content-Length: -4",
        "Content-Length: 0x4",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        assert_bad_gateway(&site, fields, format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nevil"));
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n";
    assert_bad_gateway(&site, "a coding in HTTP/1.0", old);
}

#[test]
fn heads_are_bounded() {
    let site = site();
    let long = "x".repeat(5_000);
    assert_bad_gateway(&site, "a long value", format!("HTTP/1.1 200 OK\r\nA: {long}\r\n\r\n"));
    assert_bad_gateway(&site, "no end", format!("HTTP/1.1 200 OK\r\nA: {long}"));
    assert_bad_gateway(&site, "a long reason", format!("HTTP/1.1 200 {long}"));
    let many = "A:b\r\n".repeat(500);
    assert_bad_gateway(&site, "many fields", format!("HTTP/1.1 200 OK\r\n{many}\r\n"));
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(200);
    assert_bad_gateway(&site, "many interim responses", format!("{interim}{OK}"));
}

/// RFC 9110 §15.2: interim responses are between worker and edge; nothing is switched.
#[test]
fn interim_responses_end_at_the_edge_rfc_9110_15_2() {
    let site = site();
    for interim in ["100 Continue", "102 Processing", "103 Early Hints", "199 X"] {
        let (mut client, mut worker) = exchange(&site, "GET");
        worker.send(format!("HTTP/1.1 {interim}\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n"));
        worker.send(OK);
        let answer = client.read_response();
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{interim}");
        assert_eq!(answer.field("Link"), None);
        assert_same_slot(&mut client, &mut worker);
    }
    let upgrade =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\nConnection: Upgrade\r\n\r\n";
    assert_bad_gateway(&site, "101", upgrade);
}

/// RFC 9110 §9.3.2, §15.3.5, §15.4.5: what follows is no content, and costs the slot.
#[test]
fn head_204_and_304_have_no_content_rfc_9110_6_4_1() {
    let site = site();
    for (method, status) in [("HEAD", "200 OK"), ("GET", "204 No"), ("GET", "304 No")] {
        for (fields, content) in [
            ("Content-Length: 4", "evil"),
            ("Transfer-Encoding: chunked", "4\r\nevil\r\n0\r\n\r\n"),
            ("A: b", "evil"),
            ("Content-Length: 0", "HTTP/1.1 200 OK\r\nEvil: x\r\nContent-Length: 4\r\n\r\nevil"),
        ] {
            let (mut client, mut worker) = exchange(&site, method);
            worker.send(format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n{content}"));
            let answer = client.try_response(method == "HEAD").expect("an answer");
            assert_eq!(answer.status.to_string(), status[..3]);
            assert!(answer.content.is_empty() && answer.field("Transfer-Encoding").is_none());
            worker.expect_end();
            assert_goes_on(&site, &mut client, &format!("{method} {status} {fields}"));
        }
        let (mut client, mut worker) = exchange(&site, method);
        worker.send(format!("HTTP/1.1 {status}\r\n\r\n"));
        let answer = client.try_response(method == "HEAD").expect("an answer");
        assert_eq!(answer.status.to_string(), status[..3]);
        assert_same_slot(&mut client, &mut worker);
    }
}

/// §6.3: what is behind the length is nobody's, and costs the slot.
#[test]
fn too_much_content_is_cut_rfc_9112_6_3() {
    let site = site();
    for response in [
        format!("{OK}evil"),
        format!("{OK}{OK}"),
        format!("{OK}\r\n"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nevil".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nevil".into(),
    ] {
        let (mut client, mut worker) = exchange(&site, "GET");
        worker.send(&response);
        let answer = client.read_response();
        assert!(answer.status == 200 && !answer.text().contains("evil"), "{response}");
        worker.expect_end();
        assert_goes_on(&site, &mut client, &response);
    }
}

/// §8: a client must be able to tell that a response is not whole.
#[test]
fn too_little_content_cuts_the_client_off_rfc_9112_8() {
    let site = site();
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n",
    ] {
        let (mut client, mut worker) = exchange(&site, "GET");
        worker.send(response);
        worker.half_close();
        assert_cut_off(client.try_response(false), response);
        worker.expect_end();
        let half_closed = client.try_response(false);
        assert!(half_closed.is_err(), "{response}: the connection has ended");
    }
    // No length, no chunks: its end is the end.
    let (mut client, mut worker) = exchange(&site, "GET");
    worker.send("HTTP/1.1 200 OK\r\n\r\nok");
    worker.half_close();
    assert_eq!(client.read_response().text(), "ok");
}

#[test]
fn half_a_head_is_502_rfc_9112_8() {
    let site = site();
    for response in ["H", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nA: b\r\n", "GOODBYE"] {
        let (mut client, mut worker) = exchange(&site, "POST");
        worker.send(response);
        worker.half_close();
        assert_eq!(client.read_response().status, 502, "{response}");
        worker.expect_end();
        assert_goes_on(&site, &mut client, response);
    }
}

#[test]
fn bad_chunks_are_502_or_the_end_rfc_9112_7_1() {
    let site = site();
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunk in [
        "g\r\n",
        "0x4\r\n",
        "+4\r\n",
        " 4\r\n",
        "4 \r\n",
        "\r\n",
        "4\nevil",
        "4\r\r\nevil",
        "4\r\nevilx\r\n",
        "4;a\nb\r\n",
        "4;\0\r\n",
        "10000000000000\r\n",
        "0\r\nabc\r\n\r\n",
        "0\r\nA : b\r\n",
        "0\r\n\n",
    ] {
        assert_bad_gateway(&site, chunk, format!("{head}{chunk}"));
        let (mut client, mut worker) = exchange(&site, "GET");
        worker.send(format!("{head}2\r\nok\r\n"));
        client.read_head().unwrap();
        assert_eq!(client.read_exactly(7).as_deref(), Ok(&b"2\r\nok\r\n"[..]));
        worker.send(chunk);
        worker.expect_end();
        assert_eq!(client.read_to_end(), b"", "{chunk}");
    }
}

/// What concerns the hop, or the edge, does not pass; trailers neither.
#[test]
fn fields_of_the_hop_do_not_pass_rfc_9110_7_6_1() {
    let site = site();
    let (mut client, mut worker) = exchange(&site, "GET");
    worker.send(
        "HTTP/1.1 200 Fine\r\nConnection: Private, Set-Cookie\r\nPrivate: evil\r\n\
         Upgrade: evil\r\nKeep-Alive: evil\r\nProxy-Authenticate: evil\r\n\
         Forebay-Peer: evil\r\nX-Accel-Expires: 0\r\n\
         Trailer: Evil\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nEvil: evil\r\n\r\n",
    );
    let answer = client.read_response();
    let said = format!("{:?}", answer.fields).to_lowercase();
    assert!(!said.contains("evil") && !said.contains("accel"), "{said}");
    let cookies = answer.fields.iter().filter(|(name, _)| name == "Set-Cookie");
    let cookies: Vec<_> = cookies.map(|(_, value)| value.as_str()).collect();
    assert_eq!((answer.text(), &cookies[..]), ("ok", &["a", "b"][..]));
    assert_same_slot(&mut client, &mut worker);
}

/// Who speaks unasked answers no request.
#[test]
fn what_comes_before_a_request_answers_none_rfc_9112_9_2() {
    let site = site();
    let mut babbler = RawWorker::dial(&site);
    babbler.send("HTTP/1.1 200 OK\r\nEvil: x\r\nContent-Length: 4\r\n\r\nevil");
    let mut worker = RawWorker::dial(&site);
    for _ in 0..2 {
        let mut client = site.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        worker.read_head();
        worker.send(OK);
        assert_eq!(client.read_response().text(), "ok");
        drop(client);
        // The babbler is the next in line, and is passed over.
        let mut busy = site.client();
        busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        worker.read_head();
        worker.send(OK);
        assert_eq!(busy.read_response().text(), "ok");
    }
    let mut clients = [site.client(), site.client()];
    clients.iter_mut().for_each(|c| c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    worker.read_head();
    // While the worker is busy, the babbler is the only one for the other request.
    babbler.expect_end();
    worker.send(OK);
    worker.read_head();
    worker.send(OK);
    clients.iter_mut().for_each(|client| assert_eq!(client.read_response().text(), "ok"));
}

fn assert_same_slot(client: &mut Client, worker: &mut RawWorker) {
    client.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(worker.read_head().starts_with("GET /again "));
    worker.send(OK);
    assert_eq!(client.read_response().text(), "ok");
}

fn assert_cut_off(answer: Result<Response, Failure>, what: &str) {
    assert!(matches!(answer, Err(Failure::Truncated | Failure::Reset)), "{what}: {answer:?}");
}
