//! One request and its response on a connection, whoever is at its other end.
//!
//! Owns the order: receive, call, send. Must not know where connections come from.

mod loan;
mod receive;
mod responder;
mod send;

pub use responder::{Answered, Responder};

use crate::access::Record;
use crate::app::{App, Request};
use crate::log;
use crate::response::Response;
use crate::signals::Stop;
use crate::socket::{Socket, wait_readable};
use forebay::http::{HeadLimits, Reject, Version};
use receive::{Incoming, Interruption, Receiver, Reception, Seen};
use responder::{Reply, Sender};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Answers the requests of a thread: every [`App`] does, and so may whoever wants to make
/// something ready before the last bytes of a request are taken, or send while the application
/// is still at work.
pub trait Service {
    /// Answers one request.
    ///
    /// # Errors
    /// It was not taken: see [`Arrival::take`].
    fn answer(&self, arrival: Arrival<'_>) -> Result<Answered, Gone>;
}

impl<A: App + ?Sized> Service for A {
    fn answer(&self, arrival: Arrival<'_>) -> Result<Answered, Gone> {
        let (request, responder) = arrival.take()?;
        // Between the last byte taken and the call there is nothing.
        Ok(responder.send_result_of(|| self.call(request)))
    }
}

/// A request that is here, but for its last bytes: as long as they are in the kernel, the end of
/// this process tells the other end that the request was not started.
#[derive(Debug)]
pub struct Arrival<'a> {
    reception: Reception<'a>,
    incoming: Incoming,
    sender: &'a mut Sender,
}

impl<'a> Arrival<'a> {
    /// The request.
    pub fn request(&self) -> &Request {
        &self.incoming.request
    }

    /// Takes its last bytes. From now on the request counts as started: do this as the last act
    /// before the call.
    ///
    /// # Errors
    /// The other end has gone. There is nobody to answer.
    pub fn take(mut self) -> Result<(Request, Responder<'a>), Gone> {
        let Incoming { request, reply, rest } = self.incoming;
        self.reception.finish(rest).map_err(Gone)?;
        let responder =
            Responder::new(self.reception.socket, self.sender, reply, self.reception.terms);
        Ok((request, responder))
    }
}

/// A request could not be taken.
#[derive(Debug)]
pub struct Gone(Interruption);

/// What holds for the requests of a connection.
#[derive(Debug)]
pub(crate) struct Terms<'a> {
    /// The other end is the edge: its `Forebay-*` fields are facts, and it adds `Date` and
    /// whatever else a client needs.
    pub(crate) from_edge: bool,
    pub(crate) head: HeadLimits,
    /// Bytes of content.
    pub(crate) content_max: u64,
    /// For a whole head, from the first wait for it.
    pub(crate) header_timeout: Option<Duration>,
    /// Between two reads of content.
    pub(crate) body_timeout: Option<Duration>,
    /// Given up for this, until the last bytes of the request are taken.
    pub(crate) stop: Option<&'a Stop>,
    /// Another request may follow on the connection.
    pub(crate) keep_alive: bool,
    /// Not if any of these is readable when the application has answered.
    pub(crate) yields_to: &'a [BorrowedFd<'a>],
    /// The other end, if that is the client.
    pub(crate) peer: Option<SocketAddr>,
    /// It may say how the client has come to it.
    pub(crate) trusts_peer: bool,
    /// Its requests are in the access log.
    pub(crate) logs_access: bool,
}

impl Terms<'_> {
    fn must_yield(&self) -> bool {
        let is_readable =
            |&fd| wait_readable([fd], Some(Duration::ZERO)).is_ok_and(|[readable]| readable);
        self.yields_to.iter().any(is_readable)
    }
}

