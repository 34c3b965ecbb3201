//! The `forebay` crate serves from inside another program.

use forebay::{
    Builder, Files, Handle, Handler, Limits, Pool, Redirect, Reply, Request, Response, RunError,
    Server, Target,
};
use forebay_tests::{Client, Failure, PATIENCE, wait_until};
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

#[test]
fn closures_answer() {
    let embedded = Embedded::start(|builder| {
        builder.route("/", |request: Request, reply: Reply| {
            let text = format!(
                "{} {} {:?} {}",
                request.method(),
                request.target(),
                request.field("a").map(String::from_utf8_lossy),
                request.content().len()
            );
            reply.send(Response::text(text));
        })
    });
    let mut client = embedded.client();
    let request = "POST /x?y HTTP/1.1\r\nHost: test\r\nA: b\r\nContent-Length: 3\r\n\r\nabc";
    let response = client.exchange(request);
    assert_eq!(response.text(), "POST /x?y Some(\"b\") 3");
    assert_eq!(response.field("Content-Type"), Some("text/plain; charset=utf-8"));
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read_response_to_head().status, 200);
}

#[test]
fn statuses_and_fields_are_kept() {
    let embedded = Embedded::start(|builder| {
        builder.route("/", |_: Request, reply: Reply| {
            let response = Response::text("short and stout").with_status(418).unwrap();
            reply.send(response.with_field("X-Pot", "tea").unwrap());
        })
    });
    let response = embedded.client().get("/");
    assert_eq!((response.status, response.field("X-Pot")), (418, Some("tea")));
}

#[test]
fn there_is_no_content_where_none_may_be_rfc_9110_15_3_6() {
    for (status, length) in [(204, None), (205, Some("0")), (304, None)] {
        let response = Response::text("none").with_status(status).unwrap();
        let fixed = response.clone();
        let embedded = Embedded::start(|builder| {
            let handler = move |_: Request, reply: Reply| reply.send(response.clone());
            builder.route("/", handler).route("/fixed", fixed)
        });
        for path in ["/", "/fixed"] {
            let mut client = embedded.client();
            let head = format!("{path} HTTP/1.1\r\nHost: test\r\n");
            client.send(format!("GET {head}\r\nHEAD {head}Connection: close\r\n\r\n"));
            for response in [client.read_response(), client.read_response_to_head()] {
                assert_eq!((response.status, response.field("Content-Length")), (status, length));
                assert_eq!(response.text(), "");
            }
            assert_eq!(client.read_to_end(), b"");
        }
    }
}

#[test]
fn a_reply_may_come_later_from_another_thread() {
    let (sender, replies) = mpsc::channel::<Reply>();
    let sender = Mutex::new(sender);
    let embedded = Embedded::start(|builder| {
        builder
            .route("/later", move |_: Request, reply: Reply| {
                sender.lock().unwrap().send(reply).unwrap();
            })
            .route("/now", |_: Request, reply: Reply| reply.send(Response::text("now")))
    });
    let mut patient = embedded.client();
    patient.send("GET /later HTTP/1.1\r\nHost: test\r\n\r\n");
    let reply = replies.recv_timeout(PATIENCE).unwrap();
    assert_eq!(embedded.client().get("/now").text(), "now", "others are served meanwhile");
    thread::spawn(move || reply.send(Response::text("later"))).join().unwrap();
    assert_eq!(patient.read_response().text(), "later");
    assert_eq!(patient.get("/now").text(), "now");
}

#[test]
fn an_answer_for_a_client_that_has_gone_is_dropped() {
    let (sender, replies) = mpsc::channel::<Reply>();
    let sender = Mutex::new(sender);
    let embedded = Embedded::start(|builder| {
        builder.route("/", move |request: Request, reply: Reply| match request.path() {
            "/later" => sender.lock().unwrap().send(reply).unwrap(),
            _ => reply.send(Response::text("now")),
        })
    });
    let mut client = embedded.client();
    client.send("GET /later HTTP/1.1\r\nHost: test\r\n\r\n");
    let reply = replies.recv_timeout(PATIENCE).unwrap();
    drop(client);
    assert_eq!(embedded.client().get("/").text(), "now");
    reply.send(Response::text("too late"));
    assert_eq!(embedded.client().get("/").text(), "now");
}

#[test]
fn a_dropped_reply_and_a_panic_are_500_for_that_request_alone() {
    let payload = Arc::new(());
    let thrown = Arc::clone(&payload);
    let embedded = Embedded::start(|builder| {
        builder.route("/", move |request: Request, reply: Reply| match request.path() {
            "/drop" => drop(reply),
            "/panic" => std::panic::panic_any(Arc::clone(&thrown)),
            "/bomb" => std::panic::panic_any(Bomb),
            _ => reply.send(Response::text("fine")),
        })
    });
    let mut client = embedded.client();
    for _ in 0..3 {
        assert_eq!(client.get("/drop").status, 500);
        for path in ["/panic", "/bomb"] {
            let panicked = client.get(path);
            assert_eq!(panicked.status, 500);
            if panicked.closes() {
                client = embedded.client();
            }
        }
        assert_eq!(client.get("/").text(), "fine");
    }
    assert_eq!(Arc::strong_count(&payload), 2, "nothing of a panic is kept");
}

