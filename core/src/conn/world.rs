//! What a state machine may use of its reactor while it handles an event.
//!
//! Owns the reactor's share of everything that is not a connection: clock reading, caches, free
//! buffers, policy, and what goes out: operations and notices.

use super::address::LocalAddresses;
use super::buffers::Buffers;
use super::connection::Machines;
use super::memory::{Memory, Pressure};
use super::request_id::{RequestId, RequestIds};
use super::spool::Spool;
use crate::access_log::{AccessLog, Record};
use crate::files::{FileCache, FilesRoute};
use crate::growth;
use crate::handler::Handler;
use crate::http::{DateCache, Version};
use crate::io::{Budget, Done, Op, SharedFile, Time, Token};
use crate::limits::Limits;
use crate::per_address::Permit;
use crate::pool::{Assignment, ReactorId};
use crate::route::{Policy, RoutedPool, SharedPool};
use crate::stats::Counters;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// See the module's documentation.
pub(crate) struct World {
    pub(crate) reactor: ReactorId,
    pub(crate) now: Time,
    pub(crate) unix_seconds: u64,
    /// `Date` of this second.
    pub(crate) date: [u8; DATE_LEN],
    pub(crate) limits: Arc<Limits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) policy: Arc<Policy>,
    /// This reactor's view of the files routes, by number.
    pub(crate) file_routes: Vec<FilesRoute>,
    pub(crate) files: FileCache,
    pub(crate) spool: Spool,
    pub(crate) memory: Memory,
    pub(crate) buffers: Buffers,
    /// What `memory` knows of `buffers`.
    buffers_counted: u64,
    pub(super) machines: Machines,
    pub(super) locals: LocalAddresses,
    /// Bytes that the allocator has got back and may still keep.
    dropped: usize,
    pub(crate) log: Option<AccessLog>,
    /// No new requests are expected; every answer ends its connection.
    pub(crate) draining: bool,
    /// Operations to submit.
    pub(crate) ops: Vec<(Token, Op)>,
    /// What the reactor has to pass on.
    pub(crate) notices: VecDeque<Notice>,
    ids: RequestIds,
    /// No warning that any client can cause is repeated before.
    silent_until: Time,
}

/// What one state machine wants another one to know. The reactor passes it on.
pub(crate) enum Notice {
    /// A whole request for a pool.
    Dispatch { client: Token, pool: Arc<RoutedPool>, whole: Whole },
    /// A whole request for a handler.
    Handle { client: Token, handler: Arc<dyn Handler>, whole: Whole },
    /// The client's exchange has something for it.
    Relay { client: Token },
    /// The client's request waits for a slot.
    Queued { client: Token },
    /// The client of this exchange sends no more.
    InputEnded { exchange: Token },
    /// The client needs nothing more of this exchange. Its permit, if it has gone, and the
    /// record of its request, if it has got nothing.
    LetGo { exchange: Token, permit: Option<Permit>, record: Option<Box<Record>> },
    /// A request that may be another reactor's has got a slot.
    Assigned { pool: Arc<SharedPool>, assignment: Assignment },
    /// Nobody uses this slot any more; its warden is to close it.
    CloseSlot { warden: ReactorId, token: Token },
}

/// What a response must know of its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) version: Version,
    pub(crate) keep_alive: bool,
    pub(crate) to_head: bool,
    pub(crate) idempotent: bool,
    pub(crate) id: RequestId,
}

/// A request of which nothing is still on its way (invariant I1): the canonical head without its
/// end, and the content.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) head: Vec<u8>,
    pub(crate) content: Vec<u8>,
    /// Where the content is instead, from its first byte on.
    pub(crate) file: Option<Rc<SharedFile>>,
    /// `None`: no content was announced.
    pub(crate) content_length: Option<u64>,
    pub(crate) meta: Meta,
}

/// Bytes of an IMF-fixdate (RFC 9110 §5.6.7).
const DATE_LEN: usize = 29;

/// What a reactor is made of besides its backend.
pub(crate) struct WorldParts {
    pub(crate) reactor: ReactorId,
    pub(crate) seed: u64,
    pub(crate) limits: Arc<Limits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) file_routes: Vec<FilesRoute>,
    pub(crate) files: FileCache,
    pub(crate) spool: Spool,
    pub(crate) memory: Budget,
    pub(crate) log: Option<AccessLog>,
}

