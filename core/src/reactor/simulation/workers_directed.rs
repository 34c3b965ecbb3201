//! What becomes of single requests: the queue, deadlines, workers that leave or fail.

use super::*;

const OK: &str = "HTTP/1.1 200 ";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn edge(pool: PoolLimits) -> Edge {
    Edge::new(&Settings { reactors: 2, pool, ..Settings::default() })
}

fn counts(edge: &Edge) -> (usize, usize, usize) {
    let PoolCounts { slots, idle, queued, .. } = edge.pools[0].core().counts();
    (slots, idle, queued)
}

fn post(target: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
}

#[test]
fn the_oldest_request_of_any_reactor_comes_first() {
    let mut edge = edge(PoolLimits::default());
    let worker = edge.dial_in(0);
    let clients: Vec<_> = (0..8).map(|n| edge.client(n % 2, get(&format!("/app/{n}")))).collect();
    assert_eq!(counts(&edge), (1, 0, 7));
    for (n, client) in clients.iter().enumerate() {
        assert!(text(&worker).starts_with(&format!("GET /app/{n} ")));
        assert!(text(client).is_empty());
        edge.say(&worker, ANSWER);
        assert!(text(client).starts_with(OK));
    }
    assert_eq!(counts(&edge), (1, 1, 0));
    edge.finish();
}

#[test]
fn what_is_wrong_before_the_client_has_anything_is_502() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (content, begun) in [("nonsense", false), ("2\r\nokXX", false), ("2\r\nok\r\n", true)] {
        let mut edge = edge(PoolLimits::default());
        let worker = edge.dial_in(0);
        let client = edge.client(0, get("/app/1"));
        text(&worker);
        edge.say(&worker, format!("{head}{content}"));
        if begun {
            edge.say(&worker, "nonsense");
        }
        edge.pass(seconds(6));
        let answer = text(&client);
        let expected = if begun { OK } else { "HTTP/1.1 502 " };
        assert!(answer.starts_with(expected), "{content:?}: {answer:?}");
        assert_eq!(client.at_end(), begun, "{content:?}");
        edge.finish();
    }
}

#[test]
fn a_full_queue_refuses_at_once() {
    let mut edge = edge(PoolLimits { queue: 1, ..PoolLimits::default() });
    let first = edge.client(0, get("/app/1"));
    let second = edge.client(1, get("/app/2"));
    let answer = text(&second);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 1\r\n"));
    assert!(!second.at_end(), "the connection goes on");
    let worker = edge.dial_in(0);
    assert!(text(&worker).starts_with("GET /app/1 "));
    edge.say(&worker, ANSWER);
    assert!(text(&first).starts_with(OK));
    assert_eq!(edge.stats().queue_full, 1);
    edge.finish();
}

#[test]
fn a_late_answer_is_thrown_away_and_the_slot_used_again() {
    let mut edge = edge(PoolLimits { deadline: seconds(3), ..PoolLimits::default() });
    let worker = edge.dial_in(0);
    let client = edge.client(0, get("/app/1"));
    edge.pass(seconds(4));
    assert!(text(&client).starts_with("HTTP/1.1 504 "));
    assert!(!client.at_end());
    assert_eq!(counts(&edge), (1, 0, 0));
    edge.say(&client, get("/app/2"));
    text(&worker);
    edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    assert!(text(&client).is_empty());
    assert!(text(&worker).starts_with("GET /app/2 "));
    edge.say(&worker, ANSWER);
    assert!(text(&client).ends_with("ok"));
    assert_eq!(edge.stats().deadline, 1);
    edge.finish();
}

#[test]
fn an_answer_that_stops_coming_is_cut_off() {
    for framing in [
        "Content-Length: 9\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "\r\nabc",
    ] {
        let mut edge = edge(PoolLimits { deadline: seconds(3), ..PoolLimits::default() });
        let worker = edge.dial_in(0);
        let client = edge.client(0, get("/app/1"));
        edge.say(&worker, format!("HTTP/1.1 200 OK\r\n{framing}"));
        edge.pass(seconds(4));
        let answer = text(&client);
        assert!(answer.contains("abc") && !answer.ends_with("0\r\n\r\n"), "{answer}");
        assert!(client.at_end());
        text(&worker);
        assert!(worker.at_end());
        assert_eq!((edge.stats().responses_aborted, counts(&edge)), (1, (0, 0, 0)));
        edge.finish();
    }
}

