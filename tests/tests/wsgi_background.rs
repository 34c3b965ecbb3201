//! What an application has left running when it answered goes on to its end, in time.

use forebay_tests::{
    Client, HUP, PATIENCE, TERM, USR2, Written, python, send_signal, wait_until, workers_of,
};
use std::fs;

/// Answers at once; a job of a pool is done a moment later, and a thread after that, at `/forever`
/// never.
const SOURCE: &str = "
import atexit, threading, time
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(1)
both = threading.Barrier(2)
is_worker = False
# The process that has imported this runs it as well, and last.
atexit.register(lambda: is_worker and note('exit'))

def note(word):
    with open('notes', 'a') as file:
        file.write(word + '\\n')

def work(seconds):
    time.sleep(seconds)
    note('job')

def outlast(job):
    job.result()
    time.sleep(0.3)
    note('thread')

def application(environ, start_response):
    global is_worker
    is_worker = True
    if environ['PATH_INFO'] == '/together':
        both.wait()
    seconds = 600 if environ['PATH_INFO'] == '/forever' else 1
    threading.Thread(target=outlast, args=(pool.submit(work, seconds),)).start()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'begun']
";

fn serve(flags: &[&str]) -> Option<Written> {
    Written::start(SOURCE, flags)
}

fn begin(served: &Written, path: &str) {
    assert_eq!(served.get(path).text(), "begun");
}

/// Both are done, and only then the exit functions have run.
fn is_done(served: &Written) -> bool {
    served.notes() == ["job", "thread", "exit"]
}

#[test]
fn threads_and_jobs_of_a_worker_that_ends_are_done() {
    for flags in [&[][..], &["--threads", "2"], &["--no-preload"]] {
        let Some(mut served) = serve(flags) else { return };
        begin(&served, "/");
        served.arbiter.signal(TERM);
        assert_eq!(served.arbiter.wait_exit(PATIENCE).code(), Some(0));
        assert!(is_done(&served), "{flags:?}: {:?}", served.notes());
    }
}

/// Whichever thread of the worker has answered.
#[test]
fn threads_that_each_of_its_threads_has_left_are_done() {
    let Some(mut served) = serve(&["--threads", "2"]) else { return };
    let mut clients = [Client::connect(served.address), Client::connect(served.address)];
    for client in &mut clients {
        client.send("GET /together HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.read_response().text(), "begun");
    }
    served.arbiter.signal(TERM);
    assert_eq!(served.arbiter.wait_exit(PATIENCE).code(), Some(0));
    let notes = served.notes();
    assert_eq!(notes.iter().filter(|note| *note == "thread").count(), 2, "{notes:?}");
}

#[test]
fn a_replaced_worker_does_them_too() {
    let Some(served) = serve(&["--max-requests", "1"]) else { return };
    begin(&served, "/");
    wait_until("a retired worker's end", PATIENCE, || is_done(&served));
    let Some(served) = serve(&[]) else { return };
    begin(&served, "/");
    served.arbiter.signal(HUP);
    wait_until("the old worker's end", PATIENCE, || is_done(&served));
}

#[test]
fn what_never_ends_is_killed_in_time() {
    let Some(mut served) = serve(&["--graceful-timeout", "1"]) else { return };
    begin(&served, "/forever");
    served.arbiter.signal(TERM);
    assert_eq!(served.arbiter.wait_exit(PATIENCE).code(), Some(0));
    let log = served.arbiter.stderr();
    assert!(log.contains("did not stop in time and was killed by us"), "{log}");
    assert!(served.notes().is_empty());
}

#[test]
fn a_worker_that_somebody_else_stops_shows_it_and_is_replaced() {
    let Some(served) = serve(&["--graceful-timeout", "1"]) else { return };
    begin(&served, "/forever");
    let before = workers_of(served.arbiter.pid());
    send_signal(before[0], TERM);
    let is_replaced = || workers_of(served.arbiter.pid()).iter().any(|pid| *pid != before[0]);
    wait_until("another worker", PATIENCE, is_replaced);
    let log = served.arbiter.stderr();
    assert!(log.contains("in work") && log.contains("written.py"), "{log}");
}

#[test]
fn signals_that_the_application_handles_are_its_own() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = format!(
        "import faulthandler, signal\n\
         faulthandler.register(signal.SIGUSR2, chain=False)\n{SOURCE}"
    );
    fs::write(folder.path().join("background.py"), source).unwrap();
    let path = folder.path().to_str().expect("temporary paths are UTF-8");
    let arguments = ["--bind", "127.0.0.1:0", "--chdir", path, "background"];
    let mut arbiter = python.worker(&arguments);
    arbiter.listening(1, PATIENCE);
    let workers = workers_of(arbiter.pid());
    send_signal(workers[0], HUP);
    send_signal(workers[0], USR2);
    let shown = || arbiter.stderr().contains("most recent call first");
    wait_until("the traceback", PATIENCE, shown);
    assert_eq!(workers_of(arbiter.pid()), workers, "nobody handles HUP, and it does nothing");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let Some(mut served) = serve(&["--graceful-timeout", "3600"]) else { return };
    begin(&served, "/forever");
    served.arbiter.signal(TERM);
    wait_until("the first", PATIENCE, || served.arbiter.stderr().contains("stopping: workers"));
    served.arbiter.signal(TERM);
    assert_eq!(served.arbiter.wait_exit(PATIENCE).code(), Some(0));
    assert!(served.notes().is_empty());
}
