//! Workers: they dial in, answer, and fail in every way that a process can.
//!
//! Owns one worker's side of the wire: the last byte of a request is taken as the last act before
//! it starts. Must not know what the edge does inside.

mod answer;
mod loan;

use super::Edge;
use super::incoming::Incoming;
use super::oracle::Oracle;
use crate::http::slot::GOODBYE;
use crate::io::Time;
use crate::io::sim::{Peer, Random, SimFile};
use std::time::Duration;

pub(super) struct Worker {
    random: Random,
    pool: usize,
    manners: Manners,
    peer: Option<Peer>,
    /// Connections that children of dead processes keep open for a while.
    kept: Vec<Peer>,
    /// Bytes that its connection holds.
    capacity: usize,
    state: State,
    /// Of the request that it reads.
    files: Vec<SimFile>,
    /// To go with the first byte of its answer.
    answer_files: Vec<SimFile>,
    /// It has said that it can write its answer to a file.
    takes_file: bool,
    /// It does, and has written so many bytes.
    loan: Option<(SimFile, u64)>,
    fate: Fate,
    asleep_until: Time,
    stays_away: bool,
}

/// How often a worker misbehaves, per mille of the requests.
#[derive(Clone, Copy, Default)]
pub(super) struct Manners {
    pub(super) dies: u16,
    pub(super) leaves: u16,
    pub(super) babbles: u16,
    pub(super) hangs: u16,
    /// Most milliseconds before and inside an answer.
    pub(super) pause: usize,
    /// How long one that hangs does so.
    pub(super) hang: Duration,
}

enum State {
    Away,
    Greeting(Vec<u8>),
    /// Waits for a request, or for the rest of it: what it has taken so far.
    Reading(Vec<u8>),
    /// Has started this request.
    Started(usize),
    Sending {
        id: usize,
        bytes: Vec<u8>,
        sent: usize,
    },
}

/// What becomes of a worker under its current request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answer,
    /// Dies before it has taken anything, a part, all of the request.
    DieUnread,
    DieHalfRead,
    DieStarted,
    /// Dies inside its answer's head, its content.
    DieInHead,
    DieInContent,
    /// Sends what is no answer.
    Babble,
    /// Sends more than its answer, or something before it has a request.
    BabbleBehind,
    BabbleBefore,
    /// Passes a descriptor as it must not be.
    Misuse,
    Hang,
    /// Leaves instead of reading, after the answer, by `Connection: close`.
    LeaveUnread,
    LeaveAfter,
    CloseAfter,
}

impl Worker {
    pub(super) fn new(random: Random, pool: usize, manners: Manners, start: Time) -> Worker {
        Worker {
            random,
            pool,
            manners,
            peer: None,
            kept: Vec::new(),
            capacity: 0,
            state: State::Away,
            files: Vec::new(),
            answer_files: Vec::new(),
            takes_file: false,
            loan: None,
            fate: Fate::Answer,
            asleep_until: start,
            stays_away: false,
        }
    }

    pub(super) fn wakes_at(&self, now: Time) -> Option<Time> {
        let sleeps = self.asleep_until > now && !(self.stays_away && self.peer.is_none());
        sleeps.then_some(self.asleep_until)
    }

    /// For messages.
    pub(super) fn describe(&self) -> String {
        let state = match &self.state {
            State::Away => "away".into(),
            State::Greeting(_) => "greeting".into(),
            State::Reading(taken) => format!("reading, {} bytes taken", taken.len()),
            State::Started(id) => format!("started {id}"),
            State::Sending { id, bytes, sent } => format!("{id}: {sent} of {}", bytes.len()),
        };
        format!("pool {}: {state}, {:?}, until {:?}", self.pool, self.fate, self.asleep_until)
    }

    /// From now on a model worker.
    pub(super) fn behave(&mut self) {
        self.manners = Manners { pause: self.manners.pause, ..Manners::default() };
    }

    /// Does a little; false if there was nothing to do.
    pub(super) fn act(&mut self, edge: &Edge, oracle: &mut Oracle) -> bool {
        let now = edge.kernel.now();
        if self.random.chance(20) {
            self.kept.pop();
        }
        if now < self.asleep_until {
            return false;
        }
        let Some(peer) = &self.peer else { return self.dial_in(edge, oracle) };
        let ended = peer.at_end() || peer.was_reset();
        let acted = match std::mem::replace(&mut self.state, State::Away) {
            State::Away => unreachable!("connected"),
            State::Greeting(answer) => self.greet(answer, ended, now),
            State::Reading(taken) => self.read(taken, ended, now, oracle),
            State::Started(id) => self.begin_answer(id, now, edge, oracle),
            State::Sending { id, bytes, sent } => self.send(id, bytes, sent, ended, edge, oracle),
        };
        if acted && self.manners.pause > 0 {
            self.sleep(now, self.manners.pause);
        }
        acted
    }

