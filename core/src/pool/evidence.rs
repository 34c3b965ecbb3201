//! What may be done with a request whose slot ended before its response did.
//!
//! Owns the rules. Must not know how the facts are found out.
//!
//! A request goes to another worker only if it surely was not started, or once if running it
//! twice is harmless (RFC 9110 §9.2.2). A worker consumes the last bytes of a request as the last
//! act before the call, and the kernel says whether it did: a Unix socket that is closed with
//! unread bytes gives its peer `ECONNRESET`, one without gives it end of file (unix(7)).

use crate::io::{Death, Errno};

/// What the owner of an exchange knows when its slot ends, or its deadline passes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Our sends accepted every byte of the request.
    pub(crate) request_sent_whole: bool,
    /// Any byte came from the worker that is not of a goodbye.
    pub(crate) response_begun: bool,
    /// The worker said that it leaves.
    pub(crate) goodbye: bool,
    pub(crate) ended_by: EndedBy,
    /// How the worker's process ended, once that is known; it need not be.
    pub(crate) death: Option<Death>,
    /// The request's method is idempotent.
    pub(crate) idempotent: bool,
    /// How often other workers crashed under this request.
    pub(crate) crashes_so_far: u32,
    /// The request has had its [`Verdict::RepeatOnce`].
    pub(crate) already_repeated: bool,
}

/// How the exchange on a slot ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum EndedBy {
    EndOfFile,
    /// A send or a receive said `ECONNRESET`. The kernel says it once.
    Reset,
    /// Any other error.
    Other(Errno),
    /// We ended it: its deadline has passed, nobody waits for it, or the server stops.
    CutOff,
}

impl Verdict {
    /// The worker's death can say more.
    pub(crate) fn depends_on_death(self) -> bool {
        matches!(self, Verdict::RepeatOnce | Verdict::BadGateway)
    }
}

impl EndedBy {
    /// By a send or receive that failed so.
    pub(crate) fn of(errno: Errno) -> EndedBy {
        match errno {
            Errno(libc::ECONNRESET) => EndedBy::Reset,
            other => EndedBy::Other(other),
        }
    }
}

/// What to do with the request.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Back to the head of the queue. Counts as a crash unless the worker said goodbye.
    NotStarted,
    /// Not started, but [`CRASHES_MOST`] workers have crashed under it: 502.
    GiveUp,
    /// It may have started, but is idempotent and unanswered: to another worker, this once.
    RepeatOnce,
    /// It may have started, and is not idempotent, has been repeated or may have killed its worker:
    /// 502.
    BadGateway,
    /// Its response has begun, and the client must be able to tell that it is not whole: abort
    /// the connection, or 502 if nothing of it has been sent to the client.
    Abort,
    /// 504.
    GatewayTimeout,
}

/// Judges a request whose slot ended inside the exchange.
///
/// | seen | verdict |
/// |---|---|
/// | any byte of a response | started, whatever follows |
/// | we have cut it off | too late for another worker |
/// | a goodbye | not started |
/// | not every byte of the request was sent | not started |
/// | reset, or unread bytes at the worker's death | not started |
/// | everything else, end of file in particular | may have started |
/// | that, and a signal that a request may be to blame for | may have started, and is never repeated |
pub(crate) fn judge(evidence: &Evidence) -> Verdict {
    if evidence.response_begun {
        return Verdict::Abort;
    }
    if evidence.ended_by == EndedBy::CutOff {
        return Verdict::GatewayTimeout;
    }
    if evidence.goodbye {
        return Verdict::NotStarted;
    }
    if surely_unread(evidence) {
        let crashes = evidence.crashes_so_far.saturating_add(1);
        return if crashes < CRASHES_MOST { Verdict::NotStarted } else { Verdict::GiveUp };
    }
    let killed_by = evidence.death.and_then(|death| death.signal);
    let perhaps_deadly = killed_by.is_some_and(is_blamed_on_requests);
    if evidence.idempotent && !evidence.already_repeated && !perhaps_deadly {
        return Verdict::RepeatOnce;
    }
    Verdict::BadGateway
}

/// The worker cannot have consumed the last bytes of the request.
fn surely_unread(evidence: &Evidence) -> bool {
    !evidence.request_sent_whole
        || evidence.ended_by == EndedBy::Reset
        || evidence.death.is_some_and(|death| death.left_unread)
}

/// What ends a process that has done something wrong (signal(7), action "Core"), and SIGKILL: want
/// of memory and a request that has taken too long look like anybody else's.
fn is_blamed_on_requests(signal: i32) -> bool {
    use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGSYS, SIGTRAP};
    use libc::{SIGXCPU, SIGXFSZ};
    let faults = [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ];
    signal == SIGKILL || faults.contains(&signal)
}

