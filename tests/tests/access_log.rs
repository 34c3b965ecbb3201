//! Each request is one line in combined format plus times, when its answer has been sent.

use forebay_tests::{Client, PATIENCE, RawWorker, Site, SiteBuilder, TERM, wait_until};
use std::process::Command;
use std::{fs, io};

#[test]
fn each_request_is_a_line_on_standard_output() {
    let site = site("-");
    let mut client = site.client();
    client.exchange(
        "GET /echo?a=b HTTP/1.1\r\nHost: test\r\nUser-Agent: te\"st\r\nReferer: http://r/\r\n\r\n",
    );
    client.get("/static/a.txt");
    client.get("/static/none");
    client.exchange("POST /status/204 HTTP/1.0\r\nContent-Length: 2\r\n\r\nab");
    site.client().exchange("nonsense\r\n\r\n");
    wait_until("five lines", PATIENCE, || logged(&site.stdout()).len() == 5);

    let lines = logged(&site.stdout());
    assert_eq!(lines[0].request, "GET /echo?a=b HTTP/1.1");
    assert_eq!((lines[0].status, lines[0].referer.as_str()), (200, "http://r/"));
    assert!(lines[0].agent.starts_with("te") && lines[0].agent.ends_with("st"));
    let [file, none, post] = [&lines[1], &lines[2], &lines[3]];
    assert_eq!((file.request.as_str(), file.status), ("GET /static/a.txt HTTP/1.1", 200));
    assert_eq!((file.bytes, file.agent.as_str()), (6, "-"));
    assert_eq!((none.request.as_str(), none.status), ("GET /static/none HTTP/1.1", 404));
    assert_eq!((post.request.as_str(), post.status), ("POST /status/204 HTTP/1.0", 204));
    assert_eq!(lines[4].status, 400);
    assert!(lines.iter().all(|line| line.peer == "127.0.0.1"));
    assert!(lines.iter().all(|line| !line.times.is_empty()), "times follow: {}", site.stdout());
}

#[test]
fn a_log_as_large_as_files_may_be_ends_nobody() {
    let site = site("access.log");
    let pid = site.pid().to_string();
    let limit = Command::new("prlimit").args(["--pid", &pid, "--fsize=1024:1024"]).status();
    assert!(limit.unwrap().success());
    let mut client = site.client();
    wait_until("the largest file", PATIENCE, || {
        assert_eq!(client.get("/static/a.txt").status, 200);
        site.stderr().contains("cannot write the access log")
    });
    assert_eq!(client.get("/static/a.txt").status, 200);
    assert_eq!(site.stop().code(), Some(0));
}

