//! One request with all the care that load generators do not take.
//!
//! Owns reading an answer. Must not know what the answer should be.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// What a server has said.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, values trimmed.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// GET from a server on this machine, on a connection of its own, with more fields.
///
/// # Errors
/// No server there, or nonsense from it; an answer without a Content-Length, too, since nobody
/// could keep the connection then.
pub(crate) fn get(port: u16, path: &str, fields: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    stream.write_all(request.as_bytes())?;
    read(&mut BufReader::new(stream))
}

fn read(stream: &mut impl BufRead) -> io::Result<Answer> {
    let nonsense = |what| io::Error::new(ErrorKind::InvalidData, what);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(nonsense("the connection ends within a head"));
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let status = lines.first().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| nonsense("no status"))?;
    let field = |line: &String| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let fields = lines[1..].iter().map(field).collect::<Option<_>>();
    let fields = fields.ok_or_else(|| nonsense("a field without a colon"))?;
    let mut answer = Answer { status, fields, content: Vec::new() };
    if status != 304 {
        let length = answer.field("content-length").and_then(|length| length.parse().ok());
        let length: u64 = length.ok_or_else(|| nonsense("no Content-Length"))?;
        stream.take(length).read_to_end(&mut answer.content)?;
        if answer.content.len() as u64 != length {
            return Err(nonsense("less content than announced"));
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn an_answer_is_taken_apart() {
        let mut bytes =
            &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: \"x\"\r\n\r\nhi and more"[..];
        let answer = read(&mut bytes).unwrap();
        assert_eq!((answer.status, answer.content.as_slice()), (200, &b"hi"[..]));
        assert_eq!(
            (answer.field("content-length"), answer.field("etag")),
            (Some("2"), Some("\"x\""))
        );
        for wrong in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
            "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh",
        ] {
            assert!(read(&mut wrong.as_bytes()).is_err(), "{wrong}");
        }
        let not_modified = read(&mut &b"HTTP/1.1 304 Not Modified\r\n\r\n"[..]).unwrap();
        assert!(not_modified.content.is_empty());
    }
}