/// Workers that may crash under one request before it is given up.
pub(crate) const CRASHES_MOST: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that took the whole request and was gone: the weakest evidence.
    const GONE: Evidence = Evidence {
        request_sent_whole: true,
        response_begun: false,
        goodbye: false,
        ended_by: EndedBy::EndOfFile,
        death: None,
        idempotent: false,
        crashes_so_far: 0,
        already_repeated: false,
    };

    fn death(signal: impl Into<Option<i32>>, left_unread: bool) -> Option<Death> {
        Some(Death { signal: signal.into(), left_unread })
    }

    const EPIPE: EndedBy = EndedBy::Other(Errno(libc::EPIPE));

    #[test]
    fn a_request_that_was_not_sent_whole_is_not_started() {
        for ended_by in [EndedBy::EndOfFile, EndedBy::Reset, EPIPE] {
            let seen = Evidence { request_sent_whole: false, ended_by, ..GONE };
            assert_eq!(judge(&seen), Verdict::NotStarted);
        }
    }

    #[test]
    fn a_request_that_crossed_with_a_goodbye_is_not_started() {
        for ended_by in [EndedBy::EndOfFile, EndedBy::Reset, EPIPE] {
            let seen = Evidence { goodbye: true, ended_by, ..GONE };
            assert_eq!(judge(&seen), Verdict::NotStarted);
        }
    }

    #[test]
    fn after_a_response_byte_it_is_started_whatever_follows() {
        for ended_by in [EndedBy::EndOfFile, EndedBy::Reset, EPIPE, EndedBy::CutOff] {
            for bits in 0..16 {
                let seen = Evidence {
                    response_begun: true,
                    ended_by,
                    request_sent_whole: bits & 1 != 0,
                    goodbye: bits & 2 != 0,
                    death: death(None, bits & 4 != 0),
                    idempotent: bits & 8 != 0,
                    ..GONE
                };
                assert_eq!(judge(&seen), Verdict::Abort, "{seen:?}");
            }
        }
    }

    #[test]
    fn a_reset_says_that_the_request_was_not_consumed() {
        assert_eq!(judge(&Evidence { ended_by: EndedBy::Reset, ..GONE }), Verdict::NotStarted);
    }

    #[test]
    fn so_do_bytes_that_lay_unread_at_the_workers_death() {
        for ended_by in [EndedBy::EndOfFile, EPIPE] {
            let seen = Evidence { death: death(libc::SIGKILL, true), ended_by, ..GONE };
            assert_eq!(judge(&seen), Verdict::NotStarted);
        }
    }

    #[test]
    fn everything_else_may_have_started() {
        for ended_by in [EndedBy::EndOfFile, EPIPE] {
            for death in [None, death(None, false)] {
                let seen = Evidence { ended_by, death, ..GONE };
                assert_eq!(judge(&seen), Verdict::BadGateway);
                let seen = Evidence { idempotent: true, ..seen };
                assert_eq!(judge(&seen), Verdict::RepeatOnce);
                let seen = Evidence { already_repeated: true, ..seen };
                assert_eq!(judge(&seen), Verdict::BadGateway);
            }
        }
    }

    #[test]
    fn a_request_that_may_have_killed_its_worker_is_not_repeated() {
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT, libc::SIGKILL] {
            let seen = Evidence { idempotent: true, death: death(signal, false), ..GONE };
            assert_eq!(judge(&seen), Verdict::BadGateway);
            // If it was not started, it has killed nobody.
            let seen = Evidence { ended_by: EndedBy::Reset, ..seen };
            assert_eq!(judge(&seen), Verdict::NotStarted);
        }
        for signal in [None, Some(libc::SIGTERM), Some(libc::SIGINT), Some(libc::SIGHUP)] {
            let seen = Evidence { idempotent: true, death: death(signal, false), ..GONE };
            assert_eq!(judge(&seen), Verdict::RepeatOnce);
        }
    }

    #[test]
    fn three_workers_may_crash_before_a_start_and_any_number_say_goodbye() {
        let crashed =
            |crashes_so_far| Evidence { ended_by: EndedBy::Reset, crashes_so_far, ..GONE };
        let verdicts = [0, 1, 2, 3, u32::MAX].map(|crashes| judge(&crashed(crashes)));
        use Verdict::{GiveUp, NotStarted};
        assert_eq!(verdicts, [NotStarted, NotStarted, GiveUp, GiveUp, GiveUp]);
        let seen = Evidence { goodbye: true, ..crashed(u32::MAX) };
        assert_eq!(judge(&seen), NotStarted);
    }

    #[test]
    fn a_request_that_was_repeated_is_still_not_started_when_it_is_not() {
        let seen = Evidence { already_repeated: true, ended_by: EndedBy::Reset, ..GONE };
        assert_eq!(judge(&seen), Verdict::NotStarted);
    }

    #[test]
    fn past_its_deadline_nothing_is_repeated() {
        for bits in 0..16 {
            let seen = Evidence {
                ended_by: EndedBy::CutOff,
                request_sent_whole: bits & 1 != 0,
                goodbye: bits & 2 != 0,
                death: death(None, bits & 4 != 0),
                idempotent: bits & 8 != 0,
                ..GONE
            };
            assert_eq!(judge(&seen), Verdict::GatewayTimeout, "{seen:?}");
        }
    }
}