#[test]
fn a_request_that_crosses_a_goodbye_goes_to_another_worker() {
    for leaves_first in [true, false] {
        let mut edge = edge(PoolLimits::default());
        let staying = edge.dial_in(0);
        let leaving = edge.dial_in(0);
        let client = edge.connect(1);
        if !leaves_first {
            client.send(post("/app/1").as_bytes());
            edge.settle();
            assert!(!leaving.peek().is_empty());
        }
        leaving.send(crate::http::slot::GOODBYE);
        leaving.finish();
        if leaves_first {
            client.send(post("/app/1").as_bytes());
        }
        edge.settle();
        drop(leaving);
        assert!(text(&staying).starts_with("POST /app/1 "));
        edge.say(&staying, ANSWER);
        assert!(text(&client).starts_with(OK));
        edge.finish();
    }
}

#[test]
fn goodbyes_and_workers_that_had_nothing_are_no_crashes() {
    let mut edge = edge(PoolLimits::default());
    let client = edge.client(0, post("/app/1"));
    for _ in 0..5 {
        let worker = edge.dial_in(0);
        worker.send(crate::http::slot::GOODBYE);
        drop(worker);
        edge.settle();
    }
    for crash in 0..3 {
        assert!(text(&client).is_empty(), "after {crash} crashes");
        drop(edge.dial_in(0));
        edge.settle();
    }
    assert!(text(&client).starts_with("HTTP/1.1 502 "));
    assert_eq!((edge.stats().repeated, edge.stats().requeued), (0, 7));
    edge.finish();
}

#[test]
fn only_what_is_idempotent_is_repeated_once() {
    for (request, repeats) in [(get("/app/1"), true), (post("/app/1"), false)] {
        let mut edge = edge(PoolLimits::default());
        let client = edge.client(0, request);
        for start in 0..2 {
            if start == 0 || repeats {
                assert!(text(&client).is_empty());
                let worker = edge.dial_in(0);
                assert!(!text(&worker).is_empty());
                drop(worker);
                edge.settle();
            }
        }
        assert!(text(&client).starts_with("HTTP/1.1 502 "));
        assert!(!client.at_end());
        let stats = edge.stats();
        assert_eq!((stats.repeated, stats.requeued), (u64::from(repeats), 0));
        edge.finish();
    }
}

#[test]
fn a_request_that_has_killed_its_worker_is_not_repeated() {
    for (signal, repeats) in [(libc::SIGSEGV, false), (libc::SIGKILL, false), (libc::SIGTERM, true)]
    {
        let mut edge = edge(PoolLimits::default());
        let client = edge.client(0, get("/app/1"));
        let worker = edge.dial_in(0);
        assert!(!text(&worker).is_empty());
        worker.kill(signal);
        drop(worker);
        edge.settle();
        assert_eq!(text(&client).starts_with("HTTP/1.1 502 "), !repeats);
        edge.finish();
    }
}

#[test]
fn a_worker_that_closes_and_lives_costs_a_moment() {
    for (request, answer) in [(get("/app/1"), OK), (post("/app/1"), "HTTP/1.1 502 ")] {
        let mut edge = edge(PoolLimits::default());
        let client = edge.client(0, request);
        let worker = edge.dial_in(0);
        assert!(!text(&worker).is_empty());
        worker.finish();
        edge.settle();
        let other = edge.dial_in(0);
        edge.pass(Duration::from_millis(900));
        assert!(text(&client).is_empty() && text(&other).is_empty(), "it may be dying");
        edge.pass(Duration::from_millis(200));
        if !text(&other).is_empty() {
            edge.say(&other, ANSWER);
        }
        assert!(text(&client).starts_with(answer));
        edge.finish();
    }
}

#[test]
fn a_dead_worker_is_missed_though_a_child_keeps_its_slot() {
    for is_taken in [false, true] {
        let mut edge = edge(PoolLimits::default());
        let client = edge.client(0, post("/app/1"));
        let worker = edge.dial_in(0);
        let idle = edge.dial_in(0);
        if is_taken {
            text(&worker);
        }
        for slot in [&worker, &idle] {
            slot.kill(libc::SIGKILL);
        }
        edge.settle();
        assert_eq!(counts(&edge), (0, 0, usize::from(!is_taken)));
        assert_eq!(text(&client).starts_with("HTTP/1.1 502 "), is_taken);
        let other = edge.dial_in(0);
        assert_eq!(text(&other).starts_with("POST /app/1 "), !is_taken);
        drop(other);
        edge.finish();
    }
}

