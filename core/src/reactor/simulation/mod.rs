//! The whole edge on a simulated kernel: several reactors in one thread, clients and workers
//! that misbehave, and an oracle that knows what everybody must see.
//!
//! Owns the edge under test and the passing of virtual time.

#[cfg(test)]
mod bounds_directed;
#[cfg(test)]
mod caps_directed;
#[cfg(test)]
mod changes_directed;
mod client;
#[cfg(test)]
mod clients_directed;
pub(crate) mod corpus;
#[cfg(test)]
mod counters_directed;
#[cfg(test)]
mod drain_directed;
#[cfg(test)]
mod files_directed;
mod incoming;
#[cfg(test)]
mod loan_directed;
#[cfg(test)]
mod memory_directed;
#[cfg(test)]
mod memory_hostile;
mod oracle;
#[cfg(test)]
mod parking_directed;
mod passing;
#[cfg(test)]
mod patience_directed;
pub(crate) mod random;
mod request;
mod response;
#[cfg(test)]
mod slots_directed;
#[cfg(test)]
mod slow_directed;
#[cfg(test)]
mod spool_directed;
mod worker;
#[cfg(test)]
mod workers_directed;

use super::{Message, Reactor, Shared, Source};
use crate::conn::{Connection, Spool, WorldParts};
use crate::files::{CacheLimits, FileCache, Files, FilesRoute, Root};
use crate::handler::{Reply, Request, Response};
use crate::io::sim::{BackendId, DescriptorKind, Faults, Peer, SimBackend, SimKernel};
use crate::io::{Backend, Budget, Fd, Graveyard, SharedFile, Time};
use crate::limits::Limits;
use crate::pool::{PoolCounts, PoolLimits};
use crate::route::{Action, Policy, RoutedPool, SharedPool};
use crate::stats::{Counters, Stats};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The edge under test: what a server sets up, on a simulated kernel.
struct Edge {
    kernel: SimKernel,
    /// `None`: has ended.
    reactors: Vec<Option<Reactor<SimBackend>>>,
    /// Which of them do not wait: they turn again, whether there is work or not.
    awake: Vec<bool>,
    backends: Vec<BackendId>,
    /// Where clients connect: one listener for each reactor.
    doors: Vec<Fd>,
    /// Where the workers of each pool dial in.
    sockets: Vec<Fd>,
    pools: Vec<Arc<SharedPool>>,
    /// Those of them that routes lead to.
    routed: Vec<Option<Arc<RoutedPool>>>,
    counters: Vec<Arc<Counters>>,
    shared: Arc<Shared>,
    budget: Budget,
    memory: Budget,
}

/// What is special about an edge.
struct Settings {
    seed: u64,
    faults: Faults,
    reactors: usize,
    limits: Limits,
    pool: PoolLimits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            seed: 1,
            faults: Faults::none(),
            reactors: 1,
            limits: Limits::default(),
            pool: PoolLimits::default(),
        }
    }
}

/// Two pools, at `/app/` and `/second/`; files at `/files/`; a handler; a fixed answer.
const POOLS: [&str; 2] = ["/app/", "/second/"];
const SMALL_FILE: (&str, usize) = ("small.txt", 1_234);
const LARGE_FILE: (&str, usize) = ("large.bin", 90_000);
const FIXED: &str = "always the same\n";

impl Edge {
    fn new(settings: &Settings) -> Edge {
        let kernel = SimKernel::new(settings.seed, settings.faults);
        for (name, len) in [SMALL_FILE, LARGE_FILE] {
            kernel.add_file(name, pattern(len as u64, len));
        }
        // Files that have just been made are looked at again each time.
        kernel.advance(Duration::from_secs(10));
        let count = settings.reactors;
        let shared = Arc::new(Shared::new(count, settings.seed));
        let pools = POOLS.map(|path| SharedPool::new(Path::new(path), settings.pool, None)).into();
        let mut edge = Edge {
            doors: (0..count).map(|_| kernel.listen()).collect(),
            sockets: POOLS.map(|_| kernel.listen_unix()).into(),
            kernel,
            reactors: Vec::new(),
            awake: vec![true; count],
            backends: Vec::new(),
            pools,
            routed: POOLS.map(|_| None).into(),
            counters: (0..count).map(|_| Arc::new(Counters::default())).collect(),
            shared,
            budget: Budget::default(),
            memory: Budget::default(),
        };
        let (limits, policy) =
            (Arc::new(settings.limits.clone()), Arc::new(edge.policy(0..POOLS.len())));
        for number in 0..count {
            edge.start(number, settings.seed, &limits, &policy);
        }
        edge
    }

