//! Connections that wait for their next request need little memory, however many they are.
//!
//! With `FOREBAY_FULL=1` there are ten thousand.

use forebay_tests::{
    Client, PATIENCE, Site, is_full, own_bytes, raise_descriptor_limit, wait_until,
};
use std::time::{Duration, Instant};

#[test]
fn idle_connections_need_little_and_leave_it_to_others() {
    raise_descriptor_limit();
    let count = if is_full() { 10_000 } else { 2_000 };
    let site = Site::builder().control().server("reactors = 1").app("hello", 1).start();
    // What is made once for all.
    drop(idle(&site, 100));
    let before = own_bytes(site.pid());
    let mut clients = idle(&site, count);
    let with = own_bytes(site.pid());
    let each = with.saturating_sub(before) / count as u64;
    println!("{count} idle connections: {each} bytes each");
    assert!(each <= MOST, "{each} bytes for an idle connection");

    let began = Instant::now();
    wait_until("they wait otherwise", PATIENCE, || began.elapsed() > Duration::from_secs(3));
    let rested = own_bytes(site.pid()).saturating_sub(with);
    assert!(rested <= SLACK, "{rested} bytes more when they rest");
    for client in clients.iter_mut().step_by(10) {
        assert_eq!(client.get("/").status, 200, "who has rested is answered");
    }

    drop(clients);
    drop(idle(&site, count));
    let again = own_bytes(site.pid()).saturating_sub(with);
    println!("{again} bytes more after as many again");
    assert!(again <= SLACK, "{again} bytes more: what they had is not used again");
}

/// Clients that have been answered once, when the edge has seen that those before have gone.
fn idle(site: &Site, count: usize) -> Vec<Client> {
    wait_for(site, 0);
    let answered = |_| {
        let mut client = site.client();
        assert_eq!(client.get("/").status, 200);
        client
    };
    let clients = (0..count).map(answered).collect();
    wait_for(site, count);
    clients
}

fn wait_for(site: &Site, parked: usize) {
    let is_so = || site.status()["connections"]["parked"] == parked;
    wait_until("all others have gone, and all of these idle", PATIENCE, is_so);
}

/// Bytes: several times what there should be, for a heap grows in steps.
const MOST: u64 = 1024;
/// Bytes that may come and go for other reasons.
const SLACK: u64 = 1 << 20;
