//! What a connection's bytes mean, read slowly and straight from the grammars.
//!
//! Owns a second opinion: nothing here is used by the edge, nor the reverse, but for the normal
//! form of a target, which has tests of its own.

use crate::http::clean_target;

/// What a connection's bytes mean.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Each whole request; if it is for the application: method, target, content.
    pub(super) requests: Vec<Option<(String, String, Vec<u8>)>>,
    pub(super) end: End,
    /// The client goes on although it has said that it would not (RFC 9112 §9.6): nobody waits
    /// until it stops.
    pub(super) goes_on: bool,
}

/// What follows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing that counts.
    #[default]
    Whole,
    /// The beginning of a request, which may already be wrong.
    Short,
    /// What must be refused.
    Refused,
}

/// Reads a connection's bytes.
pub(super) fn read(mut bytes: &[u8]) -> Reading {
    let mut reading = Reading::default();
    while !bytes.is_empty() {
        match message(bytes) {
            Ok(Message { request, len, is_last }) => {
                reading.requests.push(request);
                bytes = &bytes[len..];
                if is_last {
                    reading.goes_on = !bytes.is_empty();
                    break;
                }
            }
            Err(end) => {
                reading.end = end;
                break;
            }
        }
    }
    reading
}

struct Message {
    request: Option<(String, String, Vec<u8>)>,
    len: usize,
    is_last: bool,
}

type Read<T> = Result<T, End>;

fn check(holds: bool) -> Read<()> {
    if holds { Ok(()) } else { Err(End::Refused) }
}

fn message(bytes: &[u8]) -> Read<Message> {
    check(is_tchar(bytes[0]) || bytes[0] == b'\r')?;
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let (lines, len) = head(&bytes[start..])?;
    let len = len + start;
    check(len <= 32 << 10)?;
    let parts: Vec<_> = lines[0].split(' ').collect();
    let [method, target, version] = parts[..] else { return Err(End::Refused) };
    check(is_token(method) && target.len() <= 8 << 10)?;
    check(lines[0].len() <= (8 << 10) + 62 && matches!(version, "HTTP/1.1" | "HTTP/1.0"))?;
    let fields: Vec<_> = lines[1..].iter().map(|line| field(line)).collect::<Read<_>>()?;
    check(fields.len() <= 100)?;
    check(all(&fields, "connection").join(",").split(',').count() <= 64)?;
    let is_old = version == "HTTP/1.0";
    let framing = framing(&fields, is_old)?;
    let expectations = all(&fields, "expect");
    check(expectations.len() < 2)?;
    check(expectations.iter().all(|value| value.eq_ignore_ascii_case("100-continue")))?;
    let path = target_for(method, target, &all(&fields, "host"), is_old)?;
    let is_last = is_last(&fields, is_old);
    let has_content = framing != Framing::Length(0);
    let path = match path {
        Some(path) => clean_target(&path).map_err(|_| End::Refused)?.into_owned(),
        None => return Ok(Message { request: None, len, is_last: is_last || has_content }),
    };
    let meaning = meaning(&path)?;
    if is_for_handler(&meaning) {
        // It is called with the whole content, and answers itself.
        let (_, content_len) = content(&bytes[len..], framing)?;
        return Ok(Message { request: None, len: len + content_len, is_last });
    }
    if !meaning.starts_with("/app/") {
        return Ok(Message { request: None, len, is_last: is_last || has_content });
    }
    let (content, content_len) = content(&bytes[len..], framing)?;
    let request = Some((method.into(), path, content));
    Ok(Message { request, len: len + content_len, is_last })
}

fn is_for_handler(path: &str) -> bool {
    path.strip_prefix("/echo").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The path as an application may understand it. Bytes stand for characters of Latin-1.
fn meaning(target: &str) -> Read<String> {
    let path = target.split('?').next().unwrap_or_default();
    let mut parts = path.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        decoded.push(u8::from_str_radix(digits, 16).expect("it is in normal form").into());
        decoded.push_str(rest);
    }
    let segments: Vec<&str> = decoded.split('/').collect();
    check(!segments.contains(&".."))?;
    let named = segments.iter().filter(|segment| !matches!(**segment, "" | "."));
    let mut meaning: String = named.flat_map(|segment| ["/", segment]).collect();
    if segments.last().is_some_and(|last| matches!(*last, "" | ".")) {
        meaning.push('/');
    }
    Ok(meaning)
}

/// The lines, and their bytes with the empty line. Bytes stand for characters of Latin-1.
fn head(bytes: &[u8]) -> Read<(Vec<String>, usize)> {
    let (mut lines, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = bytes[at..].iter().position(|&b| b == b'\n') else {
            return Err(End::Short);
        };
        let line: String = bytes[at..at + end].iter().copied().map(char::from).collect();
        at += end + 1;
        let line = line.strip_suffix('\r').ok_or(End::Refused)?;
        match line {
            "" if lines.is_empty() => return Err(End::Refused),
            "" => return Ok((lines, at)),
            line => lines.push(line.to_owned()),
        }
    }
}

fn field(line: &str) -> Read<(String, String)> {
    let (name, value) = line.split_once(':').ok_or(End::Refused)?;
    let is_value = |c: char| c == '\t' || !(c < ' ' || c == '\x7f');
    check(is_token(name) && value.chars().all(is_value))?;
    Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

fn all<'f>(fields: &'f [(String, String)], name: &str) -> Vec<&'f str> {
    fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
}

