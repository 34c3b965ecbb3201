//! What the arbiter hears and says.
//!
//! Owns the vocabulary between [decisions](super::decisions) and their shell.

use std::time::Duration;

/// A process id.
pub(crate) type Pid = i32;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A worker of this generation was forked, as asked.
    Spawned(u64, Pid),
    /// A worker of this generation could not be forked; perhaps because the process that should
    /// have done it has ended.
    SpawnFailed(u64, Option<End>),
    /// A worker has its application, and begins to look for requests.
    Booted(Pid),
    /// A worker can take requests.
    Ready(Pid),
    /// A worker has answered as many requests as one may.
    Spent(Pid),
    /// A worker uses more memory than one may.
    TooLarge(Pid),
    /// A request of this worker should have ended a while ago.
    Overdue(Pid),
    /// No request of this worker, which had such a one, takes too long any more.
    OnTime(Pid),
    /// A child has ended; perhaps none of ours.
    Exited(Pid, End),
    /// The operator or the supervisor wants something.
    Asked(Request),
    /// A time given by `Core::next_wakeup` has come.
    Tick,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It exited with this code.
    Code(u8),
    /// This signal killed it.
    Signal(i32),
}

/// What can be asked of the arbiter, by signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// TERM: finish what runs, then end. Once more: [`Request::Quit`].
    Stop,
    /// INT, QUIT: end now.
    Quit,
    /// HUP: replace every worker, new before old.
    Reload(Targets),
    /// TTIN: one more.
    More,
    /// TTOU: one less, but never none.
    Less,
    /// WINCH: no workers, until a reload or TTIN.
    Rest,
    /// USR1: open the log files anew.
    Reopen,
}

/// What the arbiter aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Targets {
    /// At least 1.
    pub(crate) workers: usize,
    /// For workers that should end.
    pub(crate) graceful_timeout: Duration,
    /// For workers that begin, and for the first of a new generation to be ready.
    pub(crate) boot_timeout: Duration,
    /// Bytes; a worker that uses more is replaced.
    pub(crate) max_memory: Option<u64>,
}

/// What the shell should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start a worker of this generation, then tell, now or later, by [`Event::Spawned`] or
    /// [`Event::SpawnFailed`].
    Spawn(u64),
    /// Send a signal.
    Signal(Pid, Kill),
    /// Have this worker open its log file anew.
    Reopen(Pid),
    /// All workers are ready for the first time.
    Announce,
    /// This generation has proven that it can boot, and replaces the older ones.
    Adopted(u64),
    /// It could not: the older ones stay.
    Rejected(u64, Flaw),
    /// A worker of no new generation has not booted in time, and will be killed.
    NotBooted(Pid),
    /// A worker has become too large soon after its start, like the one before it: it will be
    /// replaced, but later each time.
    TooLargeAgain(Pid),
    /// End, with this exit code.
    Exit(u8),
}

/// What is wrong with a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Its first worker has ended.
    Ended(End),
    /// Its first worker was not ready in time.
    Late,
    /// No process could be made for it.
    NotStarted,
}

/// How a worker is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// TERM: finish the current request.
    Gracefully,
    /// A request takes too long: TERM, and the signal for that if the worker handles it, else ABRT
    /// likewise.
    Interrupt,
    /// It will be killed: what is it doing?
    Explain,
    /// QUIT: at once.
    Quickly,
    /// KILL: it did not.
    Forcibly,
}
