//! Workers that are stuck, too large, or have done enough; and what the arbiter says of them.

use crate::load::Load;
use crate::support::{Edge, Program, Slot};
use std::fs;
use std::process::Command;

/// A request with what the edge adds.
fn ask(slot: &mut Slot, path: &str, fields: &str) {
    slot.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
}

#[test]
fn a_stuck_request_is_named_and_its_worker_replaced() {
    let edge = Edge::new();
    let mut program = Program::start(&["--edge", &edge.address(), "--timeout", "1", "probe"]);
    let mut slot = edge.slot();
    ask(&mut slot, "/sleep/86400000", "Forebay-Request-Id: stuck-1\r\n");
    program.wait_for_log("request stuck-1 has been running for");
    assert_eq!(edge.slot().get("/hello"), "Hello, world!", "before the old one is gone");
    program.wait_for_log("was killed by us: a request took too long");
    assert_eq!(slot.rest().unwrap(), "");
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn the_edges_deadline_counts_if_it_is_earlier() {
    let edge = Edge::new();
    let (mut program, mut slot) = edge.with_probe();
    let fields = "Forebay-Request-Id: late-1\r\nForebay-Deadline-Ms: 100\r\n";
    ask(&mut slot, "/sleep/86400000", fields);
    program.wait_for_log("request late-1 has been running for");
    assert_eq!(edge.slot().get("/hello"), "Hello, world!");
}

#[test]
fn an_overdue_request_that_ends_in_its_grace_is_answered() {
    let edge = Edge::new();
    let (mut program, mut slot) = edge.with_probe();
    let fields = "Forebay-Request-Id: late-2\r\nForebay-Deadline-Ms: 1\r\n";
    ask(&mut slot, "/sleep/1100", fields);
    program.wait_for_log("request late-2");
    assert_eq!(slot.answer(), "slept 1100 ms\n");
    assert_eq!(slot.rest().unwrap(), "GOODBYE forebay-slot/1\r\n");
}

#[test]
fn an_overdue_request_that_ends_in_its_grace_costs_other_threads_nothing() {
    let edge = Edge::new();
    let (mut program, mut slots) = edge.with_threads(2);
    slots[0].ask("/sleep/4000");
    let fields = "Forebay-Request-Id: late-3\r\nForebay-Deadline-Ms: 1\r\n";
    ask(&mut slots[1], "/sleep/1250", fields);
    program.wait_for_log("request late-3");
    assert_eq!(slots[1].answer(), "slept 1250 ms\n");
    program.wait_for_log("that request has ended");
    assert_eq!(edge.slot().get("/hello"), "Hello, world!", "of another worker");
    assert_eq!(slots[0].answer(), "slept 4000 ms\n");
    assert_eq!(slots[0].rest().unwrap(), "GOODBYE forebay-slot/1\r\n");
}

#[test]
fn a_stream_has_the_timeout_for_each_piece() {
    let edge = Edge::new();
    let program = Program::start(&["--edge", &edge.address(), "--timeout", "1", "probe"]);
    let mut slot = edge.slot();
    slot.ask("/drip/4/900");
    let mut all = String::new();
    while !all.ends_with("\r\n0\r\n\r\n") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut slot.0, &mut byte).unwrap();
        all.push(char::from(byte[0]));
    }
    assert!(all.contains("chunk 4"), "{all}");
    assert_eq!(slot.get("/hello"), "Hello, world!");
    program.signal("TERM");
    let (code, stderr) = program.end();
    assert_eq!(code, Some(0));
    assert!(!stderr.contains("has been running"), "{stderr}");
}

#[test]
fn workers_are_replaced_after_max_requests_and_nothing_is_lost() {
    let edge = Edge::new();
    let address = edge.address();
    let limits = ["--max-requests", "50", "--max-requests-jitter", "20"];
    let arguments = [&["--edge", &address, "-w", "2", "probe"][..], &limits].concat();
    let mut program = Program::start(&arguments);
    let load = Load::start(edge);
    load.wait_for_pids(10);
    load.wait_for(100);
    load.assert_nothing_lost();
    program.signal("INT");
    program.wait();
}

#[test]
fn a_worker_that_is_too_large_is_replaced() {
    let edge = Edge::new();
    let mut program = Program::start(&["--edge", &edge.address(), "--max-memory", "1K", "probe"]);
    let load = Load::start(edge);
    program.wait_for_log("MiB, more than it may");
    program.wait_for_log("raise --max-memory");
    load.wait_for_pids(3);
    load.assert_nothing_lost();
}

#[test]
fn status_shows_what_runs() {
    let directory = tempfile::tempdir().unwrap();
    let control = format!("unix:{}", directory.path().join("control").display());
    let edge = Edge::new();
    let arguments = ["--edge", &edge.address(), "-w", "2", "--control", &control, "probe"];
    let program = Program::start(&arguments);
    let mut slots = [edge.slot(), edge.slot()];
    let pid = slots[0].pid();
    slots[1].pid();
    ask(&mut slots[0], "/sleep/86400000", "Forebay-Request-Id: running-1\r\n");
    let status = |flags: &[&str]| {
        let arguments = [&["status", "--control", &control], flags].concat();
        let program = Command::new(env!("CARGO_BIN_EXE_worker-bin"));
        let output = { program }.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let until = std::time::Instant::now() + crate::support::PATIENCE;
    while !status(&[]).contains("running-1") {
        assert!(std::time::Instant::now() < until, "never shown");
    }
    let json: serde_json::Value = serde_json::from_str(&status(&["--json"])).unwrap();
    assert_eq!(json["workers_wanted"], 2);
    assert_eq!(json["pid"], program.0.id());
    let workers = json["workers"].as_array().unwrap();
    let busy = workers.iter().find(|worker| worker["pid"] == pid).unwrap();
    assert_eq!(busy["state"], "busy");
    assert_eq!(busy["requests"], 1);
    assert_eq!(busy["current"][0]["request_id"], "running-1");
    assert!(busy["memory_bytes"].as_u64().unwrap() > 0);
    assert!(workers.iter().any(|worker| worker["state"] == "idle"));
    program.signal("INT");
    assert_eq!(program.end().0, Some(0));
    assert!(fs::read_dir(directory.path()).unwrap().next().is_none(), "the socket is removed");
    let gone = Program::start(&["status", "--control", &control]).end();
    assert!(gone.0 == Some(1) && gone.1.contains("no server answers"), "{gone:?}");
}
