//! What becomes of requests and workers when the policy changes.

use super::*;
use crate::reactor::Change;

const OK: &str = "HTTP/1.1 200 ";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn edge() -> Edge {
    Edge::new(&Settings { reactors: 2, ..Settings::default() })
}

impl Edge {
    /// As the server does it: routes to the second pool only.
    fn remove_first_pool(&mut self) {
        let policy = Arc::new(self.policy([1]));
        self.change(policy, &[0], &[]);
    }

    fn change(&mut self, policy: Arc<Policy>, removed: &[usize], new: &[usize]) {
        for mailbox in &self.shared.mailboxes {
            mailbox.post(Message::Change(Box::new(Change {
                spool_dir: c"spool".into(),
                policy: Arc::clone(&policy),
                limits: Arc::new(Limits::default()),
                log: None,
                file_routes: Vec::new(),
                first_root: 1,
                sources: new.iter().map(|&pool| self.dial_in_source(pool)).collect(),
                removed: removed.iter().map(|&pool| Arc::clone(&self.pools[pool])).collect(),
            })));
        }
        drop(policy);
        removed.iter().for_each(|&pool| self.routed[pool] = None);
        self.settle();
    }

    fn slots(&self, pool: usize) -> usize {
        self.pools[pool].core().counts().slots
    }

    /// How many others hold the pool.
    fn users(&self, pool: usize) -> usize {
        Arc::strong_count(&self.pools[pool]) - 1
    }
}

#[test]
fn a_removed_pool_lets_its_workers_go_and_is_freed() {
    let mut edge = edge();
    let workers = [edge.dial_in(0), edge.dial_in(0)];
    let mut client = edge.client(0, get("/fixed"));
    edge.remove_first_pool();
    assert!(workers.iter().all(Peer::at_end), "idle workers are let go");
    assert_eq!((edge.slots(0), edge.users(0)), (0, 0));
    text(&client);
    edge.say(&client, get("/app/"));
    assert!(text(&client).starts_with("HTTP/1.1 404 "), "on the same connection");
    client = edge.client(1, get("/second/"));
    let worker = edge.dial_in(1);
    assert!(text(&worker).starts_with("GET /second/ "));
    edge.say(&worker, ANSWER);
    assert!(text(&client).starts_with(OK));
    edge.finish();
}

#[test]
fn what_has_begun_goes_on_as_it_began() {
    let mut edge = edge();
    let worker = edge.dial_in(0);
    let running = edge.client(0, get("/app/running"));
    let queued = edge.client(1, get("/app/queued"));
    let uploading =
        edge.client(1, "POST /app/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nhi");
    edge.remove_first_pool();
    for (target, client) in [("running", &running), ("queued", &queued)] {
        assert!(text(&worker).contains(&format!("/app/{target} ")));
        edge.say(&worker, ANSWER);
        assert!(text(client).starts_with(OK), "{target}");
    }
    assert_eq!(edge.slots(0), 1, "a request may still come");
    edge.say(&uploading, "ho");
    assert!(text(&worker).contains("POST /app/upload "));
    edge.say(&worker, ANSWER);
    assert!(text(&uploading).starts_with(OK));
    assert!(worker.at_end());
    assert_eq!((edge.slots(0), edge.users(0)), (0, 0));
    edge.finish();
}

#[test]
fn a_client_that_vanishes_does_not_keep_a_removed_pool() {
    let mut edge = edge();
    let worker = edge.dial_in(0);
    let running = edge.client(0, get("/app/"));
    assert!(text(&worker).starts_with("GET /app/ "));
    edge.remove_first_pool();
    running.reset();
    edge.settle();
    assert_eq!(edge.slots(0), 1, "the worker is still at it");
    edge.say(&worker, ANSWER);
    assert!(worker.at_end());
    assert_eq!((edge.slots(0), edge.users(0)), (0, 0));
    edge.finish();
}

#[test]
fn a_worker_that_has_not_yet_greeted_is_let_go() {
    let mut edge = edge();
    let worker = edge.kernel.connect(edge.sockets[0]);
    edge.settle();
    edge.remove_first_pool();
    assert!(worker.at_end());
    assert_eq!((edge.slots(0), edge.users(0)), (0, 0));
    edge.finish();
}

#[test]
fn a_new_pool_takes_workers_at_once() {
    let mut edge = edge();
    edge.remove_first_pool();
    edge.settle();
    edge.pools[0] = SharedPool::new(Path::new("new"), PoolLimits::default(), None);
    let policy = Arc::new(edge.policy([0]));
    edge.change(policy, &[1], &[0]);
    let client = edge.client(1, get("/app/"));
    let worker = edge.dial_in(0);
    assert!(text(&worker).starts_with("GET /app/ "));
    edge.say(&worker, ANSWER);
    assert!(text(&client).starts_with(OK));
    edge.finish();
}

/// Somebody has removed its file: the server makes another one for the same pool.
#[test]
fn a_pool_listens_at_its_last_socket_only() {
    let mut edge = edge();
    let early = edge.dial_in(0);
    let listeners = |edge: &Edge| -> Vec<_> {
        edge.reactors.iter().flatten().map(|reactor| reactor.listeners.iter().count()).collect()
    };
    let before = listeners(&edge);
    let policy = Arc::new(edge.policy(0..POOLS.len()));
    for _ in 0..3 {
        let waiting: Vec<_> = (0..3).map(|_| edge.kernel.connect(edge.sockets[0])).collect();
        let new = edge.kernel.listen_unix();
        let old = std::mem::replace(&mut edge.sockets[0], new);
        edge.sockets.push(old);
        edge.change(Arc::clone(&policy), &[], &[0]);
        assert_eq!(listeners(&edge), before);
        waiting.into_iter().for_each(|worker| drop(edge.greet(worker)));
        edge.settle();
    }
    edge.dial_in(0).reset();
    edge.settle();
    let client = edge.client(1, get("/app/"));
    assert!(text(&early).starts_with("GET /app/ "), "its worker stays");
    edge.say(&early, ANSWER);
    assert!(text(&client).starts_with(OK));
    edge.finish();
}

#[test]
fn strangers_may_not_be_workers() {
    let mut edge = edge();
    edge.pools[0].set_allowed(Some([12_345].into()));
    let worker = edge.kernel.connect(edge.sockets[0]);
    worker.send(worker::GREETING);
    edge.settle();
    assert!(worker.was_reset(), "its greeting is not read");
    assert_eq!((text(&worker).as_str(), edge.slots(0)), ("", 0));
    assert_eq!(edge.stats().slots_refused, 1);
    edge.pools[0].set_allowed(None);
    edge.dial_in(0);
    edge.finish();
}

#[test]
fn a_change_does_not_disturb_an_end() {
    let mut edge = edge();
    let worker = edge.dial_in(0);
    let running = edge.client(0, get("/app/"));
    edge.drain();
    edge.remove_first_pool();
    edge.say(&worker, ANSWER);
    assert!(text(&running).starts_with(OK));
    edge.pass(Duration::from_secs(60));
    edge.assert_clean();
}
