//! What clients of files must see when the disk takes its time.

use super::*;

/// Turns of the reactor until the peer has received something; at most `most`.
fn turns_until_answered(edge: &mut Edge, peer: &Peer, most: usize) -> usize {
    for turns in 1..=most {
        edge.turn_all();
        if !peer.receive().is_empty() {
            return turns;
        }
    }
    panic!("no answer in {most} turns");
}

#[test]
fn cold_names_and_files_delay_nobody_else() {
    let faults = Faults { cold: 1000, ..Faults::none() };
    let mut edge = Edge::new(&Settings { faults, reactors: 1, ..Settings::default() });
    edge.pass(Duration::from_secs(10));
    let hot = edge.client(0, get("/files/small.txt"));
    assert!(text(&hot).starts_with("HTTP/1.1 200 "));
    let targets = ["/files/large.bin", "/files/none", "/files/no/such/name", "/files/large.bin"];
    let mut cold = targets.map(|target| {
        let client = edge.connect(0);
        client.send(get(target).as_bytes());
        (client, 0)
    });
    let mut answers = 0;
    let ends = [LARGE_FILE.1, 1, 1, LARGE_FILE.1];
    while cold.iter().zip(ends).any(|((_, received), end)| *received < end) {
        hot.send(get("/files/small.txt").as_bytes());
        let turns = turns_until_answered(&mut edge, &hot, 10);
        assert!(turns <= 3, "{turns} turns for what is in memory");
        answers += 1;
        assert!(answers < 10_000, "the cold ones never end");
        for (client, received) in &mut cold {
            *received += client.receive().len();
        }
    }
    assert!(answers > 10, "{answers}: nothing was cold");
    edge.finish();
}

#[test]
fn who_leaves_while_the_disk_takes_its_time_leaves_nothing_behind() {
    for turns in 0..60 {
        let faults = Faults { cold: 1000, ..Faults::none() };
        let mut edge = Edge::new(&Settings { faults, reactors: 1, ..Settings::default() });
        let client = edge.connect(0);
        client.send(get("/files/large.bin").as_bytes());
        for _ in 0..turns {
            edge.turn_all();
        }
        client.reset();
        edge.finish();
    }
}

#[test]
fn files_that_nobody_asks_for_are_closed_though_nothing_happens() {
    let mut edge = Edge::new(&Settings { reactors: 1, ..Settings::default() });
    let client = edge.client(0, get("/files/large.bin"));
    let mut received = 0;
    while received < LARGE_FILE.1 {
        received += client.receive().len();
        edge.settle();
    }
    let open = edge.kernel.open_descriptors().len();
    edge.pass(Duration::from_secs(29));
    assert_eq!(edge.kernel.open_descriptors().len(), open);
    edge.pass(Duration::from_secs(32));
    assert_eq!(edge.kernel.open_descriptors().len(), open - 1);
    edge.finish();
}

#[test]
fn a_file_in_the_place_of_one_as_large_and_as_old_is_seen() {
    let mut edge = Edge::new(&Settings::default());
    let client = edge.client(0, get("/files/small.txt"));
    assert!(text(&client).starts_with("HTTP/1.1 200 "));
    let content = "x".repeat(SMALL_FILE.1);
    edge.kernel.replace_file_by_as_old(SMALL_FILE.0, content.as_bytes());
    edge.pass(Duration::from_secs(1));
    edge.say(&client, get("/files/small.txt"));
    let answer = text(&client);
    assert!(answer.ends_with(&content), "{answer}");
    edge.finish();
}

/// Time passes while operations on files are in flight.
fn crawl(edge: &mut Edge, step: Duration, turns: usize) {
    for _ in 0..turns {
        edge.turn_all();
        edge.kernel.advance(step);
    }
    edge.settle();
}

#[test]
fn no_time_for_a_head_runs_while_a_file_is_opened() {
    let faults = Faults { cold: 1000, ..Faults::none() };
    let request = get("/files/small.txt");
    // What is said before, what is then waited for, and how much of the request is there already.
    for (before, wait, part) in [("", 9_900, 20), (&*get("/fixed"), 74_900, 0)] {
        let mut edge = Edge::new(&Settings { faults, ..Settings::default() });
        let client = edge.client(0, before.to_owned() + &request[..part]);
        text(&client);
        edge.pass(Duration::from_millis(wait));
        client.send(&request.as_bytes()[part..]);
        crawl(&mut edge, Duration::from_millis(100), 60);
        assert!(text(&client).starts_with("HTTP/1.1 200 "), "after {wait} ms");
        edge.finish();
    }
}

#[test]
fn a_disk_that_is_slow_is_not_the_clients_fault() {
    for seed in 0..20 {
        let faults = Faults { cold: 1000, ..Faults::none() };
        let mut edge = Edge::new(&Settings { seed, faults, ..Settings::default() });
        edge.kernel.set_capacity(1 << 20);
        let client = edge.client(0, "");
        client.send(get("/files/large.bin").as_bytes());
        let mut received = Vec::new();
        for _ in 0..400 {
            edge.turn_all();
            client.receive_into(usize::MAX, &mut received);
            let begun = edge.stats().responses_2xx > 0;
            edge.kernel.advance(Duration::from_secs(if begun { 2 } else { 0 }));
        }
        assert!(received.len() > LARGE_FILE.1 && !client.was_reset(), "seed {seed}");
        edge.finish();
    }
}
