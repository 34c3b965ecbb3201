//! What is counted besides requests and refusals.

use super::*;
use std::cell::RefCell;

thread_local! {
    /// Handlers may be called by any thread, simulated kernels belong to one.
    static KERNEL: RefCell<Option<SimKernel>> = const { RefCell::new(None) };
}

fn panics(_: Request, _: Reply) {
    panic!("on purpose");
}

fn dawdles(_: Request, reply: Reply) {
    KERNEL.with_borrow(|kernel| kernel.as_ref().unwrap().advance(Duration::from_millis(2)));
    reply.send(Response::new("at last"));
}

#[test]
fn handlers_that_panic_or_dawdle() {
    let mut edge = Edge::new(&Settings::default());
    KERNEL.set(Some(edge.kernel.clone()));
    let mut policy = edge.policy(0..POOLS.len());
    for (path, action) in [
        ("/panics", Action::Handler(Arc::new(panics))),
        ("/dawdles", Action::Handler(Arc::new(dawdles))),
    ] {
        policy.routes.add(None, path, action.into()).unwrap();
    }
    edge.reactors[0].as_mut().unwrap().world.policy = Arc::new(policy);
    let client = edge.client(0, get("/panics"));
    assert!(text(&client).starts_with("HTTP/1.1 500 "));
    assert_eq!((edge.stats().handler_panics, edge.stats().handler_overruns), (1, 0));
    let client = edge.client(0, get("/dawdles"));
    assert!(text(&client).starts_with("HTTP/1.1 200 "));
    assert_eq!((edge.stats().handler_panics, edge.stats().handler_overruns), (1, 1));
    KERNEL.set(None);
    edge.finish();
}

#[test]
fn fields_that_workers_could_mistake_for_others() {
    let mut edge = Edge::new(&Settings::default());
    let worker = edge.dial_in(0);
    let fields = "X_Real_Ip: 1\r\nX-Y: 2\r\nz_: 3\r\n";
    let client = edge.client(0, format!("GET /app/ HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
    let head = text(&worker);
    assert!(head.to_ascii_lowercase().contains("x-y: 2\r\n") && !head.contains('_'), "{head}");
    assert_eq!(edge.stats().fields_dropped, 2);
    edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert!(text(&client).starts_with("HTTP/1.1 200 "));
    edge.finish();
}

#[test]
fn an_answer_counts_once_when_it_begins() {
    let mut edge = Edge::new(&Settings::default());
    let counted = |edge: &Edge| (edge.stats().responses_2xx, edge.stats().responses_5xx);
    let worker = edge.dial_in(0);
    for (round, leaves) in [(1, false), (2, true)] {
        let client = edge.client(0, get("/app/"));
        text(&worker);
        edge.say(&worker, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
        assert_eq!(counted(&edge), (round, 0), "it is under way");
        assert!(text(&client).ends_with("ha"));
        if leaves {
            client.reset();
        }
        edge.say(&worker, "lf");
        assert_eq!(counted(&edge), (round, 0));
    }
    let client = edge.client(0, get("/app/"));
    edge.say(&worker, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n");
    edge.pass(Duration::from_secs(2));
    assert!(text(&client).starts_with("HTTP/1.1 502 "), "nothing of the other has been sent");
    assert_eq!(counted(&edge), (2, 1));
    edge.finish();
}

#[test]
fn receives_that_wait_for_a_buffer() {
    let faults = Faults { no_buffers: 500, ..Faults::none() };
    let mut edge = Edge::new(&Settings { faults, ..Settings::default() });
    for _ in 0..20 {
        let client = edge.client(0, get("/fixed"));
        assert!(text(&client).starts_with("HTTP/1.1 200 "));
    }
    assert!(edge.stats().starved > 0);
    edge.finish();
}