#[test]
fn as_many_fields_as_can_be_allowed_reach_a_handler() {
    let embedded = Embedded::start(|builder| {
        let limits = limits(|limits| limits.head_fields = Limits::HEAD_FIELDS_MOST);
        builder.limits(limits).route("/", |request: Request, reply: Reply| {
            let found = request.field("A254").is_some();
            reply.send(Response::text(if found { "all" } else { "not all" }));
        })
    });
    let fields: String = (0..255).map(|n| format!("A{n}: b\r\n")).collect();
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    assert_eq!(embedded.client().exchange(request).text(), "all");
}

/// What only the embedder's memory can do to us.
struct Bomb;

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        b"tick"
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn a_reactor_that_panics_ends_the_server_and_leaves_nothing_open() {
    let mut embedded = Embedded::start(|builder| {
        builder.reactors(2).route("/", |_: Request, reply: Reply| {
            reply.send(Response::new(bytes::Bytes::from_owner(Bomb)));
        })
    });
    // Of both reactors.
    let idle: Vec<Client> = (0..16).map(|_| embedded.client()).collect();
    embedded.client().send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let thread = embedded.thread.take().unwrap();
    wait_until("the server has ended", PATIENCE, || thread.is_finished());
    assert!(matches!(thread.join().unwrap(), Err(RunError::Panic(_))));
    for mut client in idle {
        assert_eq!(client.read_to_end(), b"");
    }
    assert!(matches!(Client::try_connect(embedded.address), Err(Failure::Refused)));
    let again = Server::builder().listen(embedded.address.to_string()).reactors(2).build();
    assert_eq!(again.unwrap().addresses(), [embedded.address]);
}

#[test]
fn a_panic_of_who_is_told_that_it_has_begun_ends_the_server() {
    let builder = Server::builder().listen("127.0.0.1:0").reactors(2);
    let server = builder.route("/", Response::text("")).build().unwrap();
    let address = server.addresses()[0];
    let thread = thread::spawn(move || server.run_and(|| panic!("on purpose")));
    wait_until("the server has ended", PATIENCE, || thread.is_finished());
    assert_eq!(thread.join().unwrap_err().downcast_ref(), Some(&"on purpose"));
    assert!(matches!(Client::try_connect(address), Err(Failure::Refused)));
}

/// The process may be one in which `SIGPIPE` kills.
#[test]
fn a_client_that_goes_during_a_file_raises_no_signal() {
    let embedded = Embedded::start(|builder| {
        builder.reactors(1).route("/", |_: Request, reply: Reply| {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            reply.send(Response::text(status));
        })
    });
    let status = embedded.client().get("/").text().to_owned();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
    assert_ne!(blocked & 1 << (13 - 1), 0, "SIGPIPE, {blocked:x}");
}

#[test]
fn what_cannot_work_is_refused() {
    let refused = |describe: fn(Builder) -> Builder| {
        let builder = Server::builder().listen("127.0.0.1:0").reactors(1);
        describe(builder).build().unwrap_err().to_string()
    };
    for what in [
        refused(|b| b.route_for_host("example.test:8080", "/", Response::text(""))),
        refused(|b| b.route_for_host("*.example.test", "/", Response::text(""))),
        refused(|b| b.route_for_host("", "/", Response::text(""))),
    ] {
        assert!(what.contains("is not a route's host"), "{what}");
    }
    let moved = refused(|b| b.route("/", Redirect::to("/there").status(300)));
    assert_eq!(moved, "status 300 does not redirect: give 301, 302, 303, 307 or 308");
    for what in [
        refused(|b| b.limits(limits(|l| l.client_header_timeout = Duration::ZERO))),
        refused(|b| b.limits(limits(|l| l.client_body_timeout = Duration::ZERO))),
        refused(|b| b.limits(limits(|l| l.send_timeout = Duration::ZERO))),
    ] {
        assert!(what.contains("more than 0"), "{what}");
    }
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[test]
fn files_answers_and_redirects_are_targets_too() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.txt"), "a file").unwrap();
    let embedded = Embedded::start(|builder| {
        builder
            .route("/assets/", Files::new(dir.path()))
            .route("/fixed", Response::text("always"))
            .route("/moved", Redirect::to("https://example.com{target}"))
            .route("/seen", Redirect::to("/other").status(303))
            .route_for_host("other.test", "/fixed", Response::text("for the other"))
    });
    let mut client = embedded.client();
    assert_eq!(client.get("/assets/a.txt").text(), "a file");
    assert_eq!(client.get("/fixed").text(), "always");
    let moved = client.get("/moved?a=b");
    assert!([302, 307].contains(&moved.status), "{}", moved.status);
    assert_eq!(moved.field("Location"), Some("https://example.com/moved?a=b"));
    assert_eq!(client.get("/seen").status, 303);
    let other = client.exchange("GET /fixed HTTP/1.1\r\nHost: other.test:80\r\n\r\n");
    assert_eq!(other.text(), "for the other");
    assert_eq!(client.get("/elsewhere").status, 404);
}

