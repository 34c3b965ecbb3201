//! What becomes scarcer as `memory_budget` is used up, step by step.

use super::*;

pub(super) const HI: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const BUDGET: u64 = 16 << 20;

pub(super) fn edge(limits: Limits) -> Edge {
    let limits = Limits { memory_budget: BUDGET, content_memory: 10_000, ..limits };
    Edge::new(&Settings { limits, ..Settings::default() })
}

/// Memory that somebody else uses.
pub(super) struct Used(pub(super) u64);

impl Used {
    /// A little more than so many sixteenths of the budget.
    pub(super) fn sixteenths(&mut self, edge: &mut Edge, sixteenths: u64) {
        let bytes = if sixteenths == 0 { 0 } else { BUDGET / 16 * sixteenths + (100 << 10) };
        let reactor = edge.reactors[0].as_mut().unwrap();
        reactor.world.memory.recount(&mut self.0, bytes);
        edge.awake[0] = true;
        edge.settle();
    }
}

pub(super) fn post(target: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
}

pub(super) fn status(client: &Peer) -> String {
    text(client).get(9..12).unwrap_or_default().to_string()
}

#[test]
fn everything_that_requests_hold_is_counted_and_comes_back() {
    let mut edge = edge(Limits::default());
    let worker = edge.dial_in(0);
    assert_eq!(edge.bytes_in_use(), 0);
    let half_a_head = edge.client(0, "GET /app/");
    let head = edge.bytes_in_use();
    assert!(head > 4_000, "{head} bytes for half a head");
    let upload = edge.client(0, post("/app/1", 9_000) + "begin");
    let content = edge.bytes_in_use() - head;
    assert!(content > 9_000, "{content} bytes for content");
    let handled = edge.client(0, post("/echo", 100_000));
    let for_handler = edge.bytes_in_use() - head - content;
    assert!(for_handler > 64 << 10, "{for_handler} bytes for what a handler gets");
    let (before, waiting) = (edge.bytes_in_use(), edge.client(0, get("/app/2")));
    assert!(text(&worker).starts_with("GET /app/2 "));
    let exchange = edge.bytes_in_use() - before;
    assert!(exchange > 64 << 10, "{exchange} bytes for a request and its answer");
    edge.kernel.set_capacity(1_000);
    edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n");
    edge.say(&worker, [b'x'; 900]);
    assert!(text(&waiting).ends_with('x'));
    for client in [half_a_head, upload, handled] {
        client.reset();
    }
    edge.settle();
    assert_eq!(edge.bytes_in_use(), 0);
    edge.finish();
}

#[test]
fn content_of_a_handler_counts_with_its_room_until_the_handler_lets_go() {
    let mut edge = edge(Limits::default());
    let kept = keep_requests(&mut edge);
    let client = edge.client(0, post("/keep", 50_000));
    let mut sent = 0;
    while sent < 50_000 {
        sent += client.send(&pattern(1, 50_000)[sent..]);
        edge.settle();
    }
    assert_eq!((status(&client).as_str(), edge.bytes_in_use()), ("200", 0));
    let before = edge.memory.used();
    assert!(*kept.lock().unwrap().pop().unwrap().content() == pattern(1, 50_000));
    let freed = before - edge.memory.used();
    assert!((50_000..63_000).contains(&freed), "{freed} bytes for 50,000");
    edge.finish();
}

#[test]
fn a_large_head_counts_until_its_handler_lets_go() {
    let mut edge = edge(Limits::default());
    let kept = keep_requests(&mut edge);
    let value = "x".repeat(5_000);
    let head = format!("GET /keep HTTP/1.1\r\nHost: x\r\nA: {value}\r\n\r\n");
    edge.client(0, head).reset();
    edge.settle();
    let (before, copy) = (edge.memory.used(), kept.lock().unwrap()[0].clone());
    assert_eq!(copy.field("a"), Some(value.as_bytes()));
    for requests in [vec![copy], kept.lock().unwrap().drain(..).collect()] {
        let before = edge.memory.used();
        drop(requests);
        let freed = before - edge.memory.used();
        assert!((5_000..6_000).contains(&freed), "{freed} bytes for 5,000");
    }
    assert!(before - edge.memory.used() >= 5_000);
    edge.finish();
}

