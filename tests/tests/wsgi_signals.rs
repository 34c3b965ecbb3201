//! Signals to a worker: what the application handles runs in time, and what it puts back stops the
//! worker as before.

use forebay_tests::{
    Client, PATIENCE, TERM, USR2, Written, python, send_signal, wait_for_note, wait_until,
    workers_of, write_module,
};
use std::fs;

const SOURCE: &str = "
import os, signal, sys, time

def note(word):
    with open('notes', 'a') as file:
        file.write(word + '\\n')

signal.signal(signal.SIGUSR2, lambda *_: note('usr2'))

def late(*_):
    raise TimeoutError('of an earlier request')

def leave(*_):
    note('asked to leave')
    sys.exit(0)

def alarm():
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 0.2)

def put_back():
    signal.signal(signal.SIGTERM, signal.signal(signal.SIGTERM, leave))

def chain():
    before = signal.getsignal(signal.SIGTERM)
    def handler(*arguments):
        note('asked to leave')
        before(*arguments)
    signal.signal(signal.SIGTERM, handler)

def replace():
    signal.signal(signal.SIGTERM, leave)

def child():
    put_back()
    note('begins')
    child = os.fork()
    if child == 0:
        put_back()
        note('child')
        time.sleep(600)
    while 'child' not in open('notes').read():
        time.sleep(0.001)
    os.kill(child, signal.SIGTERM)
    note(f'child ended by {os.waitpid(child, 0)[1]}')

def wait():
    note('waits')
    while not os.path.exists('go-on'):
        time.sleep(0.001)

def application(environ, start_response):
    globals().get(environ['PATH_INFO'][1:], int)()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(os.getpid()).encode()]
";

fn serve(flags: &[&str]) -> Option<Written> {
    Written::start(SOURCE, flags)
}

#[test]
fn handlers_run_while_a_worker_waits() {
    let Some(python) = python() else { return };
    for flags in [&[][..], &["--threads", "2"]] {
        let Some(served) = serve(flags) else { return };
        assert_eq!(served.get("/").status, 200);
        send_signal(workers_of(served.arbiter.pid())[0], USR2);
        served.wait_for_note("usr2");
        let folder = write_module(SOURCE);
        let path = folder.path().to_str().expect("temporary paths are UTF-8");
        let site = python.site("written", &[&["--chdir", path], flags].concat());
        assert_eq!(site.client().get("/").status, 200);
        send_signal(site.worker_pids()[0], USR2);
        wait_for_note(folder.path(), "usr2");
    }
}

#[test]
fn they_run_where_new_threads_are_greenlets() {
    let source = format!("import green\n{SOURCE}");
    let Some(served) = Written::start(&source, &["--threads", "2"]) else { return };
    assert_eq!(served.get("/").status, 200);
    send_signal(workers_of(served.arbiter.pid())[0], USR2);
    served.wait_for_note("usr2");
}

/// It is about a request that has ended.
#[test]
fn what_a_handler_raises_then_is_in_the_log_and_hits_nobody() {
    let Some(served) = serve(&[]) else { return };
    assert_eq!(served.get("/alarm").status, 200);
    let is_logged = || served.arbiter.stderr().contains("TimeoutError: of an earlier request");
    wait_until("the traceback", PATIENCE, is_logged);
    assert_eq!(served.get("/").status, 200);
    let log = served.arbiter.stderr();
    assert!(log.contains("a signal handler of the application has failed"), "{log}");
}

#[test]
fn a_handler_that_exits_then_ends_the_worker_as_if_it_had_been_told_to() {
    let Some(mut served) = serve(&["--graceful-timeout", "3600"]) else { return };
    assert_eq!(served.get("/replace").status, 200);
    served.arbiter.signal(TERM);
    assert_eq!(served.arbiter.wait_exit(PATIENCE).code(), Some(0));
    served.wait_for_note("asked to leave");
}

#[test]
fn a_handler_of_term_that_is_put_back_finishes_requests() {
    for flags in [&[][..], &["--no-preload"]] {
        let Some(served) = serve(flags) else { return };
        assert_eq!(served.get("/put_back").status, 200);
        let mut client = Client::connect(served.address);
        client.send("POST /wait HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        served.wait_for_note("waits");
        let worker = workers_of(served.arbiter.pid())[0];
        send_signal(worker, TERM);
        fs::write(served.folder.path().join("go-on"), "").expect("its folder is writable");
        let response = client.read_response();
        assert_eq!((response.status, response.text()), (200, worker.to_string().as_str()));
    }
}

#[test]
fn a_handler_of_term_that_is_called_by_another_stops_the_worker() {
    let Some(mut served) = serve(&["--graceful-timeout", "3600"]) else { return };
    assert_eq!(served.get("/chain").status, 200);
    served.arbiter.signal(TERM);
    assert_eq!(served.arbiter.wait_exit(PATIENCE).code(), Some(0));
    served.wait_for_note("asked to leave");
}

#[test]
fn in_a_child_it_ends_that_and_not_the_worker() {
    let Some(served) = serve(&[]) else { return };
    let before = workers_of(served.arbiter.pid());
    assert_eq!(served.get("/child").status, 200);
    served.wait_for_note("child ended by 15");
    assert_eq!(served.get("/").status, 200);
    assert_eq!(workers_of(served.arbiter.pid()), before);
}
