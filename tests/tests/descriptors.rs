//! Nothing stays open, whatever happens to requests, their clients and their workers.

use forebay_tests::{
    Client, KILL, PATIENCE, Random, Site, Storm, is_full, send_signal, wait_until,
};
use std::fs;

/// About one in four is a fault.
const ROUND: usize = 1_000;

#[test]
fn as_many_are_open_after_many_requests_as_before() {
    let site = Site::builder().app_with("probe", &["-w", "2", "--threads", "2"]);
    let site = site.limit("response_memory = \"64KiB\"").path_variable("PROBE_LOG", "log").start();
    let mut random = Random::new(6);
    let mut sent = 0;
    let mut round = |kills: bool| {
        let storm = Storm::start(site.address(), "POST", 8, 4_000);
        while storm.sent() < ROUND {
            leave_somehow(&site, &mut random);
            sent += 1;
        }
        if kills {
            let workers = site.worker_pids();
            workers.first().into_iter().for_each(|worker| send_signal(*worker, KILL));
            let count = storm.sent();
            wait_until("answers", PATIENCE, || storm.sent() > count + 100);
        }
        sent += storm.sent();
        let outcomes = storm.stop();
        assert!(outcomes.faults.is_empty(), "{:?}", outcomes.faults);
        sent
    };
    round(false);
    let before = settled(&site);
    while round(true) < if is_full() { 100_000 } else { 5_000 } {}
    println!("{before:?} descriptors before, {sent} requests");
    wait_until("all is closed", PATIENCE, || open(&site) == before);
    assert_eq!(settled(&site), before);
}

/// A client that leaves inside its request, before the answer, or inside that.
fn leave_somehow(site: &Site, random: &mut Random) {
    let mut client = site.client();
    let upload = |client: &mut Client, length: usize| {
        client.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n");
        client.send(vec![b'x'; length]);
    };
    match random.below(4) {
        0 => upload(&mut client, random.below(100_000)),
        1 => upload(&mut client, 100_000),
        2 => client.send("GET /once/x/3 HTTP/1.1\r\nHost: test\r\n\r\n"),
        _ => {
            client.send("GET /bytes/3000000 HTTP/1.1\r\nHost: test\r\n\r\n");
            // A worker may be killed meanwhile.
            let _ = client.read_exactly(1 + random.below(100_000));
        }
    }
    client.reset();
}

/// Of the edge, and of the arbiter.
fn open(site: &Site) -> [usize; 2] {
    let folder = format!("/proc/{}/fd", site.arbiter_pid());
    [site.descriptors(), fs::read_dir(folder).map_or(0, Iterator::count)]
}

/// When nothing changes any more.
fn settled(site: &Site) -> [usize; 2] {
    let (mut last, mut times) = (open(site), 0);
    wait_until("nothing changes", PATIENCE, || {
        let now = open(site);
        times = if now == last { times + 1 } else { 0 };
        last = now;
        times > 100
    });
    last
}