    /// As the server's thread does it.
    fn start(&mut self, number: usize, seed: u64, limits: &Arc<Limits>, policy: &Arc<Policy>) {
        let graveyard = Graveyard::default();
        let backend = self.kernel.backend();
        self.backends.push(backend.id());
        let mut sources = vec![Source::Clients(self.doors[number])];
        sources.extend((0..POOLS.len()).map(|pool| self.dial_in_source(pool)));
        let directory = SharedFile::new(self.kernel.root(), &graveyard);
        let parts = WorldParts {
            reactor: number as u16,
            seed: seed << 8 | number as u64,
            limits: Arc::clone(limits),
            counters: Arc::clone(&self.counters[number]),
            policy: Arc::clone(policy),
            file_routes: vec![FilesRoute::new(
                Files::new("/"),
                vec![Root::new(0, c"/".into(), directory, SimKernel::ROOT)],
            )],
            files: FileCache::new(CacheLimits::default(), graveyard.clone()),
            spool: Spool::new(c"spool", self.budget.clone(), graveyard.clone()),
            memory: self.memory.clone(),
            log: None,
        };
        let shared = Arc::clone(&self.shared);
        self.reactors.push(Some(Reactor::new(backend, parts, sources, shared, graveyard)));
    }

    fn dial_in_source(&self, pool: usize) -> Source {
        let (fd, pool) = (self.sockets[pool], Arc::clone(&self.pools[pool]));
        Source::Workers { fd, _open: Arc::new(()), pool }
    }

    /// With routes to these pools.
    fn policy(&mut self, pools: impl IntoIterator<Item = usize>) -> Policy {
        let mut policy = Policy::default();
        let echo =
            |request: Request, reply: Reply| reply.send(Response::new(request.content().clone()));
        let fixed = Arc::new(Response::new(FIXED));
        let mut add =
            |path: &str, action| policy.routes.add(None, path, Action::into(action)).unwrap();
        for number in pools {
            let pool = self.routed[number].get_or_insert_with(|| {
                let shared = Arc::clone(&self.shared);
                RoutedPool::new(Arc::clone(&self.pools[number]), move |p| shared.on_unused(&p))
            });
            add(POOLS[number], Action::Pool(Arc::clone(pool)));
        }
        add("/files/", Action::Files(0));
        add("/echo", Action::Handler(Arc::new(echo)));
        add("/fixed", Action::Fixed(fixed));
        policy
    }

    fn connect(&self, reactor: usize) -> Peer {
        self.kernel.connect(self.doors[reactor])
    }

    /// One turn of one reactor, if it would not wait in it.
    fn turn(&mut self, number: usize) -> bool {
        let Some(reactor) = &mut self.reactors[number] else { return false };
        let has_mail = !self.shared.mailboxes[number].fall_asleep();
        let has_work = has_mail || self.kernel.has_work(self.backends[number]);
        if !has_work && !self.awake[number] {
            return false;
        }
        if !self.awake[number] {
            // The turn that it waited in ends with a look at the clock.
            let (now, unix_seconds) = (reactor.backend.now(), reactor.backend.unix_seconds());
            reactor.world.set_time(now, unix_seconds, &mut reactor.date);
        }
        let waited_for = reactor.due();
        let goes_on = reactor.turn().expect("the simulated kernel does not fail");
        assert_nobody_is_stuck(reactor);
        if goes_on {
            // After a turn in which nothing happened it is as if that turn went on: messages must
            // wake it.
            let happened = has_work || reactor.due() != waited_for;
            self.awake[number] = happened || !self.shared.mailboxes[number].fall_asleep();
        } else {
            assert_eq!(reactor.world.bytes_in_use(), 0, "bytes in use at the end");
            self.reactors[number] = None;
        }
        true
    }

