//! Files that workers write their answers to, and what can go wrong with them.

use super::response::find;
use super::*;
use crate::io::sim::SimFile;

const HI: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const LENGTH: usize = 1_000_000;
const DEADLINE: Duration = Duration::from_secs(10);

/// A worker that has taken a file for the rest of its answer.
struct Lent {
    edge: Edge,
    client: Peer,
    worker: Peer,
    content: Vec<u8>,
    /// Bytes of the content that have been sent; the others go to the file.
    sent: usize,
    file: SimFile,
    written: usize,
    /// What the client has got.
    got: Vec<u8>,
}

fn limits() -> Limits {
    Limits { response_memory: 10_000, ..Limits::default() }
}

/// An edge, a worker that has the request of a client, and that client.
fn asked(limits: Limits) -> (Edge, Peer, Peer) {
    let pool = PoolLimits { deadline: DEADLINE, ..PoolLimits::default() };
    let mut edge = Edge::new(&Settings { limits, pool, ..Settings::default() });
    let worker = edge.dial_in(0);
    let client = edge.client(0, get("/app/1"));
    assert!(text(&worker).starts_with("GET /app/1 "));
    (edge, worker, client)
}

fn answer(length: usize) -> (Vec<u8>, Vec<u8>) {
    let content = pattern(1, length);
    let head = format!("HTTP/1.1 200 OK\r\nForebay-Spool: yes\r\nContent-Length: {length}\r\n\r\n");
    ([head.as_bytes(), &content].concat(), content)
}

/// Sends as much as the edge takes before it offers a file. How many bytes.
fn send_until_offer(edge: &mut Edge, worker: &Peer, bytes: &[u8]) -> usize {
    let mut sent = 0;
    while worker.peek().is_empty() {
        let count = worker.send(&bytes[sent..]);
        edge.settle();
        sent += count;
        if count == 0 || sent == bytes.len() {
            return sent;
        }
    }
    sent
}

fn lend(limits: Limits) -> Lent {
    let (mut edge, worker, client) = asked(limits);
    let (bytes, content) = answer(LENGTH);
    let sent = send_until_offer(&mut edge, &worker, &bytes);
    assert!(sent < 300_000, "{sent}");
    assert_eq!(worker.receive(), b"(");
    let file = worker.take_files().pop().expect("a file");
    assert_eq!(worker.send_with(b"(", vec![file.clone()]), 1);
    edge.settle();
    let sent = sent - (bytes.len() - content.len());
    Lent { edge, client, worker, content, sent, file, written: 0, got: Vec::new() }
}

impl Lent {
    /// Writes so many bytes to the file, and says nothing.
    fn write(&mut self, count: usize) {
        let bytes = &self.content[self.sent + self.written..][..count];
        let written = self.edge.kernel.write_to(&self.file, self.written as u64, bytes);
        assert_eq!(written.expect("there is space"), count);
        self.written += count;
    }

    fn rest(&self) -> usize {
        LENGTH - self.sent - self.written
    }

    fn give_back(&mut self) {
        self.worker.send(format!("{}\n", self.written).as_bytes());
        self.edge.settle();
    }

    /// The client takes everything that comes.
    fn read(&mut self) {
        while self.client.receive_into(7_000, &mut self.got) > 0 {
            self.edge.settle();
        }
    }

    fn got(&self) -> &[u8] {
        &self.got[find(&self.got, b"\r\n\r\n").expect("a head") + 4..]
    }

    fn next_request_is_answered(&mut self) {
        let other = self.edge.client(0, get("/app/2"));
        assert!(text(&self.worker).starts_with("GET /app/2 "));
        self.edge.say(&self.worker, HI);
        assert!(text(&other).ends_with("hi"));
    }
}

#[test]
fn a_worker_is_free_when_it_has_written() {
    let mut lent = lend(limits());
    assert_eq!(lent.edge.budget.used(), LENGTH as u64 - lent.sent as u64);
    lent.write(lent.rest());
    lent.give_back();
    lent.next_request_is_answered();
    lent.read();
    assert!(lent.got() == lent.content);
    assert!(!String::from_utf8_lossy(&lent.got[..200]).contains("Forebay"));
    assert_eq!((lent.edge.stats().responses_spooled, lent.edge.budget.used()), (1, 0));
    lent.edge.finish();
}

