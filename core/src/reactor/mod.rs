//! The loop: waits for completions, passes each to whom it is for, and submits what they ask.
//!
//! Owns the tables, the timers and the only [`Backend`]. Must not know policy or protocol.
//!
//! A turn: wait, read the mail, dispatch completions, read the mail again, fire timers. After each
//! event the notices that it caused are passed on at once; operations are submitted after every
//! [`SUBMIT_EVERY`] events, so that the last of a large batch does not wait for all others.

mod call_handler;
mod change;
mod dispatch;
mod eviction;
mod leftovers;
mod listeners;
mod mailbox;
mod shedding;
#[cfg(any(test, feature = "fuzz"))]
#[cfg_attr(not(test), allow(dead_code, unused_imports))]
#[allow(clippy::unwrap_used)]
pub(crate) mod simulation;
mod table;
#[cfg(test)]
mod tests;
mod timers;
mod trim;

use crate::conn::{Connection, HandOver, Slot, World, WorldParts};
use crate::http::DateCache;
use crate::io::{Backend, Completion, Errno, Graveyard, Op, PARKED_OPERATION, Time, Token, Wait};
use crate::per_address::Concurrency;
use crate::route::SharedPool;
use eviction::Parked;
use listeners::Listener;
use shedding::Shedding;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) use change::{Change, OpenFiles, OpenRoot};
pub(crate) use leftovers::Leftovers;
pub(crate) use listeners::Source;
pub(crate) use mailbox::{Mailbox, Message};
pub(crate) use table::Table;
pub(crate) use timers::Timers;

/// One reactor: everything that one core of the edge does.
pub(crate) struct Reactor<B: Backend> {
    backend: B,
    world: World,
    clients: Table<Connection>,
    exchanges: Table<HandOver>,
    slots: Table<Slot>,
    timers: Timers,
    listeners: Table<Listener>,
    shared: Arc<Shared>,
    graveyard: Graveyard,
    date: DateCache,
    phase: Phase,
    /// Nobody is waited for.
    stopped: bool,
    /// Receives that found no transit buffer.
    starved: Vec<Token>,
    parked: Parked,
    shedding: Shedding,
    /// When to look for memory that nobody needs, while there may be some.
    trim_at: Option<Time>,
    completions: Vec<Completion>,
    messages: Vec<Message>,
    fired: Vec<Token>,
}

/// What all reactors of a server share besides the pools.
pub(crate) struct Shared {
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    /// Client connections of all reactors.
    pub(crate) connections: AtomicUsize,
    /// Those of them that have not sent a complete head yet.
    pub(crate) headless: Arc<Concurrency>,
    /// Connections of workers of all reactors.
    pub(crate) slots: AtomicUsize,
    /// Reactors that still have clients or exchanges; slots stay open until it is 0.
    pub(crate) serving: AtomicUsize,
}

impl Shared {
    /// For so many reactors.
    pub(crate) fn new(count: usize, seed: u64) -> Shared {
        Shared {
            mailboxes: (0..count).map(|_| Arc::new(Mailbox::default())).collect(),
            connections: AtomicUsize::new(0),
            slots: AtomicUsize::new(0),
            headless: Concurrency::new(seed),
            serving: AtomicUsize::new(count),
        }
    }

