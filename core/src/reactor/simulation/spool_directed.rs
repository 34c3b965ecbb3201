//! What becomes of large contents: the spool, descriptors, and what can go wrong with them.

use super::response::find;
use super::*;
use crate::io::sim::SimFile;

const HI: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

fn limits() -> Limits {
    Limits { content_memory: 10_000, response_memory: 10_000, ..Limits::default() }
}

fn edge(limits: Limits) -> Edge {
    Edge::new(&Settings { limits, ..Settings::default() })
}

/// A client that sends this, however little its connection holds.
fn upload(edge: &mut Edge, target: &str, content: &[u8]) -> Peer {
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n", content.len());
    send_all(edge, head + "\r\n", content)
}

fn send_all(edge: &mut Edge, head: String, content: &[u8]) -> Peer {
    let client = edge.client(0, head);
    let mut rest = content;
    while !rest.is_empty() {
        let sent = client.send(rest);
        rest = &rest[sent..];
        edge.settle();
        if sent == 0 {
            break;
        }
    }
    client
}

/// The request that a worker has got: its head, and its files.
fn request(worker: &Peer) -> (String, Vec<SimFile>) {
    let head = text(worker);
    (head, worker.take_files())
}

/// Sends an answer for which the connection of the worker may be too small.
fn answer(edge: &mut Edge, worker: &Peer, bytes: &[u8]) -> usize {
    let mut sent = 0;
    loop {
        let count = worker.send(&bytes[sent..]);
        sent += count;
        edge.settle();
        if count == 0 || sent == bytes.len() {
            return sent;
        }
    }
}

fn large_answer(fields: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

/// Everything that comes until nothing more does.
fn read_all(edge: &mut Edge, client: &Peer) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.receive_into(7_000, &mut bytes) > 0 {
        edge.settle();
    }
    bytes
}

fn content_of(response: &[u8]) -> &[u8] {
    &response[find(response, b"\r\n\r\n").expect("a head") + 4..]
}

#[test]
fn large_content_travels_as_a_file_and_again_to_another_worker() {
    for chunked in [false, true] {
        let mut edge = edge(limits());
        let (first, second) = (edge.dial_in(0), edge.dial_in(0));
        let content = pattern(1, 500_000);
        let client = if chunked {
            let chunk = [b"7A120\r\n", &content[..], b"\r\n0\r\n\r\n"].concat();
            let head = "POST /app/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
            send_all(&mut edge, head.into(), &chunk)
        } else {
            upload(&mut edge, "/app/1", &content)
        };
        // The slot used last comes first. Its worker dies before it has read.
        assert!(!second.peek().is_empty());
        drop(second);
        edge.settle();
        let (head, files) = request(&first);
        assert!(head.contains("\r\nContent-Length: 500000\r\nForebay-Deadline-Ms:"), "{head}");
        assert!(head.contains("\r\nForebay-Content-Fd: 0\r\n") && head.ends_with("\r\n\r\n"));
        let [file] = &files[..] else { panic!("{} files", files.len()) };
        assert!(file.read(0, usize::MAX) == content);
        edge.say(&first, HI);
        assert!(text(&client).ends_with("hi"));
        assert_eq!((edge.stats().requests_spooled, edge.stats().requeued), (1, 1));
        edge.finish();
    }
}

#[test]
fn small_content_stays_in_memory_and_so_does_a_handlers() {
    let mut edge = edge(limits());
    let worker = edge.dial_in(0);
    let content = pattern(1, 10_000);
    let client = upload(&mut edge, "/app/1", &content);
    assert!(worker.receive().ends_with(&content) && worker.take_files().is_empty());
    edge.say(&worker, HI);
    assert!(text(&client).ends_with("hi"));
    let content = pattern(2, 300_000);
    let client = upload(&mut edge, "/echo", &content);
    assert!(content_of(&read_all(&mut edge, &client)) == content);
    assert_eq!(edge.stats().requests_spooled, 0);
    edge.finish();
}

#[test]
fn without_space_exactly_that_request_is_refused() {
    for space in [0, 30_000, 100_000] {
        let mut edge = edge(limits());
        let worker = edge.dial_in(0);
        edge.kernel.set_disk_space(space);
        let client = upload(&mut edge, "/app/1", &pattern(1, 300_000));
        let refusal = text(&client);
        assert!(refusal.starts_with("HTTP/1.1 503 ") && refusal.contains("Connection: close\r\n"));
        assert!(client.at_end() && worker.peek().is_empty());
        edge.kernel.set_disk_space(u64::MAX);
        let client = upload(&mut edge, "/app/2", &pattern(1, 300_000));
        assert!(text(&worker).starts_with("POST /app/2 "));
        edge.say(&worker, HI);
        assert!(text(&client).ends_with("hi"));
        assert_eq!(edge.stats().spool_refused, 1);
        edge.finish();
    }
}

