//! Who gets an event: completions, timers, messages and notices to entries of the tables.
//!
//! Owns the pairs that belong together: a client and its exchange. Must not decide anything.

use super::table::Table;
use super::timers::Timers;
use super::{Message, Phase, Reactor, kind};
use crate::conn::{Connection, HandOver, Machine, Memory, Notice, Whole, World};
use crate::io::{Backend, Completion, Done, Errno, Passed, Token};
use crate::pool::Assignment;
use crate::route::{RoutedPool, SharedPool};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl<B: Backend> Reactor<B> {
    pub(super) fn dispatch(&mut self, completion: Completion) {
        let Completion { token, done } = completion;
        match token.kind() {
            kind::CLIENT => self.on_client_done(token, done),
            kind::EXCHANGE => self.on_exchange_done(token, done),
            kind::SLOT => self.on_slot_done(token, done),
            kind::LISTENER => match done {
                Done::Accept { result, armed } => self.on_accept(token, result, armed),
                _ => unreachable!("listeners only accept"),
            },
            _ => unreachable!("no such table"),
        }
    }

    fn on_client_done(&mut self, token: Token, done: Done) {
        let world = &mut self.world;
        let Some(client) = self.clients.get_mut(token).map(|client| client.wake(token, world))
        else {
            return self.on_stale(done);
        };
        let has_sent = matches!(done, Done::Send { .. } | Done::SendFile { .. });
        match done {
            Done::Recv { result: Err(Errno(libc::ENOBUFS)), .. } => {
                world.counters.starved.count();
                self.starved.push(token);
            }
            Done::Recv { result: Ok(Some(piece)), armed } => {
                client.on_received(Ok(self.backend.transit(&piece)), armed, world);
                self.backend.recycle(piece);
            }
            Done::Recv { result, armed } => {
                client.on_received(result.map(|_| &[][..]), armed, world)
            }
            Done::Awaited => client.on_input(world),
            Done::Fill { buf, result } => client.on_filled(buf, result, world),
            Done::Send { out, result } => client.on_sent(out, result, world),
            Done::SendFile { result, .. } => client.on_file_sent(result, world),
            Done::CreateFile { .. } | Done::WriteFile { .. } => client.on_spooled(done, world),
            done => client.on_file_done(done, world),
        }
        self.settle_client(token);
        if has_sent {
            // There is room for more of the response that this client is being sent.
            self.on_relay(token);
        }
    }

    fn on_exchange_done(&mut self, token: Token, done: Done) {
        let Some(exchange) = self.exchanges.get_mut(token) else {
            return self.on_stale(done);
        };
        match done {
            Done::Send { out, result } => exchange.on_sent(out, result, &mut self.world),
            Done::Fill { buf, result } => {
                exchange.on_filled(buf, Passed::Nothing, result, &mut self.world);
            }
            Done::FillWithFile { buf, passed, result } => {
                exchange.on_filled(buf, passed, result, &mut self.world);
            }
            Done::PeerEnd { result } => exchange.on_death(result, &mut self.world),
            done => exchange.on_spooled(done, &mut self.world),
        }
        self.settle_exchange(token);
    }

    fn on_slot_done(&mut self, token: Token, done: Done) {
        let Some(slot) = self.slots.get_mut(token) else {
            return self.on_stale(done);
        };
        match done {
            Done::Fill { buf, result } => slot.on_filled(buf, result, &mut self.world),
            Done::Send { out, result } => slot.on_sent(out, result, &mut self.world),
            Done::Awaited => slot.on_hang_up(&mut self.world),
            Done::PeerEnd { result } => slot.on_process_end(result, &mut self.world),
            _ => unreachable!("wardens only greet and watch"),
        }
        self.settle_slot(token);
    }

    /// A completion for somebody who has gone: what it owns is disposed of (I5).
    fn on_stale(&mut self, done: Done) {
        self.world.counters.stale.count();
        if let Done::Recv { result: Ok(Some(piece)), .. } = done {
            self.backend.recycle(piece);
        } else {
            self.world.dispose(done);
        }
    }

    pub(super) fn on_timer(&mut self, token: Token) {
        match token.kind() {
            kind::CLIENT => {
                if let Some(token) = fire(&mut self.clients, token, &mut self.world) {
                    self.look_at_client(token);
                    self.settle_client(token);
                }
            }
            kind::EXCHANGE => {
                if let Some(token) = fire(&mut self.exchanges, token, &mut self.world) {
                    self.settle_exchange(token);
                }
            }
            kind::SLOT => {
                if let Some(token) = fire(&mut self.slots, token, &mut self.world) {
                    self.settle_slot(token);
                }
            }
            _ => {
                if let Some(token) = self.listeners.current(token) {
                    self.on_listener_timer(token);
                }
            }
        }
    }

    /// How much it has not taken yet, if that is of interest now.
    fn look_at_client(&mut self, token: Token) {
        if let Some(client) = self.clients.get_mut(token).and_then(Connection::awake)
            && let Some(fd) = client.wants_look(self.world.now)
        {
            client.on_look(self.backend.unsent(fd), &mut self.world);
        }
    }

    pub(super) fn on_message(&mut self, message: Message) {
        match message {
            Message::Assigned { pool, assignment } => self.on_assigned(&pool, &assignment),
            Message::CloseSlot { warden } => self.on_released(warden),
            Message::Reply { client: token, response } => {
                if let Some(client) = self.clients.get_mut(token).and_then(Connection::awake) {
                    client.on_reply(response, &mut self.world);
                    self.settle_client(token);
                }
            }
            Message::Change(change) => self.on_change(*change),
            Message::Unused(pool) => self.on_unused(&pool),
            Message::MemoryIsScarce => {}
            Message::DescriptorsAreScarce => {
                self.world.files.close_open_files();
            }
            Message::Drain => self.drain(),
            Message::Stop => self.stop(),
            Message::End => self.end(),
            Message::Abandon => self.phase = Phase::Ended,
        }
    }

    /// Passes on everything that state machines want of one another.
    pub(super) fn pass_on(&mut self) {
        while let Some(notice) = self.world.notices.pop_front() {
            match notice {
                Notice::Dispatch { client, pool, whole } => self.begin(client, pool, whole),
                Notice::Handle { client, handler, whole } => {
                    self.call_handler(client, &handler, whole);
                }
                Notice::Relay { client } => self.on_relay(client),
                Notice::Queued { client } => {
                    if let Some(client) = self.clients.get_mut(client).and_then(Connection::awake) {
                        client.watch(&mut self.world);
                    }
                }
                Notice::InputEnded { exchange: token } => {
                    if let Some(exchange) = self.exchanges.get_mut(token) {
                        exchange.on_input_end(&mut self.world);
                        self.settle_exchange(token);
                    }
                }
                Notice::LetGo { exchange: token, permit, record } => {
                    if let Some(exchange) = self.exchanges.get_mut(token) {
                        exchange.on_let_go(permit, record, &mut self.world);
                        self.settle_exchange(token);
                    }
                }
                Notice::Assigned { pool, assignment } => {
                    if assignment.ticket.reactor == self.world.reactor {
                        self.on_assigned(&pool, &assignment);
                    } else {
                        let owner = usize::from(assignment.ticket.reactor);
                        let message = Message::Assigned { pool, assignment };
                        self.shared.mailboxes[owner].post(message);
                    }
                }
                Notice::CloseSlot { warden, token } => {
                    if warden == self.world.reactor {
                        self.on_released(token);
                    } else {
                        // What we have asked of the descriptor comes before its end.
                        self.submit();
                        let message = Message::CloseSlot { warden: token };
                        self.shared.mailboxes[usize::from(warden)].post(message);
                    }
                }
            }
        }
    }

    fn begin(&mut self, client: Token, pool: Arc<RoutedPool>, whole: Whole) {
        let world = &mut self.world;
        let exchange = |token| HandOver::new(token, client, pool, whole, world);
        let token = self.exchanges.insert_with(exchange);
        if let Some(client) = self.clients.get_mut(client).and_then(Connection::awake) {
            client.set_exchange(token);
        }
        if let Some(exchange) = self.exchanges.get_mut(token) {
            exchange.start(&mut self.world);
        }
        self.settle_exchange(token);
    }

    fn on_relay(&mut self, token: Token) {
        let Some(client) = self.clients.get_mut(token).and_then(Connection::awake) else { return };
        let Some(exchange) = client.exchange() else { return };
        if let Some(other) = self.exchanges.get_mut(exchange) {
            client.on_relay(&mut other.relay, exchange, &mut self.world);
            other.on_drained(&mut self.world);
            self.settle_exchange(exchange);
        }
        self.settle_client(token);
    }

    fn on_assigned(&mut self, pool: &Arc<SharedPool>, assignment: &Assignment) {
        let token = assignment.ticket.token;
        match self.exchanges.get_mut(token) {
            Some(exchange) => {
                exchange.on_assigned(assignment, &mut self.world);
                self.settle_exchange(token);
            }
            None => HandOver::return_unused(pool, assignment, &mut self.world),
        }
    }

    fn on_released(&mut self, token: Token) {
        if let Some(slot) = self.slots.get_mut(token) {
            slot.on_released(&mut self.world);
            self.settle_slot(token);
        }
    }

    fn drain(&mut self) {
        if self.phase != Phase::Serving {
            return;
        }
        self.phase = Phase::Draining;
        self.world.draining = true;
        self.stop_listening(true);
        for token in self.clients.tokens() {
            if let Some(client) = self.clients.get_mut(token) {
                client.wake(token, &mut self.world).on_drain(&mut self.world);
                self.settle_client(token);
            }
        }
    }

    /// Ends without waiting for anybody.
    fn stop(&mut self) {
        self.stopped = true;
        self.drain();
        self.stop_listening(true);
        for token in self.clients.tokens() {
            if let Some(client) = self.clients.get_mut(token) {
                client.wake(token, &mut self.world).stop(&mut self.world);
                self.settle_client(token);
            }
        }
        self.pass_on();
        for token in self.exchanges.tokens() {
            if let Some(exchange) = self.exchanges.get_mut(token) {
                exchange.stop(&mut self.world);
                self.settle_exchange(token);
            }
        }
    }

    /// No reactor has clients any more.
    fn end(&mut self) {
        self.phase = Phase::Ending;
        self.stop_listening(false);
        for token in self.slots.tokens() {
            if let Some(slot) = self.slots.get_mut(token) {
                slot.on_end(&mut self.world);
                self.settle_slot(token);
            }
        }
    }

    pub(super) fn settle_client(&mut self, token: Token) {
        if let Some(client) = self.clients.get_mut(token) {
            client.park(&mut self.world);
        }
        let memory = &mut self.world.memory;
        if let Some(client) = settle(&mut self.clients, token, &mut self.timers, memory) {
            client.dispose(&mut self.world);
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn settle_exchange(&mut self, token: Token) {
        let memory = &mut self.world.memory;
        if let Some(exchange) = settle(&mut self.exchanges, token, &mut self.timers, memory) {
            exchange.dispose(&mut self.world);
        }
    }

    pub(super) fn settle_slot(&mut self, token: Token) {
        let memory = &mut self.world.memory;
        if settle(&mut self.slots, token, &mut self.timers, memory).is_some() {
            self.shared.slots.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A place has fired: has the deadline of its entry passed? Says whose.
fn fire<T: Machine>(table: &mut Table<T>, token: Token, world: &mut World) -> Option<Token> {
    let token = table.current(token)?;
    let entry = table.get_mut(token)?;
    if entry.deadline().is_some_and(|at| at <= world.now) {
        entry.on_deadline(token, world);
    }
    Some(token)
}

/// After every event: an entry may hold something else than before; one that is over leaves its
/// table; else its deadline may have moved.
fn settle<T: Machine>(
    table: &mut Table<T>,
    token: Token,
    timers: &mut Timers,
    memory: &mut Memory,
) -> Option<T> {
    let entry = table.get_mut(token)?;
    entry.account(memory);
    if entry.is_over() {
        return table.remove(token);
    }
    if let Some(at) = entry.deadline() {
        timers.set(token, at);
    }
    None
}
