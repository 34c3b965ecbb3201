//! What becomes of a request whose slot has ended before its response did (I7).
//!
//! Owns the collection of the evidence, and what follows from the verdict. Must not know the rules
//! by which it is found: those are the pool's.

use super::{HandOver, Inquest, Phase, release};
use crate::conn::relay::{End, Failure};
use crate::conn::world::World;
use crate::io::{Death, Errno, Fd, Op, PeerEnd};
use crate::pool::{EndedBy, Evidence, Ticket, Verdict, judge};
use std::time::Duration;

impl HandOver {
    /// When a slot has ended and nothing is in flight on it: reads the evidence (I7).
    pub(super) fn conclude(&mut self, w: &mut World) {
        let Phase::OnSlot { slot, fd, ended: Some(by) } = self.phase else { return };
        if self.sending || self.receiving || self.inquest == Inquest::Held {
            return;
        }
        self.worker = self.pool.core().process(slot).unwrap_or_default();
        let verdict = judge(&self.evidence(by));
        if verdict.depends_on_death() && self.inquest == Inquest::None && self.is_wanted() {
            return self.hold_inquest(fd, w);
        }
        release(self.pool.shared(), slot, false, w);
        self.phase = Phase::Over;
        self.deadline = None;
        self.on_verdict(verdict, w);
    }

    fn evidence(&self, ended_by: EndedBy) -> Evidence {
        Evidence {
            request_sent_whole: self.request.is_sent,
            response_begun: self.upstream.has_received(),
            // A worker that got nothing of the request has not crashed under it.
            goodbye: self.has_left(),
            ended_by,
            death: self.death(),
            idempotent: self.request.meta().idempotent,
            crashes_so_far: self.crashes_of_others(),
            already_repeated: self.repeated,
        }
    }

    /// Asks how the worker died. It may not have been dead for long, and be reaped in a moment.
    fn hold_inquest(&mut self, fd: Fd, w: &mut World) {
        self.inquest = Inquest::Held;
        self.deadline = Some(w.now.after(INQUEST));
        w.submit(self.token, Op::PeerEnd(PeerEnd::with_cause(fd)));
    }

    /// The kernel has said how the worker died, or that it does not know.
    pub(crate) fn on_death(&mut self, result: Result<Death, Errno>, w: &mut World) {
        self.inquest = Inquest::Closed(result.ok());
        self.conclude(w);
    }

    /// It has lasted long enough.
    pub(super) fn end_inquest(&self, w: &mut World) {
        if self.inquest == Inquest::Held {
            w.submit(self.token, Op::Cancel { target: self.token });
        }
    }

    fn death(&self) -> Option<Death> {
        match self.inquest {
            Inquest::Closed(death) => death,
            Inquest::None | Inquest::Held => None,
        }
    }

    fn has_left(&self) -> bool {
        self.upstream.said_goodbye() || !self.request.is_begun
    }

    /// A dying process closes its slots one after the other, and while it does a request can be
    /// sent to several of them: that is one crash. A process of another namespace has no number
    /// (pid_namespaces(7)), so each of those counts.
    fn crashes_of_others(&self) -> u32 {
        let same = u32::from(self.has_crashed(self.worker));
        self.crashed.len() as u32 - same
    }

    fn has_crashed(&self, worker: u32) -> bool {
        worker != 0 && self.crashed.contains(&worker)
    }

    fn on_verdict(&mut self, verdict: Verdict, w: &mut World) {
        if self.client.is_none() || self.relay.is_finished() {
            return;
        }
        match verdict {
            Verdict::NotStarted => {
                if !self.has_left() && !self.has_crashed(self.worker) {
                    self.crashed.push(self.worker);
                }
                w.counters.requeued.count();
                self.again(w);
            }
            Verdict::RepeatOnce => {
                self.repeated = true;
                w.counters.repeated.count();
                self.again(w);
            }
            Verdict::Abort if self.upstream.has_passed() => {
                w.counters.responses_aborted.count();
                self.finish(End::Broken, w);
            }
            Verdict::GatewayTimeout => self.finish(End::Failed(Failure::Deadline), w),
            Verdict::GiveUp => {
                let id = self.request.meta().id;
                let request = id.as_str();
                tracing::warn!(request, "too many workers ended before they began it: 502");
                self.bad_gateway(w);
            }
            Verdict::Abort | Verdict::BadGateway => {
                let id = self.request.meta().id;
                let request = id.as_str();
                let (worker, signal) = (self.worker, self.death().and_then(|death| death.signal));
                if w.may_warn() {
                    tracing::warn!(request, worker, signal, "its worker ended inside it: 502");
                }
                self.bad_gateway(w);
            }
        }
    }

    fn bad_gateway(&mut self, w: &mut World) {
        w.counters.bad_gateway.count();
        self.finish(End::Failed(Failure::BadGateway), w);
    }

    /// Back to the head of the queue, with the patience that it had left.
    fn again(&mut self, w: &mut World) {
        self.upstream.restart();
        self.phase = Phase::Waiting(None);
        let give_up_at = w.now.after(self.patience);
        let ticket = Ticket { reactor: w.reactor, token: self.token, give_up_at };
        let admission = self.pool.core().request_again(ticket, self.worker, w.now);
        self.on_admission(admission, w);
    }
}

/// How long a dead worker's parent may take to ask for its exit status.
const INQUEST: Duration = Duration::from_secs(1);
