//! Command lines that were written for gunicorn.

use crate::support::{Edge, PATIENCE, Program};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;

fn start(arguments: &[&str], variable: &str) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker-bin"));
    Program::spawn(command.args(arguments).env("GUNICORN_CMD_ARGS", variable))
}

fn tcp(line: &str) -> TcpStream {
    TcpStream::connect(line.strip_prefix("listening on http://").expect(line)).unwrap()
}

fn ask(mut stream: impl Read + Write, fields: &str) -> String {
    let request = format!("GET /a?b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn lines_of(path: &std::path::Path, count: usize) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count && text.ends_with('\n') {
            return lines;
        }
        assert!(Instant::now() < until, "{count} lines: {text}");
        std::thread::yield_now();
    }
}

#[test]
fn several_addresses_are_listened_on_and_logged() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, log) = (folder.path().join("socket"), folder.path().join("access"));
    let (unix, access) = (format!("unix:{}", socket.display()), log.to_str().unwrap());
    let arguments = ["-b", "127.0.0.1:0", "-b", &unix, "--access-logfile", access, "echo"];
    let mut program = start(&arguments, "--bind 127.0.0.1:0");
    let line = program.line();
    assert_eq!(program.line(), format!("listening on {unix}"), "flags are the whole answer");
    assert!(ask(tcp(&line), "User-Agent: test\r\n").contains("\"target\":\"/a?b\""));
    assert!(ask(UnixStream::connect(&socket).unwrap(), "").contains("\"target\":\"/a?b\""));
    let lines = lines_of(&log, 2);
    let all = lines.join("\n");
    let of_tcp = lines.iter().find(|line| line.starts_with("127.0.0.1 - - [")).expect(&all);
    assert!(of_tcp.contains("] \"GET /a?b HTTP/1.1\" 200 "), "{of_tcp}");
    assert!(of_tcp.ends_with(" \"-\" \"test\""), "{of_tcp}");
    assert!(lines.iter().any(|line| line.starts_with("- - - [")), "{all}");
    // As logrotate does it.
    fs::rename(&log, folder.path().join("old")).unwrap();
    program.signal("USR1");
    lines_of_new(&log, || drop(ask(tcp(&line), "")));
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
    assert!(!socket.exists());
}

#[test]
fn if_one_address_is_taken_nothing_is_left_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let unix = format!("unix:{}", folder.path().join("socket").display());
    let (code, log) = start(&["-b", &unix, "-b", &address, "hello"], "").end();
    assert!(code == Some(3) && log.contains(&address), "{code:?}: {log}");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

/// Asks until the new file has a line.
fn lines_of_new(path: &std::path::Path, ask: impl Fn()) {
    let until = Instant::now() + PATIENCE;
    while fs::read_to_string(path).unwrap_or_default().is_empty() {
        assert!(Instant::now() < until, "no new log");
        ask();
    }
}

#[test]
fn what_has_no_meaning_is_named_once_and_what_is_unknown_is_refused() {
    let edge = Edge::new();
    let address = edge.address();
    let arguments = ["--edge", &address, "-k", "gthread", "--access-logfile", "-", "probe"];
    let program = start(&arguments, "--preload --keep-alive 5 -w 2");
    let slots = [edge.slot(), edge.slot()];
    program.signal("TERM");
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log}");
    for name in ["--worker-class: ", "--preload: ", "--keep-alive: ", "--access-logfile: the edge"]
    {
        assert_eq!(log.matches(name).count(), 1, "{name}: {log}");
    }
    drop(slots);
    for (arguments, reason) in [
        (&["--wrokers", "2", "probe"][..], "did you mean --workers?"),
        (&["-k", "gevent", "probe"], "--worker-class gevent is not possible here"),
        (&["--daemon", "probe"], "--daemon is not possible here"),
        (&["--edge", "unix:x", "--log-level", "loud", "probe"], "none of debug"),
    ] {
        let (code, log) = start(arguments, "").end();
        assert_eq!(code, Some(2), "{arguments:?}: {log}");
        assert!(log.contains(reason) && log.lines().count() == 1, "{arguments:?}: {log}");
    }
    let (code, log) = start(&["probe"], "--bind 'a").end();
    assert!(code == Some(2) && log.contains("GUNICORN_CMD_ARGS: a quotation mark"), "{log}");
}

#[test]
fn the_log_has_a_level() {
    let edge = Edge::new();
    let address = edge.address();
    let arguments = ["--edge", &address, "--log-level", "warning", "--error-logfile", "-", "probe"];
    let program = start(&arguments, "--preload");
    let _slot = edge.slot();
    program.signal("TERM");
    let (_, log) = program.end();
    assert!(log.contains("warn --preload") && !log.contains(" info "), "{log}");
}

#[test]
fn the_help_has_groups_and_every_flag_a_place_in_the_reference() {
    let program = Program::start(&["--help"]);
    let mut help = String::new();
    let mut program = program;
    program.0.stdout.take().unwrap().read_to_string(&mut help).unwrap();
    assert_eq!(program.end().0, Some(0));
    for heading in ["Where requests come from:", "Workers:", "Times:", "Logs:", "Examples:"] {
        assert!(help.contains(heading), "{heading} in {help}");
    }
    let readme = include_str!("../../README.md");
    let words = help
        .split_whitespace()
        .map(|word| word.split([',', ';', ':', ']', '[', '`', '\'']).next().unwrap());
    for flag in words.filter(|word| word.starts_with("--") && word.len() > 2) {
        assert!(readme.contains(flag), "{flag} is not in the README");
    }
}