/// What becomes of the connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Another request may follow.
    Next,
    /// It is of no use any more after this one.
    Last,
    /// Nor is this one, but its client may go on sending, and a reset would eat what has not left
    /// of the answer (RFC 9112 §9.6).
    Lingers,
    /// An empty line has come, which is no part of a request (RFC 9112 §2.2).
    Nothing,
    /// It has ended without a request.
    Ended,
    /// The wish to stop came first; no request was begun.
    Stopped,
}

/// Exchanges requests for responses. Its buffers are reused: one per worker.
#[derive(Debug)]
pub(crate) struct Exchanger {
    receiver: Receiver,
    sender: Sender,
}

impl Exchanger {
    /// For requests whose heads have at most this many bytes.
    pub(crate) fn new(head_bytes: usize) -> Exchanger {
        Exchanger { receiver: Receiver::new(head_bytes), sender: Sender::default() }
    }

    /// Waits for one request and answers it.
    pub(crate) fn exchange<S: Service + ?Sized>(
        &mut self,
        socket: &Socket,
        service: &S,
        terms: &Terms<'_>,
    ) -> Outcome {
        let sender = &mut self.sender;
        let mut seen = Seen::default();
        let received = self.receiver.receive(socket, terms, &mut seen);
        let answered = received.and_then(|(reception, incoming)| {
            let arrival = Arrival { reception, incoming, sender };
            service.answer(arrival).map_err(|Gone(interruption)| interruption)
        });
        match answered {
            Ok(Answered(outcome)) => {
                seen.record.into_iter().for_each(|record| self.sender.log(record));
                outcome
            }
            Err(Interruption::Stopped) => Outcome::Stopped,
            Err(Interruption::Closed) => Outcome::Ended,
            Err(Interruption::EmptyLine) => Outcome::Nothing,
            Err(Interruption::Broken(why)) => {
                if terms.from_edge {
                    log::error!("the edge has broken the rules of a slot: {why}");
                }
                Outcome::Ended
            }
            Err(Interruption::Refused(reject)) => {
                if terms.from_edge {
                    let reason = reject.reason();
                    log::error!("the edge has sent a request that is malformed: {reason}");
                } else if reject == Reject::ContentTooLarge {
                    warn_of_content(terms.content_max);
                }
                self.refuse(socket, reject.status(), reject.reason(), terms, seen)
            }
            Err(Interruption::Tunnel) => {
                self.refuse(socket, 501, "No tunnels are made here", terms, seen)
            }
            Err(Interruption::Exhausted) => {
                log::error!("too many files are open to take the content of a request: 503");
                self.refuse(socket, 503, "No descriptor is left", terms, seen)
            }
        }
    }

    fn refuse(
        &mut self,
        socket: &Socket,
        status: u16,
        reason: &str,
        terms: &Terms<'_>,
        seen: Seen,
    ) -> Outcome {
        let response = Response::text(format!("{reason}\n"));
        let reply = Reply {
            to_head: seen.to_head,
            version: Version::Http11,
            keep_alive: false,
            expects_close: false,
            from_edge: terms.from_edge,
        };
        let responder = Responder::new(socket, &mut self.sender, reply, terms);
        let Answered(outcome) = responder.send(response.with_status(status));
        if terms.logs_access {
            self.sender.log(seen.record.unwrap_or_else(|| Record::unreadable(terms.peer)));
        }
        if terms.from_edge {
            socket.shutdown_write();
            socket.discard_until(Instant::now() + PATIENCE);
            return Outcome::Ended;
        }
        outcome
    }
}

/// For the operator, who may change that. Clients may repeat it: a line a second is enough.
fn warn_of_content(most: u64) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if LAST.swap(now, Ordering::Relaxed) != now {
        log::warning!("content of more than {most} bytes is a 413: --content-max allows no more");
    }
}

/// The answer for an application that could not.
pub fn server_error() -> Response {
    Response::text("Internal Server Error\n").with_status(500)
}

/// For the edge to read why it is refused.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod descriptor_tests;
#[cfg(test)]
mod loan_tests;
#[cfg(test)]
mod tests;
