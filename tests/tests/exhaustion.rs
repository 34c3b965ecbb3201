//! Without descriptors servers go on with those that they have, and recover by themselves.

use forebay_tests::{
    Client, PATIENCE, Process, Site, cpu_time, limit_descriptors, wait_until, worker_bin,
};
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn without_descriptors_exactly_what_needs_one_fails_until_there_are_some() {
    let site = Site::builder().control().server("reactors = 1").app("probe", 1);
    let site = site.files("/files/", "files").file("files/new.txt", "new");
    let site = site.descriptors(MOST).start();
    // Who is let in, and the worker's slot is open.
    let mut known = site.client();
    assert_eq!(known.get("/hello").status, 200);
    let mut uploading = site.client();
    assert_eq!(uploading.get("/hello").status, 200);
    let crowd: Vec<Client> = (0..MOST).map(|_| site.client()).collect();
    wait_until("no descriptor is left", PATIENCE, || visible_below(MOST, site.pid()) == MOST - 1);
    let mut waiting = site.client();
    waiting.send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");

    let (began, cpu) = (Instant::now(), cpu_time(site.pid()));
    assert_eq!(known.get("/hello").status, 200, "what needs none is answered");
    assert_eq!(known.get("/files/new.txt").status, 503, "no file can be opened");
    assert_eq!(upload(&mut uploading), 503, "no spool file can be made");
    wait_until("a second has passed", PATIENCE, || began.elapsed() > Duration::from_secs(1));
    let (spent, cpu) = (began.elapsed(), cpu_time(site.pid()) - cpu);
    println!("{cpu:?} of CPU time in {spent:?}");
    assert!(cpu < spent / 4, "it does not try all the time: {cpu:?} in {spent:?}");

    drop(crowd);
    assert_eq!(waiting.read_response().status, 200, "who had to wait is let in");
    assert_eq!(known.get("/files/new.txt").status, 200);
    assert_eq!(upload(&mut site.client()), 200);
    assert!(site.counter("accept_failed") > 0 && site.counter("spool_refused") == 1);
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

/// Open descriptors with numbers below `limit`. A thread that waits in accept(2), here for the
/// control socket, keeps one more that proc(5) does not show; inherited ones may be above.
fn visible_below(limit: usize, pid: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<usize>().ok());
    numbers.filter(|number| *number < limit).count()
}

fn upload(client: &mut Client) -> u16 {
    client.send("POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n");
    client.send(vec![b'x'; 200_000]);
    client.read_response().status
}

/// The edge needs about half of them itself.
const MOST: usize = 64;
