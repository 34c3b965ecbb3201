//! Workers with several threads: slots that run, stop and end together.

use crate::support::{Edge, PATIENCE, Program, Slot, signal, stop};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

const GOODBYE: &str = "GOODBYE forebay-slot/1\r\n";

/// Begins a request that lasts for a minute.
fn occupy(slot: &mut Slot) {
    slot.ask("/drip/2/60000");
    slot.0.read_exact(&mut [0; 15]).unwrap();
}

#[test]
fn every_thread_is_a_slot_of_one_process() {
    let edge = Edge::new();
    let (program, mut slots) = edge.with_threads(4);
    let (last, busy) = slots.split_last_mut().unwrap();
    busy.iter_mut().for_each(|slot| slot.ask("/sleep/200"));
    let pid = last.pid();
    assert!(busy.iter_mut().all(|slot| slot.answer() == "slept 200 ms\n" && slot.pid() == pid));
    drop(slots);
    // All of them dial again.
    let mut slots: Vec<Slot> = (0..4).map(|_| edge.slot()).collect();
    assert!(slots.iter_mut().all(|slot| slot.pid() == pid));
    program.signal("TERM");
    assert!(slots.iter_mut().all(|slot| slot.rest().unwrap() == GOODBYE));
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_stop_waits_for_the_requests_of_all() {
    let edge = Edge::new();
    let (program, mut slots) = edge.with_threads(3);
    for slot in &mut slots[..2] {
        slot.ask("/drip/3/100");
        slot.0.read_exact(&mut [0; 15]).unwrap();
    }
    program.signal("TERM");
    assert_eq!(slots[2].rest().unwrap(), GOODBYE, "while the others are busy");
    for slot in &mut slots[..2] {
        let rest = slot.rest().unwrap();
        assert!(rest.ends_with(&format!("chunk 3\n\r\n0\r\n\r\n{GOODBYE}")), "{rest}");
    }
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn the_process_is_ready_when_its_last_slot_is() {
    let edge = Edge::new();
    let script = "FOREBAY_READY_FD=3 exec \"$0\" \"$@\" 3>&1 >/dev/null";
    let arguments = ["--edge", &edge.address(), "--threads", "3", "probe"];
    let mut program = Program::start_by(script, &arguments);
    let slots = [edge.slot(), edge.slot(), edge.slot()];
    let mut said = String::new();
    program.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "READY\n");
    drop(slots);
}

#[test]
fn a_death_ends_all_slots_and_says_what_was_begun() {
    let edge = Edge::new();
    let (_program, mut slots) = edge.with_threads(3);
    // Then each of them has read that it was accepted.
    slots.iter_mut().for_each(|slot| assert_eq!(slot.get("/hello"), "Hello, world!"));
    let pid = slots[0].pid();
    stop(pid);
    slots[0].ask("/hello");
    signal(pid, "KILL");
    let error = slots[0].rest().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it has not run");
    assert_eq!(slots[1].rest().unwrap(), "");

    let mut slots: Vec<Slot> = (0..3).map(|_| edge.slot()).collect();
    slots.iter_mut().for_each(|slot| assert_eq!(slot.get("/hello"), "Hello, world!"));
    slots[1].ask("/exit");
    assert!(slots.iter_mut().all(|slot| slot.rest().unwrap().is_empty()));
}

#[test]
fn a_forked_child_keeps_no_slot_of_any_thread() {
    let edge = Edge::new();
    let (_program, mut slots) = edge.with_threads(4);
    let worker = slots[0].pid();
    occupy(&mut slots[3]);
    let children: Vec<u32> = [1, 2]
        .map(|slot: usize| slots[slot].get("/fork/60000"))
        .iter()
        .map(|pid| pid.parse().unwrap())
        .collect();
    // The hang-up is heard although the children live, and the parent still serves.
    assert_eq!(slots[1].get("/hello"), "Hello, world!");
    signal(worker, "KILL");
    for slot in &mut slots {
        assert!(!slot.rest().unwrap().contains("chunk 2"));
    }
    // They are there: signalling them succeeds.
    children.iter().for_each(|&child| signal(child, "KILL"));
}

#[test]
fn without_an_edge_threads_serve_at_the_same_time() {
    let mut program = Program::start(&["--bind", "127.0.0.1:0", "--threads", "3", "probe"]);
    let line = program.line();
    let address = line.strip_prefix("listening on http://").expect(&line);
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let ask = |stream: &mut TcpStream, path: &str| {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    };
    // More silent and idle connections than threads.
    let _silent: Vec<_> = (0..5).map(|_| connect()).collect();
    let mut idle: Vec<_> = (0..5).map(|_| connect()).collect();
    idle.iter_mut().for_each(|stream| ask(stream, "/hello"));
    // All threads but one are busy; the last one serves everybody else.
    let mut busy = [connect(), connect()];
    busy.iter_mut().for_each(|stream| ask(stream, "/drip/2/60000"));
    for _ in 0..20 {
        ask(&mut connect(), "/hello");
    }
    program.signal("INT");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_kept_connection_is_served_by_any_thread() {
    let mut program = Program::start(&["--bind", "127.0.0.1:0", "--threads", "2", "probe"]);
    let line = program.line();
    let address = line.strip_prefix("listening on http://").expect(&line);
    let mut kept = TcpStream::connect(address).unwrap();
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = vec![0; 15];
    for _ in 0..50 {
        // Whoever served it before, now another may.
        kept.write_all(b"GET /status/200 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        kept.read_exact(&mut answer).unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK");
        let mut rest = Vec::new();
        while !rest.ends_with(b"status 200\n") {
            let mut byte = [0];
            kept.read_exact(&mut byte).unwrap();
            rest.push(byte[0]);
        }
    }
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}
