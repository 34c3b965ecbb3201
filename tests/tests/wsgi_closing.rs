//! What an application does in `close()`, when its answer has left, keeps nobody waiting who could
//! have another worker.

use forebay_tests::{PATIENCE, python, wait_until};
use std::fs;

/// Says which thread has answered, and takes its time afterwards: a moment at `/slow`, and until
/// there is a file at `/held`.
const SOURCE: &str = "
import os, threading, time

def held():
    while not os.path.exists(os.environ['GO']):
        time.sleep(0.01)

class Answer:
    def __init__(self, close):
        self.close = close

    def __iter__(self):
        yield f'{os.getpid()}.{threading.get_ident()}'.encode()

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    after = {'/slow': lambda: time.sleep(0.1), '/held': held}
    return Answer(after.get(environ['PATH_INFO'], lambda: None))
";

#[test]
fn others_get_what_comes_while_a_worker_is_at_it() {
    let Some(python) = python() else { return };
    for flags in [["-w", "2"], ["--threads", "2"]] {
        let site = python.site_builder("closing:application", &flags);
        let site = site.file("closing.py", SOURCE).path_variable("GO", "go").control().start();
        let mut client = site.client();
        let mut get = |path| client.get(path).text().to_owned();
        let one = get("/slow");
        assert_eq!(get("/held"), one, "who was idle last is asked first");
        let others: Vec<_> = (0..10).map(|_| get("/")).collect();
        assert!(others.iter().all(|it| *it != one && *it == others[0]), "{one}: {others:?}");
        fs::write(site.path("go"), "").unwrap();
        wait_until("it is back", PATIENCE, || site.status()["pools"][0]["slots"] == 2);
    }
}