    /// Nobody can send requests to this pool any more: its slots are closed.
    pub(crate) fn on_unused(&self, pool: &Arc<SharedPool>) {
        for mailbox in &self.mailboxes {
            mailbox.post(Message::Unused(Arc::clone(pool)));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Finishes what has begun.
    Draining,
    /// Has nothing left; other reactors may still use the slots it is warden of.
    Drained,
    /// Slots are closed.
    Ending,
    /// Everything has been closed; the kernel hears of it in a last turn.
    Ended,
}

/// Which table a token belongs to.
mod kind {
    pub(super) const CLIENT: u8 = 0;
    pub(super) const EXCHANGE: u8 = 1;
    pub(super) const SLOT: u8 = 2;
    pub(super) const LISTENER: u8 = 3;
}

/// What an idle connection has: its place in the tables of connections, timers and operations.
const PARKED: usize = Table::<Connection>::ENTRY + Timers::ENTRY + PARKED_OPERATION;

/// With an eighth more, by which those grow.
const _: () = assert!((PARKED + PARKED.div_ceil(8)) as u64 <= Connection::PARKED_BYTES);

/// Events handled between two submissions.
const SUBMIT_EVERY: usize = 64;

impl<B: Backend> Reactor<B> {
    /// `graveyard` is the one that the parts' files use.
    pub(crate) fn new(
        mut backend: B,
        parts: WorldParts,
        sources: Vec<Source>,
        shared: Arc<Shared>,
        graveyard: Graveyard,
    ) -> Reactor<B> {
        let mut world = World::new(parts);
        shared.mailboxes[usize::from(world.reactor)].connect(backend.waker());
        let (now, mut date) = (backend.now(), DateCache::default());
        world.set_time(now, backend.unix_seconds(), &mut date);
        let mut reactor = Reactor {
            timers: Timers::new(now),
            backend,
            world,
            clients: Table::new(kind::CLIENT),
            exchanges: Table::new(kind::EXCHANGE),
            slots: Table::new(kind::SLOT),
            listeners: Table::new(kind::LISTENER),
            shared,
            graveyard,
            date,
            phase: Phase::Serving,
            stopped: false,
            starved: Vec::new(),
            parked: Parked::default(),
            shedding: Shedding::default(),
            trim_at: None,
            completions: Vec::new(),
            messages: Vec::with_capacity(64),
            fired: Vec::new(),
        };
        sources.into_iter().for_each(|source| reactor.listen(source));
        reactor.submit();
        reactor
    }

    /// Works until the server has been stopped.
    ///
    /// # Errors
    /// The kernel does not accept or complete operations any more.
    pub(crate) fn run(&mut self) -> Result<(), Errno> {
        while self.turn()? {}
        Ok(())
    }

    /// One turn of the loop. False: the reactor has ended.
    pub(crate) fn turn(&mut self) -> Result<bool, Errno> {
        let is_last = self.phase == Phase::Ended;
        let wait = if is_last { Wait::Poll } else { self.wait() };
        let result = self.backend.turn(wait, &mut self.completions);
        self.mailbox().awake();
        result?;
        let (now, unix_seconds) = (self.backend.now(), self.backend.unix_seconds());
        self.world.set_time(now, unix_seconds, &mut self.date);
        // Before what the wait has brought: a request that was sent after a change was made is
        // answered as the change says.
        self.read_mail();
        let mut completions = std::mem::take(&mut self.completions);
        for (count, completion) in completions.drain(..).enumerate() {
            self.dispatch(completion);
            self.pass_on();
            if count % SUBMIT_EVERY == SUBMIT_EVERY - 1 {
                self.submit();
            }
        }
        self.completions = completions;
        // What handlers have answered meanwhile leaves in the same submission.
        self.read_mail();
        self.feed_starved();
        self.fire_timers();
        self.shed();
        self.trim();
        self.go_on_ending();
        self.submit();
        if self.world.files.take_shortage() {
            self.tell_others(|| Message::DescriptorsAreScarce);
        }
        Ok(!is_last)
    }

    fn wait(&self) -> Wait {
        let is_over = self.phase == Phase::Ending && self.has_ended();
        if is_over || !self.mailbox().fall_asleep() {
            return Wait::Poll;
        }
        self.due().map_or(Wait::Forever, Wait::Until)
    }

    /// When it has something to do, whatever happens.
    fn due(&self) -> Option<Time> {
        let earlier = |one: Option<Time>, other: Option<Time>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let seldom = earlier(self.trim_at, self.world.files.sweep_at());
        earlier(earlier(self.timers.next(), self.shedding.due()), seldom)
    }

    fn mailbox(&self) -> &Arc<Mailbox> {
        &self.shared.mailboxes[usize::from(self.world.reactor)]
    }

    /// Hands everything that was asked for to the kernel.
    fn submit(&mut self) {
        if !self.graveyard.is_empty() {
            self.close_unused();
        }
        for (token, op) in self.world.ops.drain(..) {
            self.backend.submit(token, op);
        }
    }

    /// Closes the files that nobody uses any more; at once if there are no descriptors: what is
    /// submitted next needs them.
    fn close_unused(&mut self) {
        let is_short = self.world.files.is_short();
        while let Some(fd) = self.graveyard.pop() {
            match is_short {
                true => self.backend.close_now(fd),
                false => self.backend.submit(Token::NOBODY, Op::Close { fd }),
            }
        }
    }

    fn tell_others(&self, message: impl Fn() -> Message) {
        let ours = usize::from(self.world.reactor);
        for (number, mailbox) in self.shared.mailboxes.iter().enumerate() {
            if number != ours {
                mailbox.post(message());
            }
        }
    }

    fn read_mail(&mut self) {
        if self.mailbox().is_empty() {
            return;
        }
        let mut messages = std::mem::take(&mut self.messages);
        self.mailbox().take(&mut messages);
        for (count, message) in messages.drain(..).enumerate() {
            self.on_message(message);
            self.pass_on();
            if count % SUBMIT_EVERY == SUBMIT_EVERY - 1 {
                self.submit();
            }
        }
        self.messages = messages;
    }

    /// Transit buffers are back by now: tries again what found none.
    fn feed_starved(&mut self) {
        for token in std::mem::take(&mut self.starved) {
            if let Some(client) = self.clients.get_mut(token) {
                client.wake(token, &mut self.world).on_starved(&mut self.world);
                self.settle_client(token);
                self.pass_on();
            }
        }
    }

    fn fire_timers(&mut self) {
        let mut fired = std::mem::take(&mut self.fired);
        self.timers.expire(self.world.now, &mut fired);
        for (count, token) in fired.drain(..).enumerate() {
            self.on_timer(token);
            self.pass_on();
            if count % SUBMIT_EVERY == SUBMIT_EVERY - 1 {
                self.submit();
            }
        }
        self.fired = fired;
    }

    /// As far as stopping has come, the next step.
    fn go_on_ending(&mut self) {
        if self.phase == Phase::Draining && self.is_idle() {
            self.phase = Phase::Drained;
            if self.shared.serving.fetch_sub(1, Ordering::SeqCst) == 1 {
                for mailbox in &self.shared.mailboxes {
                    mailbox.post(Message::End);
                }
            }
        }
        if self.phase == Phase::Ending && self.has_ended() {
            self.phase = Phase::Ended;
            self.world.close_files();
        }
    }

    fn is_idle(&self) -> bool {
        let listens = self.listeners.iter().any(Listener::is_for_clients);
        self.clients.is_empty() && self.exchanges.is_empty() && !listens
    }

    fn has_ended(&self) -> bool {
        self.slots.is_empty() && self.listeners.is_empty()
    }
}