    fn dial_in(&mut self, edge: &Edge, oracle: &mut Oracle) -> bool {
        if self.stays_away {
            return false;
        }
        self.capacity = self.random.within(4_000..=30_000);
        edge.kernel.set_capacity(self.capacity);
        let peer = edge.kernel.connect(edge.sockets[self.pool]);
        assert_eq!(peer.send(GREETING), GREETING.len());
        oracle.on_slot(self.pool, peer.faulted());
        self.peer = Some(peer);
        self.state = State::Greeting(Vec::new());
        true
    }

    fn greet(&mut self, mut answer: Vec<u8>, ended: bool, now: Time) -> bool {
        if ended {
            return self.end(now);
        }
        let before = answer.len();
        let peer = self.peer.as_ref().expect("connected");
        while !answer.ends_with(b"\r\n\r\n") && peer.receive_into(1, &mut answer) == 1 {}
        let acted = answer.len() > before;
        self.state = State::Greeting(answer);
        if let State::Greeting(answer) = &self.state
            && answer.ends_with(b"\r\n\r\n")
        {
            assert!(answer.starts_with(b"HTTP/1.1 101 "));
            self.next_request();
        }
        acted
    }

    fn next_request(&mut self) {
        self.state = State::Reading(Vec::new());
        self.files.clear();
        let Manners { dies, leaves, babbles, hangs, .. } = self.manners;
        let random = &mut self.random;
        self.fate = if random.chance(dies) {
            use Fate::{DieHalfRead, DieInContent, DieInHead, DieStarted, DieUnread};
            [DieUnread, DieHalfRead, DieStarted, DieInHead, DieInContent][random.within(0..=4)]
        } else if random.chance(leaves) {
            [Fate::LeaveUnread, Fate::LeaveAfter, Fate::CloseAfter][random.within(0..=2)]
        } else if random.chance(babbles) {
            use Fate::{Babble, BabbleBefore, BabbleBehind, Misuse};
            [Babble, BabbleBehind, BabbleBefore, Misuse][random.within(0..=3)]
        } else if random.chance(hangs) {
            Fate::Hang
        } else {
            Fate::Answer
        };
    }

    /// Takes all of a request but its last byte; when that is there decides, and starts.
    fn read(&mut self, mut taken: Vec<u8>, ended: bool, now: Time, oracle: &mut Oracle) -> bool {
        let peer = self.peer.as_ref().expect("connected");
        if taken.is_empty() {
            loan::ignore(peer);
        }
        let mut seen = taken.clone();
        seen.extend_from_slice(&peer.peek());
        if seen.is_empty() {
            self.state = State::Reading(taken);
            if self.fate == Fate::LeaveUnread && self.random.chance(20) {
                return self.leave(now);
            }
            if self.fate == Fate::BabbleBefore && !ended {
                peer.send(SURPLUS);
                self.fate = Fate::Answer;
                return true;
            }
            return ended && self.end(now);
        }
        let Some(request) = Incoming::parse(&seen, oracle) else {
            self.state = State::Reading(taken);
            return ended && self.end(now);
        };
        assert_eq!(oracle.request(request.id).pool, self.pool, "another pool's request");
        oracle.on_sight(request.id, peer.faulted());
        match self.fate {
            Fate::DieUnread if taken.is_empty() => return self.crash(request.id, now, oracle),
            Fate::LeaveUnread => return self.leave(now),
            _ => {}
        }
        let most = (request.len - 1 - taken.len()).min(seen.len() - taken.len());
        let most = if most > 1 { self.random.within(1..=most) } else { most };
        let count = peer.receive_into(most, &mut taken);
        self.files.extend(peer.take_files());
        if self.fate == Fate::DieHalfRead && taken.len() * 2 >= request.len {
            return self.crash(request.id, now, oracle);
        }
        assert!(seen.len() <= request.len, "more than one request on a slot");
        if taken.len() + 1 < request.len || seen.len() < request.len {
            self.state = State::Reading(taken);
            return count > 0 || (ended && self.end(now));
        }
        if ended {
            return self.end(now);
        }
        request.check(&seen, &self.files, oracle);
        assert_eq!(peer.receive_at_most(1).len(), 1);
        oracle.on_start(request.id);
        self.state = State::Started(request.id);
        if self.fate == Fate::Hang {
            oracle.on_hang(request.id);
            self.asleep_until = now.after(self.manners.hang);
        }
        true
    }

