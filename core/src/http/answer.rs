//! Responses as they are sent to clients.
//!
//! Owns the canonical form of a response's head. Must not know where its content comes from.

use super::fields::{NamedByConnection, response_passes};
use super::framing::Framing;
use super::response::ResponseHead;
use super::status::{is_without_content, reason_phrase};
use super::syntax::{push_decimal, push_field, push_number_field};
use super::version::Version;

/// Appends the canonical form of a forwarded response's head with its empty line: status line,
/// the application's fields less those that must not pass, `Date` if it sent none, the framing
/// that fits the client, and `Connection` where it says something (`close`, or `keep-alive`
/// on 1.0).
///
/// Where there is no content, `framing` says nothing: the answer to a HEAD request and 304 carry
/// the `Content-Length` that the application gave, 204 and 1xx none (RFC 9110 §8.6). With
/// [`Framing::UntilClose`] the connection is not kept, whatever `keep_alive` says.
pub fn write_response(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_, '_>,
    framing: Framing,
    version: Version,
    keep_alive: bool,
    date: &[u8],
) {
    debug_assert!(
        framing != Framing::Chunked || version == Version::Http11,
        "HTTP/1.0 knows no chunks"
    );
    out.reserve(head.len + ADDED_BYTES);
    let reason = if head.reason.is_empty() { reason_phrase(head.status) } else { head.reason };
    write_status_line(out, head.status, reason);
    let has_date = write_passing_fields(out, head);
    if head.status < 200 {
        return out.extend_from_slice(b"\r\n");
    }
    if !has_date {
        push_field(out, "Date", date);
    }
    write_framing(out, head, framing);
    let until_close = !head.without_content && framing == Framing::UntilClose;
    out.extend_from_slice(end_of_head(version, keep_alive && !until_close));
}

/// Appends the head of an answer that the edge gives itself, with its empty line.
///
/// `fields` are written as they are: their names must be tokens and their values field values,
/// and neither `Date` nor `Connection` among them, which are added. `content_length` is left out
/// of 1xx and 204 in any case; without it the content must end in another way.
pub fn write_own_response(
    out: &mut Vec<u8>,
    status: u16,
    fields: &[(impl AsRef<str>, impl AsRef<str>)],
    content_length: Option<u64>,
    version: Version,
    keep_alive: bool,
    date: &[u8],
) {
    write_status_line(out, status, reason_phrase(status));
    for (name, value) in fields {
        push_field(out, name.as_ref(), value.as_ref().as_bytes());
    }
    if status < 200 {
        return out.extend_from_slice(b"\r\n");
    }
    if let Some(length) = content_length.filter(|_| may_have_length(status)) {
        push_number_field(out, "Content-Length", length);
    }
    finish_own_head(out, version, keep_alive, date);
}

/// Appends what the heads of all the edge's own answers end with: `Date`, `Connection` where it
/// says something, and the empty line.
#[inline]
pub(crate) fn finish_own_head(out: &mut Vec<u8>, version: Version, keep_alive: bool, date: &[u8]) {
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(date);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(end_of_head(version, keep_alive));
}

/// Always our own version, whatever the client's (RFC 9110 §6.2).
fn write_status_line(out: &mut Vec<u8>, status: u16, reason: &str) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Returns whether `Date` was among them.
fn write_passing_fields(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>) -> bool {
    let named = NamedByConnection::of(head.fields);
    let mut has_date = false;
    for field in head.fields {
        if response_passes(field.name) && !named.contains(field.name) {
            has_date |= field.name.eq_ignore_ascii_case("date");
            push_field(out, field.name, field.value);
        }
    }
    has_date
}

fn write_framing(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>, framing: Framing) {
    if head.without_content {
        if let Some(length) = head.content_length.filter(|_| may_have_length(head.status)) {
            push_number_field(out, "Content-Length", length);
        }
        return;
    }
    match framing {
        Framing::Length(length) => push_number_field(out, "Content-Length", length),
        Framing::Chunked => push_field(out, "Transfer-Encoding", b"chunked"),
        Framing::UntilClose => {}
    }
}

/// `Connection`, if it says something, and the empty line.
fn end_of_head(version: Version, keep_alive: bool) -> &'static [u8] {
    match (version, keep_alive) {
        (_, false) => b"Connection: close\r\n\r\n",
        (Version::Http10, true) => b"Connection: keep-alive\r\n\r\n",
        (Version::Http11, true) => b"\r\n",
    }
}

/// RFC 9110 §8.6: 304 may say what 200 would have.
fn may_have_length(status: u16) -> bool {
    !is_without_content(status) || status == 304
}

