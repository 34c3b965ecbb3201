//! What an application answers.
//!
//! Owns the response and its content. Must not know how it is framed and sent.

use bytes::Bytes;
use std::borrow::Cow;
use std::fs::File;
use std::io;

/// An answer: status, fields, content.
///
/// The worker writes `Content-Length`, `Transfer-Encoding` and `Connection` itself and drops what
/// the application says of them, with one exception: a `Content-Length` for a [`Body::Stream`]
/// is kept, and held. Fields named `Forebay-*` are dropped. A status outside 200–599, a name that
/// is not a token, a value with control characters, or a [`Body::File`] that cannot be read as said
/// makes the answer a 500, and a line in the log.
#[derive(Debug)]
pub struct Response {
    status: u16,
    fields: Vec<(Text, Text)>,
    body: Body,
}

type Text = Cow<'static, str>;

/// The content of a response.
#[non_exhaustive]
pub enum Body {
    /// All of it, sent with `Content-Length`.
    Bytes(Bytes),
    /// A part of a regular file that is open for reading; its position is neither used nor moved.
    /// The edge gets the descriptor and sends the file itself, so a worker is free at once however
    /// slow the client is: the part must not be written to afterwards.
    File {
        /// The file, perhaps without a name.
        file: File,
        /// Where the content begins, in bytes.
        offset: u64,
        /// Its bytes.
        length: u64,
    },
    /// Pieces, each sent as soon as it comes: chunked, unless the response has a `Content-Length`.
    /// An error ends the connection, so that nobody takes the content for whole.
    Stream(Pieces),
}

type Pieces = Box<dyn Iterator<Item = io::Result<Bytes>> + Send>;

impl Response {
    /// 200 with this content and no fields.
    pub fn new(content: impl Into<Bytes>) -> Response {
        Response::with_body(Body::Bytes(content.into()))
    }

    /// 200 with this text, as `text/plain; charset=utf-8`.
    pub fn text(content: impl Into<Text>) -> Response {
        let content = match content.into() {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        Response::new(content).with_field("Content-Type", "text/plain; charset=utf-8")
    }

    /// 200 with the pieces of this iterator, each sent as soon as it comes. Empty ones are none.
    pub fn stream(pieces: impl Iterator<Item = io::Result<Bytes>> + Send + 'static) -> Response {
        // An empty chunk would end the content, and the time for the next piece goes on.
        let is_some = |piece: &io::Result<Bytes>| piece.as_ref().map_or(true, |it| !it.is_empty());
        Response::with_body(Body::Stream(Box::new(pieces.filter(is_some))))
    }

    /// 200 with `length` bytes of a file from `offset`, as [`Body::File`].
    pub fn file(file: File, offset: u64, length: u64) -> Response {
        Response::with_body(Body::File { file, offset, length })
    }

    /// The same with another status, 200–599.
    pub fn with_status(mut self, status: u16) -> Response {
        self.status = status;
        self
    }

    /// The same with one more field.
    pub fn with_field(mut self, name: impl Into<Text>, value: impl Into<Text>) -> Response {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The fields in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The value of the first field of this name, compared without case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The content.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The content, for whoever sends it.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// The same with another way to its pieces, if it is a stream.
    pub(crate) fn map_stream<I>(mut self, map: impl FnOnce(Pieces) -> I) -> Response
    where
        I: Iterator<Item = io::Result<Bytes>> + Send + 'static,
    {
        if let Body::Stream(pieces) = self.body {
            self.body = Body::Stream(Box::new(map(pieces)));
        }
        self
    }

    fn with_body(body: Body) -> Response {
        Response { status: 200, fields: Vec::new(), body }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Body::File { offset, length, .. } => write!(f, "File({length} bytes from {offset})"),
            Body::Stream(_) => f.write_str("Stream"),
        }
    }
}