    fn begin_answer(&mut self, id: usize, now: Time, edge: &Edge, oracle: &mut Oracle) -> bool {
        if self.fate == Fate::DieStarted {
            oracle.on_break(id);
            if self.is_killed(true) {
                oracle.on_fault(id);
            }
            return self.end(now);
        }
        let mut bytes = Vec::new();
        if self.fate == Fate::Babble {
            oracle.on_break(id);
            bytes.extend_from_slice(NONSENSE);
        } else {
            self.write_answer(id, edge, oracle, &mut bytes);
        }
        self.state = State::Sending { id, bytes, sent: 0 };
        true
    }

    fn send(
        &mut self,
        id: usize,
        bytes: Vec<u8>,
        mut sent: usize,
        ended: bool,
        edge: &Edge,
        oracle: &mut Oracle,
    ) -> bool {
        let now = edge.kernel.now();
        if ended {
            // The edge wants no more of it, or this worker has been killed.
            oracle.on_break(id);
            return self.end(now);
        }
        let is_dying = self.loan.is_some() && self.fate == Fate::DieInContent;
        if is_dying && sent == bytes.len() && self.random.chance(500) {
            return self.end(now);
        }
        if self.takes_file && self.heeds(&bytes, &mut sent, edge, oracle) {
            self.state = State::Sending { id, bytes, sent };
            return true;
        }
        if self.loan.is_some() {
            self.state = State::Sending { id, bytes, sent };
            return false;
        }
        let peer = self.peer.as_ref().expect("connected");
        let rest = bytes.len() - sent;
        let mut most = if rest > 1 { self.random.within(1..=rest) } else { rest };
        if self.fate == Fate::BabbleBehind && most + SURPLUS.len() >= rest {
            // What comes behind comes with the last byte: later it could answer the next request.
            if self.capacity - peer.unread() < rest {
                self.state = State::Sending { id, bytes, sent };
                return false;
            }
            most = rest;
        }
        let files = if sent == 0 { self.answer_files.clone() } else { Vec::new() };
        let count = peer.send_with(&bytes[sent..sent + most], files);
        sent += count;
        if sent < bytes.len() {
            self.state = State::Sending { id, bytes, sent };
            return count > 0;
        }
        match self.fate {
            Fate::Answer | Fate::Hang | Fate::BabbleBehind | Fate::BabbleBefore => {
                self.next_request()
            }
            _ => return self.end(now),
        }
        true
    }

    fn crash(&mut self, id: usize, now: Time, oracle: &mut Oracle) -> bool {
        oracle.on_crash(id);
        let is_reaped = self.random.chance(700);
        self.is_killed(is_reaped);
        self.end(now)
    }

    /// Perhaps by a signal that means a fault; perhaps a child of it keeps the connection.
    fn is_killed(&mut self, is_reaped: bool) -> bool {
        let killed = self.random.chance(500);
        if let Some(peer) = self.peer.take_if(|_| killed) {
            if is_reaped {
                peer.kill(SIGSEGV)
            } else {
                peer.kill_unreaped(SIGSEGV)
            }
            if self.random.chance(500) {
                self.kept.push(peer);
            }
        }
        killed
    }

    fn leave(&mut self, now: Time) -> bool {
        let peer = self.peer.as_ref().expect("connected");
        let sent = peer.send(GOODBYE);
        assert!(sent == 0 || sent == GOODBYE.len());
        peer.finish();
        self.end(now)
    }

    /// Closes, and dials in again some time later.
    fn end(&mut self, now: Time) -> bool {
        (self.peer, self.loan) = (None, None);
        self.state = State::Away;
        self.sleep(now, 200);
        true
    }

    fn sleep(&mut self, now: Time, most: usize) {
        let time = Duration::from_millis(self.random.within(0..=most) as u64);
        self.asleep_until = self.asleep_until.max(now.after(time));
    }
}

/// From signal(7).
const SIGSEGV: i32 = 11;

pub(super) const GREETING: &[u8] = b"GET / HTTP/1.1\r\nHost: forebay\r\nConnection: Upgrade\r\n\
    Upgrade: forebay-slot/1\r\n\r\n";

const SURPLUS: &[u8] = b"HTTP/1.1 200 OK\r\nX-Answer-To: 0\r\nContent-Length: 0\r\n\r\n";

const NONSENSE: &[u8] = b"Traceback (most recent call last):\r\n\r\n";
