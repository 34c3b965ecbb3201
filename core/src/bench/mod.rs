//! Small machines for benchmarks and for proofs about the steady state: a whole edge on the
//! simulated kernel, and single parts alone.
//!
//! Owns the simulated client and worker. Must not measure. Not part of the public interface: it
//! is there only with the feature `bench`, and changes without notice.

mod parts;

use crate::conn::{Spool, WorldParts};
use crate::files::{CacheLimits, FileCache, FilesRoute, Root};
use crate::http::{FieldRoom, Framing, HeadLimits, parse_request};
use crate::io::sim::{Faults, Peer, SimBackend, SimKernel};
use crate::io::{Budget, Graveyard, SharedFile};
use crate::per_address::{Concurrency, Rate};
use crate::pool::PoolLimits;
use crate::reactor::{Mailbox, Message, Reactor, Shared, Source};
use crate::route::{Action, Bounds, Policy, Routed, RoutedPool, SharedPool};
use crate::stats::Counters;
use crate::{Files, Limits, Reply, Request, Response};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use parts::{Connections, Pool, Routes, Slot, Taken, Timers, file_name};

/// One reactor on a kernel without faults, one client that keeps its connection, and one worker
/// that answers every request with [`SimulatedEdge::HELLO`].
///
/// Files are at `/`, the pool is at `/app/`, and at `/bounded/` within wide bounds for an address,
/// a handler at `/handler`.
pub struct SimulatedEdge {
    kernel: SimKernel,
    reactor: Reactor<SimBackend>,
    mailbox: Arc<Mailbox>,
    client: Peer,
    worker: Peer,
    /// What the worker has received of a request.
    request: Vec<u8>,
    response: Vec<u8>,
}

impl SimulatedEdge {
    /// The content of the worker's response.
    pub const HELLO: &str = "Hello, world!";

    /// Serves `files`: names relative to the root, and contents.
    pub fn new(files: &[(&str, &[u8])]) -> SimulatedEdge {
        let kernel = SimKernel::new(1, Faults::none());
        for (name, content) in files {
            kernel.add_file(name, *content);
        }
        // A file just made is not remembered: it might change within its timestamp's step.
        kernel.advance(Duration::from_secs(10));
        let (clients, workers) = (kernel.listen(), kernel.listen_unix());
        let pool = SharedPool::new(Path::new("simulated"), PoolLimits::default(), None);
        let dial_in = Source::Workers { fd: workers, _open: Arc::new(()), pool: Arc::clone(&pool) };
        let sources = vec![Source::Clients(clients), dial_in];
        let shared = Shared::new(1, 1);
        let mailbox = Arc::clone(&shared.mailboxes[0]);
        let graveyard = Graveyard::default();
        let parts = parts(&kernel, &graveyard, pool);
        let reactor = Reactor::new(kernel.backend(), parts, sources, Arc::new(shared), graveyard);
        let mut edge = SimulatedEdge {
            client: kernel.connect(clients),
            worker: kernel.connect(workers),
            kernel,
            reactor,
            mailbox,
            request: Vec::new(),
            response: Vec::new(),
        };
        edge.dial_in();
        edge
    }

    /// The bytes that the edge sends for these requests; several may be pipelined. `Connection:
    /// close` in any is the end of the simulated client.
    pub fn exchange(&mut self, requests: &[u8]) -> &[u8] {
        self.response.clear();
        let sent = self.client.send(requests);
        assert_eq!(sent, requests.len(), "more than a simulated socket holds");
        while self.turn() | self.work() {}
        &self.response
    }

    /// Time passes, and with it whatever is due.
    pub fn advance(&mut self, by: Duration) {
        self.kernel.advance(by);
        self.turn();
    }

    /// The reactor works until it would wait. True: the client has received something.
    fn turn(&mut self) -> bool {
        self.run_reactor();
        self.client.receive_into(usize::MAX, &mut self.response) > 0
    }

    /// The worker's turn. True: it has answered.
    fn work(&mut self) -> bool {
        self.worker.receive_into(usize::MAX, &mut self.request);
        let whole = is_whole(&self.request);
        if whole {
            self.request.clear();
            self.worker.send(WORKERS_RESPONSE);
        }
        whole
    }

    fn run_reactor(&mut self) {
        while !self.kernel.is_idle() {
            self.reactor.turn().expect(NEVER_FAILS);
        }
    }

    fn dial_in(&mut self) {
        self.worker.send(crate::http::slot::UPGRADE);
        // Its listeners are armed by its first turn.
        self.reactor.turn().expect(NEVER_FAILS);
        self.run_reactor();
        let mut answer = Vec::new();
        self.worker.receive_into(usize::MAX, &mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "the worker is not a slot");
    }
}

/// The reactor ends by the rules, as the simulated kernel demands.
impl Drop for SimulatedEdge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.mailbox.post(Message::Stop);
        while self.reactor.turn().expect(NEVER_FAILS) {}
    }
}

fn parts(kernel: &SimKernel, graveyard: &Graveyard, pool: Arc<SharedPool>) -> WorldParts {
    let mut policy = Policy::default();
    let pool = RoutedPool::new(pool, |_| {});
    let bounds = Bounds {
        rate: Some(Arc::new(Rate::new(1, Duration::from_nanos(1), u32::MAX))),
        concurrent: Some((Concurrency::new(1), 10)),
    };
    let action = Action::Pool(Arc::clone(&pool));
    let bounded = Routed { action, bounds: Some(Arc::new(bounds)) };
    policy.routes.add(None, "/bounded/", bounded).expect("the first route");
    let hello = |_: Request, reply: Reply| reply.send(Response::new(SimulatedEdge::HELLO));
    let handler = Action::Handler(Arc::new(hello));
    let (files, pool) = (Action::Files(0), Action::Pool(pool));
    for (path, action) in [("/", files), ("/app/", pool), ("/handler", handler)] {
        policy.routes.add(None, path, action.into()).expect("different paths");
    }
    let root = SharedFile::new(kernel.root(), graveyard);
    let limits = Limits { keepalive_requests: u64::MAX, ..Limits::default() };
    WorldParts {
        reactor: 0,
        seed: 1,
        limits: Arc::new(limits),
        counters: Arc::new(Counters::default()),
        policy: Arc::new(policy),
        file_routes: vec![FilesRoute::new(
            Files::new("/"),
            vec![Root::new(0, c"/".into(), root, SimKernel::ROOT)],
        )],
        files: FileCache::new(CacheLimits::default(), graveyard.clone()),
        spool: Spool::new(c"spool", Budget::default(), graveyard.clone()),
        memory: Budget::default(),
        log: None,
    }
}

/// Whether all of the content is there that the head announces.
fn is_whole(request: &[u8]) -> bool {
    let limits = HeadLimits { bytes: 32 << 10, fields: 100, target_bytes: 8 << 10 };
    let mut room = FieldRoom::default();
    match parse_request(request, &mut room, &limits).expect("the edge sends good heads") {
        Some(head) => head.framing == Framing::Length((request.len() - head.len) as u64),
        None => false,
    }
}

const NEVER_FAILS: &str = "the simulated kernel never fails";

const WORKERS_RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";
