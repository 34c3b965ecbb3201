//! Without descriptors servers go on with those that they have, and recover by themselves.

use forebay_tests::{
    Client, PATIENCE, Process, RawWorker, Site, SiteBuilder, cpu_time, limit_descriptors,
    wait_until, worker_bin,
};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn without_descriptors_exactly_what_needs_one_fails_until_there_are_some() {
    let site = site().app("probe", 1).files("/files/", "files").file("files/new.txt", "new");
    let site = site.start();
    // Who is let in, and the worker's slot is open.
    let [mut known, mut uploading] = ["GET", "POST"].map(|method| Busy::new(&site, method));
    assert_eq!(known.ask("/hello"), 200);
    let crowd = crowd(&site);
    let mut waiting = site.client();
    waiting.send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");

    let (began, cpu) = (Instant::now(), cpu_time(site.pid()));
    assert_eq!(known.ask("/hello"), 200, "what needs none is answered");
    assert_eq!(known.ask("/files/new.txt"), 503, "no file can be opened");
    assert_eq!(uploading.upload(), 503, "no spool file can be made");
    wait_until("a second has passed", PATIENCE, || began.elapsed() > Duration::from_secs(1));
    let (spent, cpu) = (began.elapsed(), cpu_time(site.pid()) - cpu);
    println!("{cpu:?} of CPU time in {spent:?}");
    assert!(cpu < spent / 4, "it does not try all the time: {cpu:?} in {spent:?}");

    drop(crowd);
    assert_eq!(waiting.read_response().status, 200, "who had to wait is let in");
    assert_eq!(known.ask("/files/new.txt"), 200);
    assert_eq!(Busy::new(&site, "POST").upload(), 200);
    assert!(site.counter("accept_failed") > 0 && site.counter("spool_refused") == 1);
}

#[test]
fn without_descriptors_who_has_idled_longest_makes_room_for_the_next() {
    let site = site().app("hello", 1).start();
    let mut busy = Busy::new(&site, "GET");
    let answered = |_| {
        let mut client = site.client();
        assert_eq!(client.get("/").status, 200);
        client
    };
    let mut clients: Vec<Client> = (0..2 * MOST).map(answered).collect();
    assert!(clients[0].try_response(false).is_err(), "the oldest one has ended");
    assert_eq!(clients[2 * MOST - 1].get("/").status, 200, "the newest one has not");
    assert_eq!(busy.ask("/"), 200, "who is not idle stays");
    drop(clients);
    assert!(site.counter("connections_evicted") >= MOST as u64);
}

#[test]
fn without_descriptors_files_that_are_only_kept_open_make_room() {
    let site = large_files(site()).start();
    let mut known = Busy::new(&site, "GET");
    for round in 0..2 {
        for nth in 0..LARGE_FILES {
            assert_eq!(known.ask(&format!("/files/{nth}")), 200, "{nth} in round {round}");
        }
    }
    take_all_for_files(&site, &mut known);
    assert_eq!(Busy::new(&site, "GET").ask("/files/small"), 200, "who is new is let in");
    take_all_for_files(&site, &mut known);
    assert_eq!(known.ask("/files/small"), 200, "what is in memory can be checked");
    let evicted = site.counter("connections_evicted");
    assert_eq!(evicted, 0, "and nobody had to go for that");
}

#[test]
fn without_descriptors_files_that_other_reactors_keep_open_make_room_too() {
    let site = Site::builder().control().server("reactors = 2").descriptors(MOST + 16);
    // On a loaded machine the last client's first head is long in coming.
    let site = site.limit("client_header_timeout = \"120s\"");
    let site = large_files(site).start();
    // They are distributed by chance.
    let mut clients: Vec<Busy> = (0..8).map(|_| Busy::new(&site, "GET")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        for nth in 0..LARGE_FILES {
            let target = format!("/files/{nth}");
            let is_answered = || client.ask(&target) == 200;
            wait_until(&format!("{target} for client {number}"), PATIENCE, is_answered);
        }
    }
}