    /// Turns every reactor that has something to do; false if none had.
    fn turn_all(&mut self) -> bool {
        let mut worked = false;
        for number in 0..self.reactors.len() {
            worked |= self.turn(number);
        }
        for pool in &self.pools {
            let PoolCounts { idle, queued, .. } = pool.core().counts();
            assert!(idle == 0 || queued == 0, "{queued} requests wait while {idle} slots are idle");
        }
        worked
    }

    /// Turns the reactors until nothing happens before the clock moves.
    fn settle(&mut self) {
        let mut rounds = 0;
        while self.turn_all() {
            rounds += 1;
            assert!(rounds < 100_000, "the reactors do not come to rest");
        }
    }

    /// Lets so much time pass.
    fn pass(&mut self, time: Duration) {
        let end = self.kernel.now().after(time);
        loop {
            self.settle();
            match self.next_deadline() {
                Some(at) if at <= end => self.kernel.advance_to(at),
                _ => break,
            }
        }
        self.kernel.advance_to(end);
        self.settle();
    }

    /// When a reactor that is still there wants to be turned.
    fn next_deadline(&self) -> Option<Time> {
        self.kernel.next_deadline().filter(|_| self.reactors.iter().any(Option::is_some))
    }

    /// A worker that has dialled in and become a slot.
    fn dial_in(&mut self, pool: usize) -> Peer {
        let worker = self.kernel.connect(self.sockets[pool]);
        self.greet(worker)
    }

    /// Further threads of one process.
    fn dial_in_as(&mut self, process: u32, pool: usize) -> Peer {
        let worker = self.kernel.connect_as(process, self.sockets[pool]);
        self.greet(worker)
    }

    fn greet(&mut self, worker: Peer) -> Peer {
        worker.send(worker::GREETING);
        self.settle();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") && worker.receive_into(1, &mut answer) == 1 {}
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        worker
    }

    /// A client that has sent this, and been served as far as possible.
    fn client(&mut self, reactor: usize, request: impl AsRef<[u8]>) -> Peer {
        let client = self.connect(reactor);
        assert_eq!(client.send(request.as_ref()), request.as_ref().len());
        self.settle();
        client
    }

    /// Sends for the peer and lets everybody act.
    fn say(&mut self, peer: &Peer, bytes: impl AsRef<[u8]>) {
        assert_eq!(peer.send(bytes.as_ref()), bytes.as_ref().len());
        self.settle();
    }

    /// Ends the edge, and checks that nothing is left.
    fn finish(mut self) {
        self.drain();
        self.pass(Duration::from_secs(60));
        self.assert_clean();
    }

    fn drain(&self) {
        self.shared.mailboxes.iter().for_each(|mailbox| mailbox.post(Message::Drain));
    }

    /// Ends without waiting for anybody.
    fn stop(&self) {
        self.shared.mailboxes.iter().for_each(|mailbox| mailbox.post(Message::Stop));
    }

    fn has_ended(&self) -> bool {
        self.reactors.iter().all(Option::is_none)
    }

