//! The real binary listening plainly, and its errors.

use crate::support::{PATIENCE, Program, Slot};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Starts the program on a free port.
fn listening(arguments: &[&str]) -> (Program, String) {
    let mut program = Program::start(&[&["--bind", "127.0.0.1:0"], arguments].concat());
    let line = program.line();
    let address = line.strip_prefix("listening on http://").expect(&line).to_owned();
    (program, address)
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One request on a connection of its own.
fn get(address: &str, path: &str) -> String {
    let mut stream = connect(address);
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn serves_whoever_connects_and_stops_on_term() {
    let (program, address) = listening(&["-w", "2", "hello"]);
    for _ in 0..10 {
        assert!(get(&address, "/").ends_with("\r\n\r\nHello, world!"));
    }
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn silent_and_idle_connections_do_not_keep_the_only_worker() {
    let (_program, address) = listening(&["probe"]);
    let _silent = [connect(&address), connect(&address)];
    let mut idle = connect(&address);
    idle.write_all(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = [0; 15];
    idle.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    assert!(get(&address, "/hello").ends_with("Hello, world!"));
}

#[test]
fn a_connection_is_kept_while_it_is_alone() {
    let (_program, address) = listening(&["probe"]);
    let mut stream = connect(&address);
    let twice = "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2);
    stream.write_all(twice.as_bytes()).unwrap();
    let mut answers = String::new();
    // Until nothing has followed for a while.
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("Hello, world!").count(), 2, "{answers}");
    assert!(!answers.contains("Connection: close"), "{answers}");
}

#[test]
fn a_unix_socket_is_removed_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let address = format!("unix:{}", path.display());
    let mut program = Program::start(&["--bind", &address, "probe"]);
    assert_eq!(program.line(), format!("listening on {address}"));
    let mut connection = Slot(std::os::unix::net::UnixStream::connect(&path).unwrap());
    assert_eq!(connection.get("/hello"), "Hello, world!");
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
    assert!(!path.exists());
}

/// Expects a one-line error that contains `hint`.
fn fails(arguments: &[&str], code: i32, hint: &str) {
    let (ended, stderr) = Program::start(arguments).end();
    assert_eq!(ended, Some(code), "{stderr}");
    assert!(stderr.starts_with("worker-bin: ") && stderr.contains(hint), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn errors_are_one_line_that_says_what_to_do() {
    let (_program, address) = listening(&["hello"]);
    let long = format!("unix:/tmp/{}", "x".repeat(120));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let file = format!("unix:{}", file.display());
    fails(&["--bind", &address, "hello"], 3, "in use");
    fails(&["--bind", &file, "hello"], 3, "not a socket");
    fails(&["--bind", "unix:/nowhere/at/all/socket", "hello"], 3, "does not exist");
    fails(&["--bind", &long, "hello"], 2, "107");
    fails(&["--edge", &long, "hello"], 2, "107");
    fails(&["hello"], 2, "--edge unix:PATH");
    fails(&["--bind", "127.0.0.1:0", "--wrokers", "2", "hello"], 2, "--help");
    fails(&["--bind", "127.0.0.1:0", "-w", "0", "hello"], 2, "from 1");
    fails(&[], 2, "APP");
}