impl World {
    pub(crate) fn new(parts: WorldParts) -> World {
        World {
            reactor: parts.reactor,
            now: Time::default(),
            unix_seconds: 0,
            date: [b' '; DATE_LEN],
            memory: Memory::new(parts.memory, parts.limits.memory_budget),
            limits: parts.limits,
            counters: parts.counters,
            policy: parts.policy,
            file_routes: parts.file_routes,
            files: parts.files,
            spool: parts.spool,
            buffers: Buffers::default(),
            buffers_counted: 0,
            dropped: 0,
            machines: Machines::default(),
            locals: LocalAddresses::default(),
            log: parts.log,
            draining: false,
            ops: Vec::new(),
            notices: VecDeque::with_capacity(64),
            ids: RequestIds::new(parts.seed),
            silent_until: Time::default(),
        }
    }

    /// The clock has been read.
    pub(crate) fn set_time(&mut self, now: Time, unix_seconds: u64, date: &mut DateCache) {
        self.now = now;
        if self.unix_seconds != unix_seconds {
            self.unix_seconds = unix_seconds;
            self.date.copy_from_slice(date.at(unix_seconds).as_bytes());
        }
    }

    /// How long silence is waited for: not for long while the server drains.
    pub(crate) fn unless_draining(&self, usual: Duration) -> Duration {
        if self.draining { usual.min(DRAIN_GRACE) } else { usual }
    }

    /// Other bounds from now on.
    pub(crate) fn set_limits(&mut self, limits: Arc<Limits>) {
        self.memory.set_most(limits.memory_budget);
        self.limits = limits;
    }

    /// Buffers that nobody uses are memory like any other.
    pub(crate) fn count_buffers(&mut self) {
        self.memory.recount(&mut self.buffers_counted, self.buffers.free_bytes());
    }

    /// Drops buffers that nobody uses.
    pub(crate) fn shed(&mut self) {
        self.dropped += self.buffers.shed();
        self.count_buffers();
    }

    /// Drops what nobody has needed since the last call. True: it is quiet after much has been
    /// dropped, so the allocator should be asked to give that back, for which it looks at all that
    /// it has.
    pub(crate) fn trim(&mut self) -> bool {
        let dropped = self.buffers.trim() + self.machines.trim();
        self.dropped += dropped;
        self.count_buffers();
        let is_busy = dropped >= WORTH_ASKING || self.memory.pressure() > Pressure::None;
        if is_busy || self.dropped < WORTH_ASKING {
            return false;
        }
        self.dropped = 0;
        growth::trim(&mut self.ops);
        true
    }

    /// Whether [`World::trim`] may have something to do sooner or later.
    pub(crate) fn has_spare(&self) -> bool {
        self.dropped >= WORTH_ASKING || self.buffers.has_spare() || self.machines.has_spare()
    }

    /// Bytes of memory that somebody uses.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn bytes_in_use(&self) -> u64 {
        self.memory.used() - self.buffers_counted
    }

    /// Logs a request that has been answered.
    pub(crate) fn log(&mut self, record: Record) {
        let Some(log) = &self.log else { return };
        let mut line = self.buffers.small();
        record.write(&mut line, self.now, ascii(&self.date));
        log.push(&line);
        self.buffers.give(line);
        self.buffers.give(record.into_buffer());
    }

    pub(crate) fn submit(&mut self, token: Token, op: Op) {
        self.ops.push((token, op));
    }

    pub(crate) fn notify(&mut self, notice: Notice) {
        self.notices.push_back(notice);
    }

    /// Lets go of every file. Nobody asks for one any more.
    pub(crate) fn close_files(&mut self) {
        self.file_routes.clear();
        self.files.clear();
    }

    /// Disposes of what a completion carries that nobody waits for any more.
    pub(crate) fn dispose(&mut self, done: Done) {
        if let Some(fd) = done.descriptor() {
            self.submit(Token::NOBODY, Op::Close { fd });
        }
        match done {
            Done::Send { out, .. } | Done::WriteFile { out, .. } => {
                self.buffers.give_outgoing(out);
            }
            Done::Fill { buf, .. }
            | Done::FillWithFile { buf, .. }
            | Done::ReadFile { buf, .. } => self.buffers.give(buf),
            _ => {}
        }
    }

    /// Whether a warning that clients can cause may be logged now: once a second.
    pub(crate) fn may_warn(&mut self) -> bool {
        let may = self.now >= self.silent_until;
        if may {
            self.silent_until = self.now.after(Duration::from_secs(1));
        }
        may
    }

    /// What separates the parts of a multipart content: in none of them, unless by chance.
    pub(crate) fn next_boundary(&mut self) -> [u8; 16] {
        self.ids.next_digits()
    }

    pub(crate) fn next_request_id(&mut self) -> RequestId {
        self.ids.next()
    }
}

/// How long a draining server waits for a request on an idle connection.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Bytes dropped, for which the allocator is asked to give them back.
const WORTH_ASKING: usize = 64 << 10;

/// ASCII bytes as text.
pub(crate) fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