#[test]
fn the_handle_stops_it_after_what_is_in_flight() {
    let (sender, replies) = mpsc::channel::<Reply>();
    let sender = Mutex::new(sender);
    let mut embedded = Embedded::start(|builder| {
        builder.route("/", move |_: Request, reply: Reply| {
            sender.lock().unwrap().send(reply).unwrap();
        })
    });
    let mut client = embedded.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let reply = replies.recv_timeout(PATIENCE).unwrap();
    embedded.handle.stop();
    wait_until("new connections are refused", PATIENCE, || {
        matches!(Client::try_connect(embedded.address), Err(Failure::Refused))
    });
    reply.send(Response::text("finished"));
    let response = client.read_response();
    assert_eq!(response.text(), "finished");
    assert!(response.closes(), "{:?}", response.fields);
    assert!(embedded.thread.take().unwrap().join().unwrap().is_ok());
}

#[test]
fn it_can_be_stopped_without_waiting() {
    let (sender, replies) = mpsc::channel::<Reply>();
    let sender = Mutex::new(sender);
    let mut embedded = Embedded::start(|builder| {
        builder.route("/", move |_: Request, reply: Reply| {
            sender.lock().unwrap().send(reply).unwrap();
        })
    });
    let mut client = embedded.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let reply = replies.recv_timeout(PATIENCE).unwrap();
    embedded.handle.stop_now();
    assert!(client.try_response(false).is_err());
    assert!(embedded.thread.take().unwrap().join().unwrap().is_ok());
    reply.send(Response::text("nobody is there"));
}

#[test]
fn what_cannot_be_built_says_why() {
    let error = |builder: forebay::Builder| builder.build().err().unwrap().to_string();
    let missing =
        error(Server::builder().listen("127.0.0.1:0").route("/", Files::new("/nowhere/at/all")));
    assert!(missing.contains("/nowhere/at/all"), "{missing}");
    let address = error(Server::builder().listen("nonsense").route("/", Response::text("")));
    assert!(address.contains("nonsense"), "{address}");
    let folder = tempfile::tempdir().unwrap();
    let pool = Pool::at(folder.path().join("app.sock"));
    let twice = |first: Pool, second: Pool| {
        let builder = Server::builder().listen("127.0.0.1:0").reactors(1);
        builder.route("/a", first).route("/b", second)
    };
    let pools = error(twice(pool.clone(), pool.clone().queue(7)));
    assert!(pools.contains("app.sock has different settings in two routes"), "{pools}");
    assert!(twice(pool.clone(), pool).build().is_ok());
}

#[test]
fn routes_change_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    let embedded = Embedded::start(|builder| builder.route("/a", Response::text("before")));
    let mut client = embedded.client();
    assert_eq!(client.get("/a").text(), "before");
    let again = || Server::builder().listen("127.0.0.1:0").reactors(1);
    let reload = |builder: forebay::Builder| embedded.handle.reload(builder);
    let pool = Pool::at(&socket).mode(0o600).allowed_uids([0]);
    reload(again().route("/a", Response::text("after")).route("/p/", pool.clone())).unwrap();
    assert_eq!(client.get("/a").text(), "after");
    assert!(socket.exists());
    let pools = || embedded.handle.stats().pools;
    assert_eq!((pools().len(), pools()[0].is_routed), (1, true));

    let wrong = |builder: forebay::Builder| reload(builder).unwrap_err().to_string();
    let changed = again().listen("127.0.0.1:1").route("/a", Response::text("never"));
    assert!(wrong(changed).contains("addresses to listen on cannot change"));
    let changed = Server::builder().listen("127.0.0.1:0").reactors(2);
    assert!(wrong(changed).contains("number of reactors cannot change"));
    let second = Pool::at(folder.path().join("second.sock"));
    let missing = again().route("/a", second.clone()).route("/b/", Files::new("/nowhere/at/all"));
    assert!(wrong(missing).contains("/nowhere/at/all"));
    assert!(!second.socket().exists(), "what was made for it is gone");
    assert_eq!(client.get("/a").text(), "after");

    reload(again().route("/b", Response::text("last"))).unwrap();
    assert!(!socket.exists());
    assert_eq!(client.get("/a").status, 404);
    assert_eq!(client.get("/b").text(), "last");
    wait_until("the pool is freed", PATIENCE, || pools().is_empty());
}