fn is_last(fields: &[(String, String)], is_old: bool) -> bool {
    let connection = all(fields, "connection").join(",").to_ascii_lowercase();
    let says = |option| connection.split(',').any(|o| o.trim_matches([' ', '\t']) == option);
    says("close") || (is_old && !says("keep-alive"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

fn framing(fields: &[(String, String)], is_old: bool) -> Read<Framing> {
    let (lengths, codings) = (all(fields, "content-length"), all(fields, "transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Framing::Length(0)),
        ([length], []) => {
            check((1..=19).contains(&length.len()) && length.chars().all(|c| c.is_ascii_digit()))?;
            Ok(Framing::Length(length.parse().expect("at most 19 digits")))
        }
        ([], [coding]) => {
            check(coding.eq_ignore_ascii_case("chunked") && !is_old)?;
            Ok(Framing::Chunked)
        }
        _ => Err(End::Refused),
    }
}

/// The path and query, unless the request is for no resource.
fn target_for(method: &str, target: &str, hosts: &[&str], is_old: bool) -> Read<Option<String>> {
    check(target.chars().all(|c| c.is_ascii_graphic() && c != '#'))?;
    check(hosts.len() < 2 && (hosts.len() == 1 || is_old))?;
    let host = hosts.first().map(|host| authority(host)).transpose()?;
    let agrees = |(name, port): (String, u32), default: u32| {
        let of_host = host.clone().is_none_or(|(host, of_host)| {
            host == name
                && (of_host == port || (of_host.min(port) == 0 && of_host.max(port) == default))
        });
        check(of_host)
    };
    if method == "CONNECT" {
        let authority = authority(target)?;
        check(target.ends_with(|c: char| c.is_ascii_digit()) && target.contains(':'))?;
        check(!target.ends_with(']'))?;
        agrees(authority, 0)?;
        return Ok(None);
    }
    let path = match target.split_once("://") {
        _ if target.starts_with('/') => target.to_owned(),
        _ if target == "*" && method == "OPTIONS" => return Ok(None),
        Some((scheme, rest)) => {
            let default = match scheme.to_ascii_lowercase().as_str() {
                "http" => 80,
                "https" => 443,
                _ => return Err(End::Refused),
            };
            let (authority_part, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            agrees(authority(authority_part)?, default)?;
            if path.is_empty() && method == "OPTIONS" {
                return Ok(None);
            }
            format!("{}{path}", if path.starts_with('/') { "" } else { "/" })
        }
        None => return Err(End::Refused),
    };
    Ok((method != "TRACE").then_some(path))
}

/// Host in lower case, and port: 0 if there is none.
fn authority(text: &str) -> Read<(String, u32)> {
    let (host, port) = match text.rfind(']') {
        Some(end) => {
            let (host, rest) = text.split_at(end + 1);
            let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            check(address.is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok()))?;
            (host, rest)
        }
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
            check(!host.is_empty() && host.chars().all(is_name))?;
            (host, port)
        }
    };
    let digits = match port {
        "" | ":" => return Ok((host.to_ascii_lowercase(), 0)),
        port => port.strip_prefix(':').ok_or(End::Refused)?,
    };
    check(digits.chars().all(|c| c.is_ascii_digit()))?;
    let port = digits.parse::<u16>().map_err(|_| End::Refused)?;
    Ok((host.to_ascii_lowercase(), port.into()))
}

fn content(bytes: &[u8], framing: Framing) -> Read<(Vec<u8>, usize)> {
    let length = match framing {
        Framing::Chunked => return chunks(bytes),
        Framing::Length(length) => length,
    };
    check(length <= 16 << 20)?;
    let content = bytes.get(..length as usize).ok_or(End::Short)?;
    Ok((content.to_vec(), content.len()))
}

fn chunks(bytes: &[u8]) -> Read<(Vec<u8>, usize)> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let line = line(bytes, &mut at)?;
        // BWS may be before an extension only (RFC 9112 §7.1.1).
        let (digits, spaces, extension) = match line.split_once(';') {
            None => (line.as_str(), 0, ""),
            Some((size, extension)) => {
                let digits = size.trim_end_matches([' ', '\t']);
                (digits, size.len() - digits.len(), extension)
            }
        };
        check((1..=13).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit()))?;
        let is_value = |c: char| c == '\t' || !(c < ' ' || c == '\x7f');
        check(spaces + extension.chars().count() <= 256 && extension.chars().all(is_value))?;
        check(has_whole_quotes(extension))?;
        let size = u64::from_str_radix(digits, 16).expect("at most 13 digits");
        if size == 0 {
            break;
        }
        check(content.len() as u64 + size <= 16 << 20).or(Err(End::Short))?;
        content.extend_from_slice(bytes.get(at..at + size as usize).ok_or(End::Short)?);
        at += size as usize;
        check(bytes.get(at).is_none_or(|&b| b == b'\r'))?;
        check(bytes.get(at + 1).is_none_or(|&b| b == b'\n'))?;
        bytes.get(at..at + 2).ok_or(End::Short)?;
        at += 2;
    }
    let trailers = at;
    loop {
        let line = line(bytes, &mut at)?;
        check(at - trailers <= 8 << 10)?;
        if line.is_empty() {
            return Ok((content, at));
        }
        field(&line)?;
    }
}

/// RFC 9110 §5.6.4.
fn has_whole_quotes(text: &str) -> bool {
    let (mut is_quoted, mut chars) = (false, text.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => drop(chars.next()),
            _ => {}
        }
    }
    !is_quoted
}

/// Up to the next CRLF; a CR or LF alone is no part of any line.
fn line(bytes: &[u8], at: &mut usize) -> Read<String> {
    let from = *at;
    let end = bytes[from..].iter().position(|&b| b == b'\n' || b == b'\r').ok_or(End::Short)?;
    match bytes[from + end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] => return Err(End::Short),
        _ => return Err(End::Refused),
    }
    *at = from + end + 2;
    Ok(bytes[from..from + end].iter().copied().map(char::from).collect())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| u8::try_from(c).is_ok_and(is_tchar))
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
