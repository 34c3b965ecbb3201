//! Whoever starts the edge has blocked or ignored signals, or left it processes.

use forebay_tests::{KILL, PATIENCE, Site, is_alive, send_signal, wait_until, worker_bin};
use std::fs;
use std::path::Path;

#[test]
fn blocked_signals_are_let_through() {
    let script = format!("cat /proc/self/status > seen; exec {} hello", worker_bin().display());
    let site = Site::builder()
        .control()
        .raw_app()
        .pool(&format!("workers = [\"sh\", \"-c\", {script:?}]"))
        .started_by(&["env", "--block-signal=TERM,INT,QUIT,HUP,USR1,CHLD,ALRM"])
        .start();
    let seen = fs::read_to_string(site.path("seen")).unwrap();
    assert!(seen.contains("SigBlk:\t0000000000000000\n"), "{seen}");
    site.reload().unwrap();
    assert_eq!(site.client().get("/").status, 200);
    assert_eq!(site.stop().code(), Some(0));
}

#[test]
fn ends_are_told_though_they_were_to_be_ignored() {
    let site = Site::builder().app("helo", 1);
    let (_dir, mut process) = site.started_by(&["env", "--ignore-signal=CHLD"]).launch();
    assert_eq!(process.wait_exit(PATIENCE).code(), Some(1));
    let errors = process.whole_stderr();
    assert!(errors.contains("exit code 4 (cannot load the application)"), "{errors}");
}

#[test]
fn orphans_are_let_go() {
    let site = Site::builder().app("hello", 2).adopts_orphans().start();
    let (arbiter, workers) = (site.arbiter_pid(), site.worker_pids());
    send_signal(arbiter, KILL);
    let exists = |pid: &u32| Path::new(&format!("/proc/{pid}")).exists();
    wait_until("no trace of the workers", PATIENCE, || !workers.iter().any(exists));
    let says = "was ended by signal 9, starts again";
    wait_until("the end of our own child", PATIENCE, || site.stderr().contains(says));
    assert!(is_alive(site.pid()));
    wait_until("new workers", PATIENCE, || site.client().get("/").status == 200);
}

#[test]
fn processes_that_were_there_before_are_let_go() {
    let script = "sleep 0.2 & echo $! > before; exec \"$@\"";
    let site = Site::builder().files("/", "site").started_by(&["sh", "-c", script, "sh"]).start();
    let before = fs::read_to_string(site.path("before")).unwrap();
    let before = Path::new("/proc").join(before.trim());
    wait_until("no trace of it", PATIENCE, || !before.exists());
}