/// Tells that it ends, does so when it may, and panics.
struct Stubborn {
    ends: mpsc::Sender<()>,
    may: Mutex<mpsc::Receiver<()>>,
}

impl Handler for Stubborn {
    fn call(&self, _: Request, reply: Reply) {
        reply.send(Response::text("stubborn"));
    }
}

impl Drop for Stubborn {
    fn drop(&mut self) {
        self.ends.send(()).expect("the test waits");
        let may = self.may.lock().expect("nobody else has it");
        let _ = may.recv_timeout(2 * PATIENCE);
        panic!("on purpose");
    }
}

/// The last request that has it outlives the reload; the reactor serves others meanwhile.
#[test]
fn the_end_of_a_handler_is_nobody_elses() {
    let ((ends, ended), (allow, may)) = (mpsc::channel(), mpsc::channel());
    let stubborn = Stubborn { ends, may: Mutex::new(may) };
    let mut embedded = Embedded::start(|builder| builder.route("/", stubborn));
    let mut early = embedded.client();
    let post = "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(early.exchange(post).status, 100);
    embedded.reload(Response::text("new"));
    let mut client = embedded.client();
    assert_eq!(client.get("/").text(), "new");
    assert!(ended.try_recv().is_err(), "a request has it");
    assert_eq!(early.exchange("x").text(), "stubborn");
    ended.recv_timeout(PATIENCE).unwrap();
    assert_eq!((client.get("/").text(), early.get("/").text()), ("new", "new"));
    allow.send(()).unwrap();
    embedded.reload(Response::text("newer"));
    assert_eq!(client.get("/").text(), "newer");
    embedded.handle.stop();
    assert!(embedded.thread.take().unwrap().join().unwrap().is_ok());
}

#[test]
fn handlers_and_fixed_content_may_panic_when_they_end() {
    let bomb = || Response::new(bytes::Bytes::from_owner(Bomb));
    let mut embedded = Embedded::start(|builder| builder.route("/", bomb()));
    assert_eq!(embedded.client().get("/").text(), "tick");
    embedded.reload(bomb());
    let kept = Bomb;
    embedded.reload(move |_: Request, reply: Reply| {
        reply.send(Response::text(str::from_utf8(kept.as_ref()).unwrap()));
    });
    assert_eq!(embedded.client().get("/").text(), "tick");
    embedded.handle.stop();
    assert!(embedded.thread.take().unwrap().join().unwrap().is_ok());
    drop(Server::builder().listen("127.0.0.1:0").route("/", bomb()).build().unwrap());
}

/// Its handle is still there, and says how the pools were.
#[test]
fn a_server_that_has_ended_keeps_no_worker_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("app.sock");
    let builder = Server::builder().listen("127.0.0.1:0");
    let server = builder.route("/", Pool::at(&socket)).build().unwrap();
    let handle = server.handle();
    let mut worker = UnixStream::connect(&socket).unwrap();
    worker.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(server);
    let end = worker.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
    assert_eq!(handle.stats().pools[0].socket, socket);
}

#[test]
fn a_server_that_has_ended_cannot_be_changed() {
    let mut embedded = Embedded::start(|builder| builder.route("/", Response::text("")));
    embedded.handle.stop();
    assert!(embedded.thread.take().unwrap().join().unwrap().is_ok());
    let again = Server::builder().listen("127.0.0.1:0").reactors(1).route("/", Response::text(""));
    assert_eq!(embedded.handle.reload(again).unwrap_err().to_string(), "the server has ended");
}

/// A server on a thread of this process, stopped on drop.
struct Embedded {
    address: SocketAddr,
    handle: Handle,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl Embedded {
    fn start(routes: impl FnOnce(forebay::Builder) -> forebay::Builder) -> Embedded {
        let mut limits = Limits::default();
        limits.client_header_timeout = Duration::from_secs(5);
        let builder = Server::builder().listen("127.0.0.1:0").reactors(1).limits(limits);
        let server = routes(builder).build().expect("the server can be built");
        let (address, handle) = (server.addresses()[0], server.handle());
        Embedded { address, handle, thread: Some(thread::spawn(move || server.run())) }
    }

    /// To this alone.
    fn reload(&self, target: impl Into<Target>) {
        let builder = Server::builder().listen("127.0.0.1:0").reactors(1);
        self.handle.reload(builder.route("/", target)).expect("it can be reloaded");
    }

    fn client(&self) -> Client {
        Client::connect(self.address)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.handle.stop_now();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
