//! What single clients must see: timeouts, refusals, pipelining, the end of the server.

use super::*;

const OK: &str = "HTTP/1.1 200 ";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn edge() -> Edge {
    Edge::new(&Settings::default())
}

/// Ended, and not by a reset.
fn has_ended_well(client: &Peer) -> bool {
    client.at_end() && !client.was_reset()
}

#[test]
fn an_unfinished_head_is_408_in_time() {
    let mut edge = edge();
    let client = edge.client(0, "GET / HTTP/1.1\r\nHost");
    let silent = edge.client(0, "");
    edge.pass(seconds(9));
    assert!(text(&client).is_empty() && !silent.at_end());
    edge.pass(seconds(2));
    assert!(text(&client).starts_with("HTTP/1.1 408 "));
    assert!(has_ended_well(&client) && has_ended_well(&silent));
    assert!(text(&silent).is_empty(), "nothing is said to who has said nothing");
    assert_eq!(edge.stats().client_header_timeout, 2);
    edge.finish();
}

#[test]
fn an_empty_line_behind_a_request_begins_no_other_rfc_9112_2_2() {
    for line in ["\r", "\r\n"] {
        let mut edge = edge();
        let client = edge.client(0, get("/fixed") + line);
        let other = edge.client(0, get("/fixed") + line);
        assert!(text(&client).starts_with(OK) && text(&other).starts_with(OK));
        edge.pass(seconds(70));
        edge.say(&other, "\r\n".strip_prefix(line).unwrap().to_owned() + &get("/fixed"));
        assert!(text(&other).starts_with(OK), "after {line:?}");
        edge.pass(seconds(10));
        assert!(text(&client).is_empty() && has_ended_well(&client), "{line:?}");
        assert_eq!(edge.stats().keepalive_timeout, 1);
        edge.finish();
    }
}

#[test]
fn an_answer_to_head_has_no_content_though_the_head_is_bad_rfc_9110_9_3_2() {
    for (head, status) in [("HEAD / HTTP/1.1\r\n\r\n", "400"), ("HEAD / HTTP/1.1\r\nHo", "408")] {
        let mut edge = edge();
        let client = edge.client(0, head);
        edge.pass(seconds(11));
        let answer = text(&client);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.ends_with("\r\n\r\n") && answer.contains("Content-Length"), "{answer}");
        edge.finish();
    }
}

#[test]
fn the_time_for_a_later_head_begins_with_its_first_byte() {
    let mut edge = edge();
    let client = edge.client(0, get("/fixed"));
    assert!(text(&client).starts_with(OK));
    edge.pass(seconds(60));
    edge.say(&client, "GET /fi");
    edge.pass(seconds(9));
    edge.say(&client, "xed HT");
    assert!(text(&client).is_empty());
    edge.pass(seconds(2));
    assert!(text(&client).starts_with("HTTP/1.1 408 "));
    assert!(has_ended_well(&client));
    edge.finish();
}

