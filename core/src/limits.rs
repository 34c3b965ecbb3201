//! Every bound and timeout of the edge: unit, default and why.
//!
//! Owns the defaults and what is not possible. Must not know who enforces them.
//!
//! The fields here, the keys of `[limits]` in proxy-bin's configuration and the names of the
//! counters in [`Stats`](crate::Stats) are the same words; nginx's words where nginx has one.

use std::time::Duration;

/// Bounds of the edge. Start from [`Limits::default`] and change what you must.
///
/// # Defaults
///
/// | field | default | |
/// |---|---|---|
/// | `client_header_timeout` | 10 s | accept, or first byte of a later request, to complete head |
/// | `client_body_timeout` | 30 s | between two reads of content |
/// | `send_timeout` | 30 s | while the client takes nothing of an answer |
/// | `rate_min` | 500 B/s | average of content, and of taking an answer, once 10 s have passed |
/// | `keepalive_timeout` | 75 s | idle between two requests |
/// | `keepalive_requests` | 10,000 | requests of one connection |
/// | `lingering_timeout` | 5 s | how long a refused client may go on sending |
/// | `head_bytes` | 32 KiB | request line and fields; more is 431 |
/// | `head_fields` | 100 | fields of a request; more is 431 |
/// | `target_bytes` | 8 KiB | request target; more is 414 |
/// | `content_memory` | 64 KiB | content of a request in memory; more goes to the spool |
/// | `content_max` | 16 MiB | content of a request; more is 413 |
/// | `response_head_bytes` | 64 KiB | head of a response; more is 502, also more than 272 fields |
/// | `response_memory` | 256 KiB | of a response, waiting for its client; more goes to the spool |
/// | `response_max` | 1 GiB | of a response, in the spool; beyond, the worker has to wait |
/// | `memory_budget` | 256 MiB | what requests hold, of the server; then less is kept, more refused |
/// | `spool_budget` | 4 GiB | spool files of the server; beyond, as if the disk were full |
/// | `connections` | 16,384 | client connections of the server |
/// | `connections_per_address` | 2,048 | those of one address without a complete head yet |
/// | `slots` | 4,096 | connections of workers of the server |
/// | `pipelined` | 16 | requests of one connection answered in one turn |
/// | `handler_timeout` | 60 s | how long a handler may keep a [`Reply`](crate::Reply); then 504 |
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// From accept, or from the first byte of a later request, to the complete head. Then 408.
    pub client_header_timeout: Duration,
    /// Between two reads of content. Then 408.
    pub client_body_timeout: Duration,
    /// How long a client may take nothing of an answer. Then the connection is aborted; up to a
    /// quarter later, because that is how often it is looked at.
    pub send_timeout: Duration,
    /// Bytes per second on average, of a request's content that arrives, and of answers that the
    /// client takes; once 10 s have passed. Content that is slower is answered 408, the connection
    /// of a client that takes less is aborted. Waiting for an application, or for a disk of ours,
    /// does not count. 0: no minimum.
    pub rate_min: u64,
    /// How long a connection may idle between two requests.
    pub keepalive_timeout: Duration,
    /// Requests of one connection; the last is answered with `Connection: close`.
    pub keepalive_requests: u64,
    /// How long a client may go on sending after an answer that ends the connection, so that it
    /// can read the answer (RFC 9112 §9.6).
    pub lingering_timeout: Duration,
    /// Bytes of request line and fields, at least [`Limits::HEAD_BYTES_LEAST`]. More is 431.
    pub head_bytes: usize,
    /// Fields of a request, at most [`Limits::HEAD_FIELDS_MOST`]. More is 431.
    pub head_fields: usize,
    /// Bytes of the request target. More is 414.
    pub target_bytes: usize,
    /// Bytes of a request's content that wait in memory. More goes to the spool file, and to the
    /// worker as a descriptor. Content for a handler always stays in memory.
    pub content_memory: u64,
    /// Bytes of a request's content. More is 413.
    pub content_max: u64,
    /// Bytes of the head of an application's response, at least [`Limits::HEAD_BYTES_LEAST`]. More
    /// is 502, and so are more than 272 fields, whatever this says.
    pub response_head_bytes: usize,
    /// Bytes of one response that wait in memory for a slow client. More goes to the spool file,
    /// so that the worker is free; or, with `X-Accel-Buffering: no`, is not read from the worker.
    pub response_memory: usize,
    /// Bytes of one response that wait in the spool file; beyond, the worker is not read from.
    pub response_max: u64,
    /// Bytes of memory of the whole server for everything that connections and requests hold:
    /// heads, content that arrives, waits or is at a handler, what is received from workers and
    /// waits for clients, and unused buffers. Not files kept in memory.
    ///
    /// As it is used up, in this order: above half of it, 4 KiB of new content and 16 KiB of a
    /// response stay in memory, the rest goes to the spool; above 10/16 connections that have
    /// waited a second for their next request end, the oldest first; above 12/16 silent clients
    /// have a quarter of the usual time; above 14/16 new requests with content are answered 503;
    /// above 15/16 uploads below `rate_min` end, responses are received in small pieces, and
    /// incomplete heads are answered 503; when all of it is used, so is every new request. What has
    /// been taken is never given up.
    pub memory_budget: u64,
    /// Bytes in the spool files of the whole server. Requests that need one and announce more than
    /// is left are answered 503 at once, others when they find nothing left; responses wait in
    /// memory and at their workers.
    pub spool_budget: u64,
    /// Client connections of the whole server. Beyond, a new one takes the place of the one that
    /// has idled longest between two requests at the same reactor, or is closed at once if none
    /// does.
    pub connections: usize,
    /// Connections of one address (IPv6: of one /64) that have not sent a complete request head
    /// yet. More are closed at once; not those of trusted proxies. The default fits
    /// that of `connections`; for another number of those there is [`Limits::per_address_for`].
    pub connections_per_address: usize,
    /// Connections of workers of the whole server, idle or at work: one for each request that they
    /// can run at the same time. More are closed at once, and dial in again later. Workers that
    /// replace others dial in before those leave, so there has to be room for both.
    pub slots: usize,
    /// Pipelined requests of one connection that are answered before others get their turn.
    pub pipelined: usize,
    /// How long a [`Handler`](crate::Handler) may keep a [`Reply`](crate::Reply). Then the client
    /// is answered 504, its connection ends, and what the reply is used for does not matter. As
    /// proxy-bin's own handlers answer at once, its configuration has no such key.
    pub handler_timeout: Duration,
}

