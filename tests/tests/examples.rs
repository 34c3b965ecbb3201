//! Every example runs and does what it says.

use forebay_tests::{Client, PATIENCE, Process, example, wait_until};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

#[test]
fn the_edge_is_embedded_and_the_application_dials_in() {
    let directory = working_directory();
    let (edge, address) = start("embed", directory.path(), &["127.0.0.1:0"]);
    let mut client = Client::connect(address);
    assert_eq!(client.get("/healthz").text(), "ok\n");
    assert_eq!(client.get("/assets/file.txt").text(), "a file\n");
    let socket = directory.path().join("examples/run/embed.sock");
    let mut command = Command::new(example("rust_app"));
    command.arg(format!("--edge=unix:{}", socket.display())).arg("--workers=2");
    let workers = Process::start(&mut command);
    // It waits for its first worker.
    assert_eq!(client.get("/").text(), "Hello from Rust\n");
    drop((workers, edge));
}

#[test]
fn an_application_listens_by_itself() {
    let (_workers, address) = start("rust_app", Path::new("/"), &["--bind", "127.0.0.1:0"]);
    let mut client = Client::connect(address);
    assert_eq!(client.get("/").text(), "Hello from Rust\n");
    let post = "POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(client.exchange(post).text(), "3 bytes\n");
    assert_eq!(client.get("/nowhere").status, 404);
}

#[test]
fn help_and_manual_page_are_the_programs_own() {
    let run = |argument: &str| {
        let output = Command::new(example("rust_app")).arg(argument).output().expect("it runs");
        String::from_utf8([output.stdout, output.stderr].concat()).expect("it is for people")
    };
    let help = run("--help");
    assert!(help.starts_with("Serves its application") && !help.contains("main"), "{help}");
    let page = run("man");
    assert!(page.contains(".TH rust_app 1") && !page.contains("worker\\-bin"), "{page}");
    let version = run("--version");
    assert!(version.contains("'--version'") && !version.contains("did you mean"), "{version}");
}

#[test]
fn a_directory_is_a_web_site() {
    let directory = working_directory();
    fs::write(directory.path().join("examples/app.3f9a2b1c.js"), "1").expect("it is ours");
    fs::write(directory.path().join("examples/index.html"), "<p>hi").expect("it is ours");
    let (_site, address) = start("static_site", directory.path(), &["examples", "127.0.0.1:0"]);
    let mut client = Client::connect(address);
    let page = client.get("/");
    assert_eq!((page.status, page.field("Cache-Control")), (200, Some("no-cache")));
    assert_eq!(page.field("X-Frame-Options"), Some("DENY"));
    assert_eq!(page.field("Vary"), Some("Accept-Encoding"));
    let script = client.get("/app.3f9a2b1c.js");
    assert!(script.field("Cache-Control").is_some_and(|value| value.contains("immutable")));
    assert_eq!(script.field("X-Content-Type-Options"), Some("nosniff"));
}

#[test]
fn the_http_module_needs_nothing_but_bytes() {
    let (echo, address) = start("sans_io", Path::new("/"), &["127.0.0.1:0"]);
    let mut client = Client::connect(address);
    let post = |fields: &str, content: &str| {
        format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n{content}")
    };
    assert_eq!(client.exchange(post("Content-Length: 5", "hello")).text(), "hello");
    let chunks = "3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\n\r\n";
    assert_eq!(client.exchange(post("Transfer-Encoding: chunked", chunks)).text(), "hello");
    // Pipelined, in one piece.
    client.send(["a", "b"].map(|content| post("Content-Length: 1", content)).concat());
    assert_eq!(client.read_response().text(), "a");
    assert_eq!(client.read_response().text(), "b");
    client.send(post("Content-Length: 5\r\nExpect: 100-continue", ""));
    assert_eq!(client.read_response().status, 100);
    assert_eq!(client.exchange("hello").text(), "hello");
    drop(client);
    // One client at a time: each has to go before the next one is served.
    let refused = |request: String| {
        let mut client = Client::connect(address);
        let response = client.exchange(request);
        assert!(response.closes(), "{response:?}");
        assert_eq!(client.read_to_end(), b"", "an orderly end, RFC 9112 section 9.6");
        response.status
    };
    let smuggled = post("Content-Length: 5\r\nTransfer-Encoding: chunked", chunks);
    assert_eq!(refused(smuggled), 400, "RFC 9112 section 6.1");
    assert_eq!(refused(post("Content-Length: 999999999", &"x".repeat(1 << 20))), 413);
    let unasked = post("Content-Length: 999999999\r\nExpect: 100-continue", "");
    assert_eq!(refused(unasked), 413, "RFC 9110 section 10.1.1");
    assert_eq!(refused("CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n".into()), 501);
    wait_until("a word about those", PATIENCE, || echo.stderr().lines().count() == 4);
}

/// With what `embed` looks for.
fn working_directory() -> TempDir {
    let directory = tempfile::tempdir().expect("temporary folders can be made");
    fs::create_dir_all(directory.path().join("examples/run")).expect("a new folder is writable");
    let file = directory.path().join("examples/file.txt");
    fs::write(file, "a file\n").expect("a new folder is writable");
    directory
}

fn start(name: &str, directory: &Path, arguments: &[&str]) -> (Process, SocketAddr) {
    let mut command = Command::new(example(name));
    let mut process = Process::start(command.args(arguments).current_dir(directory));
    let address = process.listening(1, PATIENCE)[0];
    (process, address)
}