    /// Everything has been given back.
    fn assert_clean(&self) {
        assert!(self.has_ended(), "a reactor has not ended");
        assert_eq!(self.memory.used(), 0, "bytes of memory_budget");
        for &backend in &self.backends {
            assert_eq!(self.kernel.in_flight(backend), 0, "operations in flight");
            assert_eq!(self.kernel.transit_outstanding(backend), 0, "transit buffers lost");
        }
        let mut expected: Vec<_> =
            self.sockets.iter().map(|&fd| (fd, DescriptorKind::Listener)).collect();
        expected.sort_by_key(|(fd, _)| *fd);
        assert_eq!(self.kernel.open_descriptors(), expected, "descriptors left open");
        for pool in &self.pools {
            let PoolCounts { slots, idle, queued, .. } = pool.core().counts();
            assert_eq!((slots, idle, queued), (0, 0, 0), "slots left");
        }
        assert_eq!(self.shared.connections.load(super::Ordering::SeqCst), 0);
        assert_eq!(self.shared.slots.load(super::Ordering::SeqCst), 0);
        assert_eq!(self.budget.used(), 0, "spool files left");
        let stats = self.stats();
        assert_eq!(stats.stale, 0, "a completion came for nobody");
        assert_eq!(stats.accepted, stats.closed, "every connection ends once");
        assert_eq!(stats.parked, 0, "a connection that has ended waits for nothing");
    }

    /// Bytes of memory that requests hold: without idle connections.
    #[cfg(test)]
    fn bytes_in_use(&self) -> u64 {
        let reactors = self.reactors.iter().flatten();
        let bytes: u64 = reactors.map(|reactor| reactor.world.bytes_in_use()).sum();
        bytes - self.stats().parked * Connection::PARKED_BYTES
    }

    /// Bytes of memory that are counted and never refused: input that has come for later, and
    /// small buffers, so many for each connection, exchange and greeting at most.
    fn unrefused(&self) -> u64 {
        let waiting = |connection: &Connection| match connection {
            Connection::Awake(client) => client.waiting_input(),
            Connection::Parked(_) => 0,
        };
        let of_reactor = |reactor: &Reactor<SimBackend>| {
            let input: u64 = reactor.clients.iter().map(waiting).sum();
            let small = 5 * reactor.clients.iter().count()
                + 5 * reactor.exchanges.iter().count()
                + reactor.slots.iter().count();
            input + (small * SMALL) as u64
        };
        self.reactors.iter().flatten().map(of_reactor).sum()
    }

    /// Where each reactor is, for messages.
    fn describe(&self) -> String {
        let describe = |reactor: &Option<Reactor<SimBackend>>| match reactor {
            None => "ended".to_string(),
            Some(r) => format!(
                "{:?}: {} clients, {} exchanges, {} slots",
                r.phase,
                r.clients.tokens().len(),
                r.exchanges.tokens().len(),
                r.slots.tokens().len()
            ),
        };
        let pools = self.pools.iter().map(|pool| pool.core().counts());
        let reactors: Vec<_> = self.reactors.iter().map(describe).collect();
        let pools: Vec<_> = pools.collect();
        let open = self.kernel.open_descriptors();
        format!("{reactors:#?} {pools:?} {open:?} {:?}", self.stats())
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.counters.iter().for_each(|counters| stats.add(counters));
        stats
    }
}

/// Whoever waits, for room above all, waits for something that is in flight and goes on with him.
fn assert_nobody_is_stuck(reactor: &mut Reactor<SimBackend>) {
    assert!(!reactor.clients.iter().any(Connection::is_stuck), "a client is stuck");
    for exchange in reactor.exchanges.iter().filter(|exchange| exchange.waits_for_client()) {
        let client = exchange.client().and_then(|client| reactor.clients.get_mut(client));
        let client = client.and_then(Connection::awake);
        assert!(client.is_some_and(|client| client.is_sending()), "an exchange is stuck");
    }
}

/// Bytes of a small buffer.
const SMALL: usize = 4 << 10;

/// Everything that has arrived, as text.
fn text(peer: &Peer) -> String {
    String::from_utf8_lossy(&peer.receive()).into_owned()
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Bytes that differ from place to place and from one to the other `id`.
fn pattern(id: u64, len: usize) -> Vec<u8> {
    let byte = |at: usize| {
        let mixed = (id.wrapping_mul(0x9e37_79b9) ^ (at as u64 / 7)).wrapping_mul(0x2545_f491);
        (mixed >> 11) as u8 ^ at as u8
    };
    (0..len).map(byte).collect()
}
