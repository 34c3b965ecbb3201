//! A stock client gets and sends everything, through edge and worker, unharmed.

use forebay_tests::{Site, Tool, pattern, sha256, tool};
use std::fs;

const MEGABYTES_5: usize = 5_000_000;

#[test]
fn gets() {
    let Some(curl) = tool("curl") else { return };
    let site = Site::with_app("hello", 2);
    assert_eq!(curl.run(&["-sS", "-f", &site.url("/any?thing")]), b"Hello, world!");
}

#[test]
fn gets_only_the_head() {
    let Some(curl) = tool("curl") else { return };
    let site = Site::with_app("hello", 1);
    let head = String::from_utf8(curl.run(&["-sS", "-f", "-I", &site.url("/")])).unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("HTTP/1.1 200 OK"));
    assert!(lines.any(|line| line.eq_ignore_ascii_case("content-length: 13")), "{head}");
}

#[test]
fn reuses_its_connection() {
    let Some(curl) = tool("curl") else { return };
    let site = Site::with_app("hello", 1);
    let (url, count) = (site.url("/"), "%{num_connects}\n");
    let twice = ["-sS", "-f", "-w", count, "-o", "/dev/null", &url, "-o", "/dev/null", &url];
    let output = curl.run(&[&twice[..], &["-o", "/dev/null", &url]].concat());
    let text = String::from_utf8(output).unwrap();
    let connects = text.lines().rev().take(2).collect::<Vec<_>>();
    assert_eq!(connects, ["0", "0"], "each later request found the connection open: {text}");
}

#[test]
fn posts_with_a_length() {
    post(&[]);
}

#[test]
fn posts_in_chunks() {
    post(&["-H", "Transfer-Encoding: chunked"]);
}

#[test]
fn posts_without_asking_to_continue() {
    post(&["-H", "Expect:"]);
}

#[test]
fn puts_a_file() {
    let Some(curl) = tool("curl") else { return };
    let site = Site::builder().app("echo", 1).file("sent", b"content").start();
    let sent = site.path("sent");
    let answer = curl.run(&["-sS", "-f", "-T", sent.to_str().unwrap(), &site.url("/put")]);
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["method"], "PUT");
    assert_eq!(answer["target"], "/put");
    assert_eq!(answer["content_sha256"], sha256(b"content"));
}

#[test]
fn receives_five_megabytes_unharmed() {
    let Some(curl) = tool("curl") else { return };
    let site = Site::with_app("probe", 2);
    let received = download(&curl, &site, &format!("/bytes/{MEGABYTES_5}"));
    let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    let produced: Vec<u8> = alphabet.iter().copied().cycle().take(MEGABYTES_5).collect();
    assert_eq!(sha256(&received), sha256(&produced));
}

#[test]
fn keeps_error_statuses() {
    let Some(curl) = tool("curl") else { return };
    let site = Site::with_app("probe", 1);
    for status in ["204", "404", "418", "500", "503"] {
        let url = site.url(&format!("/status/{status}"));
        let output = curl.run(&["-sS", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        assert_eq!(String::from_utf8(output).unwrap(), status);
    }
}

fn post(options: &[&str]) {
    let Some(curl) = tool("curl") else { return };
    let content = pattern(MEGABYTES_5);
    let site = Site::builder().app("echo", 2).file("sent", &content).start();
    let data = format!("@{}", site.path("sent").display());
    let url = site.url("/echo");
    let mut arguments = vec!["-sS", "-f", "--data-binary", &data];
    arguments.extend(options);
    arguments.push(&url);
    let answer = curl.run(&arguments);
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("echo answers in JSON");
    assert_eq!(answer["method"], "POST");
    assert_eq!(answer["content_length"], MEGABYTES_5);
    assert_eq!(answer["content_sha256"], sha256(&content));
}

fn download(curl: &Tool, site: &Site, target: &str) -> Vec<u8> {
    let path = site.path("received");
    let name = path.to_str().expect("temporary folders have plain names");
    curl.run(&["-sS", "-f", "-o", name, &site.url(target)]);
    fs::read(path).expect("curl has written it")
}
