//! Single parts of the edge, as benchmarks use them.
//!
//! Owns nothing but their clocks and names. Must not measure.

use crate::files;
use crate::http::RequestPath;
use crate::io::Body;
use crate::io::{
    Backend, Completion, Done, Fd, Op, Outgoing, SetupError, Time, Token, Uring, UringOptions, Wait,
};
use crate::pool::{Admission, AfterRelease, PoolCore, PoolLimits, SlotId};
use crate::reactor::{self, Table};
use crate::route;
use std::ffi::CStr;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The reactor's timer wheel, with keys for places and the wheel's own clock.
pub struct Timers {
    wheel: reactor::Timers,
    now: Time,
    fired: Vec<Token>,
}

impl Default for Timers {
    fn default() -> Self {
        Timers { wheel: reactor::Timers::new(START), now: START, fired: Vec::new() }
    }
}

impl Timers {
    /// Fires for `key` once, `after` from now, unless it fires before that.
    pub fn set(&mut self, key: u32, after: Duration) {
        self.wheel.set(Token::new(0, key, 0), self.now.after(after));
    }

    /// How long a reactor may wait. None: nothing is due, ever.
    pub fn wait(&self) -> Option<Duration> {
        self.wheel.next().map(|at| at.since(self.now))
    }

    /// Time passes; `on_fired` gets the keys that are due.
    pub fn advance(&mut self, by: Duration, on_fired: impl FnMut(u32)) {
        self.now = self.now.after(by);
        self.wheel.expire(self.now, &mut self.fired);
        self.fired.drain(..).map(Token::index).for_each(on_fired);
    }
}

/// The table of routes, with numbers for actions.
#[derive(Default)]
pub struct Routes(route::Routes<usize>);

impl Routes {
    /// Adds a route for any host.
    ///
    /// # Panics
    /// There is one for this path.
    pub fn add(&mut self, path: &str, action: usize) {
        self.0.add(None, path, action).expect("every path is added once");
    }

    /// The action for a path, and what is left of the path.
    pub fn find<'p>(&self, host: &str, path: &'p str) -> Option<(usize, &'p str)> {
        let path = RequestPath::literal(path);
        self.0.find(host, &path).map(|found| (*found.action, found.rest))
    }
}

/// The file beneath a root that the rest of a path stands for, if one can.
pub fn file_name(path: &str) -> Option<Rc<CStr>> {
    files::name::resolve(path, "index.html")
}

/// The table of connections, with a number for each.
pub struct Connections {
    table: Table<u64>,
    tokens: Vec<Token>,
}

impl Connections {
    /// So many connections, numbered from 0 on.
    pub fn new(count: u64) -> Connections {
        let mut table = Table::new(0);
        let tokens = (0..count).map(|number| table.insert_with(|_| number)).collect();
        Connections { table, tokens }
    }

    /// What a completion for that connection finds.
    pub fn find(&mut self, number: usize) -> Option<u64> {
        self.table.get_mut(self.tokens[number]).copied()
    }

    /// The connection ends, and another one takes its number. A completion that is late for the
    /// old one finds: `None`.
    pub fn replace(&mut self, number: usize) -> Option<u64> {
        let old = self.tokens[number];
        let value = self.table.remove(old).expect("numbers are of connections");
        self.tokens[number] = self.table.insert_with(|_| value);
        self.table.get_mut(old).copied()
    }
}

/// A pool's decisions behind their lock.
pub struct Pool(Mutex<PoolCore>);

/// A slot that [`Pool::take`] has given.
pub struct Taken(SlotId);

impl Pool {
    /// With so many idle slots.
    pub fn new(slots: u32) -> Pool {
        let mut core = PoolCore::new(PoolLimits::default());
        for slot in 0..slots {
            let token = Token::new(0, slot, 0);
            let (_, assignment) = core.join(slot as Fd, 0, token, slot, START);
            assert!(assignment.is_none(), "nothing waits yet");
        }
        Pool(Mutex::new(core))
    }

    /// A request asks for a slot. `None`: it would wait, so it leaves.
    pub fn take(&self) -> Option<Taken> {
        let mut core = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match core.request(0, Token::new(1, 0, 0), START) {
            Admission::Assigned { slot, .. } => Some(Taken(slot)),
            Admission::Queued(ticket, _) => {
                assert!(core.cancel(ticket), "nobody has given it a slot");
                None
            }
            Admission::Full => None,
        }
    }

    /// The response has ended.
    pub fn give_back(&self, Taken(slot): Taken) {
        let mut core = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let after = core.release(slot, true, START);
        assert_eq!(after, AfterRelease::None, "nobody waits");
    }

    /// Slots that nobody has.
    pub fn idle(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).counts().idle
    }
}

/// A worker's connection, and the ring that requests reach it through.
pub struct Slot {
    ring: Uring,
    fd: Fd,
    buffer: Vec<u8>,
    completions: Vec<Completion>,
}

impl Slot {
    /// A slot at a connected Unix socket, which must stay open as long.
    ///
    /// # Errors
    /// There is no io_uring.
    pub fn new(fd: Fd) -> Result<Slot, SetupError> {
        let ring = Uring::new(UringOptions::default())?;
        Ok(Slot { ring, fd, buffer: Vec::with_capacity(4096), completions: Vec::new() })
    }

    /// Sends a request as an exchange does, and waits for what comes first of its response.
    ///
    /// # Panics
    /// The kernel refuses it, or the worker has hung up.
    pub fn exchange(&mut self, request: Vec<u8>) -> (Vec<u8>, &[u8]) {
        let out = Outgoing::new(request, Body::None);
        self.ring.submit(EXCHANGE, Op::SendIfSilent { fd: self.fd, out });
        let mut request = Vec::new();
        loop {
            self.ring.turn(Wait::Forever, &mut self.completions).expect(WORKS);
            while let Some(Completion { done, .. }) = self.completions.pop() {
                match done {
                    Done::Send { out, result } => {
                        assert_eq!(out.remaining(), 0, "{result:?}");
                        request = out.head;
                        let mut buf = std::mem::take(&mut self.buffer);
                        buf.clear();
                        let op = Op::FillWithFile { fd: self.fd, buf, poll_first: true };
                        self.ring.submit(EXCHANGE, op);
                    }
                    Done::FillWithFile { buf, result, .. } => {
                        assert!(result.is_ok_and(|count| count > 0), "{result:?}");
                        self.buffer = buf;
                        return (request, &self.buffer);
                    }
                    other => unreachable!("not asked for: {other:?}"),
                }
            }
        }
    }
}

/// Not zero: nobody may take the clock's zero for a moment.
const START: Time = Time(1_000_000_000);
const EXCHANGE: Token = Token::new(0, 0, 0);
const WORKS: &str = "a ring that could be made works";