#[test]
fn a_worker_that_cannot_be_accepted_dials_in_when_it_can() {
    let site = site().raw_app().pool("queue_timeout = \"60s\"").pool("boot_grace = \"60s\"");
    let site = site.start();
    let mut known = site.client();
    known.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let crowd = crowd(&site);
    let edge = format!("unix:{}", site.path("run/app.sock").display());
    let _worker = Process::start(Command::new(worker_bin()).args(["--edge", &edge, "hello"]));
    let began = Instant::now();
    wait_until("two seconds have passed", PATIENCE, || began.elapsed() > Duration::from_secs(2));
    drop(crowd);
    assert_eq!(known.read_response().status, 200, "nothing is lost");
    assert!(site.counter("accept_failed") > 0);
}

#[test]
fn a_worker_that_cannot_take_a_content_says_so_and_goes_on() {
    let site = Site::builder().control().app("probe", 1).start();
    let mut uploading = site.client();
    assert_eq!(upload(&mut uploading), 200);
    let [worker] = site.worker_pids()[..] else { panic!("one worker") };
    assert_eq!(site.client().get("/hello").status, 200, "it has done with the upload");
    let before = limit_descriptors(worker, lowest_free(worker));
    for _ in 0..3 {
        assert_eq!(upload(&mut uploading), 503);
        assert_eq!(site.client().get("/hello").status, 200, "what needs none is answered");
    }
    assert_eq!(post_behind_an_upload(&site, &mut uploading), [200, 503, 200]);
    // What it is lent it cannot take either, and sends.
    let mut slow = Client::connect_narrow(site.address());
    slow.send("GET /bytes/20000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(site.client().get("/hello").status, 200, "it waits for nobody");
    assert_eq!(slow.read_response().content.len(), 20_000_000);
    assert_eq!(upload(&mut uploading), 503);
    limit_descriptors(worker, before);
    assert_eq!(upload(&mut uploading), 200);
    assert_eq!(site.worker_pids(), [worker]);
    assert!(site.stderr().contains("too many files are open"), "{}", site.stderr());
}

/// All of them wait for the only worker, in this order: something else, the upload, and a request
/// that is not to be sent to the slot which the answer to the upload ends.
fn post_behind_an_upload(site: &Site, uploading: &mut Client) -> [u16; 3] {
    let (mut sleeping, mut behind) = (site.client(), site.client());
    let wait = |name: &str, count: u64| {
        wait_until(name, PATIENCE, || site.status()["pools"][0][name] == count);
    };
    sleeping.send("GET /sleep/3000 HTTP/1.1\r\nHost: test\r\n\r\n");
    wait("busy", 1);
    send_upload(uploading);
    wait("queued", 1);
    behind.send("POST /hello HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    wait("queued", 2);
    [&mut sleeping, uploading, &mut behind].map(|client| client.read_response().status)
}

#[test]
fn an_answer_in_a_file_that_the_edge_cannot_take_is_502_and_costs_the_slot() {
    let site = site().raw_app().start();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"in a file").unwrap();
    let mut worker = RawWorker::dial(&site);
    let mut known = Busy::new(&site, "GET");
    let crowd = crowd(&site);
    let mut ask = |worker: &mut RawWorker| {
        known.send("/");
        worker.read_head();
        worker.send_with_file(IN_FILE, &file);
        known.0.read_response()
    };
    assert_eq!(ask(&mut worker).status, 502);
    worker.expect_end();
    drop(crowd);
    let answer = ask(&mut RawWorker::dial(&site));
    assert_eq!((answer.status, answer.text()), (200, "in a file"));
    assert_eq!(site.counter("bad_gateway"), 1);
}

#[test]
fn without_descriptors_the_arbiter_tries_to_answer_once_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control");
    let control = format!("unix:{}", path.display());
    let arguments = ["--bind", "127.0.0.1:0", "--control", &control, "hello"];
    let mut worker = Process::start(Command::new(worker_bin()).args(arguments));
    worker.listening(1, PATIENCE);
    let standard_streams = 3;
    let before = limit_descriptors(worker.pid(), standard_streams);

    let began = Instant::now();
    let mut client = UnixStream::connect(&path).unwrap();
    let failures = || worker.stderr().matches("the control socket has not answered").count();
    wait_until("it tries again", PATIENCE, || failures() >= 2);
    let (failures, seconds) = (failures(), began.elapsed().as_secs());
    assert!(failures as u64 <= seconds + 1, "{failures} failures in {seconds} seconds");

    limit_descriptors(worker.pid(), before);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(&format!("\"pid\":{}", worker.pid())), "{answer}");
}

