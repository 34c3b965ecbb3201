//! HTTP/1.1 without input and output (RFC 9110, RFC 9112): bytes in, decisions and bytes out.
//!
//! Owns syntax, framing and the wire form of messages. Must not know descriptors, clocks,
//! threads, or any other module of this crate; the worker side uses the same code.
//!
//! Parsing is strict: what RFC 9112 lets a recipient either repair or refuse is refused. What
//! passes is written again from the parsed form, never copied through, so that no two readers can
//! see different messages in it.

mod answer;
mod chunked;
mod date;
mod fields;
mod forward;
mod framing;
mod head;
mod meaning;
mod origin;
mod path;
mod reject;
mod response;
mod room;
mod search;
pub mod slot;
mod status;
mod syntax;
mod target;
mod version;

pub(crate) use answer::finish_own_head;
pub use answer::{write_own_response, write_response};
pub use chunked::{CHUNK_END, ChunkedDecoder, Compacted, LAST_CHUNK, Piece, write_chunk_head};
pub use date::DateCache;
pub use fields::is_hop_by_hop;
pub(crate) use forward::without_facts;
pub use forward::{Forwarded, announce_file, finish_request, write_request};
pub use framing::Framing;
pub use head::{
    RequestHead, is_idempotent, parse_arriving_request, parse_request, parse_whole_request,
};
pub(crate) use meaning::RequestPath;
pub use meaning::path_meaning;
pub(crate) use origin::{Origin, REQUEST_ID_BYTES};
pub(crate) use path::{CleanTarget, clean_and_look};
pub use path::{clean_target, split_query};
pub use reject::Reject;
pub use response::{
    BadResponse, ResponseHead, parse_arriving_response, parse_response, parse_whole_response,
};
pub use room::{FIELDS_MOST, FieldRoom};
pub use search::{HeadLimits, HeadSearch};
pub use status::reason_phrase;
pub(crate) use status::status_text;
pub(crate) use syntax::hex_value;
pub use syntax::{is_field_value, is_token};
pub use target::is_host;
pub use version::Version;
