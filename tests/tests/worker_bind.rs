//! A worker listens plainly, without an edge, so that curl or a stock nginx can talk to it.

use forebay_tests::{
    CONT, Client, HUP, PATIENCE, Process, STOP, Site, TERM, USR1, USR2, children, is_alive,
    pattern, send_signal, sha256, tool, wait_until, worker_bin, workers_of,
};
use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

#[test]
fn on_a_port() {
    let (mut worker, address) = bound("echo", 2);
    let content = pattern(1_000_000);
    let mut client = Client::connect(address);
    client.send("POST /a?b HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n");
    let echo = client.exchange(&content).json();
    assert_eq!(echo["target"], "/a?b");
    assert_eq!(echo["content_sha256"], sha256(&content));
    worker.signal(TERM);
    assert_eq!(worker.wait_exit(PATIENCE).code(), Some(0), "{}", worker.stderr());
}

#[test]
fn curl_talks_to_it() {
    let Some(curl) = tool("curl") else { return };
    let (_worker, address) = bound("hello", 1);
    let url = format!("http://{address}/");
    assert_eq!(curl.run(&["-sS", "-f", &url]), b"Hello, world!");
    let output = curl.run(&["-sS", "-f", "-I", &url]);
    assert!(String::from_utf8_lossy(&output).starts_with("HTTP/1.1 200"));
}

#[test]
fn curl_talks_to_it_through_a_socket() {
    let Some(curl) = tool("curl") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let bind = format!("unix:{}", path.display());
    let _worker = Process::start(Command::new(worker_bin()).args(["--bind", &bind, "hello"]));
    wait_until("the socket", PATIENCE, || std::os::unix::net::UnixStream::connect(&path).is_ok());
    let socket = path.to_str().unwrap();
    let output = curl.run(&["-sS", "-f", "--unix-socket", socket, "http://test/"]);
    assert_eq!(output, b"Hello, world!");
}

#[test]
fn behind_an_edge_what_was_bound_with_gunicorn_is_not() {
    let worker = worker_bin().display();
    let arguments = "GUNICORN_CMD_ARGS=--bind 127.0.0.1:0 --workers 2";
    let command = |rest: &str| format!("workers = [\"env\", {arguments:?}, \"{worker}\", {rest}]");
    let site = Site::builder().raw_app().pool(&command("\"hello\"")).start();
    assert_eq!(site.client().get("/").status, 200);
    let said = site.stderr();
    let warning = "--bind: the edge goes before that in GUNICORN_CMD_ARGS";
    assert_eq!(said.matches(warning).count(), 1, "{said}");
    assert_eq!(site.worker_pids().len(), 2);
    site.reload().unwrap();
    assert_eq!(site.client().get("/").status, 200);

    let flags = command("\"--bind\", \"127.0.0.1:0\", \"hello\"");
    let (_dir, mut process) = Site::builder().raw_app().pool(&flags).launch();
    assert_eq!(process.wait_exit(PATIENCE).code(), Some(1));
    assert!(process.whole_stderr().contains("leave --bind out of the command"));
}

#[test]
fn facts_that_only_an_edge_may_tell_are_not_believed() {
    let (_worker, address) = bound("echo", 1);
    let request = "GET / HTTP/1.1\r\nHost: test\r\nForebay-Peer: 192.0.2.1:1\r\n\r\n";
    let echo = Client::connect(address).exchange(request).json();
    assert!(!echo["fields"].to_string().contains("192.0.2.1"), "{echo}");
}

#[test]
fn front_servers_must_agree_with_themselves_on_the_scheme() {
    let (_worker, address) = bound("echo", 1);
    let ask = |fields: &str| {
        Client::connect(address).exchange(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
    };
    let refused = ask("X-Forwarded-Proto: http\r\nX-Forwarded-Proto: https\r\n");
    assert_eq!((refused.status, refused.text()), (400, "contradictory scheme fields\n"));
    assert_eq!(ask("X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n").status, 400);
    assert_eq!(ask("X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: on\r\n").status, 200);
}

#[test]
fn content_is_bounded_by_a_setting_and_what_is_refused_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let access = dir.path().join("access.log");
    let mut command = Command::new(worker_bin());
    command.args(["--bind", "127.0.0.1:0", "--content-max", "20M", "--access-logfile"]);
    let mut worker = Process::start(command.arg(&access).arg("echo"));
    let address = worker.listening(1, PATIENCE)[0];
    let content = pattern(17 << 20);
    let head = format!("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", 17 << 20);
    let mut client = Client::connect(address);
    client.send(head);
    assert_eq!(client.exchange(&content).json()["content_sha256"], sha256(&content));
    let large = "PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: 20971521\r\n\r\n";
    assert_eq!(Client::connect(address).exchange(large).status, 413);
    assert_eq!(Client::connect(address).exchange("GET /c\n\n").status, 400);
    let log = worker.stderr();
    assert!(log.contains("20971520 bytes is a 413: --content-max"), "{log}");
    let lines = || std::fs::read_to_string(&access).unwrap_or_default();
    wait_until("three lines", PATIENCE, || lines().lines().count() == 3);
    let lines = lines();
    assert!(lines.contains("\"PUT /a HTTP/1.1\" 200 "), "{lines}");
    assert!(lines.contains("\"PUT /b HTTP/1.1\" 413 "), "{lines}");
    assert!(lines.contains("\"-\" 400 ") && lines.ends_with(" \"-\" \"-\"\n"), "{lines}");
}