#[test]
fn a_client_that_waits_gets_what_is_written_without_a_word() {
    let mut lent = lend(limits());
    lent.write(200_000);
    lent.read();
    assert!(lent.got() == &lent.content[..lent.sent + 200_000]);
    assert_eq!(lent.worker.receive(), b")", "the client waits");
    // Too late for the worker to know.
    lent.write(1_000);
    assert!(lent.edge.budget.used() > 500_000);
    lent.give_back();
    assert!(lent.edge.budget.used() <= lent.written as u64, "what is not needed is given back");
    lent.read();
    assert!(lent.got() == &lent.content[..lent.sent + lent.written]);
    // What follows comes as before, and there may be another file.
    let rest = lent.content[lent.sent + lent.written..].to_vec();
    let again = send_until_offer(&mut lent.edge, &lent.worker, &rest);
    assert!(again < rest.len() && lent.worker.receive() == b"(");
    lent.file = lent.worker.take_files().pop().expect("another file");
    lent.worker.send_with(b"(", vec![lent.file.clone()]);
    (lent.sent, lent.written) = (lent.sent + lent.written + again, 0);
    lent.write(lent.rest());
    lent.give_back();
    lent.read();
    assert!(lent.got() == lent.content);
    lent.next_request_is_answered();
    lent.edge.finish();
}

#[test]
fn an_offer_that_is_ignored_is_found_before_the_next_request() {
    let (mut edge, worker, client) = asked(limits());
    let (bytes, content) = answer(300_000);
    let mut sent = send_until_offer(&mut edge, &worker, &bytes);
    assert_eq!(worker.peek(), b"(");
    while sent < bytes.len() {
        let count = worker.send(&bytes[sent..]);
        edge.settle();
        assert!(count > 0, "an ordinary file takes the rest");
        sent += count;
    }
    let other = edge.client(0, get("/app/2"));
    assert!(text(&worker).starts_with("(GET /app/2 "));
    edge.say(&worker, HI);
    assert!(text(&other).ends_with("hi"));
    let mut got = Vec::new();
    while client.receive_into(7_000, &mut got) > 0 {
        edge.settle();
    }
    assert!(got.ends_with(&content));
    assert_eq!(edge.budget.used(), 0);
    edge.finish();
}

#[test]
fn whoever_cannot_or_must_not_gets_no_file() {
    for (field, limits) in [
        ("A: b", limits()),
        ("Forebay-Spool: no", limits()),
        ("Forebay-Spool: yes\r\nX-Accel-Buffering: no", limits()),
        ("Forebay-Spool: yes", Limits { spool_budget: 100_000, ..limits() }),
        ("Forebay-Spool: yes", Limits { response_max: 500_000, ..limits() }),
    ] {
        let (mut edge, worker, client) = asked(limits);
        let head = format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: {LENGTH}\r\n\r\n");
        let bytes = [head.as_bytes(), &pattern(1, LENGTH)].concat();
        send_until_offer(&mut edge, &worker, &bytes);
        assert!(worker.peek().is_empty(), "{field}");
        drop(client);
        drop(worker);
        edge.settle();
        assert_eq!(edge.budget.used(), 0);
        edge.finish();
    }
}

#[test]
fn what_is_not_agreed_ends_the_slot_and_the_answer() {
    type Lie = fn(&mut Lent) -> usize;
    let lies: [Lie; 7] = [
        |lent| {
            lent.read();
            lent.worker.send(b"50000\n")
        },
        |lent| lent.worker.send(b"x\n"),
        |lent| lent.worker.send(format!("{LENGTH}\n").as_bytes()),
        |lent| lent.worker.send(b"\n"),
        |lent| lent.worker.send(b"12345678901234567890\n"),
        |lent| lent.worker.send_with(b"(", vec![lent.file.clone()]),
        |lent| {
            lent.give_back();
            lent.worker.send_with(b"x", vec![lent.file.clone()])
        },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut lent = lend(limits());
        lent.write(100_000);
        assert!(lie(&mut lent) > 0);
        lent.edge.settle();
        assert_eq!(lent.edge.stats().slots_refused, 1, "{number}");
        lent.read();
        assert!(lent.client.at_end() && lent.got().len() < LENGTH, "{number}");
        assert!(lent.content.starts_with(lent.got()), "{number}");
        assert_eq!(lent.edge.budget.used(), 0, "{number}");
        lent.edge.finish();
    }
}

#[test]
fn a_descriptor_that_nobody_has_offered_ends_the_slot() {
    let (mut edge, worker, client) = asked(limits());
    let (bytes, _) = answer(20_000);
    worker.send(&bytes[..1_000]);
    edge.settle();
    worker.send_with(b"(", vec![edge.kernel.loose_file("x", true)]);
    edge.settle();
    assert_eq!(edge.stats().slots_refused, 1);
    text(&client);
    assert!(client.at_end());
    edge.finish();
}

