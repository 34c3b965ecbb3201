//! Each request is one line in combined format plus times, when its answer has been sent.

use forebay_tests::{PATIENCE, Site, SiteBuilder, wait_until};
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
