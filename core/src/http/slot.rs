//! The protocol of a slot: a worker's connection to the edge.
//!
//! Owns every name and byte on which its two sides must agree. Must not know what either side
//! makes of them.
//!
//! 1. **A worker dials in** to the pool's Unix socket, once for each request that it can run at the
//!    same time, and sends [`UPGRADE`]. The edge answers with status 101: now the connection is a
//!    slot; or with 426.
//! 2. **Requests** are HTTP/1.1, one at a time, with `Content-Length` or without content. The edge
//!    says what it knows in the fields [`PEER`], [`LOCAL`], [`SCHEME`], [`REQUEST_ID`] and
//!    [`DEADLINE_MS`]. All fields that [`is_reserved`] are its own: it removes them from what
//!    clients send, and from what it sends to clients.
//! 3. **Responses** are HTTP/1.1, with `Content-Length` or chunked. Then the slot is idle again,
//!    or, after `Connection: close`, ends.
//! 4. **A worker that leaves** sends [`GOODBYE`] and shuts its side down. A request that crossed
//!    with it was not started.
//!
//! # Content in a file
//!
//! Content of either direction may travel as a descriptor (`SCM_RIGHTS`, unix(7)) that comes with
//! the first byte of the head. [`CONTENT_FD`] announces it in a request, [`BODY_FD`] in a response;
//! there is no descriptor without the field, and no field without a descriptor. The value is an
//! offset in decimal digits: the content is the `Content-Length` bytes of the file from there on,
//! and none follows the head.
//!
//! # Content that a worker writes into a file of the edge
//!
//! | who | says | means |
//! |---|---|---|
//! | worker | [`SPOOL`]`: yes` in a head with `Content-Length` | I know all this |
//! | edge | [`OFFER`] with the file | more of this response may go there |
//! | worker | [`TAKEN`] with any descriptor | so it does, from its first byte on |
//! | edge | [`RECALL`] | the client is waiting: no more, please |
//! | worker | at most 19 digits and a line feed | so many bytes are there; what follows comes as before |
//!
//! An offer may be ignored, and so may a recall; both may be left unread until the next request. A
//! taken file is always given back, unless the worker ends. Without these bytes content would be
//! copied into the slot, out of it, and into the file.

use super::fields::starts_with;

macro_rules! protocol {
    () => {
        "forebay-slot/1"
    };
}

/// What a worker upgrades its connection to.
pub(crate) const PROTOCOL: &str = protocol!();

/// A worker's first words.
pub const UPGRADE: &[u8] = concat!(
    "GET / HTTP/1.1\r\nHost: forebay\r\nConnection: Upgrade\r\nUpgrade: ",
    protocol!(),
    "\r\n\r\n"
)
.as_bytes();

/// The edge's answer to a worker: from now on the connection is a slot.
pub(crate) const ACCEPTED: &[u8] = concat!(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ",
    protocol!(),
    "\r\n\r\n"
)
.as_bytes();

/// The edge's answer to whoever is none.
pub(crate) const REFUSED: &[u8] = concat!(
    "HTTP/1.1 426 Upgrade Required\r\nConnection: close, Upgrade\r\nUpgrade: ",
    protocol!(),
    "\r\nContent-Length: 0\r\n\r\n"
)
.as_bytes();

/// What a worker says before it leaves; it starts no request afterwards.
pub const GOODBYE: &[u8] = concat!("GOODBYE ", protocol!(), "\r\n").as_bytes();

/// The client's address and port.
pub const PEER: &str = "Forebay-Peer";
/// The address and port that the client has connected to.
pub const LOCAL: &str = "Forebay-Local";
/// `http` or `https`: how the client has sent the request.
pub const SCHEME: &str = "Forebay-Scheme";
/// The id of the request.
pub const REQUEST_ID: &str = "Forebay-Request-Id";
/// Milliseconds that are left for the request.
pub const DEADLINE_MS: &str = "Forebay-Deadline-Ms";
/// The content of the request is in the file that comes along, from this byte on.
pub const CONTENT_FD: &str = "Forebay-Content-Fd";
/// The same of a response.
pub const BODY_FD: &str = "Forebay-Body-Fd";
/// Content of this response goes into a file of the edge, if it offers one.
pub const SPOOL: &str = "Forebay-Spool";

/// To a worker: the descriptor that comes along may take content.
pub const OFFER: u8 = b'(';
/// To a worker: it may take no more.
pub const RECALL: u8 = b')';
/// From a worker, in place of content, with a descriptor: it writes to the file from now on.
pub const TAKEN: u8 = b'(';

/// Whether a field is for the two sides of a slot alone.
pub fn is_reserved(name: &str) -> bool {
    starts_with(name, "forebay-")
}

/// Whether a worker's bytes are a goodbye.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goodbye {
    Yes,
    /// So far; nothing at all is also `Maybe`. If no more comes, any bytes are of a response.
    Maybe,
    No,
}

/// Looks at the first bytes that came where a response was due.
pub(crate) fn begins_like_goodbye(bytes: &[u8]) -> Goodbye {
    if bytes.starts_with(GOODBYE) {
        Goodbye::Yes
    } else if GOODBYE.starts_with(bytes) {
        Goodbye::Maybe
    } else {
        Goodbye::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goodbye_is_known_by_its_whole_line() {
        for cut in 0..GOODBYE.len() {
            assert_eq!(begins_like_goodbye(&GOODBYE[..cut]), Goodbye::Maybe, "{cut} bytes");
        }
        assert_eq!(begins_like_goodbye(b"GOODBYE forebay-slot/1\r\n"), Goodbye::Yes);
        assert_eq!(begins_like_goodbye(b"GOODBYE forebay-slot/1\r\nHTTP"), Goodbye::Yes);
        for bytes in [&b"HTTP/1.1 200 OK"[..], b"GOODBYE forebay-slot/2\r\n", b"goodbye", b"\0"] {
            assert_eq!(begins_like_goodbye(bytes), Goodbye::No);
        }
    }

    #[test]
    fn greetings_are_these_bytes() {
        assert_eq!(
            UPGRADE,
            b"GET / HTTP/1.1\r\nHost: forebay\r\nConnection: Upgrade\r\n\
              Upgrade: forebay-slot/1\r\n\r\n"
        );
        assert_eq!(
            ACCEPTED,
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
              Upgrade: forebay-slot/1\r\n\r\n"
        );
        assert_eq!(
            REFUSED,
            b"HTTP/1.1 426 Upgrade Required\r\nConnection: close, Upgrade\r\n\
              Upgrade: forebay-slot/1\r\nContent-Length: 0\r\n\r\n"
        );
    }
}