#[test]
fn an_empty_line_behind_a_request_is_no_first_byte_rfc_9112_2_2() {
    for line in ["\r", "\r\n"] {
        let rest = "\r\n".strip_prefix(line).unwrap();
        let mut edge = edge();
        let clients = [(); 3].map(|()| edge.client(0, get("/fixed") + line));
        assert!(clients.iter().all(|client| text(client).starts_with(OK)));
        edge.pass(seconds(20));
        edge.say(&clients[0], format!("{rest}GET /fi"));
        edge.pass(seconds(9));
        edge.say(&clients[0], "xed HT");
        edge.pass(seconds(2));
        assert!(text(&clients[0]).starts_with("HTTP/1.1 408 "), "{line:?}: before the 75 s");
        edge.pass(seconds(43));
        edge.say(&clients[1], rest);
        edge.say(&clients[2], format!("{rest}GET /fi"));
        edge.pass(seconds(2));
        assert!(has_ended_well(&clients[1]) && text(&clients[1]).is_empty(), "{line:?}");
        edge.say(&clients[2], "xed HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(text(&clients[2]).starts_with(OK), "{line:?}: behind the 75 s");
        edge.finish();
    }
}

#[test]
fn a_head_behind_many_requests_has_its_time_as_well() {
    for requests in [15, 16, 17, 32] {
        let mut edge = edge();
        let client = edge.client(0, get("/fixed").repeat(requests) + "GET /fixed HT");
        assert_eq!(text(&client).matches(OK).count(), requests);
        edge.pass(seconds(9));
        assert!(!client.at_end(), "{requests}");
        edge.pass(seconds(2));
        assert!(text(&client).starts_with("HTTP/1.1 408 "), "{requests}");
        assert!(has_ended_well(&client));
        edge.finish();
    }
}

#[test]
fn half_a_head_behind_a_request_for_a_worker_or_handler_has_its_time_as_well() {
    let mut edge = edge();
    let post = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
    let clients = [get("/app/1"), post.into()].map(|first| edge.client(0, first + "GET /fixed HT"));
    let worker = edge.dial_in(0);
    assert!(text(&worker).starts_with("GET /app/1 "));
    edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    edge.pass(seconds(9));
    for client in &clients {
        assert_eq!(text(client).matches("HTTP/1.1").count(), 1);
        assert!(!client.at_end());
    }
    edge.pass(seconds(2));
    for client in &clients {
        assert!(text(client).starts_with("HTTP/1.1 408 "));
        assert!(has_ended_well(client));
    }
    edge.finish();
}

#[test]
fn half_a_head_behind_many_requests_of_a_half_closed_client_is_no_request() {
    for requests in [1, 15, 16, 17, 32] {
        let mut edge = edge();
        let client = edge.connect(0);
        client.send((get("/fixed").repeat(requests) + "GET /fixed HT").as_bytes());
        client.finish();
        edge.settle();
        assert_eq!(text(&client).matches(OK).count(), requests);
        assert!(has_ended_well(&client), "{requests}");
        edge.finish();
    }
}

#[test]
fn content_that_stops_coming_is_408() {
    let limits = Limits { rate_min: 0, ..Limits::default() };
    let mut edge = Edge::new(&Settings { limits, ..Settings::default() });
    let post = "POST /echo HTTP/1.1\r\nHost: x\r\n";
    let clients = [
        edge.client(0, format!("{post}Content-Length: 9\r\n\r\n")),
        edge.client(0, format!("{post}Content-Length: 90000\r\n\r\n")),
        edge.client(0, format!("{post}Transfer-Encoding: chunked\r\n\r\n")),
    ];
    for _ in 0..3 {
        edge.pass(seconds(29));
        clients[..2].iter().for_each(|client| edge.say(client, "x"));
        edge.say(&clients[2], "1\r\nx\r\n");
    }
    clients.iter().for_each(|client| assert!(text(client).is_empty()));
    edge.pass(seconds(31));
    for client in &clients {
        assert!(text(client).starts_with("HTTP/1.1 408 "));
    }
    edge.pass(seconds(6));
    assert!(clients.iter().all(has_ended_well));
    assert_eq!(edge.stats().client_body_timeout, 3);
    edge.finish();
}

#[test]
fn idle_connections_end_after_keepalive_timeout() {
    let mut edge = edge();
    let client = edge.client(0, get("/fixed"));
    edge.pass(seconds(74));
    edge.say(&client, get("/fixed"));
    assert_eq!(text(&client).matches(OK).count(), 2);
    edge.pass(seconds(74));
    assert!(!client.at_end());
    edge.pass(seconds(2));
    assert!(has_ended_well(&client));
    assert_eq!(edge.stats().keepalive_timeout, 1);
    edge.finish();
}

#[test]
fn a_connection_is_not_idle_while_it_takes_an_answer() {
    let mut edge = edge();
    edge.kernel.set_capacity(1000);
    let client = edge.client(0, get("/files/large.bin"));
    let mut received = 0;
    for _ in 0..LARGE_FILE.1 / 1000 {
        edge.pass(seconds(1));
        received += client.receive_at_most(1000).len();
        edge.settle();
    }
    while received < LARGE_FILE.1 {
        received += text(&client).len();
        edge.settle();
    }
    assert_eq!(edge.stats().keepalive_timeout, 0);
    edge.say(&client, get("/fixed"));
    assert!(text(&client).contains(OK), "90 s later");
    edge.finish();
}

#[test]
fn who_takes_nothing_is_aborted_after_send_timeout() {
    let limits = Limits { rate_min: 0, ..Limits::default() };
    let mut edge = Edge::new(&Settings { limits, ..Settings::default() });
    edge.kernel.set_capacity(1000);
    let (file, app) = (edge.client(0, get("/files/large.bin")), edge.client(0, get("/app/1")));
    edge.kernel.set_capacity(1 << 20);
    let worker = edge.dial_in(0);
    assert!(text(&worker).starts_with("GET /app/1 "));
    edge.say(&worker, format!("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{:5000}", ""));
    let pools = |edge: &Edge| edge.pools[0].core().counts();
    assert_eq!(pools(&edge).idle, 1, "the worker does not wait for the client");
    edge.pass(seconds(20));
    assert!(!file.receive_at_most(500).is_empty());
    edge.pass(seconds(20));
    assert_eq!(edge.stats().send_timeout, 1, "one has taken something in time");
    edge.pass(seconds(20));
    assert_eq!(edge.stats().send_timeout, 2);
    // The kernel keeps nothing for them.
    assert!(file.was_reset() && app.was_reset());
    edge.finish();
}

#[test]
fn an_answer_that_is_the_last_can_be_read_whole_by_who_says_more() {
    let mut edge = edge();
    edge.kernel.set_capacity(2000);
    let request = "GET /files/large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for more in ["\r\n", "GET /files/large.bin HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let client = edge.client(0, request);
        edge.say(&client, more);
        let mut received = Vec::new();
        while !client.at_end() {
            let piece = client.receive_at_most(1000);
            assert!(!piece.is_empty() && !client.was_reset(), "{} bytes", received.len());
            received.extend(piece);
            edge.pass(Duration::from_millis(1));
        }
        let head = received.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(received.len() - head, LARGE_FILE.1, "one whole answer");
        assert!(has_ended_well(&client));
    }
    edge.finish();
}

