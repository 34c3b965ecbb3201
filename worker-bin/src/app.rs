//! What an application is: a function from a whole request to a response.
//!
//! Owns the trait and the request. Must not know sockets or processes.

use crate::content::Content;
use crate::response::Response;
use bytes::Bytes;
use forebay::http::Version;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::OnceLock;
use std::time::Instant;

/// An application. It may block: a thread of a worker runs one request at a time.
///
/// Closures `Fn(Request) -> Response` are applications. A panic is a 500 for that request alone.
pub trait App: Send + Sync {
    /// Answers one request.
    fn call(&self, request: Request) -> Response;
}

impl<F: Fn(Request) -> Response + Send + Sync> App for F {
    fn call(&self, request: Request) -> Response {
        self(request)
    }
}

/// A whole request: nothing of it is still on its way.
///
/// Fields named `Forebay-*` never reach an application. Behind the edge they carry the facts that
/// [`peer`](Request::peer), [`local`](Request::local), [`scheme`](Request::scheme),
/// [`request_id`](Request::request_id) and [`deadline`](Request::deadline) give; from anybody else
/// they are dropped.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method, target, the names of fields and facts, one after the other: one allocation for all
    /// of them.
    text: String,
    /// The values of fields, likewise.
    values: Vec<u8>,
    method: Span,
    target: Span,
    version: Version,
    fields: Vec<(Span, Span)>,
    body: Content,
    /// What is in a file, once somebody has wanted it in memory.
    content: OnceLock<Bytes>,
    peer: Option<SocketAddr>,
    request_id: Option<Span>,
    local: Option<Span>,
    scheme: Option<Span>,
    deadline: Option<Instant>,
}

type Span = Range<usize>;

impl Request {
    /// A request without fields and content, as tests of applications need it: HTTP/1.1, no peer.
    pub fn new(method: &str, target: &str) -> Request {
        Request::with_capacity(method, target, Version::Http11, 0, 0)
    }

    /// The same with one more field.
    pub fn with_field(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.push_field(name, value.as_ref());
        self
    }

    /// The same with this content.
    pub fn with_content(self, content: impl Into<Bytes>) -> Request {
        self.with_body(Content::Inline(content.into()))
    }

    /// The same with this content, in memory or in a file.
    pub fn with_body(mut self, body: Content) -> Request {
        (self.body, self.content) = (body, OnceLock::new());
        self
    }

    /// The method, as sent: methods are case-sensitive (RFC 9110 §9.1).
    pub fn method(&self) -> &str {
        self.str(&self.method)
    }

    /// Path and query in origin form, or `*`.
    pub fn target(&self) -> &str {
        self.str(&self.target)
    }

    /// The path, without query.
    pub fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or_default()
    }

    /// What follows the first `?`, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.target().split_once('?').map(|(_, query)| query)
    }

    /// The version on the worker's connection. The edge always speaks HTTP/1.1 there.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The fields in order, names as sent.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (self.str(name), &self.values[value.clone()]))
    }

    /// The value of the first field of this name, compared without case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The content where it is, decoded from its transfer coding; empty if there is none. Behind
    /// the edge, large content is in a file: read it in pieces with [`Content::reader`].
    pub fn body(&self) -> &Content {
        &self.body
    }

    /// The content in memory; empty if there is none. What is in a file is read whole at the
    /// first call: for large content see [`body`](Request::body).
    ///
    /// # Panics
    /// The file cannot be read, or there is not enough memory. From an application the answer is
    /// then a 500, as for every panic.
    pub fn content(&self) -> &Bytes {
        let read = |error| panic!("cannot read the content of a request: {error}");
        match &self.body {
            Content::Inline(bytes) => bytes,
            body => self.content.get_or_init(|| body.bytes().unwrap_or_else(read)),
        }
    }

    /// The client's address, as the edge saw it. Without an edge that of the connection, if it
    /// is TCP.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The id that the edge gave the request.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_ref().map(|span| self.str(span))
    }

    /// The address and port that the client has connected to, as the edge saw it. Without an edge
    /// only for a request that has no `Host`, if it came over TCP.
    pub fn local(&self) -> Option<&str> {
        self.local.as_ref().map(|span| self.str(span))
    }

    /// `http` or `https`: how the client has come to the edge. Without an edge what a front server
    /// of `--forwarded-allow-ips` says, else `http`.
    pub fn scheme(&self) -> &str {
        self.scheme.as_ref().map_or("http", |span| self.str(span))
    }

    /// When the edge stops waiting for the answer.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn with_capacity(
        method: &str,
        target: &str,
        version: Version,
        text: usize,
        fields: usize,
    ) -> Request {
        let mut request = Request {
            text: String::with_capacity(text.max(method.len() + target.len())),
            values: Vec::with_capacity(text),
            method: 0..0,
            target: 0..0,
            version,
            fields: Vec::with_capacity(fields),
            body: Content::Inline(Bytes::new()),
            content: OnceLock::new(),
            peer: None,
            request_id: None,
            local: None,
            scheme: None,
            deadline: None,
        };
        request.method = request.push(method);
        request.target = request.push(target);
        request
    }

    pub(crate) fn push_field(&mut self, name: &str, value: &[u8]) {
        let (name, start) = (self.push(name), self.values.len());
        self.values.extend_from_slice(value);
        self.fields.push((name, start..self.values.len()));
    }

    pub(crate) fn set_peer(&mut self, peer: SocketAddr) {
        self.peer = Some(peer);
    }

    pub(crate) fn set_request_id(&mut self, id: &str) {
        self.request_id = Some(self.push(id));
    }

    pub(crate) fn set_local(&mut self, address: &str) {
        self.local = Some(self.push(address));
    }

    pub(crate) fn set_scheme(&mut self, scheme: &str) {
        self.scheme = Some(self.push(scheme));
    }

    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    fn push(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    fn str(&self, span: &Span) -> &str {
        &self.text[span.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_given() {
        let request = Request::new("PUT", "/a/b?c=d?e")
            .with_field("Host", "example.com")
            .with_field("X-Bytes", b"\xff")
            .with_content("abc");
        assert_eq!(request.method(), "PUT");
        assert_eq!(request.path(), "/a/b");
        assert_eq!(request.query(), Some("c=d?e"));
        assert_eq!(request.field("host"), Some(&b"example.com"[..]));
        assert_eq!(request.fields().last(), Some(("X-Bytes", &b"\xff"[..])));
        assert_eq!(request.content(), "abc");
        assert_eq!(request.request_id(), None);
    }

    #[test]
    fn closures_are_applications() {
        let app = |request: Request| Response::text(request.path().to_owned());
        let response = App::call(&app, Request::new("GET", "/x"));
        assert_eq!(response.status(), 200);
    }
}
