//! The end of the server: what is still answered, and that each answer says that it is the last.

use super::*;
use std::sync::Mutex;

const OK: &str = "HTTP/1.1 200 ";

#[track_caller]
fn is_the_last(answer: &str, status: &str) {
    assert!(answer.starts_with(status), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
}

#[test]
fn who_has_not_asked_yet_may_still_do_so() {
    let mut edge = Edge::new(&Settings::default());
    let [asks, silent] = [(); 2].map(|()| edge.client(0, ""));
    edge.drain();
    edge.settle();
    assert!(!asks.at_end() && !asks.was_reset());
    edge.say(&asks, get("/fixed"));
    is_the_last(&text(&asks), OK);
    edge.pass(Duration::from_secs(20));
    for client in [asks, silent] {
        assert!(text(&client).is_empty() && client.at_end() && !client.was_reset());
    }
    edge.assert_clean();
}

#[test]
fn who_has_begun_to_ask_may_take_the_usual_time() {
    let mut edge = Edge::new(&Settings::default());
    let early = edge.client(0, "");
    edge.drain();
    let late = edge.client(0, "");
    let request = get("/fixed");
    let (half, rest) = request.split_at(9);
    for client in [&early, &late] {
        edge.say(client, half);
    }
    edge.pass(Duration::from_secs(5));
    for client in [&early, &late] {
        edge.say(client, rest);
        is_the_last(&text(client), OK);
    }
    edge.pass(Duration::from_secs(20));
    edge.assert_clean();
}

#[test]
fn a_file_that_is_being_opened_is_sent_whole() {
    let faults = Faults { cold: 1000, ..Faults::none() };
    let mut last = 0;
    for turns in 0..60 {
        let mut edge = Edge::new(&Settings { faults, ..Settings::default() });
        let client = edge.connect(0);
        client.send(get("/files/large.bin").as_bytes());
        for _ in 0..turns {
            edge.turn_all();
        }
        edge.drain();
        let mut answer = Vec::new();
        for _ in 0..200 {
            edge.pass(Duration::from_millis(100));
            client.receive_into(usize::MAX, &mut answer);
        }
        assert!(client.at_end() && !client.was_reset(), "after {turns} turns");
        assert!(answer.ends_with(&pattern(LARGE_FILE.1 as u64, LARGE_FILE.1)), "{turns} turns");
        let head = String::from_utf8_lossy(&answer[..500]);
        last += usize::from(head.contains("\r\nConnection: close\r\n"));
        edge.assert_clean();
    }
    assert!(last > 10, "{last} answers that had not begun say that they are the last");
}

#[test]
fn answers_of_handlers_and_failures_are_the_last_ones() {
    let mut edge = Edge::new(&Settings::default());
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeper = Arc::clone(&kept);
    let keep = move |_: Request, reply: Reply| keeper.lock().unwrap().push(reply);
    let mut policy = edge.policy(0..POOLS.len());
    policy.routes.add(None, "/keep", Action::Handler(Arc::new(keep)).into()).unwrap();
    edge.reactors[0].as_mut().unwrap().world.policy = Arc::new(policy);
    let handled = edge.client(0, get("/keep"));
    let without_worker = edge.client(0, get("/app/"));
    edge.drain();
    edge.settle();
    kept.lock().unwrap().remove(0).send(Response::new("at the end"));
    edge.pass(Duration::from_secs(60));
    is_the_last(&text(&handled), OK);
    is_the_last(&text(&without_worker), "HTTP/1.1 503 ");
    edge.assert_clean();
}
