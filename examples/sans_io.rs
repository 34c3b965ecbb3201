//! The `http` module alone: a server over a blocking socket that sends back what it gets.
//!
//! Nothing of the edge is here, no ring and no thread; one client is served at a time. The module
//! is given bytes and gives bytes, so that it fits any kind of input and output, tests included.
//!
//! `cargo run -p forebay-examples --example sans_io` in the repository, then
//! `curl --data 'all of it' http://127.0.0.1:8080/`. An argument is another address.

use forebay::http::{self, ChunkedDecoder, DateCache, Framing, HeadLimits, HeadSearch, Piece};
use forebay::http::{FieldRoom, Reject, Version};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(address)?;
    println!("listening on http://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        if let Err(error) = (Conversation { stream: stream?, input: Vec::new() }).hold() {
            eprintln!("a client was left: {error}");
        }
    }
    Ok(())
}

/// A connection, and what has arrived on it and is not used yet.
struct Conversation {
    stream: TcpStream,
    input: Vec<u8>,
}

/// What has to be known when the bytes of the head have gone.
struct Request {
    method: String,
    version: Version,
    framing: Framing,
    keep_alive: bool,
    expects_continue: bool,
}

impl Conversation {
    /// One request after the other, until the client or we have enough.
    fn hold(mut self) -> io::Result<()> {
        while let Some(request) = self.head()? {
            if request.expects_continue {
                self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let content = self.content(request.framing)?;
            self.answer(200, &content, &request)?;
            if !request.keep_alive {
                break;
            }
        }
        Ok(())
    }

    /// `None`: there is no further request.
    fn head(&mut self) -> io::Result<Option<Request>> {
        // It goes on looking where it has ended, however slowly bytes come.
        let mut search = HeadSearch::default();
        loop {
            match search.is_complete(&self.input, &LIMITS) {
                Ok(true) => break,
                Ok(false) if self.receive()? == 0 => return Ok(None),
                Ok(false) => {}
                Err(reject) => return Err(self.refuse(reject)),
            }
        }
        let mut room = FieldRoom::default();
        let (request, len) = match http::parse_request(&self.input, &mut room, &LIMITS) {
            Ok(Some(head)) => {
                let request = Request {
                    method: head.method.to_owned(),
                    version: head.version,
                    framing: head.framing,
                    keep_alive: head.keep_alive,
                    expects_continue: head.expects_continue,
                };
                (request, head.len)
            }
            Ok(None) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(reject) => return Err(self.refuse(reject)),
        };
        self.input.drain(..len);
        Ok(Some(request))
    }

    fn content(&mut self, framing: Framing) -> io::Result<Vec<u8>> {
        match framing {
            Framing::Length(length) if length > MOST_CONTENT => {
                Err(self.refuse(Reject::ContentTooLarge))
            }
            Framing::Length(length) => {
                while (self.input.len() as u64) < length {
                    self.receive_more()?;
                }
                Ok(self.input.drain(..length as usize).collect())
            }
            Framing::Chunked => self.chunks(),
            Framing::UntilClose => unreachable!("only responses end so (RFC 9112 section 6.3)"),
        }
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let (mut decoder, mut content) = (ChunkedDecoder::default(), Vec::new());
        loop {
            let step = decoder.step(&self.input);
            let consumed = match step {
                Ok((consumed, Piece::Data(data))) => {
                    content.extend_from_slice(data);
                    consumed
                }
                Ok((consumed, _)) => consumed,
                Err(reject) => return Err(self.refuse(reject)),
            };
            self.input.drain(..consumed);
            if decoder.has_ended() {
                return Ok(content);
            }
            if content.len() as u64 > MOST_CONTENT {
                return Err(self.refuse(Reject::ContentTooLarge));
            }
            if self.input.is_empty() {
                self.receive_more()?;
            }
        }
    }

    fn answer(&mut self, status: u16, content: &[u8], request: &Request) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (mut dates, mut out) = (DateCache::default(), Vec::new());
        let fields = [("Content-Type", "text/plain; charset=utf-8")];
        let (version, date) = (request.version, dates.at(now.as_secs()).as_bytes());
        let length = Some(content.len() as u64);
        let keep_alive = request.keep_alive;
        http::write_own_response(&mut out, status, &fields, length, version, keep_alive, date);
        if request.method != "HEAD" {
            out.extend_from_slice(content);
        }
        self.stream.write_all(&out)
    }

    /// Says what is wrong; the error ends the connection.
    fn refuse(&mut self, reject: Reject) -> Error {
        let request = Request {
            method: String::new(),
            version: Version::Http11,
            framing: Framing::Length(0),
            keep_alive: false,
            expects_continue: false,
        };
        let reason = format!("{}\n", reject.reason());
        let told = self.answer(reject.status(), reason.as_bytes(), &request);
        told.err().unwrap_or_else(|| Error::other(reject.reason()))
    }

    fn receive_more(&mut self) -> io::Result<()> {
        match self.receive()? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 8 << 10];
        let len = self.stream.read(&mut buffer)?;
        self.input.extend_from_slice(&buffer[..len]);
        Ok(len)
    }
}

const LIMITS: HeadLimits = HeadLimits { bytes: 32 << 10, fields: 100, target_bytes: 8 << 10 };
const MOST_CONTENT: u64 = 1 << 20;