#[test]
fn a_refusal_can_be_read_by_who_goes_on_sending() {
    let mut edge = edge();
    edge.kernel.set_capacity(2000);
    let too_large = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n";
    for (request, status) in [(too_large, 413), ("GET /\n", 400), ("nonsense\r\n\r\n", 400)] {
        let client = edge.client(0, request);
        for _ in 0..20 {
            edge.say(&client, [b'x'; 1000]);
            edge.pass(Duration::from_millis(100));
        }
        let answer = text(&client);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1);
        assert!(has_ended_well(&client));
        edge.pass(seconds(6));
        client.send(b"too long");
        assert!(client.was_reset(), "lingering has an end");
    }
    edge.finish();
}

#[test]
fn pipelined_answers_leave_in_one_send() {
    let mut edge = edge();
    let client = edge.connect(0);
    client.send(get("/fixed").repeat(16).as_bytes());
    while client.peek().is_empty() {
        edge.turn(0);
    }
    assert_eq!(text(&client).matches(OK).count(), 16);
    edge.finish();
}

#[test]
fn one_connection_has_so_many_answers_in_a_turn() {
    let limits = Limits { pipelined: 5, ..Limits::default() };
    let mut edge = Edge::new(&Settings { limits, ..Settings::default() });
    let client = edge.connect(0);
    client.send(get("/fixed").repeat(12).as_bytes());
    while client.peek().is_empty() {
        edge.turn(0);
    }
    assert_eq!(text(&client).matches(OK).count(), 5);
    edge.settle();
    assert_eq!(text(&client).matches(OK).count(), 7);
    edge.finish();
}