#[test]
fn what_a_dead_worker_has_not_read_is_known_whenever_its_child_lets_go() {
    for (owner, turns) in [0, 1].into_iter().flat_map(|owner| (0..6).map(move |n| (owner, n))) {
        for is_taken in [false, true] {
            let mut edge = edge(PoolLimits::default());
            let client = edge.client(owner, post("/app/1"));
            let worker = edge.dial_in(0);
            if is_taken {
                text(&worker);
            }
            worker.kill(libc::SIGKILL);
            for _ in 0..turns {
                edge.turn_all();
            }
            drop(worker);
            edge.settle();
            let is_lost = text(&client).starts_with("HTTP/1.1 502 ");
            assert_eq!(is_lost, is_taken, "reactor {owner} after {turns} turns");
            edge.finish();
        }
    }
}

#[test]
fn what_a_dead_worker_has_not_read_is_known_though_nobody_reaps_it() {
    let mut edge = edge(PoolLimits::default());
    let client = edge.client(0, post("/app/1"));
    let worker = edge.dial_in(0);
    worker.kill_unreaped(libc::SIGKILL);
    edge.settle();
    let other = edge.dial_in(0);
    edge.pass(seconds(2));
    assert!(text(&other).starts_with("POST /app/1 "));
    edge.say(&other, ANSWER);
    assert!(text(&client).starts_with(OK));
    edge.finish();
}

#[test]
fn behind_an_interim_response_there_is_no_goodbye() {
    let mut edge = edge(PoolLimits::default());
    let worker = edge.dial_in(0);
    let client = edge.client(0, post("/app/1"));
    text(&worker);
    edge.say(&worker, "HTTP/1.1 103 Early Hints\r\n\r\n");
    worker.send(crate::http::slot::GOODBYE);
    worker.finish();
    edge.settle();
    drop(worker);
    let other = edge.dial_in(0);
    assert!(text(&other).is_empty(), "the request has been started");
    assert!(text(&client).contains("HTTP/1.1 502 "));
    edge.finish();
}

#[test]
fn a_deadline_that_is_missed_counts_once() {
    let mut edge = edge(PoolLimits { deadline: seconds(3), ..PoolLimits::default() });
    let worker = edge.dial_in(0);
    let client = edge.client(0, get("/app/1"));
    assert!(!text(&worker).is_empty());
    edge.pass(seconds(20));
    assert!(text(&client).starts_with("HTTP/1.1 504 "));
    assert_eq!(edge.stats().deadline, 1);
    edge.finish();
}

#[test]
fn the_death_of_a_process_with_many_slots_is_one_crash() {
    let mut edge = edge(PoolLimits::default());
    let client = edge.client(0, post("/app/1"));
    for process in 1..=3 {
        let threads: Vec<_> = (0..8).map(|_| edge.dial_in_as(9000 + process, 0)).collect();
        assert!(text(&client).is_empty(), "after {} crashes", process - 1);
        // One after the other, and the request goes to those that are left.
        for thread in threads {
            drop(thread);
            edge.settle();
        }
    }
    assert!(text(&client).starts_with("HTTP/1.1 502 "));
    edge.finish();
}

#[test]
fn a_request_leaves_a_dying_process_for_another() {
    let mut edge = edge(PoolLimits::default());
    let other = edge.dial_in_as(9001, 0);
    let mut dying: Vec<_> = (0..8).map(|_| edge.dial_in_as(9002, 0)).collect();
    let client = edge.client(0, post("/app/1"));
    drop(dying.pop());
    edge.settle();
    assert!(text(&other).starts_with("POST /app/1 "));
    edge.say(&other, ANSWER);
    assert!(text(&client).starts_with(OK));
    edge.finish();
}

