//! Clients: they send what they planned in the way they like, and check what comes back.
//!
//! Owns one connection's plan. Must not know what the edge does inside.

use super::Edge;
use super::oracle::Oracle;
use super::request::{self, Expected, Form, Planned, answer_content};
use super::response::{self, Seen};
use crate::io::Time;
use crate::io::sim::{Peer, Random};
use std::time::Duration;

pub(super) struct Client {
    random: Random,
    peer: Option<Peer>,
    plan: Vec<Planned>,
    style: Style,
    /// Requests of the plan that are being sent or have been.
    begun: usize,
    unsent: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    received_total: usize,
    answered: usize,
    /// The edge has said that it ends the connection.
    saw_last: bool,
    finished: bool,
    asleep_until: Time,
    is_over: bool,
}

/// How a client behaves.
pub(super) struct Style {
    /// Requests sent before the first is answered.
    window: usize,
    /// Most bytes sent and received at a time.
    piece: usize,
    gulp: usize,
    /// Most milliseconds between two acts.
    pause: usize,
    ending: Ending,
}

enum Ending {
    /// Closes when everything is answered.
    Close,
    /// Says that it sends no more, and waits for the end.
    HalfClose,
    /// Closes, or resets, after so many bytes sent or received.
    Sent(usize, bool),
    Received(usize, bool),
}