#[test]
fn what_the_budget_does_not_have_is_refused_before_it_is_sent() {
    let mut edge = edge(Limits { spool_budget: 400_000, ..limits() });
    let head = |length: usize| {
        format!("POST /app/1 HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
    };
    let first = edge.client(0, head(300_000));
    assert_eq!((text(&first), edge.budget.used()), (String::new(), 300_000));
    let with_expectation = head(200_000).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let second = edge.client(0, with_expectation);
    assert!(text(&second).starts_with("HTTP/1.1 503 "), "and no 100");
    drop(first);
    edge.settle();
    assert_eq!(edge.budget.used(), 0);
    let third = edge.client(0, head(200_000));
    assert_eq!((text(&third), edge.budget.used()), (String::new(), 200_000));
    let stats = edge.stats();
    assert_eq!((stats.spool_refused, stats.requests_spooled), (1, 2));
    drop(third);
    edge.finish();
}

#[test]
fn the_budget_is_a_full_disk_until_files_go() {
    let mut edge = edge(Limits { spool_budget: 400_000, ..limits() });
    let worker = edge.dial_in(0);
    let content = pattern(1, 300_000);
    let first = upload(&mut edge, "/app/1", &content);
    let second = upload(&mut edge, "/app/2", &content);
    assert!(text(&second).starts_with("HTTP/1.1 503 "));
    drop(second);
    assert!(text(&worker).starts_with("POST /app/1 "));
    edge.say(&worker, HI);
    assert!(text(&first).ends_with("hi"));
    let third = upload(&mut edge, "/app/3", &content);
    assert!(text(&worker).starts_with("POST /app/3 "));
    edge.say(&worker, HI);
    assert!(text(&third).ends_with("hi"));
    assert_eq!(edge.stats().spool_refused, 1);
    edge.finish();
}

#[test]
fn clients_that_vanish_leave_no_file() {
    let mut edge = edge(limits());
    let head = "POST /app/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n";
    for sent in [0, 1, 50_000, 299_999, 300_000] {
        let client = send_all(&mut edge, head.into(), &pattern(1, sent));
        client.reset();
        edge.settle();
        assert_eq!(edge.budget.used(), 0, "after {sent} bytes");
    }
    edge.finish();
}

#[test]
fn a_worker_is_free_while_its_client_reads() {
    for chunked in [false, true] {
        let mut edge = edge(limits());
        let worker = edge.dial_in(0);
        let slow = edge.client(0, get("/app/1"));
        let content = pattern(1, 1_000_000);
        let mut bytes = large_answer("", &content);
        if chunked {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nf4240\r\n";
            bytes = [head.as_bytes(), &content, b"\r\n0\r\n\r\n"].concat();
        }
        assert!(text(&worker).starts_with("GET /app/1 "));
        assert_eq!(answer(&mut edge, &worker, &bytes), bytes.len());
        let other = edge.client(0, get("/app/2"));
        assert!(text(&worker).starts_with("GET /app/2 "));
        edge.say(&worker, HI);
        assert!(text(&other).ends_with("hi"));
        let got = read_all(&mut edge, &slow);
        match chunked {
            false => assert!(content_of(&got) == content),
            true => {
                let seen = response::parse(&got, false, false).expect("a whole response");
                assert!(seen.content == content);
            }
        }
        assert_eq!((edge.stats().responses_spooled, edge.budget.used()), (1, 0));
        edge.finish();
    }
}

#[test]
fn who_forbids_the_spool_and_who_has_no_space_waits_for_the_client() {
    for (fields, space) in [("X-Accel-Buffering: no\r\n", u64::MAX), ("", 0), ("", 300_000)] {
        let mut edge = edge(limits());
        edge.kernel.set_disk_space(space);
        let worker = edge.dial_in(0);
        let client = edge.client(0, get("/app/1"));
        let content = pattern(1, 1_000_000);
        let bytes = large_answer(fields, &content);
        text(&worker);
        let mut sent = answer(&mut edge, &worker, &bytes);
        assert!(sent < 800_000, "{sent}");
        let (mut got, mut rounds) = (Vec::new(), 0);
        while sent < bytes.len() {
            client.receive_into(20_000, &mut got);
            edge.settle();
            sent += answer(&mut edge, &worker, &bytes[sent..]);
            rounds += 1;
            assert!(rounds < 200, "nothing moves");
        }
        got.extend(read_all(&mut edge, &client));
        assert!(content_of(&got) == content);
        assert!(!String::from_utf8_lossy(&got[..200]).contains("X-Accel"));
        edge.finish();
    }
}

#[test]
fn the_spool_of_a_response_is_bounded_and_used_again() {
    let mut edge = edge(Limits { response_max: 200_000, ..limits() });
    let worker = edge.dial_in(0);
    let client = edge.client(0, get("/app/1"));
    let content = pattern(1, 2_000_000);
    let bytes = large_answer("", &content);
    text(&worker);
    let mut sent = answer(&mut edge, &worker, &bytes);
    let mut got = Vec::new();
    while sent < bytes.len() {
        assert!(edge.budget.used() < 500_000);
        got.extend(read_all(&mut edge, &client));
        sent += answer(&mut edge, &worker, &bytes[sent..]);
    }
    got.extend(read_all(&mut edge, &client));
    assert!(content_of(&got) == content);
    edge.finish();
}

#[test]
fn clients_that_vanish_from_a_spooled_response_leave_no_file() {
    let mut edge = edge(limits());
    let worker = edge.dial_in(0);
    let content = pattern(1, 1_000_000);
    let bytes = large_answer("", &content);
    for sent in [100_000, 999_000, bytes.len()] {
        let client = edge.client(0, get("/app/1"));
        text(&worker);
        assert_eq!(answer(&mut edge, &worker, &bytes[..sent]), sent);
        client.receive_at_most(100_000);
        edge.settle();
        client.reset();
        edge.settle();
        answer(&mut edge, &worker, &bytes[sent..]);
        assert_eq!(edge.budget.used(), 0);
    }
    edge.finish();
}

#[test]
fn a_file_answers_and_frees_the_slot_at_once() {
    let mut edge = edge(limits());
    let worker = edge.dial_in(0);
    let client = edge.client(0, get("/app/1"));
    text(&worker);
    let content = pattern(1, 1_000_000);
    let file = edge.kernel.loose_file([b"12345", &content[..], b"67"].concat(), true);
    let head = "HTTP/1.1 200 OK\r\nForebay-Body-Fd: 5\r\nContent-Length: 1000000\r\nA: b\r\n\r\n";
    worker.send_with(head.as_bytes(), vec![file]);
    edge.settle();
    let other = edge.client(0, get("/app/2"));
    assert!(text(&worker).starts_with("GET /app/2 "));
    edge.say(&worker, HI);
    assert!(text(&other).ends_with("hi"));
    let got = read_all(&mut edge, &client);
    assert!(content_of(&got) == content);
    let head = String::from_utf8_lossy(&got[..got.len() - content.len()]).into_owned();
    assert!(head.contains("\r\nA: b\r\n") && !head.contains("Forebay"), "{head}");
    edge.finish();
}

#[test]
fn a_file_that_does_not_fit_its_head_is_502_and_ends_the_slot() {
    for kind in 0..passing::MISUSES {
        let mut edge = edge(limits());
        let worker = edge.dial_in(0);
        let client = edge.client(0, get("/app/1"));
        text(&worker);
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        let files = passing::misuse_of_kind(kind, &edge.kernel, &mut head);
        worker.send_with(&head, files);
        edge.settle();
        assert!(text(&client).starts_with("HTTP/1.1 502 "), "kind {kind}");
        assert!(worker.at_end() && edge.stats().slots_refused == 1, "kind {kind}");
        edge.finish();
    }
}

#[test]
fn a_file_for_nobody_is_closed() {
    for gone_before in [true, false] {
        let mut edge = edge(limits());
        let worker = edge.dial_in(0);
        let client = edge.client(0, get("/app/1"));
        text(&worker);
        let head = b"HTTP/1.1 200 OK\r\nForebay-Body-Fd: 0\r\nContent-Length: 9\r\n\r\n";
        let file = edge.kernel.loose_file("123456789", true);
        let half = if gone_before { 0 } else { 20 };
        if !gone_before {
            worker.send_with(&head[..half], vec![file.clone()]);
            edge.settle();
        }
        client.reset();
        edge.settle();
        let files = if gone_before { vec![file] } else { Vec::new() };
        worker.send_with(&head[half..], files);
        edge.settle();
        let next = edge.client(0, get("/app/2"));
        assert!(text(&worker).starts_with("GET /app/2 "), "the slot is used again");
        edge.say(&worker, HI);
        assert!(text(&next).ends_with("hi"));
        edge.finish();
    }
}

#[test]
fn a_request_is_let_go_when_its_answer_is_whole() {
    for content in [1, 60_000, 8_000_000] {
        let limits = Limits { rate_min: 0, ..Limits::default() };
        let mut edge = Edge::new(&Settings { limits, ..Settings::default() });
        let worker = edge.dial_in(0);
        edge.kernel.set_capacity(1_000);
        let client = edge.client(0, "");
        let head = format!("POST /app/1 HTTP/1.1\r\nHost: x\r\nContent-Length: {content}\r\n\r\n");
        let request = head + &"x".repeat(content);
        let (mut sent, mut seen) = (0, Vec::new());
        while sent < request.len() {
            sent += client.send(&request.as_bytes()[sent..]);
            edge.settle();
        }
        while worker.receive_into(usize::MAX, &mut seen) > 0 {
            edge.settle();
        }
        drop(worker.take_files());
        assert!(seen.starts_with(b"POST /app/1 "));
        assert_eq!(edge.budget.used() > 0, content > 64 << 10);
        edge.say(
            &worker,
            "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n".to_owned() + &"x".repeat(800),
        );
        let mut sent = 800;
        while sent < 9_000 {
            sent += worker.send(&[b'x'; 9_000][sent..]);
            edge.settle();
        }
        assert_eq!(edge.pools[0].core().counts().idle, 1, "the worker is free");
        assert!(text(&client).len() < 9_000, "the client is not");
        assert_eq!(edge.budget.used(), 0, "{content} bytes");
        drop(client);
        edge.finish();
    }
}
