//! Serving an edge that is written by hand.

use super::*;
use crate::app::Request;
use crate::response::Response;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The edge's end of a slot.
struct Slot(UnixStream);

impl Slot {
    fn accept(listener: &UnixListener) -> Slot {
        let slot = Slot(listener.accept().unwrap().0);
        slot.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        slot
    }

    fn upgrade(listener: &UnixListener) -> Slot {
        let mut slot = Slot::accept(listener);
        assert_eq!(slot.read(UPGRADE.len()), UPGRADE);
        slot.0.write_all(ACCEPTED).unwrap();
        slot
    }

    fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Unread requests make the end a reset, behind all that was sent.
        let _ = self.0.read_to_end(&mut bytes);
        bytes
    }
}

const ACCEPTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: forebay-slot/1\r\n\r\n";
const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n/a";

fn path_echo(request: Request) -> Response {
    Response::new(request.path().to_owned())
}

/// Runs a worker beside `edge`, then has it stopped, and returns how often it was accepted.
fn with_worker(edge: impl FnOnce(&Path, &Stop)) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let (stop, accepted) = (Stop::new().unwrap(), AtomicUsize::new(0));
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            serve(&path, &path_echo, &stop, || {
                accepted.fetch_add(1, Ordering::Relaxed);
            });
        });
        edge(&path, &stop);
        stop.request();
        worker.join().unwrap();
    });
    accepted.into_inner()
}

#[test]
fn a_slot_serves_until_the_goodbye() {
    let accepted = with_worker(|path, stop| {
        // The worker is there first and keeps dialling.
        let mut slot = Slot::upgrade(&UnixListener::bind(path).unwrap());
        for _ in 0..3 {
            slot.0.write_all(GET).unwrap();
            assert_eq!(slot.read(ANSWER.len()), ANSWER);
        }
        stop.request();
        assert_eq!(slot.read_to_end(), GOODBYE);
    });
    assert_eq!(accepted, 1);
}

#[test]
fn a_request_right_behind_the_101_is_not_lost() {
    with_worker(|path, _| {
        let mut slot = Slot::accept(&UnixListener::bind(path).unwrap());
        slot.0.write_all(&[ACCEPTED, GET].concat()).unwrap();
        slot.read(UPGRADE.len());
        assert_eq!(slot.read(ANSWER.len()), ANSWER);
    });
}

#[test]
fn a_request_that_crosses_with_the_goodbye_is_not_started() {
    with_worker(|path, stop| {
        let mut slot = Slot::upgrade(&UnixListener::bind(path).unwrap());
        // Half a request: the worker waits for the rest of it.
        slot.0.write_all(&GET[..10]).unwrap();
        stop.request();
        assert_eq!(slot.read_to_end(), GOODBYE);
    });
}

#[test]
fn a_worker_comes_back_to_an_edge_that_was_away() {
    let accepted = with_worker(|path, stop| {
        let listener = UnixListener::bind(path).unwrap();
        let slot = Slot::upgrade(&listener);
        drop((slot, listener));
        std::fs::remove_file(path).unwrap();
        let mut slot = Slot::upgrade(&UnixListener::bind(path).unwrap());
        slot.0.write_all(GET).unwrap();
        assert_eq!(slot.read(ANSWER.len()), ANSWER);
        stop.request();
        assert_eq!(slot.read_to_end(), GOODBYE);
    });
    assert_eq!(accepted, 2);
}

#[test]
fn a_refusal_is_tried_again() {
    let accepted = with_worker(|path, stop| {
        let listener = UnixListener::bind(path).unwrap();
        let mut refused = Slot::accept(&listener);
        refused.0.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap();
        let mut slot = Slot::upgrade(&listener);
        slot.0.write_all(GET).unwrap();
        assert_eq!(slot.read(ANSWER.len()), ANSWER);
        stop.request();
        assert_eq!(slot.read_to_end(), GOODBYE);
    });
    assert_eq!(accepted, 1);
}

#[test]
fn who_has_served_comes_back_at_once() {
    let begun = Instant::now();
    let accepted = with_worker(|path, _| {
        let listener = UnixListener::bind(path).unwrap();
        for _ in 0..100 {
            let mut slot = Slot::upgrade(&listener);
            slot.0.write_all(GET).unwrap();
            assert_eq!(slot.read(ANSWER.len()), ANSWER);
        }
    });
    assert_eq!(accepted, 100);
    // With a pause each time it would be a minute and a half.
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn stopping_does_not_wait_for_an_edge() {
    assert_eq!(with_worker(|_, _| {}), 0, "no socket");
    // An edge that accepts and never answers: the slot is open until the worker has stopped.
    let mut slot = None;
    let mut began = None;
    with_worker(|path, _| {
        let mut accepted = Slot::accept(&UnixListener::bind(path).unwrap());
        assert_eq!(accepted.read(UPGRADE.len()), UPGRADE);
        slot = Some(accepted);
        began = Some(Instant::now());
    });
    assert!(began.unwrap().elapsed() < ANSWER_TIMEOUT);
    assert_eq!(slot.unwrap().read_to_end(), GOODBYE);
}

#[test]
fn a_panic_in_one_slot_is_nothing_to_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let stop = Stop::new().unwrap();
    let app = |request: Request| match request.path() {
        "/a" => path_echo(request),
        // In the application, and behind it.
        "/panic" => panic!("on purpose"),
        _ => Response::stream(Bomb),
    };
    thread::scope(|scope| {
        let worker =
            scope.spawn(|| crate::threads::run(2, &stop, |_| serve(&path, &app, &stop, || {})));
        let mut slots = [Slot::upgrade(&listener), Slot::upgrade(&listener)];
        slots[0].0.write_all(b"GET /panic HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let expected = b"HTTP/1.1 500 ";
        assert_eq!(slots[0].read(expected.len()), expected);
        let [panicked, mut calm] = slots;
        drop(panicked);
        let mut bad = Slot::upgrade(&listener);
        bad.0.write_all(b"HEAD /bomb HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        bad.read_to_end();
        // The thread has survived, and dials again.
        for slot in [&mut calm, &mut Slot::upgrade(&listener)] {
            slot.0.write_all(GET).unwrap();
            assert_eq!(slot.read(ANSWER.len()), ANSWER);
        }
        stop.request();
        worker.join().unwrap().unwrap();
    });
}

/// Nothing can be done with it, not even dropping.
struct Bomb;

impl Iterator for Bomb {
    type Item = std::io::Result<bytes::Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        panic!("on purpose")
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("on purpose");
        }
    }
}
