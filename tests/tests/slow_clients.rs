//! Clients that drip occupy no worker and delay nobody.

use forebay_tests::{Drip, Drippers, Load, Report, Site, is_full};
use std::time::Duration;

const REQUEST: &str = "GET /hello HTTP/1.1\r\nHost: test\r\n\r\n";

/// 500 clients drip a head, a byte a second, and 200 a megabyte of content; two workers.
///
/// With `FOREBAY_FULL=1` it takes longer and the latencies are compared, too: in a short run on a
/// shared machine they are chance.
#[test]
fn dripping_clients_occupy_no_worker() {
    let duration = Duration::from_secs(if is_full() { 20 } else { 3 });
    let site = Site::builder().app("probe", 2).start();
    let run = || Load::run(site.address(), REQUEST, 4, duration);

    let without = run();
    without.assert_all_answered();
    let drippers = Drippers::start(site.address(), drips());
    let with = run();
    with.assert_all_answered();

    println!("without slow clients: {}", figures(&without));
    println!("with 700 of them:     {}", figures(&with));
    println!("pieces sent: {}, let go: {}", drippers.pieces(), drippers.ended());
    assert!(drippers.pieces() > 700, "the slow clients were at work");
    assert!(with.percentile(99.0) < Duration::from_secs(1));
    if is_full() {
        let bound = without.percentile(99.0) * 2 + Duration::from_millis(5);
        assert!(with.percentile(99.0) <= bound, "the 99th percentile is beyond {bound:?}");
    }
}

/// A slow reader of a large answer lets go of the worker as far as memory for it is allowed.
#[test]
fn slow_readers_occupy_no_worker() {
    let site = Site::builder().app("probe", 1).limit("response_memory = \"256KiB\"").start();
    let mut slow: Vec<_> = (0..20)
        .map(|_| {
            let mut client = forebay_tests::Client::connect_narrow(site.address());
            client.send("GET /bytes/200000 HTTP/1.1\r\nHost: test\r\n\r\n");
            client
        })
        .collect();
    let mut client = site.client();
    for _ in 0..20 {
        assert_eq!(client.get("/hello").status, 200);
    }
    for client in &mut slow {
        assert_eq!(client.read_response().content.len(), 200_000);
    }
}

fn drips() -> Vec<Drip> {
    let head = Drip {
        first: b"GET /hello HTTP/1.1\r\nHost: test\r\nSlow: ".to_vec(),
        piece: b"x".to_vec(),
        interval: Duration::from_secs(1),
    };
    let content = Drip {
        first: b"POST /hello HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n".to_vec(),
        piece: vec![b'x'; 1000],
        interval: Duration::from_millis(500),
    };
    let mut drips = vec![head; 500];
    drips.extend(vec![content; 200]);
    drips
}

fn figures(report: &Report) -> String {
    let [p50, p99, most] = [50.0, 99.0, 100.0].map(|percent| report.percentile(percent));
    format!("{} answers, p50 {p50:?}, p99 {p99:?}, most {most:?}", report.latencies.len())
}
