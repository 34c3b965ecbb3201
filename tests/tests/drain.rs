//! TERM finishes what is in flight, resets nobody and ends with 0; INT is quick.

use forebay_tests::{Client, Failure, INT, KILL, Load, PATIENCE, Site, TERM, is_alive, wait_until};

const REQUEST: &str = "GET /hello HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn under_load_nobody_is_reset() {
    under_load(REQUEST);
}

#[test]
fn under_load_of_new_connections_nobody_is_reset() {
    under_load("GET /hello HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
}

#[test]
fn what_is_in_flight_is_finished_and_nothing_new_begun() {
    let mut site = Site::builder().in_order().app("probe", 2).start();
    let mut idle = site.client();
    assert_eq!(idle.get("/hello").status, 200);
    let mut busy = site.begin("/sleep/1500");
    site.signal(TERM);
    assert_eq!(idle.read_to_end(), b"", "an idle connection is closed at once");
    wait_until("new connections are refused", PATIENCE, || {
        matches!(Client::try_connect(site.address()), Err(Failure::Refused))
    });
    let response = busy.read_response();
    assert_eq!(response.status, 200);
    assert!(response.closes(), "{:?}", response.fields);
    assert_eq!(busy.read_to_end(), b"");
    assert_eq!(site.wait_exit(PATIENCE).code(), Some(0), "{}", site.stderr());
}

#[test]
fn what_waits_in_the_queue_is_finished() {
    let mut site = Site::builder().in_order().app("probe", 1).start();
    let mut clients: Vec<Client> = (0..3).map(|_| site.begin("/sleep/300")).collect();
    site.signal(TERM);
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
    assert_eq!(site.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn no_process_is_left() {
    for signal in [TERM, INT, KILL] {
        let mut site = Site::with_app("probe", 3);
        let workers = site.worker_pids();
        assert_eq!(workers.len(), 3);
        site.signal(signal);
        site.wait_exit(PATIENCE);
        wait_until("the workers have ended", PATIENCE, || !workers.iter().any(|p| is_alive(*p)));
    }
}

#[test]
fn a_quick_stop_waits_for_nobody() {
    let mut site = Site::builder().in_order().app("probe", 1).start();
    let mut busy = site.begin("/sleep/60000");
    site.signal(INT);
    site.wait_exit(PATIENCE);
    assert!(busy.try_response(false).is_err(), "there was no time for an answer");
}

#[test]
fn a_second_term_is_a_quick_stop() {
    let mut site = Site::builder().in_order().app("probe", 1).start();
    let mut busy = site.begin("/sleep/60000");
    site.signal(TERM);
    wait_until("it drains", PATIENCE, || Client::try_connect(site.address()).is_err());
    site.signal(TERM);
    site.wait_exit(PATIENCE);
    assert!(busy.try_response(false).is_err(), "there was no time for an answer");
}

#[test]
fn what_outlasts_drain_timeout_is_cut_off() {
    let site = Site::builder().server("drain_timeout = \"300ms\"").in_order();
    let mut site = site.app("probe", 1).start();
    let mut busy = site.begin("/sleep/60000");
    site.signal(TERM);
    site.wait_exit(PATIENCE);
    assert!(busy.try_response(false).is_err(), "there was no time for an answer");
    assert!(site.stderr().contains("`drain_timeout` is over"), "{}", site.stderr());
}

fn under_load(request: &str) {
    let mut site = Site::builder().app("probe", 2).start();
    let load = Load::start(site.address(), request, 8);
    wait_until("the load is on", PATIENCE, || load.answered() > 500);
    site.signal(TERM);
    let report = load.join();
    // A request that crossed with the end of an idle connection is not answered (RFC 9112 §9.6);
    // the client sees an orderly end and may repeat it.
    let is_orderly = |failure: &Failure| matches!(failure, Failure::Refused | Failure::Closed);
    let bad: Vec<_> = report.failures.iter().filter(|failure| !is_orderly(failure)).collect();
    assert!(bad.is_empty(), "{bad:?} beside {} answers", report.latencies.len());
    assert_eq!(report.statuses, Vec::<u16>::new());
    assert_eq!(site.wait_exit(PATIENCE).code(), Some(0), "{}", site.stderr());
}