/// At `/keep`.
fn keep_requests(edge: &mut Edge) -> Arc<std::sync::Mutex<Vec<Request>>> {
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keeper = Arc::clone(&kept);
    let keep = move |request: Request, reply: Reply| {
        keeper.lock().unwrap().push(request);
        reply.send(Response::new("kept"));
    };
    let mut policy = edge.policy(0..POOLS.len());
    policy.routes.add(None, "/keep", Action::Handler(Arc::new(keep)).into()).unwrap();
    edge.reactors[0].as_mut().unwrap().world.policy = Arc::new(policy);
    kept
}

#[test]
fn above_half_little_stays_in_memory() {
    for sixteenths in [0, 8] {
        let mut edge = edge(Limits { response_memory: 1 << 20, ..Limits::default() });
        let mut used = Used(0);
        used.sixteenths(&mut edge, sixteenths);
        let worker = edge.dial_in(0);
        let client = edge.client(0, post("/app/1", 4_097) + &"x".repeat(4_097));
        assert!(text(&worker).starts_with("POST /app/1 "));
        let is_spooled = u64::from(sixteenths > 0);
        assert_eq!(edge.stats().requests_spooled, is_spooled);
        edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n");
        let (content, mut sent) = (pattern(1, 600_000), 0);
        for _ in 0..200 {
            sent += worker.send(&content[sent..]);
            edge.settle();
        }
        assert_eq!((edge.stats().responses_spooled, sent), (is_spooled, content.len()));
        client.reset();
        used.sixteenths(&mut edge, 0);
        edge.finish();
    }
}

#[test]
fn then_the_oldest_idle_connections_go() {
    let mut edge = edge(Limits::default());
    let mut used = Used(0);
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(edge.client(0, get("/fixed")));
        edge.pass(Duration::from_millis(10));
    }
    used.sixteenths(&mut edge, 10);
    edge.pass(Duration::from_millis(500));
    assert_eq!((edge.stats().parked, edge.stats().memory_parked), (20, 0), "so short a time");
    used.sixteenths(&mut edge, 9);
    edge.pass(Duration::from_secs(1));
    assert_eq!((edge.stats().parked, edge.stats().memory_parked), (20, 0));
    used.sixteenths(&mut edge, 10);
    assert_eq!((edge.stats().parked, edge.stats().memory_parked), (4, 16));
    for (number, client) in idle.iter().enumerate() {
        assert_eq!(status(client), "200");
        assert_eq!(client.at_end(), number < 16, "{number}");
    }
    used.sixteenths(&mut edge, 0);
    edge.pass(Duration::from_secs(1));
    assert_eq!(edge.stats().parked, 4);
    edge.finish();
}

#[test]
fn then_silence_is_borne_for_a_quarter_of_the_time() {
    for (sixteenths, is_hurried) in [(11, false), (12, true)] {
        let mut edge = edge(Limits::default());
        let mut used = Used(0);
        used.sixteenths(&mut edge, sixteenths);
        let half_a_head = edge.client(0, "GET /fix");
        let half_a_content = edge.client(0, post("/app/1", 1_000) + "half");
        edge.pass(Duration::from_millis(2_700));
        assert_eq!(status(&half_a_head) == "408", is_hurried);
        assert_eq!(status(&half_a_content), "");
        edge.pass(Duration::from_secs(5));
        assert_eq!(status(&half_a_content) == "408", is_hurried);
        assert_eq!(edge.stats().memory_timeouts, if is_hurried { 2 } else { 0 });
        used.sixteenths(&mut edge, 0);
        edge.finish();
    }
}

