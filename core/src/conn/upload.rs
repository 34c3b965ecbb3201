//! Content that goes through the spool while it arrives.
//!
//! Owns the part of [`Client`] that has a spool file: one write is in flight at most, more is
//! received meanwhile. Must not know what is in the file.

use super::client::{Client, HURRY, State};
use super::memory::Pressure;
use super::own_answer;
use super::spool::SpoolFile;
use super::world::World;
use crate::http::Reject;
use crate::io::Done;

impl Client {
    /// Begins to spool, or goes on, where the content needs it.
    pub(super) fn spool_on(&mut self, w: &mut World) {
        let State::Content(content) = &mut self.state else { return };
        // What is here as a whole is never given up.
        if !content.has_arrived()
            && !content.reserve(Pressure::Uploads, &mut self.counted, &mut w.memory)
        {
            self.refuse_without_memory(w);
        } else if content.needs_spool() {
            let spool = SpoolFile::create(content.announced(), self.token, w);
            self.file_op = spool.is_busy();
            content.spool = Some(spool);
            match self.file_op {
                true => w.counters.requests_spooled.count(),
                false => self.refuse_unspooled(w),
            }
        } else if let Some(out) = content.next_write(&mut w.buffers)
            && let Some(spool) = &mut content.spool
        {
            match spool.write(out, self.token, w) {
                Ok(()) => self.file_op = true,
                Err(out) => {
                    w.buffers.give_outgoing(out);
                    self.refuse_unspooled(w);
                }
            }
        }
    }

    /// The spool file has been made or written, or not.
    pub(crate) fn on_spooled(&mut self, done: Done, w: &mut World) {
        debug_assert!(self.file_op);
        self.file_op = false;
        match &mut self.state {
            State::Content(content) => {
                let spool = content.spool.as_mut().expect("asked for this");
                match done {
                    Done::CreateFile { result } => spool.on_created(result, w),
                    Done::WriteFile { out, result } => {
                        if let Some(out) = spool.on_written(out, result, self.token, w) {
                            w.buffers.give_outgoing(out);
                        }
                    }
                    _ => unreachable!("spool files are only made and written"),
                }
                self.file_op = spool.is_busy();
                if spool.has_failed() {
                    self.refuse_unspooled(w);
                } else {
                    self.on_content_progress(w);
                }
            }
            _ => w.dispose(done),
        }
        self.settle(w);
    }

    /// It is too slow for how scarce memory is, or else it has no more than a part of its usual
    /// time.
    pub(crate) fn hurry(&mut self, pressure: Pressure, w: &mut World) {
        let patience = match &self.state {
            State::Content(content)
                if pressure >= Pressure::Uploads && content.is_slow(w.limits.rate_min, w.now) =>
            {
                w.counters.memory_uploads.count();
                self.refuse(Reject::BodyTimeout, w);
                return self.settle(w);
            }
            State::Content(content) if content.wants_input() => w.limits.client_body_timeout,
            State::Head if self.output.is_flushed() => w.limits.client_header_timeout,
            _ => return,
        };
        let soon = w.now.after(patience / HURRY);
        if self.receive_deadline.is_some_and(|at| at > soon) {
            (self.receive_deadline, self.hurried) = (Some(soon), Some(soon));
        }
    }

    /// `memory_budget` has nothing left for it.
    pub(super) fn refuse_without_memory(&mut self, w: &mut World) {
        count_lack_of_memory(w);
        self.refuse_unspooled(w);
    }

    /// Nor for a request of which only the head has been looked at.
    pub(super) fn answer_without_memory(&mut self, w: &mut World) {
        count_lack_of_memory(w);
        let length = self.write_no_room(w);
        self.on_answered(503, length, w);
    }

    /// Nor for the head of which its input is the beginning.
    pub(super) fn refuse_head_without_memory(&mut self, w: &mut World) {
        let input = std::mem::take(&mut self.input);
        self.on_refused_head(&input, w);
        w.buffers.give(input);
        self.refuse_without_memory(w);
    }

    /// Exactly this request cannot be taken; what the client still sends of it is thrown away.
    fn refuse_unspooled(&mut self, w: &mut World) {
        self.meta.keep_alive = false;
        self.linger = true;
        let length = self.write_no_room(w);
        w.buffers.give(std::mem::take(&mut self.input));
        if let State::Content(content) = std::mem::replace(&mut self.state, State::Ending) {
            content.dispose(&mut w.buffers);
        }
        self.on_answered(503, length, w);
    }

    fn write_no_room(&mut self, w: &mut World) -> u64 {
        let id = self.meta.id;
        let fields = [("X-Request-Id", id.as_str()), ("Retry-After", "1")];
        let why = "There is no room for the request.";
        own_answer::write_error(&mut self.output, 503, why, &fields, &self.meta, w)
    }
}

fn count_lack_of_memory(w: &mut World) {
    w.counters.memory_budget.count();
    if w.may_warn() {
        tracing::warn!("memory_budget is used up: requests get 503");
    }
}