/// Few descriptors; clients may be silent for as long as a test may take.
fn site() -> SiteBuilder {
    let site = Site::builder().control().server("reactors = 1").descriptors(MOST);
    site.limit("client_header_timeout = \"60s\"")
}

/// Silent clients, who take all descriptors. None of them is idle between two requests.
fn crowd(site: &Site) -> Vec<Client> {
    let crowd = (0..MOST).map(|_| site.client()).collect();
    wait_until("no descriptor is left", PATIENCE, || visible_below(MOST, site.pid()) >= MOST - 1);
    crowd
}

/// Files too large to be kept in memory, more than there are descriptors, and one that is.
fn large_files(site: SiteBuilder) -> SiteBuilder {
    let site = site.files("/files/", "files").file("files/small", "small");
    let name = |nth| format!("files/{nth}");
    (0..LARGE_FILES).fold(site, |site, nth| site.file(&name(nth), vec![b'x'; 66_000]))
}

/// Asks for files until no descriptor is left.
fn take_all_for_files(site: &Site, client: &mut Busy) {
    let mut nth = 0;
    wait_until("no descriptor is left", PATIENCE, || {
        nth = (nth + 1) % LARGE_FILES;
        assert_eq!(client.ask(&format!("/files/{nth}")), 200);
        visible_below(MOST, site.pid()) >= MOST - 1
    });
}

/// A client that always has sent the beginning of its next request, so it is not idle.
struct Busy(Client, &'static str);

impl Busy {
    fn new(site: &Site, method: &'static str) -> Busy {
        let mut client = site.client();
        client.send(method);
        Busy(client, method)
    }

    fn send(&mut self, target: &str) {
        self.0.send(format!(" {target} HTTP/1.1\r\nHost: test\r\n\r\n{}", self.1));
    }

    fn ask(&mut self, target: &str) -> u16 {
        self.send(target);
        self.0.read_response().status
    }

    fn upload(&mut self) -> u16 {
        self.0.send(" /length HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n");
        self.0.send([&[b'x'; 200_000], self.1.as_bytes()].concat());
        self.0.read_response().status
    }
}

/// Open descriptors with numbers below `limit`. A thread that waits in accept(2), here for the
/// control socket, keeps one more that proc(5) does not show; inherited ones may be above.
fn visible_below(limit: usize, pid: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<usize>().ok());
    numbers.filter(|number| *number < limit).count()
}

/// The number that its next descriptor will have.
fn lowest_free(pid: u32) -> u64 {
    let is_free = |&number: &u64| !Path::new(&format!("/proc/{pid}/fd/{number}")).exists();
    (0..).find(is_free).expect("there is always a larger number")
}

fn upload(client: &mut Client) -> u16 {
    send_upload(client);
    client.read_response().status
}

fn send_upload(client: &mut Client) {
    client.send("POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n");
    client.send(vec![b'x'; 200_000]);
}

/// The edge needs about half of them itself.
const MOST: usize = 64;
const LARGE_FILES: usize = 2 * MOST;
const IN_FILE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nForebay-Body-Fd: 0\r\n\r\n";
