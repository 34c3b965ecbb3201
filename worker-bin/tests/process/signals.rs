//! Every signal, alone, doubled, and at the wrong moment.

use crate::load::Load;
use crate::support::{Edge, PATIENCE, Program, signal, skip};
use std::fs;
use std::io::Read;
use std::process::Command;
use std::time::Instant;

const GOODBYE: &str = "GOODBYE forebay-slot/1\r\n";

#[test]
fn ttin_adds_one_and_ttou_takes_the_eldest_but_not_the_last() {
    let edge = Edge::new();
    let (mut program, mut first) = edge.with_probe();
    first.pid();
    program.signal("TTIN");
    let mut second = edge.slot();
    second.pid();
    program.signal("TTOU");
    assert_eq!(first.rest().unwrap(), GOODBYE);
    program.wait_for_log("one worker less");
    program.signal("TTOU");
    program.wait_for_log("one worker less");
    assert_eq!(second.get("/hello"), "Hello, world!");
    program.signal("QUIT");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn hup_twice_comes_to_the_newest_generation() {
    let edge = Edge::new();
    let mut program = Program::start(&["--edge", &edge.address(), "-w", "2", "probe"]);
    let load = Load::start(edge);
    load.wait_for_pids(2);
    program.signal("HUP");
    program.wait_for_log("reloading");
    program.signal("HUP");
    program.wait_for_log("generation 2 is ready");
    load.wait_for_pids(4);
    load.wait_for(20);
    load.assert_nothing_lost();
}

#[test]
fn signals_during_a_reload() {
    let edge = Edge::new();
    let (mut program, mut old) = edge.with_probe();
    old.pid();
    program.signal("HUP");
    program.wait_for_log("reloading");
    program.signal("TTIN");
    program.wait_for_log("one worker more");
    program.signal("USR1");
    program.wait_for_log("log files");
    program.signal("TERM");
    assert_eq!(old.rest().unwrap(), GOODBYE);
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn signals_during_boot() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = format!("unix:{}", directory.path().join("socket").display());
    for name in ["TERM", "INT", "QUIT"] {
        let mut program = Program::start(&["--edge", &nobody, "-w", "2", "hello"]);
        program.wait_for_log("no edge at");
        program.signal("HUP");
        program.wait_for_log("reloading");
        program.signal("USR1");
        program.wait_for_log("log files");
        program.signal(name);
        assert_eq!(program.end().0, Some(0), "{name}");
    }
}

#[test]
fn signals_during_a_stop() {
    let edge = Edge::new();
    let (mut program, mut slot) = edge.with_probe();
    slot.ask("/drip/3/300");
    // It has begun.
    slot.0.read_exact(&mut [0; 9]).unwrap();
    program.signal("TERM");
    program.wait_for_log("stopping");
    for name in ["HUP", "TTIN", "TTOU", "USR1", "USR2"] {
        program.signal(name);
    }
    let rest = slot.rest().unwrap();
    assert!(rest.ends_with(&format!("chunk 3\n\r\n0\r\n\r\n{GOODBYE}")), "{rest}");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn signals_without_a_meaning_are_not_deadly() {
    let edge = Edge::new();
    let (mut program, mut slot) = edge.with_probe();
    let worker = slot.pid();
    for name in ["HUP", "USR1", "USR2", "CHLD", "WINCH"] {
        signal(worker, name);
    }
    program.signal("CHLD");
    program.signal("USR2");
    program.wait_for_log("USR2");
    assert_eq!(slot.pid(), worker);
    assert_eq!(slot.get("/hello"), "Hello, world!");
}

#[test]
fn winch_stops_the_workers_and_ttin_starts_one() {
    let edge = Edge::new();
    // Without a terminal, whoever runs this test.
    let script = "exec setsid \"$0\" \"$@\"";
    let mut program = Program::start_by(script, &["--edge", &edge.address(), "-w", "2", "probe"]);
    let mut slots = [edge.slot(), edge.slot()];
    assert!(slots.iter_mut().all(|slot| slot.pid() > 0));
    program.signal("WINCH");
    program.wait_for_log("stopping all workers");
    for slot in &mut slots {
        assert_eq!(slot.rest().unwrap(), GOODBYE);
    }
    program.signal("TTIN");
    assert_eq!(edge.slot().get("/hello"), "Hello, world!");
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn usr1_opens_the_log_anew_in_all_processes() {
    let directory = tempfile::tempdir().unwrap();
    let (log, moved) = (directory.path().join("log"), directory.path().join("log.1"));
    let edge = Edge::new();
    let arguments = ["--edge", &edge.address(), "--log-file", log.to_str().unwrap(), "probe"];
    let program = Program::start(&arguments);
    let worker = edge.slot().pid();
    fs::rename(&log, &moved).unwrap();
    program.signal("USR1");
    let until = Instant::now() + PATIENCE;
    for pid in [program.0.id(), worker] {
        let error_of = |pid| fs::read_link(format!("/proc/{pid}/fd/2")).unwrap();
        while error_of(pid) != fs::canonicalize(directory.path()).unwrap().join("log") {
            assert!(Instant::now() < until, "{pid} goes on in the old file");
            std::thread::yield_now();
        }
    }
    signal(program.0.id(), "TERM");
    assert_eq!(program.end().0, Some(0));
    assert!(fs::read_to_string(&log).unwrap().contains("stopping"));
}

#[test]
fn as_process_1_it_reaps_strangers_and_stops() {
    let edge = Edge::new();
    let unshare = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    if !Command::new("unshare").args(unshare).arg("true").status().is_ok_and(|s| s.success()) {
        return skip("unshare cannot make a pid namespace here (it needs root)");
    }
    let arguments = ["--edge", &edge.address(), "probe"];
    let mut program = Program::spawn(
        Command::new("unshare").args(unshare).arg(env!("CARGO_BIN_EXE_worker-bin")).args(arguments),
    );
    let mut slot = edge.slot();
    let children = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()
    };
    let arbiter = children(program.0.id())[0];
    let worker = children(arbiter)[0];
    // Its child becomes the arbiter's when it is killed, and ends a little later.
    slot.get("/fork/200");
    signal(worker, "KILL");
    program.wait_for_log("not by us");
    let mut slot = edge.slot();
    slot.pid();
    let until = Instant::now() + PATIENCE;
    while children(arbiter).len() > 1 {
        assert!(Instant::now() < until, "a zombie: {:?}", children(arbiter));
        std::thread::yield_now();
    }
    signal(arbiter, "HUP");
    let mut new = edge.slot();
    assert_eq!(slot.rest().unwrap(), GOODBYE);
    new.pid();
    signal(arbiter, "TERM");
    assert_eq!(new.rest().unwrap(), GOODBYE);
    assert_eq!(program.end().0, Some(0));
}