#[test]
fn then_new_content_is_refused_and_nothing_else() {
    let mut edge = edge(Limits::default());
    let mut used = Used(0);
    let worker = edge.dial_in(0);
    used.sixteenths(&mut edge, 13);
    let early = edge.client(0, post("/app/1", 5_000) + &"x".repeat(4_999));
    used.sixteenths(&mut edge, 14);
    let late = edge.client(0, post("/app/2", 1) + "x");
    assert_eq!((status(&late).as_str(), edge.stats().memory_budget), ("503", 1));
    let without = edge.client(0, get("/fixed") + &get("/fixed") + &get("/files/small.txt"));
    assert_eq!(text(&without).matches("HTTP/1.1 200 ").count(), 3, "one after the other");
    edge.say(&early, "x");
    assert!(text(&worker).starts_with("POST /app/1 "));
    edge.say(&worker, HI);
    assert_eq!(status(&early), "200");
    used.sixteenths(&mut edge, 0);
    edge.finish();
}

#[test]
fn then_slow_uploads_and_half_heads_go_and_responses_come_in_small_pieces() {
    let mut edge = edge(Limits::default());
    let mut used = Used(0);
    let worker = edge.dial_in(0);
    let slow = edge.client(0, post("/app/1", 10_000) + "x");
    let fast = edge.client(0, post("/app/2", 10_000) + &"x".repeat(5_000));
    let waiting = edge.client(0, get("/app/3"));
    assert!(text(&worker).starts_with("GET /app/3 "));
    edge.pass(Duration::from_secs(1));
    edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
    used.sixteenths(&mut edge, 15);
    edge.pass(Duration::from_millis(100));
    assert_eq!((status(&slow).as_str(), edge.stats().memory_uploads), ("408", 1));
    assert_eq!(status(&edge.client(0, "GET /fix")), "503");
    assert_eq!(status(&edge.client(0, get("/fixed"))), "200", "a whole one is served");
    // The first piece finds the buffer of the head, the second a small one.
    for piece in ["a", "b"] {
        edge.say(&worker, piece.repeat(5_000));
        assert!(text(&waiting).ends_with(&piece.repeat(5_000)));
    }
    assert_eq!(edge.stats().memory_responses, 1);
    used.sixteenths(&mut edge, 13);
    edge.say(&fast, "x".repeat(5_000));
    assert!(text(&worker).starts_with("POST /app/2 "));
    edge.say(&worker, HI);
    assert_eq!(status(&fast), "200");
    used.sixteenths(&mut edge, 0);
    edge.finish();
}

#[test]
fn last_of_all_every_new_request_is_refused_and_what_was_taken_is_answered() {
    let mut edge = edge(Limits::default());
    let (mut used, worker) = (Used(0), edge.dial_in(0));
    let taken = edge.client(0, get("/app/1"));
    assert!(text(&worker).starts_with("GET /app/1 "));
    used.sixteenths(&mut edge, 16);
    let targets = ["/fixed", "/files/small.txt", "/app/2", "/nowhere"];
    let late = targets.map(|target| edge.client(0, get(target) + &get("/fixed")));
    for late in &late {
        assert_eq!(text(late).matches("HTTP/1.1 503 ").count(), 2);
    }
    let upload = edge.client(0, post("/app/3", 10) + "begin");
    assert_eq!(status(&upload), "503");
    assert_eq!((edge.stats().memory_budget, text(&worker).as_str()), (9, ""));
    edge.say(&worker, HI);
    assert!(text(&taken).ends_with("hi"));
    used.sixteenths(&mut edge, 15);
    edge.say(&late[0], get("/fixed"));
    assert_eq!(status(&late[0]), "200", "the connection has stayed");
    edge.say(&upload, String::from("the rest") + &get("/fixed"));
    edge.pass(Duration::from_secs(10));
    assert!(text(&upload).is_empty() && upload.at_end());
    used.sixteenths(&mut edge, 0);
    edge.finish();
}

