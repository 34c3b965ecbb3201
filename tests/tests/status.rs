//! A running server tells what it does and has counted, to its own user; or it is said why not.

use forebay::{PoolStats, Stats};
use forebay_tests::{PATIENCE, Site, as_user, is_root, proxy_bin, wait_until};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};

const CONTROL: &str = "control = \"run/forebay.sock\"";

#[test]
fn json_has_every_counter() {
    let site = Site::builder().control().server("reactors = 2").app("probe", 2).start();
    let mut client = site.client();
    for (target, status) in [("/hello", 200), ("/status/304", 304), ("/status/404", 404)] {
        assert_eq!(client.get(target).status, status);
    }
    assert_eq!(site.client().get("/status/500").status, 500);
    let status = site.status();
    assert_eq!(status["pid"], site.pid());
    assert_eq!((&status["state"], &status["generation"]), (&"serving".into(), &1.into()));
    assert_eq!(status["reactors"], 2);
    assert!(status["uptime_seconds"].is_u64() && status["access_log_dropped"] == 0, "{status}");
    let count = |name: &str| status["counters"][name].as_u64();
    for (name, _) in Stats::default().counters() {
        assert!(count(name).is_some(), "{name} is missing: {status}");
    }
    for class in ["responses_2xx", "responses_3xx", "responses_4xx", "responses_5xx"] {
        assert_eq!(count(class), Some(1), "{class}: {status}");
    }
    assert_eq!((count("requests"), count("accepted")), (Some(4), Some(2)));
    assert!(count("bytes_in") > Some(100) && count("bytes_out") > Some(100), "{status}");
}

