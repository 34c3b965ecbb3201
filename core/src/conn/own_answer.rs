//! The edge's own answers: errors, redirects, fixed and handlers' responses.
//!
//! Owns their form. Must not know when they are sent.

use super::output::Output;
use super::world::{Meta, World};
use crate::handler::Response;
use crate::http;
use bytes::Bytes;

/// An answer of the edge itself.
pub(crate) struct Own<'a> {
    pub(crate) status: u16,
    pub(crate) fields: &'a [(&'a str, &'a str)],
    pub(crate) content: Bytes,
}

const PLAIN: (&str, &str) = ("Content-Type", "text/plain; charset=utf-8");

/// Content up to this size is copied behind its head; a second piece costs more.
pub(crate) const COPY_MOST: usize = 4 << 10;

/// Queues an answer; says how much content that is. To HEAD the content is left out, its length is
/// not (RFC 9110 §9.3.2).
pub(crate) fn write(output: &mut Output, answer: &Own<'_>, meta: &Meta, w: &mut World) -> u64 {
    write_parts(output, answer.status, answer.fields, &answer.content, meta, w)
}

fn write_parts(
    output: &mut Output,
    status: u16,
    fields: &[(impl AsRef<str>, impl AsRef<str>)],
    content: &Bytes,
    meta: &Meta,
    w: &mut World,
) -> u64 {
    let head = output.head(&mut w.buffers);
    let length = match status {
        204 | 304 => None,
        // RFC 9110 §15.3.6: no content, which others than these have to say.
        205 => Some(0),
        _ => Some(content.len() as u64),
    };
    let Meta { version, keep_alive, .. } = *meta;
    http::write_own_response(head, status, fields, length, version, keep_alive, &w.date);
    let Some(length @ 1..) = length.filter(|_| !meta.to_head) else { return 0 };
    write_content(output, content, w);
    length
}

/// Queues content behind the head just written.
pub(crate) fn write_content(output: &mut Output, content: &Bytes, w: &mut World) {
    if content.len() <= COPY_MOST {
        output.head(&mut w.buffers).extend_from_slice(content);
    } else {
        output.shared(content.clone());
    }
}

/// A short answer that says what went wrong, in plain text.
pub(crate) fn write_error(
    output: &mut Output,
    status: u16,
    why: &str,
    extra: &[(&str, &str)],
    meta: &Meta,
    w: &mut World,
) -> u64 {
    let mut content = format!("{status} {}\n", http::reason_phrase(status));
    if !why.is_empty() {
        content.push_str(why);
        content.push('\n');
    }
    let mut fields = vec![PLAIN];
    fields.extend_from_slice(extra);
    write(output, &Own { status, fields: &fields, content: content.into() }, meta, w)
}

/// A handler's or a route's fixed response.
pub(crate) fn write_response(
    output: &mut Output,
    response: &Response,
    meta: &Meta,
    w: &mut World,
) -> u64 {
    write_parts(output, response.status, &response.fields, &response.content, meta, w)
}

/// Bytes of content that TCP sends at once with their head: its first window is ten segments of
/// 1,460 bytes (RFC 6928).
pub(super) const LEAVES_AT_ONCE: u64 = 12 << 10;
