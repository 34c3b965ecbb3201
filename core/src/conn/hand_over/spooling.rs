//! A response that is more than memory may hold for its client.
//!
//! Owns when it goes to a spool file, and whether the worker writes that itself. Must not know the
//! order of its parts: that is the relay's.

use super::{HandOver, Phase, release};
use crate::conn::memory::Pressure;
use crate::conn::world::World;
use crate::io::{Done, Errno, Fd, Op, Outgoing, Stat};
use crate::pool::EndedBy;

impl HandOver {
    /// The client has taken what it can, and memory is full: what still comes goes through a file.
    pub(super) fn overflow(&mut self, w: &mut World) {
        if self.relay.overflows(w) && !self.lend(w) {
            self.relay.overflow(self.token, w);
        }
    }

    /// Lets the worker write to a file, if it can and that is worth it: when memory is scarce even
    /// what is on its way from the worker must not wait for the client.
    fn lend(&mut self, w: &mut World) -> bool {
        let Some(due) = self.upstream.due_to_file() else { return false };
        let is_large = due >= w.limits.response_memory as u64 && due <= w.limits.response_max;
        let may_lend = w.memory.pressure() == Pressure::None && is_large && self.can_say();
        may_lend && self.is_wanted() && self.relay.lend(due, self.token, w)
    }

    /// An operation on a spool file has ended.
    pub(crate) fn on_spooled(&mut self, done: Done, w: &mut World) {
        let is_lending = self.relay.loan().is_some_and(|loan| loan.is_creating());
        match done {
            Done::CreateFile { result } if is_lending => self.on_loan_created(result, w),
            Done::CreateFile { result } => self.relay.on_created(result, w),
            Done::WriteFile { out, result } => self.relay.on_written(out, result, self.token, w),
            Done::StatOpen { result } => return self.on_looked(result, w),
            _ => unreachable!("spool files are only made, written and looked at"),
        }
        if self.client.is_none() {
            self.relay.clear(&mut w.buffers);
        }
        self.relay.spool_on(self.token, w);
        self.receive(w);
        self.notify_client(w);
    }

    fn on_loan_created(&mut self, result: Result<Fd, Errno>, w: &mut World) {
        let loan = self.relay.loan().expect("asked for the file");
        match loan.on_created(result, w) {
            Some(offer) if self.can_say() && self.is_wanted() => self.say(offer, w),
            Some(offer) => {
                w.buffers.give_outgoing(offer);
                if let Some(loan) = self.relay.loan() {
                    loan.withdraw();
                }
            }
            None => self.overflow(w),
        }
    }

    /// How much the worker has written is known. If that is nothing new, and the client waits for
    /// more, the worker had better send it. Nobody looks again for nothing.
    fn on_looked(&mut self, result: Result<Stat, Errno>, w: &mut World) {
        let has_grown = self.relay.on_looked(result);
        if self.client.is_none() {
            self.relay.clear(&mut w.buffers);
        }
        let must_look_again = self.relay.loan().is_some_and(|loan| loan.must_look_again());
        let was_in_doubt = std::mem::take(&mut self.is_in_doubt);
        if !self.relay.is_lent() || self.ended().is_some() {
            return;
        }
        if has_grown {
            self.notify_client(w);
            self.deadline = Some(w.now.after(self.pool.core().limits().deadline));
        } else if was_in_doubt {
            self.end_late(w);
        } else if must_look_again {
            self.attend_to_loan(w);
        } else if self.relay.is_waited_for() {
            self.recall(w);
        }
    }

    /// What there is in a file of the worker's goes to a client that waits, and no more to one that
    /// has gone.
    pub(super) fn attend_to_loan(&mut self, w: &mut World) {
        if self.client.is_none() {
            self.recall(w);
        } else if self.relay.is_waited_for()
            && let Some(loan) = self.relay.loan()
        {
            loan.look(self.token, w);
        }
    }

    /// Its worker has said nothing for too long, but may have written.
    pub(super) fn doubt(&mut self, w: &mut World) {
        self.is_in_doubt = true;
        if let Some(loan) = self.relay.loan() {
            loan.look(self.token, w);
        }
    }

    fn recall(&mut self, w: &mut World) {
        if self.can_say()
            && let Some(loan) = self.relay.loan()
            && let Some(recall) = loan.recall(w)
        {
            self.say(recall, w);
        }
    }

    /// The worker has its request, and nothing else is on its way to it.
    fn can_say(&self) -> bool {
        let is_on_slot = matches!(self.phase, Phase::OnSlot { ended: None, .. });
        is_on_slot && self.request.is_sent && !self.sending
    }

    fn say(&mut self, out: Outgoing, w: &mut World) {
        let Phase::OnSlot { fd, .. } = self.phase else { unreachable!("there is a slot") };
        self.sending = true;
        w.submit(self.token, Op::Send { fd, out, more: false });
    }

    /// The worker has been told. What it wrote before it knew is there now. If it cannot be told
    /// because it has gone, what it has sent before is still to be received.
    pub(super) fn on_said(&mut self, out: Outgoing, result: Result<usize, Errno>, w: &mut World) {
        w.buffers.give_outgoing(out);
        if let (Some(is_reusable), Phase::OnSlot { slot, ended: None, .. }) =
            (self.answered.take(), &self.phase)
        {
            let slot = *slot;
            self.phase = Phase::Over;
            return release(self.pool.shared(), slot, is_reusable, w);
        }
        match result {
            Err(errno) if self.relay.is_lent() && !has_gone(errno) => {
                self.on_slot_end(EndedBy::of(errno), w);
            }
            _ => self.attend_to_loan(w),
        }
        self.conclude(w);
    }
}

fn has_gone(errno: Errno) -> bool {
    matches!(errno.0, libc::EPIPE | libc::ECONNRESET)
}
