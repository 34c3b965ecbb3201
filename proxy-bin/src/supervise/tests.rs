//! Commands of `/bin/sh` in the place of workers.

use super::*;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

/// Far beyond what anything here takes.
const LIVENESS: Duration = Duration::from_secs(30);

struct Run {
    supervisor: Supervisor,
    reports: Receiver<Report>,
    directory: tempfile::TempDir,
}

fn run(script: &str) -> Run {
    run_with(script, FirstStart::MustSucceed)
}

fn run_with(script: &str, first: FirstStart) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let command = WorkerCommand {
        pool: "app".into(),
        program: "/bin/sh".into(),
        argv: ["sh", "-c", script].map(String::from).to_vec(),
        socket: "/run/app.sock".into(),
        directory: directory.path().to_owned(),
    };
    let (sender, reports) = channel();
    let report = move |report| sender.send(report).unwrap_or_default();
    let mut supervisor = Supervisor::new(report);
    assert_eq!(supervisor.start(command, first).unwrap(), 0);
    Run { supervisor, reports, directory }
}

impl Run {
    #[track_caller]
    fn expect(&self, report: Report) {
        assert_eq!(self.reports.recv_timeout(LIVENESS).unwrap(), report);
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }
}

fn ready() -> Report {
    Report::Ready(0)
}