#[test]
fn who_takes_no_answers_is_not_received_from() {
    let mut edge = edge();
    edge.kernel.set_capacity(1000);
    let client = edge.client(0, get("/fixed"));
    for target in ["/fixed", "/files/small.txt"].repeat(1_000) {
        client.send(get(target).as_bytes());
        edge.settle();
    }
    let stats = edge.stats();
    assert!(stats.requests < 1_000, "{} requests were answered in memory", stats.requests);
    assert!(stats.bytes_in < 100 << 10, "{} bytes are held", stats.bytes_in);
    edge.finish();
}

#[test]
fn who_pipelines_behind_a_request_in_progress_has_the_rest_wait() {
    let mut edge = edge();
    let client = edge.client(0, get("/fixed"));
    edge.say(&client, get("/app/1"));
    let mut requests = 0;
    while client.send(get("/fixed").as_bytes()) == get("/fixed").len() {
        requests += 1;
        edge.settle();
    }
    let held = edge.stats().bytes_in;
    assert!((16 << 10..20 << 10).contains(&held), "{held} of {} bytes", client.unread());
    assert!(client.unread() > 60 << 10);
    let worker = edge.dial_in(0);
    assert!(text(&worker).starts_with("GET /app/1 "));
    edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut answers = String::new();
    while !client.peek().is_empty() {
        answers += &text(&client);
        edge.settle();
    }
    assert_eq!(answers.matches(OK).count(), 2 + requests);
    edge.finish();
}

#[test]
fn what_is_no_method_of_ours_does_not_leave_its_content_behind() {
    for method in ["TRACE /", "CONNECT x:80"] {
        let host = if method.starts_with('T') { "x" } else { "x:80" };
        let head = format!("{method} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 36\r\n\r\n");
        let mut edge = edge();
        let client = edge.client(0, head + &get("/fixed"));
        let answer = text(&client);
        assert!(answer.starts_with("HTTP/1.1 501 ") && answer.contains("Connection: close"));
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        edge.finish();
    }
}