#[test]
fn a_client_cannot_forge_lines() {
    let site = site("-");
    let forged = "GET /echo HTTP/1.1\r\nHost: test\r\nUser-Agent: a\u{1b}[31m\\\" 200 1 \"\r\n\r\n";
    assert_eq!(site.client().exchange(forged).status, 400);
    let latin = "GET /echo HTTP/1.1\r\nHost: test\r\nUser-Agent: \u{e9}\u{85}\r\n\r\n";
    site.client().exchange(latin);
    wait_until("two lines", PATIENCE, || logged(&site.stdout()).len() == 2);
    let text = site.stdout();
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn a_file_gets_all_lines_before_the_end() {
    let site = site("access.log");
    let mut client = site.client();
    for i in 0..100 {
        client.get(&format!("/echo?{i}"));
    }
    let path = site.path("access.log");
    wait_until("the file", PATIENCE, || path.exists());
    let log = fs::File::open(path).unwrap();
    assert_eq!(site.stop().code(), Some(0));
    let lines = logged(&io::read_to_string(log).unwrap());
    assert_eq!(lines.len(), 100);
    for (i, line) in lines.iter().enumerate() {
        assert_eq!(line.request, format!("GET /echo?{i} HTTP/1.1"));
    }
}

#[test]
fn who_does_not_wait_for_the_answer_is_logged_too() {
    let big = 64 << 20;
    let site = builder("-").control().start();
    fs::File::create(site.path("static/big")).unwrap().set_len(big).unwrap();
    let mut unheard = site.client();
    assert_eq!(unheard.get("/hello").status, 200);
    unheard.send("GET /sleep/200 HTTP/1.1\r\nHost: test\r\n\r\n");
    wait_until("a worker has it", PATIENCE, || site.status()["pools"][0]["busy"] == 1);
    unheard.reset();
    wait_until("two lines", PATIENCE, || logged(&site.stdout()).len() == 2);
    let mut partly = site.client();
    partly.send("GET /static/big HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(partly.read_head().unwrap().status, 200);
    partly.reset();
    wait_until("three lines", PATIENCE, || logged(&site.stdout()).len() == 3);

    let lines = &logged(&site.stdout())[1..];
    assert_eq!((lines[0].status, lines[0].bytes), (499, 0));
    assert_eq!(lines[0].request, "GET /sleep/200 HTTP/1.1");
    assert_eq!(lines[1].status, 200);
    assert!((1..big).contains(&lines[1].bytes), "{} bytes were sent", lines[1].bytes);
}

#[test]
fn who_leaves_before_the_answer_is_logged_with_how_far_the_request_came() {
    let site = raw_site("");
    let mut waits = later_client(&site);
    waits.send(get("/waits"));
    wait_until("it waits", PATIENCE, || site.status()["pools"][0]["queued"] == 1);
    waits.reset();
    assert_left(&line_of(&site, "/waits"), "qt=- ut=-");

    let mut worker = RawWorker::dial(&site);
    let mut watched = later_client(&site);
    watched.send(get("/watched"));
    worker.read_head();
    watched.reset();
    let line = line_of(&site, "/watched");
    assert_left(&line, "ut=-");
    assert!(!line.times.contains("qt=-"), "{}", line.times);
    worker.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");

    // Of a connection's first request it is seen only when the answer cannot be sent.
    let mut first = site.client();
    first.send(get("/first"));
    worker.read_head();
    first.reset();
    worker.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let line = line_of(&site, "/first");
    assert_left(&line, "");
    assert!(!line.times.contains('-'), "{}", line.times);
}

#[test]
fn who_leaves_inside_a_workers_answer_is_logged_with_what_was_sent() {
    let site = raw_site("send_timeout = \"1s\"");
    let mut worker = RawWorker::dial(&site);
    let mut streamed = later_client(&site);
    streamed.send(get("/streamed"));
    worker.read_head();
    worker.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    streamed.read_head().unwrap();
    for _ in 0..6 {
        worker.send("5\r\npiece\r\n");
        assert_eq!(streamed.read_chunk().unwrap(), b"piece");
    }
    streamed.reset();
    let line = line_of(&site, "/streamed");
    assert_eq!((line.status, line.bytes), (200, 30));
    assert!(!line.times.contains('-'), "{}", line.times);

    let big = vec![b'x'; 16 << 20];
    for (target, is_patient) in [("/left", false), ("/slow", true)] {
        let mut worker = RawWorker::dial(&site);
        let mut client = Client::connect_narrow(site.address());
        client.send(get(target));
        worker.read_head();
        worker.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", big.len()));
        worker.send(&big);
        assert_eq!(client.read_head().unwrap().status, 200);
        let client = is_patient.then_some(client);
        let line = line_of(&site, target);
        drop(client);
        assert_eq!(line.status, 200, "{target}");
        assert!((1..big.len() as u64).contains(&line.bytes), "{target}: {}", line.bytes);
        assert!(!line.times.contains('-'), "{target}: {}", line.times);
    }
}

#[test]
fn whom_the_end_cuts_off_is_logged_with_what_was_sent() {
    let server = "access_log = \"-\"\ndrain_timeout = \"300ms\"";
    let mut site = Site::builder().server(server).control().raw_app().start();
    let mut clients = [(); 3].map(|()| site.client());
    let mut silent = RawWorker::dial(&site);
    clients[0].send(get("/silent"));
    silent.read_head();
    let mut streams = RawWorker::dial(&site);
    clients[1].send(get("/streams"));
    streams.read_head();
    streams.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npiece");
    clients[1].read_head().unwrap();
    clients[2].send("POST /half HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nab");
    wait_until("all are there", PATIENCE, || site.counter("requests") == 3);
    site.signal(TERM);
    site.wait_exit(PATIENCE);
    let [silent, streams] = ["/silent", "/streams"].map(|target| line_of(&site, target));
    assert_eq!((silent.status, silent.bytes), (503, 0));
    assert!(!silent.times.contains("qt=-") && silent.times.ends_with("ut=-"), "{}", silent.times);
    assert_eq!((streams.status, streams.bytes), (200, 5));
    assert!(!streams.times.contains('-'), "{}", streams.times);
    let half = logged(&site.stdout()).into_iter().find(|line| line.request.contains("/half"));
    assert_eq!(half.map(|line| (line.status, line.bytes)), Some((503, 0)));
}

/// Workers come from the test.
fn raw_site(limit: &str) -> Site {
    let site = Site::builder().server("access_log = \"-\"").control().limit(limit);
    site.route("path = \"/fixed\"\nrespond = { status = 200 }").raw_app().start()
}

/// The end of a connection is seen at once from its second request on.
fn later_client(site: &Site) -> Client {
    let mut client = site.client();
    assert_eq!(client.get("/fixed").status, 200);
    client
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
}

fn line_of(site: &Site, target: &str) -> Line {
    let request = format!("GET {target} HTTP/1.1");
    let find = || logged(&site.stdout()).into_iter().find(|line| line.request == request);
    wait_until("its line", PATIENCE, || find().is_some());
    find().expect("it was there just now")
}

fn assert_left(line: &Line, times: &str) {
    assert_eq!((line.status, line.bytes), (499, 0), "{}", line.request);
    assert!(line.times.ends_with(times), "{}: {}", line.request, line.times);
}

fn site(access_log: &str) -> Site {
    builder(access_log).start()
}

fn builder(access_log: &str) -> SiteBuilder {
    Site::builder()
        .server(&format!("access_log = \"{access_log}\""))
        .files("/static/", "static")
        .file("static/a.txt", "a file")
        .app("probe", 1)
}

struct Line {
    peer: String,
    request: String,
    status: u16,
    bytes: u64,
    referer: String,
    agent: String,
    times: String,
}

fn logged(text: &str) -> Vec<Line> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().filter(|line| !line.starts_with("listening on "));
    lines.map(|line| parse(line).unwrap_or_else(|| panic!("not combined: {line:?}"))).collect()
}

/// `peer - - [time] "request" status bytes "referer" "agent" times`
fn parse(line: &str) -> Option<Line> {
    let (peer, rest) = line.split_once(" - - [")?;
    let (time, rest) = rest.split_once("] \"")?;
    let (request, rest) = split_quoted(rest)?;
    let (numbers, rest) = rest.trim_start().split_once(" \"")?;
    let (status, bytes) = numbers.split_once(' ')?;
    let (referer, rest) = split_quoted(rest)?;
    let (agent, times) = split_quoted(rest.strip_prefix(" \"")?)?;
    is_time(time).then_some(())?;
    Some(Line {
        peer: peer.to_owned(),
        request: request.to_owned(),
        status: status.parse().ok()?,
        bytes: bytes.parse().ok()?,
        referer: referer.to_owned(),
        agent: agent.to_owned(),
        times: times.trim().to_owned(),
    })
}

/// Splits behind the first quote that no backslash precedes.
fn split_quoted(text: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !is_escaped => return Some((&text[..at], &text[at + 1..])),
            _ => is_escaped = c == '\\' && !is_escaped,
        }
    }
    None
}

/// `10/Oct/2000:13:55:36 +0000`
fn is_time(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| match c {
            '0'..='9' => '9',
            'a'..='z' | 'A'..='Z' => 'a',
            '-' => '+',
            other => other,
        })
        .collect();
    shape == "99/aaa/9999:99:99:99 +9999"
}