fn ended() -> Report {
    Report::Ended(0)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn wait_for(path: &Path) {
    let begin = std::time::Instant::now();
    while !path.exists() {
        assert!(begin.elapsed() < LIVENESS, "{} does not come", path.display());
        thread::yield_now();
    }
}

#[test]
fn gets_its_environment_and_stops_on_term() {
    let run = run("echo \"$FOREBAY_EDGE $FOREBAY_SUPERVISED $PWD\" > seen
                   trap 'echo term > end; exit 0' TERM
                   echo READY >/proc/self/fd/$FOREBAY_READY_FD
                   while :; do sleep 0.01; done");
    run.expect(ready());
    let directory = run.directory.path().canonicalize().unwrap();
    let expected = format!("unix:/run/app.sock 1 {}\n", directory.display());
    assert_eq!(read(&run.path("seen")), expected);
    run.supervisor.stop(libc::SIGTERM);
    run.expect(ended());
    assert_eq!(read(&run.path("end")), "term\n");
}

#[test]
fn what_is_ignored_here_is_not_in_the_command() {
    sys::survive_large_files();
    let run = run("grep SigIgn /proc/$$/status > ignored
                   echo READY >/proc/self/fd/$FOREBAY_READY_FD; sleep 600");
    run.expect(ready());
    let mask = read(&run.path("ignored"));
    let mask = u64::from_str_radix(mask.split_whitespace().last().unwrap(), 16).unwrap();
    assert_eq!(mask & 1 << (libc::SIGXFSZ - 1), 0, "{mask:x}");
}

#[test]
fn an_end_before_ready_is_a_failed_start() {
    for (script, says) in [
        ("exit 3", "`sh -c \"exit 3\"` ended with exit code 3 (cannot boot) before it was ready"),
        (
            "exit 4",
            "`sh -c \"exit 4\"` ended with exit code 4 (cannot load the application) before",
        ),
        ("kill -9 $$", "`sh -c \"kill -9 $$\"` was ended by signal 9 before it was ready"),
        ("echo NO >/proc/self/fd/$FOREBAY_READY_FD", "ended with exit code 0 before it was ready"),
    ] {
        let run = run(script);
        let Report::StartFailed(_, message) = run.reports.recv_timeout(LIVENESS).unwrap() else {
            panic!("{script}")
        };
        assert!(message.starts_with("workers of pool `app`: `sh -c "), "{message}");
        assert!(message.contains(says), "{message}");
        run.expect(ended());
    }
}

#[test]
fn ready_counts_even_if_the_end_follows_at_once_and_is_followed_by_a_restart() {
    let run = run("echo READY >/proc/self/fd/$FOREBAY_READY_FD; echo run >> runs; exit 3");
    for _ in 0..3 {
        run.expect(ready());
    }
    run.supervisor.stop(libc::SIGTERM);
    while run.reports.recv_timeout(LIVENESS).unwrap() != ended() {}
    assert!(read(&run.path("runs")).lines().count() >= 2);
}

#[test]
fn a_first_start_may_be_repeated() {
    let script = "test -e first && echo READY >/proc/self/fd/$FOREBAY_READY_FD; touch first";
    let mut run = run_with(script, FirstStart::IsRepeated);
    run.expect(ready());
    assert_eq!(run.supervisor.active().map(|(id, _)| id).collect::<Vec<_>>(), [0]);
    run.supervisor.stop_one(0, libc::SIGTERM);
    assert_eq!(run.supervisor.active().count(), 0);
    while run.reports.recv_timeout(LIVENESS).unwrap() != ended() {}
    run.supervisor.remove(0);
    assert!(run.supervisor.is_empty());
}

#[test]
fn a_stop_interrupts_the_back_off() {
    let run = run("exit 3");
    while run.reports.recv_timeout(LIVENESS).unwrap() != ended() {}
    let running = &run.supervisor.commands[0];
    let began = std::time::Instant::now();
    // As between two starts.
    let shared = Arc::clone(&running.shared);
    let waiting = thread::spawn(move || shared.waits(2 * LIVENESS));
    running.stop(libc::SIGTERM);
    assert!(!waiting.join().unwrap(), "it is time to stop");
    assert!(began.elapsed() < LIVENESS);
}

#[test]
fn hang_up_is_passed_on() {
    let run = run("trap 'echo hup > got; exit 0' HUP
                   echo READY >/proc/self/fd/$FOREBAY_READY_FD
                   while :; do sleep 0.01; done");
    run.expect(ready());
    run.supervisor.signal(libc::SIGHUP);
    run.expect(ready());
    assert_eq!(read(&run.path("got")), "hup\n");
}

#[test]
fn signals_wait_until_it_is_ready() {
    let run = run("touch booting; until test -e go; do sleep 0.01; done
                   trap 'echo hup >> got' HUP; trap 'echo usr1 >> got' USR1; trap 'exit 0' TERM
                   echo READY >/proc/self/fd/$FOREBAY_READY_FD
                   while :; do sleep 0.01; done");
    wait_for(&run.path("booting"));
    for signal in [libc::SIGUSR1, libc::SIGHUP, libc::SIGHUP] {
        run.supervisor.signal(signal);
    }
    std::fs::write(run.path("go"), "").unwrap();
    run.expect(ready());
    run.supervisor.stop(libc::SIGTERM);
    run.expect(ended());
    assert_eq!(read(&run.path("got")), "hup\nusr1\n");
}

#[test]
fn what_a_process_was_to_be_told_is_not_told_to_the_next() {
    let script = "trap 'exit 0' TERM; trap 'echo hup >> got' HUP
                  if ! test -e booting; then
                      touch booting; until test -e go; do sleep 0.01; done; exit 1
                  fi
                  echo READY >/proc/self/fd/$FOREBAY_READY_FD
                  while :; do sleep 0.01; done";
    let run = run_with(script, FirstStart::IsRepeated);
    wait_for(&run.path("booting"));
    run.supervisor.signal(libc::SIGHUP);
    std::fs::write(run.path("go"), "").unwrap();
    run.expect(ready());
    run.supervisor.stop(libc::SIGTERM);
    run.expect(ended());
    assert!(!run.path("got").exists());
}

#[test]
fn what_does_not_stop_is_killed_with_its_group() {
    let run = run("trap '' TERM
                   sleep 1000 & echo $! > child
                   echo READY >/proc/self/fd/$FOREBAY_READY_FD
                   while :; do sleep 0.01; done");
    run.expect(ready());
    run.supervisor.stop(libc::SIGTERM);
    run.supervisor.kill();
    run.expect(ended());
    let stat = format!("/proc/{}/stat", read(&run.path("child")).trim());
    let is_gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    let begin = std::time::Instant::now();
    while !is_gone() {
        assert!(begin.elapsed() < LIVENESS, "the group's other process lives on");
        thread::yield_now();
    }
}

#[test]
fn a_program_that_cannot_run_is_a_failed_start() {
    let command = WorkerCommand {
        pool: "app".into(),
        program: "/etc/passwd".into(),
        argv: vec!["passwd".into()],
        socket: "/run/app.sock".into(),
        directory: "/".into(),
    };
    let (sender, reports) = channel();
    let report = move |report| sender.send(report).unwrap_or_default();
    let mut supervisor = Supervisor::new(report);
    supervisor.start(command, FirstStart::MustSucceed).unwrap();
    let Report::StartFailed(_, message) = reports.recv_timeout(LIVENESS).unwrap() else { panic!() };
    assert!(message.contains("`passwd` cannot be started: Permission denied"), "{message}");
}
