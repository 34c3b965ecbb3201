//! Requests answered by code of the embedding program, in this process.
//!
//! Owns the public types of such an exchange. Must not know connections or the ring.

use crate::http::{self, Version};
use bytes::Bytes;
use std::net::SocketAddr;

/// A whole request: nothing of it is still on its way.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) fields: Vec<(String, Bytes)>,
    pub(crate) content: Bytes,
    pub(crate) peer: SocketAddr,
}

impl Request {
    /// The method, as sent: methods are case-sensitive (RFC 9110 §9.1).
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Path and query in origin form, dot segments resolved.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path, without query.
    pub fn path(&self) -> &str {
        crate::http::split_query(&self.target).0
    }

    /// What follows the first `?`, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The protocol version that the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The fields in order, names as sent.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_ref()))
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
}

/// An answer: status, fields, content. `Date`, `Content-Length` and `Connection` are added.
#[derive(Clone, Debug)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
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
        self.fields.push((name, value));
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
/// the [`Reply`] and answers from another thread. Overruns are counted. A panic is a 500 for that
/// request alone.
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

type Deliver = Box<dyn FnOnce(Option<Response>) + Send>;

/// The right to answer one request, once, from any thread. Dropped unused, the client gets 500.
pub struct Reply(Option<Deliver>);

impl Reply {
    pub(crate) fn new(deliver: impl FnOnce(Option<Response>) + Send + 'static) -> Reply {
        Reply(Some(Box::new(deliver)))
    }

    /// Answers the request. If the client has gone meanwhile, nothing happens.
    pub fn send(mut self, response: Response) {
        if let Some(deliver) = self.0.take() {
            deliver(Some(response));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(deliver) = self.0.take() {
            deliver(None);
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}