impl Limits {
    /// The least value of `head_bytes` and `response_head_bytes`: less is no room for a usual head.
    pub const HEAD_BYTES_LEAST: usize = 512;
    /// The largest value of `head_fields`: room for them is on the stack.
    pub const HEAD_FIELDS_MOST: usize = 256;

    /// The value of `connections_per_address` that fits so many `connections`: an eighth, and 256
    /// at least.
    pub fn per_address_for(connections: usize) -> usize {
        (connections / 8).max(256)
    }

    /// Whether the limits can be used; building a server checks that, too.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn validate(&self) -> Result<(), &'static str> {
        if self.head_fields > Limits::HEAD_FIELDS_MOST {
            return Err("head_fields is at most 256");
        }
        if self.pipelined == 0 || self.connections == 0 || self.keepalive_requests == 0 {
            return Err("pipelined, connections and keepalive_requests are at least 1");
        }
        if self.connections_per_address == 0 || self.slots == 0 {
            return Err("connections_per_address and slots are at least 1");
        }
        if self.response_memory == 0 || self.head_fields == 0 || self.target_bytes == 0 {
            return Err("response_memory, head_fields and target_bytes are at least 1");
        }
        let least = [self.client_header_timeout, self.client_body_timeout, self.send_timeout];
        if least.contains(&Duration::ZERO) || self.handler_timeout.is_zero() {
            return Err("client_header_timeout, client_body_timeout, send_timeout and \
                 handler_timeout are more than 0; Duration::MAX is none");
        }
        if self.head_bytes.min(self.response_head_bytes) < Limits::HEAD_BYTES_LEAST {
            return Err("head_bytes and response_head_bytes are at least 512");
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        let connections = 16_384;
        Limits {
            client_header_timeout: Duration::from_secs(10),
            client_body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(30),
            rate_min: 500,
            keepalive_timeout: Duration::from_secs(75),
            keepalive_requests: 10_000,
            lingering_timeout: Duration::from_secs(5),
            head_bytes: 32 << 10,
            head_fields: 100,
            target_bytes: 8 << 10,
            content_memory: 64 << 10,
            content_max: 16 << 20,
            response_head_bytes: 64 << 10,
            response_memory: 256 << 10,
            response_max: 1 << 30,
            memory_budget: 256 << 20,
            spool_budget: 4 << 30,
            connections,
            connections_per_address: Limits::per_address_for(connections),
            slots: 4_096,
            pipelined: 16,
            handler_timeout: Duration::from_secs(60),
        }
    }
}