impl Client {
    pub(super) fn new(mut random: Random, oracle: &mut Oracle, start: Time) -> Client {
        let count = [1, 2, 5, 20][random.within(0..=3)];
        let plan: Vec<_> =
            (0..count).map(|n| request::any(&mut random, oracle, n == count - 1)).collect();
        let total = plan.iter().map(|planned| planned.bytes.len()).sum();
        let style = Style::any(&mut random, total);
        Client {
            random,
            peer: None,
            plan,
            style,
            begun: 0,
            unsent: Vec::new(),
            sent: 0,
            received: Vec::new(),
            received_total: 0,
            answered: 0,
            saw_last: false,
            finished: false,
            asleep_until: start,
            is_over: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// When it wants to act again.
    pub(super) fn wakes_at(&self, now: Time) -> Option<Time> {
        (!self.is_over && self.asleep_until > now).then_some(self.asleep_until)
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "answered {} of {}, begun {}, sent {}, unsent {}, received {}, last seen: {}, \
             now: {:?}, \
             left: {:?}",
            self.answered,
            self.plan.len(),
            self.begun,
            self.sent,
            self.unsent.len(),
            self.received_total,
            self.saw_last,
            self.plan.get(self.answered).map(Planned::describe),
            String::from_utf8_lossy(&self.received[..self.received.len().min(300)])
        )
    }

    /// Does a little; false if there was nothing to do.
    pub(super) fn act(&mut self, edge: &Edge, oracle: &mut Oracle) -> bool {
        let now = edge.kernel.now();
        if self.is_over || now < self.asleep_until {
            return false;
        }
        if self.peer.is_none() {
            if oracle.is_draining {
                self.is_over = true;
                return true;
            }
            edge.kernel.set_capacity(self.random.within(500..=20_000));
            let reactor = self.random.within(0..=edge.reactors.len() - 1);
            self.peer = Some(edge.connect(reactor));
        }
        let received = self.receive(oracle);
        let is_between = self.answered > 0 && self.answered == self.begun;
        if is_between && !self.is_over && self.random.chance(250) {
            self.asleep_until = now.after(THINKS);
            return true;
        }
        let acted = received | self.send() | self.maybe_leave(oracle);
        if acted && self.style.pause > 0 {
            let pause = self.random.within(0..=self.style.pause) as u64;
            self.asleep_until = now.after(Duration::from_millis(pause));
        }
        acted
    }

    fn receive(&mut self, oracle: &mut Oracle) -> bool {
        let peer = self.peer.as_ref().expect("connected");
        let count = peer.receive_into(self.style.gulp, &mut self.received);
        self.received_total += count;
        let (at_end, was_reset) = (peer.at_end(), peer.was_reset());
        while let Some(planned) = self.plan.get(self.answered)
            && let Some(seen) = response::parse(&self.received, planned.to_head, at_end)
        {
            self.received.drain(..seen.len);
            if seen.status != 100 {
                self.on_response(&seen, oracle);
            }
        }
        if self.saw_last && oracle.lacks_memory && self.plan[self.answered - 1].to_head {
            // A head that is refused before it is whole may not be known to be of HEAD.
            self.received.clear();
        }
        if at_end || was_reset {
            self.on_end(was_reset, oracle);
        }
        count > 0 || at_end || was_reset
    }

    fn on_response(&mut self, seen: &Seen, oracle: &mut Oracle) {
        let planned = &self.plan[self.answered];
        assert!(!self.saw_last, "an answer behind the last one");
        assert!(self.answered < self.begun, "an answer to nothing");
        match &planned.expected {
            Expected::Content(status, content) => {
                let failed = oracle.may_fail(seen.status);
                assert!(seen.status == *status || failed, "{}, not {status}", seen.head);
                assert!(seen.content == *content || failed || planned.to_head, "wrong content");
            }
            Expected::Status(status) => {
                let failed = oracle.may_fail(seen.status);
                assert!(seen.status == *status || failed, "{}, not {status}", seen.head);
            }
            Expected::Pool(id) => check_pool(*id, planned.to_head, seen, oracle),
        }
        // A request that cannot be spooled ends its connection.
        let is_unspooled = (oracle.disk_fails || oracle.lacks_memory) && seen.status == 503;
        let may_be_last = planned.ends || oracle.is_draining || is_unspooled;
        assert!(
            may_be_last || !seen.is_last,
            "the connection ends without a reason: {}",
            seen.head
        );
        oracle.on_head(seen.status);
        self.saw_last |= seen.is_last || (planned.ends && seen.status != 100);
        self.answered += 1;
    }

    /// The edge has ended the connection: why?
    fn on_end(&mut self, was_reset: bool, oracle: &mut Oracle) {
        self.leave(oracle);
        let for_pool = match self.plan.get(self.answered).map(|planned| &planned.expected) {
            Some(Expected::Pool(id)) => Some(*id),
            _ => None,
        };
        let is_broken = for_pool.is_some_and(|id| oracle.may_break(id));
        let is_faulted = self.peer.as_ref().is_some_and(|peer| peer.faulted().get());
        let is_excused = is_faulted || oracle.fails_at_random || oracle.is_stopped || is_broken;
        assert!(self.received.is_empty() || is_excused, "half an answer: {}", self.describe());
        assert!(!was_reset || is_excused || oracle.lacks_memory, "reset after {}", self.describe());
        let is_done = self.saw_last || (self.finished && self.answered == self.plan.len());
        let is_drained = oracle.is_draining && self.received.is_empty();
        // An idle connection may end while another request is on its way.
        let makes_room = oracle.lacks_memory || oracle.lacks_descriptors;
        let is_shed = makes_room && self.received.is_empty();
        let is_explained = is_done || is_excused || is_drained || is_shed || {
            self.finished && for_pool.is_some_and(|id| oracle.on_leave(id))
        };
        assert!(is_explained, "ended: {}", self.describe());
        self.peer = None;
    }

    fn send(&mut self) -> bool {
        let Some(peer) = &self.peer else { return false };
        if self.finished || self.saw_last {
            return false;
        }
        if self.unsent.is_empty()
            && self.begun < self.plan.len()
            && self.begun - self.answered < self.style.window
        {
            self.unsent.extend_from_slice(&self.plan[self.begun].bytes);
            self.begun += 1;
            // What is pipelined may share a packet.
            while self.begun < self.plan.len()
                && self.begun - self.answered < self.style.window
                && self.random.chance(700)
            {
                self.unsent.extend_from_slice(&self.plan[self.begun].bytes);
                self.begun += 1;
            }
        }
        let most = self.style.piece.min(self.unsent.len());
        let most = if most > 0 { self.random.within(1..=most) } else { 0 };
        let count = peer.send(&self.unsent[..most]);
        self.unsent.drain(..count);
        self.sent += count;
        let has_sent_all = self.begun == self.plan.len() && self.unsent.is_empty();
        if has_sent_all && matches!(self.style.ending, Ending::HalfClose) {
            peer.finish();
            self.finished = true;
            return true;
        }
        count > 0
    }

    fn maybe_leave(&mut self, oracle: &mut Oracle) -> bool {
        let Some(peer) = &self.peer else { return false };
        let (leaves, resets) = match self.style.ending {
            Ending::Close => (self.answered == self.plan.len() && !self.saw_last, false),
            Ending::HalfClose => (false, false),
            Ending::Sent(count, resets) => (self.sent >= count, resets),
            Ending::Received(count, resets) => {
                let is_done = self.answered == self.plan.len() && !self.saw_last;
                (self.received_total >= count || is_done, resets)
            }
        };
        if leaves {
            if resets {
                peer.reset();
            }
            self.peer = None;
            self.leave(oracle);
        }
        leaves
    }

    /// What it has seen of its next answer, and how many it has not.
    fn leave(&mut self, oracle: &mut Oracle) {
        self.is_over = true;
        let begun = response::begun(&self.received);
        begun.into_iter().for_each(|status| oracle.on_head(status));
        oracle.unseen += (self.begun - self.answered - usize::from(begun.is_some())) as u64;
    }
}

/// Somebody before another request, now and then: long enough to be idle.
const THINKS: Duration = Duration::from_secs(3);

fn check_pool(id: usize, to_head: bool, seen: &Seen, oracle: &mut Oracle) {
    let known = oracle.request(id);
    let answer = known.answer;
    if response::field(&seen.head, "x-answer-to") == Some(&id.to_string()) {
        assert_eq!(seen.status, answer.status, "request {id}");
        let without_content = to_head || matches!(answer.status, 204 | 304);
        let len = if without_content { 0 } else { answer.len };
        let expected = answer_content(id, len);
        // Who is killed inside such an answer seems to have ended it.
        let may_be_short = oracle.has_lost_worker(id) && answer.form == Form::UntilClose;
        let is_right = if may_be_short {
            expected.starts_with(&seen.content)
        } else {
            expected == seen.content
        };
        let got = seen.content.len();
        assert!(is_right, "request {id}: wrong content, {got} of {len}: {}", seen.head);
        oracle.on_answer(id);
    } else {
        assert!(
            response::field(&seen.head, "x-answer-to").is_none(),
            "request {id} got another's answer: {}",
            seen.head
        );
        oracle.on_failure(id, seen.status);
    }
}

impl Style {
    fn any(random: &mut Random, total: usize) -> Style {
        let ending = match random.within(0..=9) {
            0..6 => Ending::Close,
            6 => Ending::HalfClose,
            7 => Ending::Sent(random.within(1..=total), random.chance(500)),
            _ => Ending::Received(random.within(1..=20_000), random.chance(500)),
        };
        Style {
            window: [1, 1, 3, 100][random.within(0..=3)],
            piece: [1 + total / 200, 300, 100_000][random.within(0..=2)],
            gulp: [700, 10_000, usize::MAX][random.within(0..=2)],
            pause: [0, 0, 3, 30][random.within(0..=3)],
            ending,
        }
    }
}