#[test]
fn connections_that_wait_for_a_request_are_parked() {
    let site = Site::builder().control().app("probe", 1).start();
    let connections = || (site.status()["connections"]["open"].clone(), parked(&site));
    let _silent = site.client();
    let mut clients: Vec<_> = (0..3).map(|_| site.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/hello").status, 200));
    wait_until("three wait for a request", PATIENCE, || connections() == (4.into(), 3.into()));
    clients[0].send("GET /hello HTTP/1.1\r\n");
    wait_until("one has begun", PATIENCE, || parked(&site) == 2);
    clients[0].send("Host: test\r\n\r\n");
    wait_until("and is answered", PATIENCE, || parked(&site) == 3);
    clients.clear();
    wait_until("all have gone", PATIENCE, || connections() == (1.into(), 0.into()));
}

#[test]
fn a_pool_tells_who_waits_and_who_was_refused() {
    let pool = ["queue = 1", "queue_timeout = \"2s\""];
    let site = Site::builder().control().in_order().app("probe", 1);
    let site = pool.iter().fold(site, |site, line| site.pool(line)).start();
    let status = site.status();
    for name in field_names(&PoolStats::default()) {
        let is_there = [name.clone(), format!("{name}_ms")]
            .iter()
            .any(|key| status["pools"][0].get(key).is_some());
        assert!(is_there, "{name} is missing: {status}");
    }
    wait_until("a worker", PATIENCE, || site.status()["pools"][0]["idle"] == 1);
    let mut busy = site.begin("/sleep/5000");
    let mut waiting = site.begin("/hello");
    assert_eq!(site.client().get("/hello").status, 503);
    wait_until("it is seen to wait", PATIENCE, || {
        site.status()["pools"][0]["oldest_wait_ms"].as_u64() > Some(0)
    });
    let pool = site.status()["pools"][0].clone();
    let expected: [(&str, Value); 9] = [
        ("name", "app".into()),
        ("socket", site.path("run/app.sock").to_str().unwrap().into()),
        ("is_routed", true.into()),
        ("slots", 1.into()),
        ("busy", 1.into()),
        ("idle", 0.into()),
        ("queued", 1.into()),
        ("queue_full", 1.into()),
        ("queue_timeout", 0.into()),
    ];
    for (key, value) in expected {
        assert_eq!(pool[key], value, "{key}: {pool}");
    }
    assert_eq!(waiting.read_response().status, 503);
    assert_eq!(site.status()["pools"][0]["queue_timeout"], 1);
    assert_eq!(busy.read_response().status, 200);
}

#[test]
fn people_get_a_table_without_colours_in_files() {
    let site = Site::builder().control().app("probe", 1).start();
    let output = ask(&["--config", site.path("forebay.toml").to_str().unwrap()]);
    assert!(output.status.success(), "{}", error(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    let first = format!("proxy-bin {}, serving, up ", site.pid());
    assert!(table.starts_with(&first) && table.contains(", configuration 1, "), "{table}");
    let has_row = |begin: &str| table.lines().any(|line| line.starts_with(begin));
    assert!(has_row("POOL  ") && has_row("app  ") && has_row("requests  "), "{table}");
    assert!(!table.contains('\x1b'), "{table:?}");
}

#[test]
fn only_the_servers_user_may_ask_and_nothing_is_left() {
    let site = Site::builder().control().files("/", "site").start();
    let socket = site.path("run/forebay.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    if is_root() {
        for folder in ["", "run"] {
            fs::set_permissions(site.path(folder), Permissions::from_mode(0o755)).unwrap();
        }
        let refused = as_user(65_534, || UnixStream::connect(&socket)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    }
    site.signal(forebay_tests::TERM);
    wait_until("the socket is gone", PATIENCE, || !socket.exists());
}

#[test]
fn a_reload_is_counted_and_can_move_the_socket() {
    let site = Site::builder().files("/", "site").start();
    let config = site.config();
    let with = |line: &str| config.replace("[server]\n", &format!("[server]\n{line}\n"));
    site.set_config(&with(CONTROL));
    site.reload().unwrap();
    assert_eq!(site.status()["generation"], 2);
    site.set_config(&with("control = \"run/other.sock\""));
    site.reload().unwrap();
    assert_eq!(site.status()["generation"], 3);
    assert!(!site.path("run/forebay.sock").exists());
    // Another server's, which has no lock: the new configuration is not taken over.
    fs::create_dir(site.path("run/third.sock.lock")).unwrap();
    site.set_config(&with("control = \"run/third.sock\""));
    assert!(site.reload().unwrap_err().contains("run/third.sock"));
    site.set_config(&config);
    site.reload().unwrap();
    wait_until("the socket is gone", PATIENCE, || !site.path("run/other.sock").exists());
}

#[test]
fn who_asks_and_says_nothing_holds_nobody_up() {
    let site = Site::builder().control().files("/", "site").start();
    let idle: Vec<_> =
        (0..20).map(|_| UnixStream::connect(site.path("run/forebay.sock")).unwrap()).collect();
    assert_eq!(site.status()["state"], "serving");
    for mut stream in idle {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["pid"], site.pid());
    }
}

#[test]
fn where_nobody_answers_it_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let fails = |arguments: &[&str], what: &str, remedy: &str| {
        let output = ask(arguments);
        let error = error(&output);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(what) && error.contains(remedy), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    };
    let nobody = "no server answers at";
    fails(&["--socket", &path("none.sock")], nobody, "as `control` in [server]");
    drop(UnixListener::bind(path("stale.sock")).unwrap());
    fails(&["--socket", &path("stale.sock")], nobody, "as `control` in [server]");
    fails(&["--socket", &path("none.sock"), "--json"], nobody, "start it");
    let config = path("site.toml");
    fails(&["--config", &config], "cannot read the configuration", &config);
    let text = "[server]\nlisten = [\"127.0.0.1:0\"]\n[[route]]\npath = \"/\"\nfiles = \"none\"\n";
    fs::write(&config, text).unwrap();
    fails(&["--config", &config], "no `control` in [server]", "write control = ");
    fs::write(&config, text.replace("\n[[", &format!("\n{CONTROL}\n[["))).unwrap();
    fails(&["--config", &config], nobody, "run/forebay.sock");
}

#[test]
fn a_server_must_be_named_once() {
    for arguments in [&[][..], &["--json"], &["--config", "a", "--socket", "b"]] {
        assert_eq!(ask(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let usage = error(&ask(&[]));
    assert!(usage.contains("<--config <FILE>|--socket <PATH>>"), "{usage}");
}

fn parked(site: &Site) -> Value {
    site.status()["connections"]["parked"].clone()
}

fn ask(arguments: &[&str]) -> Output {
    let mut command = Command::new(proxy_bin());
    command.arg("status").args(arguments).current_dir(Path::new("/"));
    command.output().expect("proxy-bin runs")
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Of a structure with named fields, as they are written for debugging.
fn field_names(value: &impl std::fmt::Debug) -> Vec<String> {
    let text = format!("{value:#?}");
    let fields = text.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
    let names: Vec<_> = fields.map(|(name, _)| name.to_owned()).collect();
    assert!(names.len() > 5, "{text}");
    names
}
