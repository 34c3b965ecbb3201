//! Requests answered by code of the embedding program, in this process.
//!
//! Owns the public types of such an exchange. Must not know connections, of which it has tokens, or
//! the ring.

mod remains;

use crate::http::{self, Version};
use crate::io::{Share, Token};
use bytes::Bytes;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) use remains::{EndsElsewhere, Remains, dispose};

/// A whole request: nothing of it is still on its way.
#[derive(Clone)]
pub struct Request {
    /// The lines of a head that [`http::write_request`] has written.
    head: Bytes,
    _share: Option<Share>,
    version: Version,
    content: Bytes,
    peer: SocketAddr,
}

impl Request {
    /// `head` is the canonical one without its end and without what is meant for workers; `share`
    /// is what it has of `memory_budget`.
    pub(crate) fn new(
        head: &[u8],
        share: Option<Share>,
        version: Version,
        content: Bytes,
        peer: SocketAddr,
    ) -> Request {
        Request { head: Bytes::copy_from_slice(head), _share: share, version, content, peer }
    }

    /// The method, as sent: methods are case-sensitive (RFC 9110 §9.1).
    pub fn method(&self) -> &str {
        self.word(0)
    }

    /// Path and query in origin form, dot segments resolved.
    pub fn target(&self) -> &str {
        self.word(1)
    }

    /// The path, without query.
    pub fn path(&self) -> &str {
        http::split_query(self.target()).0
    }

    /// What follows the first `?`, if there is one.
    pub fn query(&self) -> Option<&str> {
        http::split_query(self.target()).1.strip_prefix('?')
    }

    /// The protocol version that the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The fields in order, names as sent.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines().skip(1).filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((text(&line[..colon]), line[colon + 1..].trim_ascii_start()))
        })
    }

    /// The value of the first field of this name, compared without case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The content, decoded from its transfer coding; empty if there is none.
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// The client's address; port 0 if a trusted proxy has not told it.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Of the request line.
    fn word(&self, number: usize) -> &str {
        let line = self.lines().next().unwrap_or_default();
        text(line.split(|&byte| byte == b' ').nth(number).unwrap_or_default())
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.head.split(|&byte| byte == b'\n');
        lines.filter_map(|line| line.strip_suffix(b"\r"))
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("head", &self.head)
            .field("version", &self.version)
            .field("content", &self.content)
            .field("peer", &self.peer)
            .finish()
    }
}

/// Methods, targets and names are ASCII: nothing else is let in.
fn text(ascii: &[u8]) -> &str {
    str::from_utf8(ascii).unwrap_or_default()
}

/// An answer: status, fields, content. `Date`, `Content-Length` and `Connection` are added.
///
/// What content has that a handler answers with, such as the owner in `Bytes::from_owner`, may be
/// dropped by a reactor when it has been sent: that must be quick, and a panic ends the server. A
/// route's fixed content ends as a [`Handler`] does.
#[derive(Clone, Debug)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(crate) content: Bytes,
}

/// Why a [`Response`] cannot be made. See [`Response::with_status`], [`Response::with_field`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// Final statuses are 200 to 599.
    #[error("status {0} is not one of 200 to 599")]
    Status(u16),
    /// Not a token (RFC 9110 §5.1), or a field that the edge writes itself.
    #[error("{0:?} is not a field name that a handler may set")]
    FieldName(String),
    /// Contains a control character (RFC 9110 §5.5).
    #[error("the value of {0} contains a control character")]
    FieldValue(String),
}

impl Response {
    /// 200 with this content and no fields.
    pub fn new(content: impl Into<Bytes>) -> Response {
        Response { status: 200, fields: Vec::new(), content: content.into() }
    }

    /// 200 with this text, as `text/plain; charset=utf-8`.
    pub fn text(content: impl Into<String>) -> Response {
        let mut response = Response::new(content.into());
        response.fields.push(("Content-Type".into(), "text/plain; charset=utf-8".into()));
        response
    }