#[test]
fn an_access_log_of_before_a_reload_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |text: &str| std::fs::write(path("worker.toml"), text).unwrap();
    write("access_logfile = \"old.log\"\n");
    let mut command = Command::new(worker_bin());
    command.args(["-c", "worker.toml", "-w", "1", "--bind", "127.0.0.1:0", "hello"]);
    let mut worker = Process::start(command.current_dir(dir.path()));
    let address = worker.listening(1, PATIENCE)[0];
    let reload = |text: &str| {
        write(text);
        let before = workers_of(worker.pid());
        worker.signal(HUP);
        wait_until("another worker", PATIENCE, || {
            let workers = workers_of(worker.pid());
            workers.len() == 1 && workers != before
        });
    };
    let is_logged = |name: &str| {
        assert_eq!(Client::connect(address).get("/").status, 200);
        std::fs::read_to_string(path(name)).is_ok_and(|lines| lines.contains("GET / "))
    };
    // The second signal is heeded after the first, and that is logged.
    let reopen = |count| {
        worker.signal(USR1);
        worker.signal(USR2);
        let heeded = || worker.stderr().matches("USR2 has no meaning").count();
        wait_until("the signals", PATIENCE, || heeded() == count);
    };
    wait_until("a line in the old log", PATIENCE, || is_logged("old.log"));
    reload("access_logfile = \"new.log\"\n");
    wait_until("a line in the new log", PATIENCE, || is_logged("new.log"));
    for name in ["old.log", "new.log"] {
        std::fs::remove_file(path(name)).unwrap();
    }
    reopen(1);
    assert!(!path("old.log").exists());
    wait_until("a line in the new file", PATIENCE, || is_logged("new.log"));
    reload("");
    std::fs::remove_file(path("new.log")).unwrap();
    reopen(2);
    assert!(!path("new.log").exists());
}