#[test]
fn less_in_the_file_than_the_receipt_says_is_an_end() {
    let mut lent = lend(limits());
    lent.write(100_000);
    lent.worker.send(b"200000\n");
    lent.edge.settle();
    lent.read();
    assert!(lent.client.at_end() && lent.got() == &lent.content[..lent.sent + 100_000]);
    lent.edge.pass(Duration::from_secs(60));
    assert_eq!(lent.edge.budget.used(), 0);
    drop(lent.worker);
    lent.edge.finish();
}

#[test]
fn a_worker_that_dies_leaves_the_client_with_what_is_known() {
    let mut lent = lend(limits());
    lent.write(100_000);
    lent.read();
    lent.write(50_000);
    let Lent { mut edge, client, worker, content, sent, mut got, .. } = lent;
    drop(worker);
    edge.settle();
    while client.receive_into(7_000, &mut got) > 0 {
        edge.settle();
    }
    assert!(client.at_end());
    let got = &got[find(&got, b"\r\n\r\n").expect("a head") + 4..];
    assert!(got.len() >= sent + 100_000 && content.starts_with(got));
    assert_eq!((edge.budget.used(), edge.stats().responses_aborted), (0, 1));
    edge.finish();
}

#[test]
fn for_a_client_that_has_gone_nothing_more_is_written() {
    let mut lent = lend(limits());
    lent.write(100_000);
    lent.client.reset();
    lent.edge.settle();
    assert_eq!(lent.worker.receive(), b")");
    assert!(lent.edge.budget.used() > 0, "the worker still has the file");
    lent.give_back();
    let mut rest = lent.content[lent.sent + lent.written..].to_vec();
    while !rest.is_empty() {
        let count = lent.worker.send(&rest);
        lent.edge.settle();
        assert!(count > 0, "it is thrown away");
        rest.drain(..count);
    }
    assert_eq!(lent.edge.budget.used(), 0);
    lent.next_request_is_answered();
    lent.edge.finish();
}

#[test]
fn a_worker_that_writes_is_not_late_and_one_that_stands_still_is() {
    let mut lent = lend(Limits { rate_min: 0, ..limits() });
    let pass = |lent: &mut Lent, part: f64| {
        lent.edge.pass(DEADLINE.mul_f64(part));
        assert_eq!(lent.client.receive_into(10_000, &mut lent.got), 10_000, "it is slow, no more");
    };
    for _ in 0..5 {
        pass(&mut lent, 0.8);
        lent.write(1_000);
    }
    assert_eq!(lent.edge.stats().deadline, 0);
    pass(&mut lent, 1.0);
    pass(&mut lent, 1.1);
    assert_eq!(lent.edge.stats().deadline, 1);
    assert!(lent.worker.at_end());
    lent.read();
    assert!(lent.client.at_end() && lent.got() == &lent.content[..lent.sent + lent.written]);
    drop(lent.worker);
    lent.edge.finish();
}

#[test]
fn a_slot_is_used_again_though_something_is_being_said_on_it() {
    let faults = Faults { late: 500, ..Faults::none() };
    for seed in 0..50 {
        let settings = Settings { seed, faults, limits: limits(), ..Settings::default() };
        let mut edge = Edge::new(&settings);
        let worker = edge.dial_in(0);
        let client = edge.client(0, get("/app/1"));
        edge.settle();
        let _ = text(&worker);
        let (bytes, _) = answer(300_000);
        let mut sent = 0;
        while sent < bytes.len() {
            sent += worker.send(&bytes[sent..]);
            edge.turn_all();
        }
        edge.settle();
        let other = edge.client(0, get("/app/2"));
        assert!(text(&worker).contains("GET /app/2 "), "seed {seed}");
        edge.say(&worker, HI);
        assert!(text(&other).ends_with("hi"));
        drop(client);
        edge.finish();
    }
}

#[test]
fn what_a_worker_has_sent_before_it_left_arrives_though_it_is_offered_a_file() {
    let mut edge = Edge::new(&Settings { limits: limits(), ..Settings::default() });
    edge.kernel.set_capacity(500_000);
    let worker = edge.dial_in(0);
    edge.kernel.set_capacity(1_000);
    let client = edge.client(0, get("/app/1"));
    assert!(text(&worker).starts_with("GET /app/1 "));
    let (bytes, content) = answer(400_000);
    assert_eq!(worker.send(&bytes), bytes.len());
    drop(worker);
    edge.settle();
    let mut got = Vec::new();
    while client.receive_into(700, &mut got) > 0 {
        edge.settle();
    }
    assert!(got.ends_with(&content), "{} bytes", got.len());
    assert_eq!(edge.stats().responses_spooled, 1);
    edge.finish();
}