#[test]
fn what_a_worker_says_unasked_answers_nobody() {
    let mut edge = edge(PoolLimits::default());
    let babbler = edge.dial_in(0);
    edge.say(&babbler, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray");
    let client = edge.client(0, post("/app/1"));
    assert!(text(&client).is_empty() && text(&babbler).is_empty());
    assert!(babbler.was_reset(), "its slot is closed");
    let worker = edge.dial_in(0);
    edge.say(&worker, [ANSWER, ANSWER].concat());
    assert_eq!(text(&client).matches(OK).count(), 1);
    text(&worker);
    assert!(worker.at_end());
    edge.finish();
}

#[test]
fn an_answer_to_half_a_request_ends_the_slot() {
    let mut edge = edge(PoolLimits::default());
    edge.kernel.set_capacity(2000);
    let worker = edge.dial_in(0);
    edge.kernel.set_capacity(1 << 20);
    let head = "POST /app/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n";
    let client = edge.client(0, format!("{head}{:50000}", ""));
    edge.say(&worker, "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno");
    assert!(text(&client).ends_with("no"));
    text(&worker);
    assert!(worker.at_end());
    assert_eq!(counts(&edge), (0, 0, 0));
    edge.finish();
}

#[test]
fn a_client_that_leaves_costs_the_slot_only_inside_an_endless_answer() {
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    for (begin, survives) in [(endless, false), (&ANSWER[..ANSWER.len() - 1], true)] {
        let mut edge = edge(PoolLimits::default());
        let worker = edge.dial_in(0);
        let client = edge.client(1, get("/app/1"));
        edge.say(&worker, begin);
        client.reset();
        edge.settle();
        // The edge notices when it sends.
        edge.say(&worker, if survives { "k" } else { "1\r\nx\r\n" });
        edge.pass(seconds(1));
        text(&worker);
        assert_eq!(
            (counts(&edge), worker.at_end()),
            ((usize::from(survives), usize::from(survives), 0), !survives)
        );
        edge.finish();
    }
}

#[test]
fn an_endless_answer_that_begins_when_its_client_has_gone_costs_the_slot() {
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    let whole = [endless, "0\r\n\r\n"].concat();
    for (answer, survives) in [(endless, false), (&whole[..], true)] {
        let mut edge = edge(PoolLimits::default());
        let worker = edge.dial_in(0);
        // From its second request on, a client that leaves is noticed at once.
        let client = edge.client(1, get("/fixed"));
        edge.say(&client, get("/app/1"));
        client.reset();
        edge.settle();
        text(&worker);
        edge.say(&worker, answer);
        edge.pass(seconds(1));
        let idle = usize::from(survives);
        assert_eq!((counts(&edge), worker.at_end()), ((idle, idle, 0), !survives));
        edge.finish();
    }
}

#[test]
fn an_answer_that_stops_coming_when_its_client_goes_on_taking_it_is_cut_off() {
    let limits = Limits { response_memory: 10_000, rate_min: 0, ..Limits::default() };
    let pool = PoolLimits { deadline: seconds(3), ..PoolLimits::default() };
    let mut edge = Edge::new(&Settings { limits, pool, ..Settings::default() });
    let worker = edge.dial_in(0);
    edge.kernel.set_capacity(1_000);
    let client = edge.client(0, get("/app/1"));
    let head = "HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: 999999\r\n\r\n";
    text(&worker);
    // What the client is being sent, what follows that, and what fills `response_memory`.
    edge.say(&worker, head);
    (0..4).for_each(|id| edge.say(&worker, pattern(id, 10_000)));
    edge.pass(seconds(10));
    assert!(!worker.at_end(), "a worker that waits for its client is not late");
    let mut taken = 0;
    while taken < 40_000 {
        taken += client.receive().len();
        edge.settle();
    }
    edge.pass(seconds(4));
    text(&client);
    assert!(client.at_end());
    assert_eq!((edge.stats().responses_aborted, counts(&edge)), (1, (0, 0, 0)));
    edge.finish();
}

#[test]
fn stopping_waits_for_nobody() {
    let mut edge = edge(PoolLimits::default());
    let worker = edge.dial_in(0);
    edge.kernel.set_capacity(1000);
    let running = edge.client(0, get("/app/1"));
    let waiting = edge.client(1, get("/app/2"));
    let slow = edge.client(0, get("/files/large.bin"));
    let half = edge.client(1, "POST /app/3 HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n");
    assert!(!text(&worker).is_empty());
    edge.drain();
    edge.stop();
    let late: Vec<_> = (0..2).map(|reactor| edge.connect(reactor)).collect();
    late.iter().for_each(|client| assert!(client.send(get("/app/4").as_bytes()) > 0));
    edge.settle();
    edge.assert_clean();
    for client in [&running, &waiting, &slow, &half, &worker].into_iter().chain(&late) {
        client.receive();
        assert!(client.at_end() || client.was_reset());
    }
}