#[test]
fn content_has_its_share_from_its_head_on() {
    let mut edge = edge(Limits::default());
    let mut uploads = Vec::new();
    while edge.stats().memory_budget == 0 {
        uploads.push(edge.client(0, post("/app/1", 20_000)));
        assert!(edge.memory.used() <= BUDGET && uploads.len() < 5_000);
    }
    assert_eq!(status(&uploads.pop().unwrap()), "503");
    // Half of it in large buffers, then in small ones.
    assert!(uploads.len() > 300, "{} had room", uploads.len());
    let worker = edge.dial_in(0);
    for client in &uploads {
        let mut sent = 0;
        while sent < 20_000 {
            sent += client.send(&pattern(1, 20_000)[sent..]);
            edge.settle();
        }
        assert!(edge.memory.used() <= BUDGET);
        assert!(text(&worker).starts_with("POST /app/1 "));
        let files = worker.take_files();
        assert!(files[0].read(0, 20_001) == pattern(1, 20_000));
        drop(files);
        edge.say(&worker, HI);
        assert_eq!(status(client), "200");
    }
    assert_eq!(edge.bytes_in_use(), 0);
    edge.finish();
}

/// One piece is being sent, one waits, and the rest is in the spool.
#[test]
fn whoever_does_not_read_holds_little_above_half_and_gets_everything_later() {
    const MEDIUM: u64 = 16 << 10;
    let mut edge = edge(Limits::default());
    let (mut used, worker) = (Used(0), edge.dial_in(0));
    used.sixteenths(&mut edge, 8);
    edge.kernel.set_capacity(100_000);
    let client = edge.client(0, get("/app/1"));
    assert!(text(&worker).starts_with("GET /app/1 "));
    let content: Vec<u8> = (0..600_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
    let answer = [head.as_bytes(), &content].concat();
    let (mut sent, mut most) = (0, 0);
    while sent < answer.len() {
        sent += worker.send(&answer[sent..]);
        edge.settle();
        most = most.max(edge.bytes_in_use() - used.0);
    }
    assert!(most <= 3 * MEDIUM + 6 * SMALL as u64, "{most} bytes");
    assert_eq!(edge.stats().responses_spooled, 1);
    let mut got = Vec::new();
    while !got.ends_with(&content) {
        if got.len() > content.len() / 2 {
            used.sixteenths(&mut edge, 0);
        }
        let before = got.len();
        got.extend(client.receive());
        edge.settle();
        assert!(got.len() > before, "it stands after {before} bytes");
    }
    client.reset();
    edge.finish();
}

#[test]
fn small_pieces_come_one_by_one_however_slow_the_disk() {
    let faults = Faults { late: 500, ..Faults::none() };
    let limits = Limits { memory_budget: BUDGET, ..Limits::default() };
    let mut edge = Edge::new(&Settings { limits, faults, ..Settings::default() });
    let mut used = Used(0);
    let worker = edge.dial_in(0);
    edge.kernel.set_capacity(1_000);
    let client = edge.client(0, get("/app/1"));
    used.sixteenths(&mut edge, 15);
    assert!(text(&worker).starts_with("GET /app/1 "));
    edge.say(&worker, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let (content, mut sent, mut most) = (format!("1388\r\n{}\r\n", "x".repeat(5_000)), 0, 0);
    for _ in 0..5_000 {
        sent += worker.send(&content.as_bytes()[sent % content.len()..]);
        edge.turn_all();
        most = most.max(edge.bytes_in_use() - used.0);
    }
    assert!(sent > 100_000, "{sent} bytes: it goes on all the same");
    let first = 64 << 10;
    assert!(most <= first + 10 * SMALL as u64, "{most} bytes");
    client.reset();
    used.sixteenths(&mut edge, 0);
    edge.finish();
}