/// About what the added fields take.
const ADDED_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::super::{FieldRoom, HeadLimits, parse_response};
    use super::*;
    use Version::{Http10, Http11};

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 64, target_bytes: 0 };

    struct To {
        version: Version,
        keep_alive: bool,
        head: bool,
    }
    const TO_11: To = To { version: Http11, keep_alive: true, head: false };

    fn relayed(head: &str, framing: Option<Framing>, to: To) -> String {
        let mut room = FieldRoom::default();
        let head = parse_response(head.as_bytes(), &mut room, &LIMITS, to.head).unwrap().unwrap();
        let mut out = Vec::new();
        let framing = framing.unwrap_or(head.framing);
        write_response(&mut out, &head, framing, to.version, to.keep_alive, DATE.as_bytes());
        String::from_utf8(out).unwrap()
    }

    fn own(status: u16, fields: &[(&str, &str)], length: Option<u64>, to: To) -> String {
        let mut out = Vec::new();
        write_own_response(
            &mut out,
            status,
            fields,
            length,
            to.version,
            to.keep_alive,
            DATE.as_bytes(),
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_of_the_hop_and_of_the_hand_over_do_not_pass() {
        let out = relayed(
            "HTTP/1.0 299 Odd\r\nServer: app\r\ncontent-length: 3\r\nConnection: close, X-Hop\r\n\
             X-Hop: 1\r\nKeep-Alive: 1\r\nUpgrade: x\r\nForebay-Fd: 1\r\nX-Accel-Buffering: no\r\n\
             Trailer: a\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n",
            None,
            TO_11,
        );
        let expected = format!(
            "HTTP/1.1 299 Odd\r\nServer: app\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\
             Date: {DATE}\r\nContent-Length: 3\r\n\r\n"
        );
        assert_eq!(out, expected);
    }

    #[test]
    fn date_is_kept_or_added_rfc_9110_6_6_1() {
        let out = relayed("HTTP/1.1 200\r\nDATE: then\r\nContent-Length: 0\r\n\r\n", None, TO_11);
        assert_eq!(out, "HTTP/1.1 200 OK\r\nDATE: then\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn framing_fits_the_client_rfc_9112_6() {
        let head = "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n";
        let start = "HTTP/1.1 200 OK\r\nDate: d\r\n";
        assert_eq!(
            relayed(head, None, TO_11),
            format!("{start}Transfer-Encoding: chunked\r\n\r\n")
        );
        let until_close = Some(Framing::UntilClose);
        assert_eq!(relayed(head, until_close, TO_11), format!("{start}Connection: close\r\n\r\n"));
        let to_10 = To { version: Http10, keep_alive: true, head: false };
        assert_eq!(relayed(head, until_close, to_10), format!("{start}Connection: close\r\n\r\n"));
        let to_10 = To { version: Http10, keep_alive: true, head: false };
        assert_eq!(
            relayed(head, Some(Framing::Length(5)), to_10),
            format!("{start}Content-Length: 5\r\nConnection: keep-alive\r\n\r\n")
        );
    }

    #[test]
    fn lengths_without_content_rfc_9110_8_6() {
        let of = |status, to_head: bool| {
            let head = format!("HTTP/1.1 {status} X\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
            relayed(&head, None, To { head: to_head, ..TO_11 })
        };
        assert_eq!(of(200, true), "HTTP/1.1 200 X\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
        assert_eq!(of(304, false), "HTTP/1.1 304 X\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
        assert_eq!(of(204, false), "HTTP/1.1 204 X\r\nDate: d\r\n\r\n");
        assert_eq!(of(204, true), "HTTP/1.1 204 X\r\nDate: d\r\n\r\n");
        assert_eq!(of(103, false), "HTTP/1.1 103 X\r\nDate: d\r\n\r\n");
        let chunked = "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n";
        let to_head = To { head: true, ..TO_11 };
        assert_eq!(relayed(chunked, None, to_head), "HTTP/1.1 200 OK\r\nDate: d\r\n\r\n");
    }

    #[test]
    fn interim_responses_say_nothing_of_connection_and_date_rfc_9110_15_2() {
        let to = To { keep_alive: false, ..TO_11 };
        let hints = relayed("HTTP/1.1 103 \r\nLink: </a>\r\n\r\n", None, to);
        assert_eq!(hints, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        assert_eq!(own(100, &[], None, TO_11), "HTTP/1.1 100 Continue\r\n\r\n");
    }

    #[test]
    fn own_answers() {
        assert_eq!(
            own(503, &[("Retry-After", "1")], Some(12), To { keep_alive: false, ..TO_11 }),
            format!(
                "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 12\r\n\
                 Date: {DATE}\r\nConnection: close\r\n\r\n"
            )
        );
        assert_eq!(
            own(204, &[], Some(0), TO_11),
            format!("HTTP/1.1 204 No Content\r\nDate: {DATE}\r\n\r\n")
        );
        assert_eq!(
            own(304, &[], None, To { version: Http10, ..TO_11 }),
            format!("HTTP/1.1 304 Not Modified\r\nDate: {DATE}\r\nConnection: keep-alive\r\n\r\n")
        );
    }
}