    /// The same with another status.
    ///
    /// # Errors
    /// A status outside 200–599.
    pub fn with_status(mut self, status: u16) -> Result<Response, ResponseError> {
        if !(200..=599).contains(&status) {
            return Err(ResponseError::Status(status));
        }
        self.status = status;
        Ok(self)
    }

    /// The same with one more field.
    ///
    /// # Errors
    /// A name that is not a token or that the edge owns (`Connection`, `Content-Length`, `Date`,
    /// `Transfer-Encoding`, …), or a value with control characters.
    pub fn with_field(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Response, ResponseError> {
        let (name, value) = (name.into(), value.into());
        let owned_by_edge = ["connection", "content-length", "date", "transfer-encoding"];
        let is_owned = owned_by_edge.iter().any(|n| name.eq_ignore_ascii_case(n));
        if !http::is_token(name.as_bytes()) || is_owned || http::is_hop_by_hop(&name) {
            return Err(ResponseError::FieldName(name));
        }
        if !http::is_field_value(value.as_bytes()) {
            return Err(ResponseError::FieldValue(name));
        }
        self.fields.push((name.into(), value.into()));
        Ok(self)
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }
}

/// Answers requests inside the edge's process, on its reactor threads.
///
/// Return within a millisecond: everybody else on this core waits meanwhile. Longer work keeps
/// the [`Reply`] and answers from another thread, which is best started before the server, as a
/// new one would be pinned to this core. Overruns are counted. A panic is a 500 for that request
/// alone, unless the program is built with `panic = "abort"`.
///
/// A handler that keeps a [`Reply`] for longer than
/// [`handler_timeout`](crate::Limits::handler_timeout) has lost it: the client is answered 504.
/// Until then the connection stays open, and [`Handle::stop`](crate::Handle::stop) waits for it. A
/// dropped reply is a 500.
///
/// It is dropped by the thread in [`Server::run`](crate::Server::run), after a reload or at the
/// end, when the last call of it is over: that may take its time, which `run` waits for, and panic.
///
/// Closures `Fn(Request, Reply)` are handlers.
pub trait Handler: Send + Sync + 'static {
    /// Answers `request`, now or later, by [`Reply::send`].
    fn call(&self, request: Request, reply: Reply);
}

impl<F: Fn(Request, Reply) + Send + Sync + 'static> Handler for F {
    fn call(&self, request: Request, reply: Reply) {
        self(request, reply);
    }
}

/// Who takes answers to their clients.
pub(crate) trait Deliver: Send + Sync {
    /// `None`: the right to answer was given up.
    fn deliver(&self, client: Token, response: Option<Response>);
}

/// The right to answer one request, once, from any thread. Dropped unused, the client gets 500.
pub struct Reply {
    client: Token,
    /// None: it has been used.
    by: Option<Arc<dyn Deliver>>,
}

impl Reply {
    pub(crate) fn new(client: Token, by: Arc<dyn Deliver>) -> Reply {
        Reply { client, by: Some(by) }
    }

    /// Answers the request. If the client has gone meanwhile, or has been answered 504, nothing
    /// happens.
    pub fn send(mut self, response: Response) {
        if let Some(by) = self.by.take() {
            by.deliver(self.client, Some(response));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(by) = self.by.take() {
            by.deliver(self.client, None);
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_from_its_lines() {
        let head = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nA: b: c\r\nEmpty: \r\nA: \xff\r\n";
        let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
        let request = Request::new(head, None, Version::Http10, Bytes::new(), peer);
        assert_eq!((request.method(), request.target()), ("GET", "/a?b=c"));
        assert_eq!((request.path(), request.query()), ("/a", Some("b=c")));
        let fields: Vec<_> = request.fields().collect();
        let expected: [(&str, &[u8]); 4] =
            [("Host", b"x"), ("A", b"b: c"), ("Empty", b""), ("A", b"\xff")];
        assert_eq!(fields, expected);
        assert_eq!((request.field("a"), request.field("b")), (Some(&b"b: c"[..]), None));
        assert_eq!((request.version(), request.peer()), (Version::Http10, peer));
    }
}
