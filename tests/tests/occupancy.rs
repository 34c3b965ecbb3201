//! Large contents occupy a worker for no longer than it needs itself, however slow the client is.
//!
//! One request occupies a worker for one uninterrupted time: that is what is measured.
//!
//! With `FOREBAY_FULL=1` contents are larger and shares of the client's time are asserted; in a
//! short run on a shared machine they are chance.

use forebay_tests::{PATIENCE, Site, is_full, wait_until};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const MB: usize = 1_000_000;

#[test]
fn an_upload_occupies_a_worker_only_when_it_is_complete() {
    let (size, per_second) = if is_full() { (10 * MB, 10 * MB) } else { (10 * MB, 20 * MB) };
    let site = site();
    let occupied = Occupied::watch(&site);
    let began = Instant::now();
    let mut client = site.client();
    client.send(format!("POST /hello HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n"));
    let piece = vec![b'x'; PIECE];
    paced(size, per_second, |len| client.send(&piece[..len]));
    assert_eq!(client.read_response().status, 200);
    let whole = began.elapsed();
    occupied.assert_small("upload", whole);
    assert_logged_small(&site, "POST /hello ", whole);
}

#[test]
fn a_download_occupies_a_worker_only_until_it_is_produced() {
    let (size, per_second) = if is_full() { (100 * MB, 10 * MB) } else { (40 * MB, 20 * MB) };
    let site = site();
    let occupied = Occupied::watch(&site);
    let began = Instant::now();
    let mut client = site.client();
    client.send(format!("GET /bytes/{size} HTTP/1.1\r\nHost: test\r\n\r\n"));
    let head = client.read_head().expect("a response");
    assert_eq!(head.field("Content-Length"), Some(size.to_string().as_str()));
    paced(size, per_second, |len| drop(client.read_exactly(len).expect("all of it")));
    occupied.assert_small("download", began.elapsed());
}

fn site() -> Site {
    let site = Site::builder().server("access_log = \"access.log\"").app("probe", 1).start();
    wait_until("a worker", PATIENCE, || site.client().get("/hello").status == 200);
    site
}

/// Moves so many bytes in pieces, so many a second.
fn paced(size: usize, per_second: usize, mut move_piece: impl FnMut(usize)) {
    let began = Instant::now();
    for at in (0..size).step_by(PIECE) {
        let due = began + Duration::from_secs_f64(at as f64 / per_second as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        move_piece(PIECE.min(size - at));
    }
}

/// Another client of the only worker, which cannot be answered while that is occupied.
struct Occupied {
    stop: Arc<AtomicBool>,
    /// From each answer to the next.
    thread: JoinHandle<Vec<Duration>>,
}

impl Occupied {
    fn watch(site: &Site) -> Occupied {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut client) = (Arc::clone(&stop), site.client());
        let thread = thread::spawn(move || {
            let (mut gaps, mut answered) = (Vec::new(), Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                assert_eq!(client.get("/hello").status, 200);
                gaps.push(answered.elapsed());
                answered = Instant::now();
                thread::sleep(PAUSE);
            }
            gaps
        });
        Occupied { stop, thread }
    }

    /// The longest time without an answer is the most that the worker can have been busy with one
    /// request.
    fn assert_small(self, what: &str, whole: Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let gaps = self.thread.join().expect("all requests are answered");
        let longest = *gaps.iter().max().expect("others were served");
        println!("{what}: {whole:.1?}; {} others, {longest:.1?} without", gaps.len());
        assert_share(what, longest, whole);
    }
}

/// The worker's time by the access log: `ut`.
fn assert_logged_small(site: &Site, request: &str, whole: Duration) {
    let line = || {
        let log = fs::read_to_string(site.path("access.log")).unwrap_or_default();
        log.lines().find(|line| line.contains(request)).map(str::to_owned)
    };
    wait_until("the line", PATIENCE, || line().is_some());
    let line = line().expect("it was there");
    println!("{line}");
    let seconds = line.split(" ut=").nth(1).and_then(|rest| rest.split(' ').next());
    let seconds: f64 = seconds.and_then(|ut| ut.parse().ok()).expect("a worker answered");
    assert_share("the log", Duration::from_secs_f64(seconds), whole);
}

fn assert_share(what: &str, occupied: Duration, whole: Duration) {
    let share = occupied.as_secs_f64() / whole.as_secs_f64();
    let bound = if is_full() { 0.05 } else { 0.5 };
    assert!(share < bound, "{what}: occupied for {share:.3} of {whole:?}, at most {bound}");
}

const PIECE: usize = 100_000;

/// Between the requests of the other client.
const PAUSE: Duration = Duration::from_millis(1);
