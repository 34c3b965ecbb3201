//! The real binary behind an edge that is written by hand.

use crate::support::{Edge, Program, signal, stop};
use std::io::ErrorKind;
use std::io::Read;
use std::process::Command;

const GOODBYE: &str = "GOODBYE forebay-slot/1\r\n";

#[test]
fn dials_in_serves_and_says_goodbye() {
    let edge = Edge::new();
    let (program, mut slot) = edge.with_probe();
    assert_eq!(slot.get("/hello"), "Hello, world!");
    program.signal("TERM");
    assert_eq!(slot.rest().unwrap(), GOODBYE);
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn term_lets_the_running_request_finish() {
    let edge = Edge::new();
    let (program, mut slot) = edge.with_probe();
    slot.ask("/drip/3/100");
    slot.0.read_exact(&mut [0; 9]).unwrap();
    program.signal("TERM");
    let rest = slot.rest().unwrap();
    assert!(rest.ends_with(&format!("chunk 3\n\r\n0\r\n\r\n{GOODBYE}")), "{rest}");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_second_term_and_int_do_not() {
    for signals in [&["TERM", "TERM"][..], &["INT"]] {
        let edge = Edge::new();
        let (mut program, mut slot) = edge.with_probe();
        slot.ask("/drip/2/60000");
        slot.0.read_exact(&mut [0; 9]).unwrap();
        for name in signals {
            program.signal(name);
            // Two of a kind that are pending are one.
            program.wait_for_log("stopping");
        }
        assert!(!slot.rest().unwrap().contains("chunk 2"));
        assert_eq!(program.end().0, Some(0));
    }
}

#[test]
fn a_killed_worker_is_replaced() {
    let edge = Edge::new();
    let (program, mut slot) = edge.with_probe();
    let first = slot.pid();
    signal(first, "KILL");
    assert_eq!(slot.rest().unwrap(), "");
    assert_ne!(edge.slot().pid(), first);
    program.signal("TERM");
    let (code, stderr) = program.end();
    assert_eq!(code, Some(0));
    assert!(stderr.contains(&format!("worker {first} was killed by signal 9")), "{stderr}");
}

#[test]
fn the_edge_can_tell_whether_a_request_was_started() {
    let edge = Edge::new();
    let (_program, mut slot) = edge.with_probe();
    slot.ask("/exit");
    assert_eq!(slot.rest().unwrap(), "", "it may have run");

    let mut slot = edge.slot();
    let pid = slot.pid();
    stop(pid);
    slot.ask("/pid");
    signal(pid, "KILL");
    assert_eq!(slot.rest().unwrap_err().kind(), ErrorKind::ConnectionReset, "it has not run");
}

#[test]
fn a_forked_child_does_not_keep_the_slot() {
    let edge = Edge::new();
    let (_program, mut slot) = edge.with_probe();
    let worker = slot.pid();
    let child: u32 = slot.get("/fork/60000").parse().unwrap();
    signal(worker, "KILL");
    assert_eq!(slot.rest().unwrap(), "");
    signal(child, "KILL");
}

#[test]
fn workers_do_not_outlive_the_arbiter() {
    let edge = Edge::new();
    let (mut program, mut slot) = edge.with_probe();
    slot.pid();
    program.signal("KILL");
    program.wait();
    assert_eq!(slot.rest().unwrap(), GOODBYE);
}

#[test]
fn the_arbiter_does_not_outlive_its_supervisor() {
    let edge = Edge::new();
    let script = "FOREBAY_SUPERVISED=1 \"$0\" \"$@\" & wait";
    let mut supervisor = Program::start_by(script, &["--edge", &edge.address(), "probe"]);
    let mut slot = edge.slot();
    slot.pid();
    supervisor.signal("KILL");
    supervisor.wait();
    assert_eq!(slot.rest().unwrap(), GOODBYE);
}

#[test]
fn the_supervisor_hears_when_all_slots_are_open() {
    let edge = Edge::new();
    // Nothing but descriptor 3 holds the pipe that this test reads.
    let script = "FOREBAY_READY_FD=3 exec \"$0\" \"$@\" 3>&1 >/dev/null";
    let mut program = Program::start_by(script, &["--edge", &edge.address(), "-w", "2", "probe"]);
    let mut slots = [edge.slot(), edge.slot()];
    let mut said = String::new();
    program.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "READY\n", "and closed, although the workers live");
    assert_ne!(slots[0].pid(), slots[1].pid());
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn hup_replaces_new_before_old() {
    let edge = Edge::new();
    let (program, mut old) = edge.with_probe();
    assert_eq!(old.get("/hello"), "Hello, world!");
    program.signal("HUP");
    let mut new = edge.slot();
    assert_eq!(old.rest().unwrap(), GOODBYE);
    assert_eq!(new.get("/hello"), "Hello, world!");
    program.signal("TERM");
    assert_eq!(new.rest().unwrap(), GOODBYE);
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn the_environment_names_edge_and_workers() {
    let edge = Edge::new();
    let program = Program::spawn(
        Command::new(env!("CARGO_BIN_EXE_worker-bin"))
            .arg("echo")
            .env("FOREBAY_EDGE", edge.address())
            .env("WEB_CONCURRENCY", "2"),
    );
    let mut slots = [edge.slot(), edge.slot()];
    assert!(slots.iter_mut().all(|slot| slot.get("/x").contains("\"target\":\"/x\"")));
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}
