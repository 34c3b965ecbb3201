//! A changed configuration is taken over while clients are served, or not at all.

use forebay_tests::{
    Client, HUP, Load, PATIENCE, Process, Site, TERM, USR1, children, is_alive, is_full, proxy_bin,
    resident_bytes, wait_until, worker_bin,
};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

const GET: &str = "GET /hello HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn fifty_reloads_under_load_cost_no_request() {
    let site = Site::with_app("probe", 2);
    let original = site.config();
    let load = Load::start(site.address(), GET, 4);
    let mut client = site.client();
    for round in 0..50 {
        site.set_config(&format!("{original}{}", fixed("/round", &round.to_string())));
        site.reload().unwrap();
        assert_eq!(client.get("/round").text(), round.to_string());
        let answered = load.answered();
        wait_until("answers", PATIENCE, || load.answered() > answered);
    }
    load.stop().assert_all_answered();
    assert_eq!(client.get("/hello").status, 200, "the connection is still the first one");
}

#[test]
fn uploads_and_answers_under_way_go_on_as_they_began() {
    let site = Site::builder().app("probe", 2).start();
    let mut slow = site.client();
    slow.send("GET /sleep/300 HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut upload = site.client();
    upload.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nab");
    let served = site.config();
    let head = served.split("[pool.app]").next().unwrap();
    site.set_config(&format!("{head}{}", fixed("/", "gone")));
    let workers = site.worker_pids();
    site.reload().unwrap();
    assert_eq!(site.client().get("/echo").text(), "gone");
    assert_eq!(slow.read_response().status, 200);
    assert!(site.worker_pids() == workers, "a request may still come for them");
    upload.send("cd");
    let echoed = upload.read_response().text().to_owned();
    assert!(echoed.contains("\"content\":\"YWJjZA==\""), "{echoed}");
    assert_eq!(upload.get("/echo").text(), "gone", "on the same connection");
    wait_until("the workers' end", PATIENCE, || !workers.iter().any(|pid| is_alive(*pid)));
    assert!(!site.path("run/app.sock").exists());
}

#[test]
fn a_wrong_file_changes_nothing_and_is_told() {
    let site = Site::with_app("hello", 1);
    let original = site.config();
    let mut client = site.client();
    let other_address = original.replace("127.0.0.1:0", "127.0.0.1:1");
    for (wrong, says) in [
        (format!("{original}[pool.app2]\nquue = 1\n"), "unknown key `quue` in [pool.app2]"),
        (format!("{original}[[route]]\npath = \"/\"\nfiles = \".\"\n"), "is already on line"),
        (original.replace("\"hello\"", "1"), "`workers` in [pool.app] must be a list of strings"),
        (format!("{original}{}", pool("second", "none/second.sock", "hello")), "cannot be opened"),
        (other_address, "`listen` in [server] has changed: that needs a restart"),
        ("[server".into(), "is not TOML"),
    ] {
        site.set_config(&wrong);
        let said = site.reload().unwrap_err();
        assert!(said.contains("forebay.toml") && said.contains(says), "{said}");
        assert_eq!(client.get("/").status, 200);
    }
    // Everything but its last part could be done: that is undone.
    fs::create_dir(site.path("run/taken.sock")).unwrap();
    let parts = [("early", "run/early.sock"), ("taken", "run/taken.sock/x/../../taken.sock")];
    let pools = parts.map(|(name, socket)| pool(name, socket, "hello")).concat();
    site.set_config(&format!("{original}{pools}"));
    site.reload().unwrap_err();
    assert!(!site.path("run/early.sock").exists());
    assert_eq!(client.get("/early/").status, 200, "still the route of the first application");

    site.set_config(&original);
    site.reload().unwrap();
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn pools_come_and_go_with_their_workers() {
    let site = Site::with_app("hello", 1);
    let (original, arbiters) = (site.config(), || children(site.pid()));
    let first = arbiters();
    site.set_config(&format!("{original}{}", pool("second", "run/second.sock", "hello")));
    site.reload().unwrap();
    let mut client = site.client();
    assert_eq!(client.get("/second/").status, 200, "it waits for the new worker");
    let second: Vec<u32> = arbiters().into_iter().filter(|pid| !first.contains(pid)).collect();
    assert_eq!(second.len(), 1);
    site.set_config(&original);
    site.reload().unwrap();
    wait_until("the second's end", PATIENCE, || !is_alive(second[0]));
    assert_eq!(arbiters(), first);
    assert!(!site.path("run/second.sock").exists());
    assert_eq!(client.get("/").status, 200);
}

/// Its workers are not the edge's: they stay on their slots as long as any request may need them.
#[test]
fn a_pool_that_comes_back_has_its_workers() {
    let site = Site::builder().raw_app().control().start();
    let mut worker = Command::new(worker_bin());
    let edge = format!("unix:{}", site.path("run/app.sock").display());
    worker.args(["--edge", &edge, "-w", "2", "probe"]);
    let _worker = Process::start(&mut worker);
    let mut upload = site.client();
    upload.send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");
    upload.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nab");
    assert_eq!(upload.read_response().status, 200);
    wait_until("the upload's head", PATIENCE, || site.counter("requests") >= 2);
    let original = site.config();
    let served = original.split("[pool.app]").next().unwrap();
    for config in [&format!("{served}{}", fixed("/", "gone")), &original] {
        site.set_config(config);
        site.reload().unwrap();
    }
    assert_eq!(site.client().get("/hello").status, 200);
    upload.send("cd");
    assert_eq!(upload.read_response().status, 200);
}

#[test]
fn a_changed_command_is_replaced_when_its_successor_is_ready() {
    let site = Site::with_app("hello", 1);
    let original = site.config();
    let first = children(site.pid());
    let load = Load::start(site.address(), GET, 2);
    site.set_config(&original.replace("\"hello\"]", "\"helo\"]"));
    site.reload().unwrap();
    let was_told = || site.stderr().contains("starts again in");
    wait_until("a start that fails", PATIENCE, was_told);
    assert!(is_alive(first[0]), "nobody has taken its place");
    site.set_config(&original.replace("\"hello\"]", "\"probe\"]"));
    site.reload().unwrap();
    wait_until("the first's end", PATIENCE, || !is_alive(first[0]));
    load.stop().assert_all_answered();
    wait_until("one command", PATIENCE, || children(site.pid()).len() == 1);
    assert_eq!(site.client().get("/status/204").status, 204, "the new application");
    assert_eq!(site.stop().code(), Some(0));
}

#[test]
fn a_changed_command_gets_the_pid_file_and_the_control_socket() {
    let flags = ["-w", "1", "--control", "unix:run/workers.sock", "--pid", "run/pid"];
    let mut site = Site::builder().app_with("probe", &flags).start();
    let named = |site: &Site| fs::read_to_string(site.path("run/pid")).unwrap();
    let first = site.arbiter_pid();
    assert_eq!(named(&site), format!("{first}\n"));
    site.set_config(&site.config().replace("\"1\"", "\"2\""));
    site.reload().unwrap();
    wait_until("the first's end", PATIENCE, || !is_alive(first));
    let are_taken = || site.stderr().contains("are this server's now");
    wait_until("both are taken over", PATIENCE, are_taken);
    assert_eq!(named(&site), format!("{}\n", site.arbiter_pid()));
    assert_eq!(site.worker_status()["workers_wanted"], 2);
    site.signal(TERM);
    assert_eq!(site.wait_exit(PATIENCE).code(), Some(0));
    assert!(!site.path("run/pid").exists() && !site.path("run/workers.sock").exists());
}

#[test]
fn a_reload_that_waits_is_not_said_to_wait_still() {
    let site = Site::builder().control().app("hello", 1).start();
    let first = site.arbiter_pid();
    // For longer than the time after which it would be said.
    for _ in 0..6 {
        sleep(Duration::from_secs(2));
        site.status();
    }
    let slow = format!("[\"sh\", \"-c\", \"sleep 1; exec {} hello\"]", worker_bin().display());
    let command = "[\"worker-bin\", \"-w\", \"1\", \"hello\"]";
    site.set_config(&site.config().replace(command, &slow));
    site.reload().unwrap();
    wait_until("the first's end", PATIENCE, || !is_alive(first));
    assert!(!site.stderr().contains("still waiting"), "{}", site.stderr());
}

#[test]
fn a_command_that_is_replaced_before_it_is_ready_may_fail() {
    let command = |script: &str| format!("workers = [\"sh\", \"-c\", \"{script}\"]\n");
    let old = command("until test -e fail; do sleep 0.05; done; exit 4");
    let new = format!("until test -e go; do sleep 0.05; done; exec {:?} probe", worker_bin());
    let site = Site::builder().raw_app().pool(&old);
    let (dir, mut process) = site.launch();
    let (file, path) = (dir.path().join("forebay.toml"), |name| dir.path().join(name));
    wait_until("the old command", PATIENCE, || !children(process.pid()).is_empty());
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(&old, &command(&new.replace('"', "")))).unwrap();
    process.signal(HUP);
    wait_until("reading", PATIENCE, || process.stderr().contains("has been read again"));
    fs::write(path("fail"), "").unwrap();
    let says = "exit code 4 (cannot load the application) before it was ready";
    wait_until("the old one's end", PATIENCE, || process.stderr().contains(says));
    fs::write(path("go"), "").unwrap();
    let address = process.listening(1, PATIENCE)[0];
    assert_eq!(Client::connect(address).get("/status/204").status, 204);
}

#[test]
fn changed_limits_of_a_pool_hold_for_who_comes_then() {
    let pool = "queue = 9\nqueue_timeout = \"60s\"\nboot_grace = \"60s\"";
    let site = Site::builder().control().raw_app().pool(pool).start();
    let mut waiting = site.client();
    waiting.send(GET);
    wait_until("it waits", PATIENCE, || site.status()["pools"][0]["queued"] == 1);
    let change = |from, to| {
        site.set_config(&site.config().replace(from, to));
        site.reload().unwrap();
    };
    change("queue = 9", "queue = 1");
    assert_eq!(site.client().get("/hello").status, 503, "the queue is full");
    assert_eq!((site.counter("queue_full"), site.counter("queue_timeout")), (1, 0));
    change("queue = 1", "queue = 9");
    change("queue_timeout = \"60s\"", "queue_timeout = \"100ms\"");
    assert_eq!(site.client().get("/hello").status, 503, "its time is over");
    assert_eq!((site.counter("queue_full"), site.counter("queue_timeout")), (1, 1));
    let edge = format!("unix:{}", site.path("run/app.sock").display());
    let _worker = Process::start(Command::new(worker_bin()).args(["--edge", &edge, "hello"]));
    assert_eq!(waiting.read_response().status, 200, "who came before has the time of then");
}

#[test]
fn a_changed_boot_grace_holds_for_who_waits() {
    let pool = "queue_timeout = \"60s\"\nboot_grace = \"60s\"";
    let site = Site::builder().control().raw_app().pool(pool).start();
    let mut waiting = site.client();
    waiting.send(GET);
    wait_until("it waits", PATIENCE, || site.status()["pools"][0]["queued"] == 1);
    site.set_config(&site.config().replace("boot_grace = \"60s\"", "boot_grace = \"100ms\""));
    site.reload().unwrap();
    assert_eq!(waiting.read_response().status, 503);
}

#[test]
fn sockets_that_somebody_has_removed_are_made_again() {
    let site = Site::builder().control().app("hello", 1).start();
    let sockets = ["run/app.sock", "run/forebay.sock"].map(|name| site.path(name));
    let (worker, mut client) = (site.worker_pids(), site.client());
    sockets.iter().for_each(|socket| fs::remove_file(socket).unwrap());
    site.set_config(&site.config().replace("[pool.app]\n", "[pool.app]\nmode = \"600\"\n"));
    site.reload().unwrap();
    assert_eq!(site.status()["pools"][0]["name"], "app");
    wait_until("a new worker", PATIENCE, || {
        let now = site.worker_pids();
        now.len() == 1 && now != worker
    });
    assert_eq!(client.get("/").status, 200);
    let other = fs::metadata(&sockets[0]).unwrap().ino();
    site.reload().unwrap();
    assert_eq!(fs::metadata(&sockets[0]).unwrap().ino(), other, "nobody has removed it again");
    for _ in 0..5 {
        sockets.iter().for_each(|socket| fs::remove_file(socket).unwrap());
        site.reload().unwrap();
    }
    let listening = || {
        let all = fs::read_to_string("/proc/net/unix").unwrap();
        let name = sockets[0].to_str().unwrap();
        // Of those that accept, "0 0 SO_ACCEPTCON Type St Inode Path" (proc_net(5)).
        all.lines().filter(|line| line.contains(" 00010000 ") && line.contains(name)).count()
    };
    wait_until("the old listeners' end", PATIENCE, || listening() == 1);
    assert_eq!(site.stop().code(), Some(0));
}

#[test]
fn the_sockets_of_a_successor_stay() {
    let site = Site::builder().control().app("hello", 1).start();
    fs::remove_dir_all(site.path("run")).unwrap();
    fs::create_dir(site.path("run")).unwrap();
    let mut command = Command::new(proxy_bin());
    let mut successor =
        Process::start(command.args(["run", "--config"]).arg(site.path("forebay.toml")));
    let address = successor.listening(1, PATIENCE)[0];
    site.reload().unwrap_err();
    site.signal(TERM);
    wait_until("the end", PATIENCE, || !is_alive(site.pid()));
    assert_eq!(site.status()["pid"], successor.pid());
    assert!(UnixStream::connect(site.path("run/app.sock")).is_ok());
    assert_eq!(Client::connect(address).get("/").status, 200);
}

#[test]
fn a_configuration_that_nobody_writes_holds_up_nobody() {
    let site = Site::builder().files("/", "site").file("site/a", "a").start();
    let file = site.path("forebay.toml");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let said = site.reload().unwrap_err();
    assert!(said.contains("is no regular file"), "{said}");
    assert_eq!(site.client().get("/a").text(), "a");
    assert_eq!(site.stop().code(), Some(0));
}

#[test]
fn nothing_grows() {
    let (warm_up, rounds) = if is_full() { (20, 500) } else { (6, 30) };
    let site = Site::builder()
        .files("/static/", "static")
        .file("static/a.txt", "a file")
        .file("static/large.bin", vec![7; 200_000])
        .app("hello", 1)
        .start();
    let original = site.config();
    let mut client = site.client();
    let mut settled = (0, 0);
    for round in 0..warm_up + rounds {
        let socket = format!("run/{}.sock", round % 3);
        let route = fixed("/round", &round.to_string());
        let others = if round % 5 == 0 { route } else { route + &pool("b", &socket, "hello") };
        site.set_config(&format!("{original}{others}"));
        site.reload().unwrap();
        assert_eq!(client.get("/round").text(), round.to_string());
        for target in ["/static/a.txt", "/static/large.bin", "/b/"] {
            assert_eq!(client.get(target).status, 200, "{target}");
        }
        if round == warm_up - 1 || round == warm_up + rounds - 1 {
            let (descriptors, memory) = at_rest(&site, &original, &mut client);
            if settled == (0, 0) {
                settled = (descriptors, memory);
            } else {
                assert_eq!(descriptors, settled.0, "descriptors");
                let grown = memory.saturating_sub(settled.1);
                assert!(grown < 4 << 20, "{grown} bytes more in {rounds} rounds");
            }
        }
    }
}

/// Together longer than a worker takes from its arbiter's signal to its slot.
const LOOKS_AT_REST: u32 = 60;

/// Descriptors and memory with the first configuration, when everybody else has ended.
fn at_rest(site: &Site, original: &str, client: &mut Client) -> (usize, u64) {
    site.set_config(original);
    site.reload().expect("it has been good before");
    client.get("/static/large.bin");
    let tasks = format!("/proc/{}/task", site.pid());
    let threads = || fs::read_dir(&tasks).map_or(0, Iterator::count);
    wait_until("the other workers' end", PATIENCE, || children(site.pid()).len() == 1);
    // The workers that stay are replaced as well, and an ended one goes a little later: its slot,
    // its process and the thread that waited for it.
    let (mut last, mut looks) = ((0, 0, 0), 0);
    wait_until("rest", PATIENCE, || {
        let now = (site.worker_pids().len(), threads(), site.descriptors());
        let is_same = std::mem::replace(&mut last, now) == now;
        looks = if is_same && now.0 == 1 { looks + 1 } else { 0 };
        looks == LOOKS_AT_REST
    });
    (site.descriptors(), resident_bytes(site.pid()))
}

#[test]
fn logs_are_reopened_and_nobody_dies() {
    let site = Site::builder().server("access_log = \"access.log\"").app("hello", 1).start();
    let (log, moved) = (site.path("access.log"), site.path("moved.log"));
    let workers = site.worker_pids();
    let mut client = site.client();
    client.get("/before");
    let has = |path: &std::path::Path, target: &str| {
        fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("GET {target} ")))
    };
    wait_until("the line", PATIENCE, || has(&log, "/before"));
    fs::rename(&log, &moved).unwrap();
    client.get("/between");
    wait_until("the line", PATIENCE, || has(&moved, "/between"));
    site.signal(USR1);
    wait_until("a new file", PATIENCE, || log.exists());
    client.get("/after");
    wait_until("the line", PATIENCE, || has(&log, "/after"));
    assert!(!has(&moved, "/after") && !has(&log, "/between"));
    assert_eq!(site.worker_pids(), workers);
    let other = site.config().replace("access.log", "other.log");
    site.set_config(&other);
    site.reload().unwrap();
    client.get("/other");
    wait_until("the line", PATIENCE, || has(&site.path("other.log"), "/other"));
    assert_eq!(site.stop().code(), Some(0));
}

#[test]
fn a_reload_does_not_hold_up_the_end() {
    let mut site = Site::with_app("hello", 1);
    site.set_config(&format!("{}{}", site.config(), pool("b", "run/b.sock", "hello")));
    site.signal(HUP);
    site.signal(TERM);
    assert_eq!(site.wait_exit(PATIENCE).code(), Some(0));
    assert!(!site.path("run/app.sock").exists() && !site.path("run/b.sock").exists());
}

fn fixed(path: &str, content: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nrespond = {{ content = \"{content}\" }}\n")
}

/// A pool with a worker, and a route to it that has its name.
fn pool(name: &str, socket: &str, app: &str) -> String {
    format!(
        "[[route]]\npath = \"/{name}/\"\npool = \"{name}\"\n[pool.{name}]\nsocket = \"{socket}\"\n\
         workers = [\"worker-bin\", \"-w\", \"1\", \"{app}\"]\n"
    )
}