#[test]
fn expected_content_is_asked_for_once() {
    let mut edge = edge();
    let client = edge.client(
        0,
        "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    assert_eq!(text(&client), "HTTP/1.1 100 Continue\r\n\r\n");
    edge.say(&client, "hi");
    assert!(text(&client).ends_with("\r\n\r\nhi"));
    edge.finish();
}

#[test]
fn the_last_of_keepalive_requests_is_not_lost_to_what_comes_behind() {
    let limits = Limits { keepalive_requests: 3, ..Limits::default() };
    let mut edge = Edge::new(&Settings { limits, ..Settings::default() });
    let client = edge.client(0, get("/files/large.bin").repeat(5));
    let mut answers = String::new();
    for _ in 0..20 {
        answers += &text(&client);
        edge.settle();
    }
    assert_eq!(answers.matches(OK).count(), 3);
    assert_eq!(answers.matches("Connection: close").count(), 1);
    assert!(has_ended_well(&client));
    edge.finish();
}

#[test]
fn draining_answers_what_comes_and_resets_nobody() {
    let mut edge = Edge::new(&Settings { reactors: 2, ..Settings::default() });
    let worker = edge.dial_in(0);
    let idle = edge.client(0, get("/fixed"));
    let late = edge.client(1, get("/fixed"));
    assert!(text(&idle).starts_with(OK) && text(&late).starts_with(OK));
    let busy = edge.client(0, get("/app/1"));
    let half = edge.client(1, "POST /app/2 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n");
    edge.kernel.set_capacity(1000);
    let slow = edge.client(0, get("/files/large.bin"));
    let waiting = edge.connect(1);
    waiting.send(get("/fixed").as_bytes());
    edge.drain();
    edge.settle();
    edge.say(&late, get("/fixed"));
    for client in [&late, &waiting] {
        let answer = text(client);
        assert!(answer.starts_with(OK) && answer.contains("Connection: close"), "{answer}");
    }
    edge.say(&half, "ab");
    assert!(text(&worker).starts_with("GET /app/1 "));
    edge.pass(seconds(5));
    assert!(has_ended_well(&idle));
    edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert!(text(&worker).starts_with("POST /app/2 "));
    edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for client in [&busy, &half] {
        let answer = text(client);
        assert!(answer.starts_with(OK) && answer.ends_with("ok"), "{answer}");
        assert!(has_ended_well(client));
    }
    assert!(!edge.has_ended(), "one is still being served");
    let mut received = 0;
    while !slow.at_end() {
        received += slow.receive().len();
        edge.settle();
        edge.pass(Duration::from_millis(100));
    }
    assert!(received > LARGE_FILE.1 && !slow.was_reset());
    edge.pass(seconds(6));
    assert!(worker.at_end());
    edge.assert_clean();
}

#[test]
fn draining_answers_whole_requests_behind_an_answer_that_takes_its_time() {
    for requests in [1, 2, 3] {
        let mut edge = edge();
        edge.kernel.set_capacity(1000);
        let client = edge.client(0, get("/files/large.bin").repeat(requests));
        edge.drain();
        let mut received = Vec::new();
        while !client.at_end() {
            edge.pass(seconds(1));
            client.receive_into(2_000, &mut received);
            edge.settle();
        }
        let received = String::from_utf8_lossy(&received);
        assert_eq!(received.matches(OK).count(), requests.min(2), "{requests}");
        assert_eq!(received.matches("HTTP/1.1 ").count(), requests.min(2));
        let closes = received.matches("Connection: close").count();
        assert_eq!(closes, usize::from(requests > 1), "{requests}");
        assert!(has_ended_well(&client));
        assert_eq!(edge.stats().client_header_timeout, 0);
        edge.pass(seconds(6));
        edge.assert_clean();
    }
}

#[test]
fn a_connection_that_ends_without_a_transit_buffer_is_forgotten_at_once() {
    let faults = Faults { no_buffers: 1_000, ..Faults::none() };
    let mut edge = Edge::new(&Settings { faults, ..Settings::default() });
    let client = edge.client(0, "");
    edge.stop();
    edge.settle();
    assert!(client.at_end());
    edge.assert_clean();
}

#[test]
fn a_handler_that_keeps_its_reply_is_504_in_time() {
    let mut edge = edge();
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keeper = Arc::clone(&kept);
    let keep = move |_: Request, reply: Reply| keeper.lock().unwrap().push(reply);
    let mut policy = edge.policy(0..POOLS.len());
    policy.routes.add(None, "/keep", Action::Handler(Arc::new(keep)).into()).unwrap();
    edge.reactors[0].as_mut().unwrap().world.policy = Arc::new(policy);
    let clients: Vec<_> = (0..2).map(|_| edge.client(0, get("/keep") + &get("/fixed"))).collect();
    edge.pass(seconds(59));
    kept.lock().unwrap().remove(0).send(Response::new("in time"));
    edge.settle();
    let answers = text(&clients[0]);
    assert!(answers.starts_with(OK) && answers.contains("in time"), "{answers}");
    assert_eq!(answers.matches(OK).count(), 2, "and the next one, too");
    edge.pass(seconds(2));
    kept.lock().unwrap().remove(0).send(Response::new("too late"));
    edge.settle();
    let answers = text(&clients[1]);
    assert!(answers.starts_with("HTTP/1.1 504 ") && !answers.contains("late"), "{answers}");
    assert_eq!((answers.matches("HTTP/1.1").count(), edge.stats().handler_timeout), (1, 1));
    assert!(has_ended_well(&clients[1]));
    edge.finish();
}
