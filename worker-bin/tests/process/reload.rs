//! HUP: what is on disk takes over, if it can.

use crate::load::Load;
use crate::support::{Deployed, Edge, Program, Slot, wait_for_end_of};
use std::fs;
use std::os::unix::net::UnixStream;

#[test]
fn a_program_that_cannot_boot_leaves_the_old_generation_serving() {
    let deployed = Deployed::new();
    let edge = Edge::new();
    let mut program = deployed.start(&["--edge", &edge.address(), "-w", "2", "probe"]);
    let load = Load::start(edge);
    load.wait_for_pids(2);
    let old = load.pids();
    for script in ["#!/bin/sh\nexit 3\n", "#!/bin/sh\nkill -SEGV $$\n", "no program at all"] {
        deployed.replace_by_script(script);
        program.signal("HUP");
        program.wait_for_log("the reload has failed, the old workers stay");
        load.wait_for(50);
        assert_eq!(load.pids(), old);
    }
    deployed.remove();
    program.signal("HUP");
    program.wait_for_log("it could not be started");
    load.wait_for(50);
    assert_eq!(load.pids(), old);

    deployed.restore();
    program.signal("HUP");
    load.wait_for_pids(4);
    load.wait_for(50);
    load.assert_nothing_lost();
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_program_that_never_gets_ready_is_given_up() {
    let deployed = Deployed::new();
    let edge = Edge::new();
    let mut program = deployed.start(&["--edge", &edge.address(), "--boot-timeout", "1", "probe"]);
    let mut slot = edge.slot();
    let pid = slot.pid();
    deployed.replace_by_script("#!/bin/sh\nexec sleep 600\n");
    program.signal("HUP");
    program.wait_for_log("not ready within the boot timeout");
    assert_eq!(slot.pid(), pid);
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn many_reloads_under_load_lose_nothing_and_leak_nothing() {
    let edge = Edge::new();
    let mut program = Program::start(&["--edge", &edge.address(), "-w", "2", "probe"]);
    let load = Load::start(edge);
    load.wait_for_pids(2);
    let directory = format!("/proc/{}/fd", program.0.id());
    let descriptors = || fs::read_dir(&directory).unwrap().count();
    let before = descriptors();
    for generation in 1..=5 {
        program.signal("HUP");
        load.wait_for_pids(2 + 2 * generation);
    }
    // The program of the present generation is held open.
    assert!(descriptors() <= before + 1, "{before} descriptors, then {}", descriptors());
    load.wait_for(50);
    load.assert_nothing_lost();
    program.signal("TERM");
    program.wait();
}

#[test]
fn a_reload_reads_the_settings_again() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("worker.toml");
    fs::write(&config, "workers = 1\n").unwrap();
    let edge = Edge::new();
    let config_flag = config.to_str().unwrap();
    let mut program =
        Program::start(&["--config", config_flag, "--edge", &edge.address(), "probe"]);
    let load = Load::start(edge);
    load.wait_for_pids(1);
    fs::write(&config, "wrokers = 3\n").unwrap();
    program.signal("HUP");
    program.wait_for_log("did you mean `workers`?");
    fs::write(&config, "workers = 3\n").unwrap();
    program.signal("HUP");
    load.wait_for_pids(1 + 3);
    load.assert_nothing_lost();
}

#[test]
fn what_is_written_after_a_reload_is_for_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("worker.toml");
    let (edge, deployed) = (Edge::new(), Deployed::new());
    fs::write(&config, "max_requests = 1\n").unwrap();
    let flags = ["--edge", &edge.address(), "--config", config.to_str().unwrap(), "probe"];
    let mut program = deployed.start(&flags);
    // Kept open: a worker that is about to end would dial again.
    let mut slots = vec![edge.slot()];
    fs::write(&config, "max_requests = 2\nenv = [\"PROBE_LOG=/nowhere/log\"]\n").unwrap();
    program.signal("HUP");
    slots.push(edge.slot());
    program.wait_for_log("generation 1 is ready");
    for text in ["threads = 9\nmax_requests = 9\n", "this is no setting\n"] {
        fs::write(&config, text).unwrap();
        let slot = slots.last_mut().unwrap();
        assert!(slot.get("/once/1").contains("/nowhere/log"), "of the reload");
        // The last one that it may answer.
        slot.pid();
        slots.push(edge.slot());
    }
    assert!(slots.last_mut().unwrap().get("/once/1").contains("/nowhere/log"));
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_reload_forgets_the_variables_of_the_settings_before() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("worker.toml");
    let edge = Edge::new();
    let set = |text: &str| fs::write(&config, text).unwrap();
    set("env = [\"WEB_CONCURRENCY=3\", \"PROBE_LOG=/nowhere/log\"]\n");
    let flags = ["--edge", &edge.address(), "--config", config.to_str().unwrap(), "probe"];
    let mut program = Program::start(&flags);
    let mut old = edge.slot();
    assert!(old.get("/once/1").contains("/nowhere/log"));
    set("umask = \"077\"\nlog_level = \"error\"\n");
    program.signal("HUP");
    program.wait_for_log("umask, log_level cannot change without a restart");
    let mut new = edge.slot();
    assert!(!new.get("/once/1").contains("/nowhere/log"));
    assert_eq!(old.rest().unwrap(), "GOODBYE forebay-slot/1\r\n", "one for one");
    // Of three there would be others to come.
    program.signal("TTIN");
    edge.slot().pid();
    program.signal("TERM");
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn reloads_that_overtake_each_other_leak_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = format!("unix:{}", directory.path().join("socket").display());
    let mut program = Program::start(&["--edge", &nobody, "probe"]);
    program.wait_for_log("no edge at");
    let directory = format!("/proc/{}/fd", program.0.id());
    let descriptors = || fs::read_dir(&directory).unwrap().count();
    let before = descriptors();
    for _ in 0..10 {
        program.signal("HUP");
        program.wait_for_log("reloading");
    }
    assert!(descriptors() <= before + 1, "{before} descriptors, then {}", descriptors());
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn workers_of_a_later_generation_do_not_outlive_the_arbiter_either() {
    let edge = Edge::new();
    let (mut program, mut old) = edge.with_probe();
    old.pid();
    program.signal("HUP");
    let mut new = edge.slot();
    new.pid();
    old.rest().unwrap();
    program.signal("KILL");
    program.wait();
    assert_eq!(new.rest().unwrap(), "GOODBYE forebay-slot/1\r\n");
}

#[test]
fn a_deployment_may_move_the_link_to_the_working_directory() {
    let releases = tempfile::tempdir().unwrap();
    let path = |name: &str| releases.path().join(name);
    for (release, workers) in [("1", 1), ("2", 2)] {
        fs::create_dir(path(release)).unwrap();
        fs::write(path(release).join("worker.toml"), format!("workers = {workers}\n")).unwrap();
    }
    std::os::unix::fs::symlink("1", path("current")).unwrap();
    let edge = Edge::new();
    let script = format!("cd {} && exec \"$0\" \"$@\"", path("current").display());
    let arguments = ["-c", "worker.toml", "--edge", &edge.address(), "probe"];
    let program = Program::start_by(&script, &arguments);
    let mut old = edge.slot();
    old.pid();
    std::os::unix::fs::symlink("2", path("next")).unwrap();
    fs::rename(path("next"), path("current")).unwrap();
    fs::remove_dir_all(path("1")).unwrap();
    program.signal("HUP");
    let new = [edge.slot().pid(), edge.slot().pid()];
    for pid in new {
        let directory = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
        assert!(directory.ends_with("2"), "{directory:?}");
    }
}

#[test]
fn a_plain_listener_is_passed_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let address = format!("unix:{}", path.display());
    let mut program = Program::start(&["--bind", &address, "probe"]);
    program.line();
    let pid = || {
        let stream = UnixStream::connect(&path).unwrap();
        Slot(stream).pid()
    };
    let old = pid();
    program.signal("HUP");
    program.wait_for_log("generation 1 is ready");
    wait_for_end_of(old);
    assert_ne!(pid(), old);
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
    assert!(!path.exists());
}