#[test]
fn a_last_answer_is_read_whole_by_who_says_more_behind_its_request() {
    let (mut worker, address) = bound("probe", 1);
    let get = format!("GET /bytes/{LARGE} HTTP/1.1\r\nHost: test\r\n");
    let old = format!("POST /bytes/{LARGE} HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
    let large = format!("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", 20 << 20);
    let ask = |request: &str| {
        let mut client = Client::connect(address);
        client.send(request);
        client
    };
    let reads_all = |client: &mut Client| {
        assert_eq!(client.read_response().content.len(), LARGE);
        assert_eq!(client.read_to_end(), b"");
    };
    reads_all(&mut ask(&format!("{get}Connection: close\r\n\r\n\r\n")));
    reads_all(&mut ask(&format!("{get}Connection: close\r\n\r\n{get}\r\n")));
    reads_all(&mut ask(&format!("{old}\r\n")));
    // As many as threads wait, so that the worker announces the end.
    let _silent = Client::connect(address);
    reads_all(&mut ask(&format!("{get}\r\n{get}\r\n")));
    // Refused with all of its content on its way.
    let mut refused = ask(&large);
    let mut sender = refused.sender();
    let content = std::thread::spawn(move || sender.write_all(&vec![b'x'; 20 << 20]));
    assert_eq!(refused.read_response().status, 413);
    assert_eq!(refused.read_to_end(), b"");
    drop(refused);
    let _ = content.join().unwrap();
    // Nobody takes the rest of what a worker that ends has not read.
    let mut last = ask(&format!("{get}\r\n{get}\r\n"));
    let head = last.read_head().unwrap();
    assert_eq!(head.field("connection"), Some("close"));
    worker.signal(TERM);
    assert_eq!(last.read_exactly(LARGE).unwrap().len(), LARGE);
    assert_eq!(last.read_to_end(), b"");
    assert_eq!(worker.wait_exit(PATIENCE).code(), Some(0), "{}", worker.stderr());
}

/// RFC 9112 §3.2.1, §3.2.2
#[test]
fn a_target_in_absolute_form_names_the_host_and_has_a_path() {
    let (_worker, address) = bound("echo", 1);
    for (request, target, host) in [
        ("GET http://q:8/z HTTP/1.0\r\n\r\n", "/z", "q:8"),
        ("GET http://q?a=b HTTP/1.1\r\nHOST: q\r\n\r\n", "/?a=b", "q"),
        ("GET http://q HTTP/1.1\r\nHost: Q:80\r\n\r\n", "/", "q"),
    ] {
        let echo = Client::connect(address).exchange(request).json();
        assert_eq!(echo["target"], target, "{echo}");
        let fields = echo["fields"].as_array().unwrap();
        let hosts: Vec<_> = fields
            .iter()
            .filter(|field| field[0].as_str().is_some_and(|name| name.eq_ignore_ascii_case("host")))
            .map(|field| field[1].as_str().unwrap())
            .collect();
        assert_eq!(hosts, [host], "{echo}");
    }
}

/// RFC 9112 §2.2
#[test]
fn an_empty_line_behind_a_request_keeps_no_thread_and_gets_no_answer() {
    let (_worker, address) = bound("probe", 1);
    let mut client = Client::connect(address);
    let post = "POST /hello HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc\r\n";
    assert_eq!(client.exchange(post).status, 200);
    // Whoever gets an answer now would otherwise have to wait until the first one has got a 408.
    assert_eq!(Client::connect(address).get("/hello").status, 200);
    assert_eq!(client.read_to_end(), b"", "it ends when its time is up, and nothing is said");

    let mut client = Client::connect(address);
    assert_eq!(client.exchange(post).status, 200);
    assert_eq!(client.exchange(post).status, 200, "the next one is served");
}

#[test]
fn a_request_that_comes_in_time_is_served_though_its_worker_has_no_core_until_later() {
    for threads in ["1", "4"] {
        let mut command = Command::new(worker_bin());
        command.args(["--bind", "127.0.0.1:0", "--threads", threads, "hello"]);
        let mut arbiter = Process::start(&mut command);
        let address = arbiter.listening(1, PATIENCE)[0];
        let mut client = Client::connect(address);
        assert_eq!(client.get("/").status, 200);
        let worker = workers_of(arbiter.pid())[0];
        send_signal(worker, STOP);
        let status = || std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        wait_until("it has stopped", PATIENCE, || status().contains("State:\tT"));
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        std::thread::sleep(IDLE_TIMEOUT);
        send_signal(worker, CONT);
        assert_eq!(client.read_response().status, 200, "{threads} threads");
    }
}

#[test]
fn sockets_that_systemd_passes_are_not_used_and_that_is_said() {
    let mut command = Command::new(worker_bin());
    let mut worker = Process::start(command.arg("hello").env("LISTEN_FDS", "1"));
    assert_eq!(worker.wait_exit(PATIENCE).code(), Some(2));
    let log = worker.stderr();
    assert!(log.contains("LISTEN_FDS") && log.contains("give --bind"), "{log}");
}

#[test]
fn dead_workers_are_replaced() {
    let (arbiter, address) = bound("probe", 2);
    let before = children(arbiter.pid());
    assert_eq!(before.len(), 2);
    let mut client = Client::connect(address);
    client.send("GET /exit HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(client.try_response(false).is_err(), "its worker died");
    wait_until("two workers, one of them new", PATIENCE, || {
        let now = children(arbiter.pid());
        now.len() == 2 && now != before
    });
    assert!(before.iter().any(|pid| is_alive(*pid)));
    assert_eq!(Client::connect(address).get("/hello").status, 200);
}

/// More than the kernel holds, so that the answer is still on its way when its worker has sent it.
const LARGE: usize = 8 << 20;

/// Of a connection of `worker-bin --bind` without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

fn bound(app: &str, workers: usize) -> (Process, SocketAddr) {
    let mut command = Command::new(worker_bin());
    command.args(["--bind", "127.0.0.1:0", "-w", &workers.to_string(), app]);
    let mut process = Process::start(&mut command);
    let address = process.listening(1, PATIENCE)[0];
    (process, address)
}
