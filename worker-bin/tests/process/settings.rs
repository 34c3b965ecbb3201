//! Settings that concern the process.

use crate::support::{Deployed, Edge, Program, Slot, is_root, skip, wait_for_end_of};
use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Command;

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker-bin"));
    command.args(arguments).envs(environment.iter().copied());
    let mut program = Program::spawn(&mut command);
    program.wait();
    let mut stdout = String::new();
    let mut pipe = program.0.stdout.take().unwrap();
    std::io::Read::read_to_string(&mut pipe, &mut stdout).unwrap();
    let (code, stderr) = program.end();
    (code, stdout, stderr)
}

#[test]
fn print_config_says_what_holds_and_why() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("worker.toml");
    fs::write(&config, "workers = 2\ngraceful_timeout = 7\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "-w", "4", "--print-config"];
    let (code, stdout, _) = run(&arguments, &[("FOREBAY_EDGE", "unix:x")]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("workers = 4  # flag\n"), "{stdout}");
    assert!(stdout.contains("edge = \"unix:x\"  # environment: FOREBAY_EDGE\n"), "{stdout}");
    let file = format!("graceful_timeout = 7  # {}\n", config.display());
    assert!(stdout.contains(&file), "{stdout}");
    assert!(stdout.contains("name = \"worker-bin\"  # default\n"), "{stdout}");

    fs::write(&config, "max_request = 2\n").unwrap();
    let (code, _, stderr) = run(&["-c", config.to_str().unwrap(), "hello"], &[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("did you mean `max_requests`?"), "{stderr}");
    let (code, _, stderr) = run(&["-c", "-", "hello"], &[]);
    assert!(code == Some(2) && stderr.contains("standard input is not read"), "{stderr}");
}

#[test]
fn one_word_too_many_is_named() {
    let (code, _, stderr) = run(&["-b", "127.0.0.1:0", "hello", "echo"], &[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("unexpected argument 'echo': one application"), "{stderr}");
}

#[test]
fn a_pid_file_is_kept_while_the_server_runs_and_refused_to_a_second_one() {
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let edge = Edge::new();
    let arguments = ["--edge", &edge.address(), "--pid", pid.to_str().unwrap(), "probe"];
    let program = Program::start(&arguments);
    edge.slot().pid();
    assert_eq!(fs::read_to_string(&pid).unwrap(), format!("{}\n", program.0.id()));
    let (code, _, stderr) = run(&arguments, &[]);
    assert_eq!(code, Some(3));
    assert!(stderr.contains(&format!("the running process {}", program.0.id())), "{stderr}");
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
    assert!(!pid.exists());
}

#[test]
fn directory_and_umask_hold_for_arbiter_and_workers() {
    let directory = tempfile::tempdir().unwrap();
    let edge = Edge::new();
    let work = directory.path().to_str().unwrap();
    let arguments = ["--edge", &edge.address(), "--chdir", work, "-m", "027", "probe"];
    let program = Program::start(&arguments);
    let mut slot = edge.slot();
    let mut pids = vec![program.0.id(), slot.pid()];
    program.signal("HUP");
    let mut slot = edge.slot();
    pids.remove(1);
    pids.push(slot.pid());
    for pid in pids {
        let link = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
        assert_eq!(link, fs::canonicalize(directory.path()).unwrap());
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(status.contains("Umask:\t0027\n"), "{status}");
    }
}

#[test]
fn processes_have_names() {
    let edge = Edge::new();
    let (program, mut slot) = edge.with_probe();
    let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(name(slot.pid()), "worker 1 [probe\n");
    assert_eq!(name(program.0.id()), "arbiter [probe]\n");
}

#[test]
fn privileges_are_given_up_after_binding() {
    if !is_root() {
        return skip("only root can become another user");
    }
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let bind = format!("unix:{}", directory.path().join("socket").display());
    let log_flag = log.to_str().unwrap();
    let arguments = ["--bind", &bind, "-u", "65534", "-g", "65534", "--log-file", log_flag];
    // Where the new user may look for the program.
    let deployed = Deployed::readable();
    let mut program = deployed.start(&[&arguments[..], &["probe"]].concat());
    program.line();
    let path = directory.path().join("socket");
    let ask = || Slot(UnixStream::connect(&path).unwrap()).pid();
    let holds = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(status.contains("Uid:\t65534\t65534\t65534\t65534\n"), "{status}");
        assert!(status.contains("Gid:\t65534\t65534\t65534\t65534\n"), "{status}");
        let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        assert!(groups.split_whitespace().all(|group| group == "65534"), "{groups}");
    };
    let worker = ask();
    holds(program.0.id());
    holds(worker);
    program.signal("HUP");
    wait_for_end_of(worker);
    holds(ask());
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}
