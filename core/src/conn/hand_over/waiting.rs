//! An exchange that waits for a slot.
//!
//! Owns what follows from the queue's answers. Must not know its order.

use super::{HandOver, Phase};
use crate::conn::relay::{End, Failure};
use crate::conn::world::{Notice, World};
use crate::pool::{Admission, StillWaiting};

impl HandOver {
    pub(super) fn on_admission(&mut self, admission: Admission, w: &mut World) {
        match admission {
            Admission::Assigned { slot, fd } => self.dispatch(slot, fd, w),
            Admission::Queued(id, ask_at) => {
                self.phase = Phase::Waiting(Some(id));
                self.deadline = Some(ask_at);
                if let Some(client) = self.client {
                    w.notify(Notice::Queued { client });
                }
            }
            Admission::Full => {
                w.counters.queue_full.count();
                self.phase = Phase::Over;
                self.finish(End::Failed(Failure::QueueFull), w);
            }
        }
    }

    pub(super) fn on_still_waiting(&mut self, answer: StillWaiting, w: &mut World) {
        match answer {
            StillWaiting::Until(ask_at) => self.deadline = Some(ask_at),
            StillWaiting::Assigned => self.phase = Phase::Waiting(None),
            StillWaiting::TimedOut => {
                w.counters.queue_timeout.count();
                self.refuse(w);
            }
            StillWaiting::Delayed => {
                w.counters.queue_delay.count();
                self.refuse(w);
            }
        }
    }

    /// The client sends no more: so do clients that leave, and those that only half-close
    /// (RFC 9112 §9.6). What still waits is not run for either. Whoever has had a slot is served.
    pub(crate) fn on_input_end(&mut self, w: &mut World) {
        if let Phase::Waiting(Some(id)) = self.phase
            && self.relay.dispatched_at.is_none()
            && self.pool.core().cancel(id)
        {
            self.phase = Phase::Over;
            self.deadline = None;
            self.finish(End::Left, w);
        }
    }

    /// It has left the queue without a slot.
    fn refuse(&mut self, w: &mut World) {
        self.phase = Phase::Over;
        let failure = match self.pool.core().counts().slots {
            0 => Failure::NoWorker,
            _ => Failure::QueueTimeout,
        };
        if failure == Failure::NoWorker && w.may_warn() {
            tracing::warn!(pool = ?self.pool.shared().socket(), "503: no worker is there");
        }
        self.finish(End::Failed(failure), w);
    }
}
