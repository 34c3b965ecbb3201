//! The `http` module alone: a server over a blocking socket that sends back what it gets.
//!
//! Nothing of the edge is here, no ring and no thread; one client is served at a time. The module
//! is given bytes and gives bytes, so that it fits any kind of input and output, tests included.
//!
//! `cargo run -p forebay-examples --example sans_io` in the repository, then
//! `curl --data 'all of it' http://127.0.0.1:8080/`. An argument is another address.

use forebay::http::{self, ChunkedDecoder, DateCache, Framing, HeadLimits, HeadSearch, Piece};
use forebay::http::{FieldRoom, Reject, Version};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// Why a conversation ends early.
enum End {
    /// The client is told this status and reason.
    Refused(u16, &'static str),
    Lost(io::Error),
}

impl From<Reject> for End {
    fn from(reject: Reject) -> End {
        End::Refused(reject.status(), reject.reason())
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Lost(error)
    }
}

impl Conversation {
    /// From the first request to the end of the connection.
    fn hold(mut self) -> io::Result<()> {
        let said = match self.serve() {
            Ok(()) => Ok(()),
            Err(End::Lost(error)) => return Err(error),
            Err(End::Refused(status, reason)) => {
                self.answer(status, format!("{reason}\n").as_bytes(), None)?;
                Err(io::Error::other(reason))
            }
        };
        // Who has gone does not need it.
        let _ = self.linger();
        said
    }

    /// One request after the other, until the client or we have enough.
    fn serve(&mut self) -> Result<(), End> {
        while let Some(request) = self.head()? {
            if matches!(request.method.as_str(), "CONNECT" | "TRACE") {
                return Err(End::Refused(501, "method not implemented"));
            }
            let content = self.content(&request)?;
            self.answer(200, &content, Some(&request))?;
            if !request.keep_alive {
                break;
            }
        }
        Ok(())
    }

    /// `None`: there is no further request.
    fn head(&mut self) -> Result<Option<Request>, End> {
        // It goes on looking where it has ended, however slowly bytes come.
        let mut search = HeadSearch::default();
        while !search.is_complete(&self.input, &LIMITS)? {
            if self.receive()? == 0 {
                return Ok(None);
            }
        }
        let mut room = FieldRoom::default();
        let Some(head) = http::parse_request(&self.input, &mut room, &LIMITS)? else {
            return Ok(None);
        };
        let request = Request {
            method: head.method.to_owned(),
            version: head.version,
            framing: head.framing,
            keep_alive: head.keep_alive,
            expects_continue: head.expects_continue,
        };
        let len = head.len;
        self.input.drain(..len);
        Ok(Some(request))
    }

    fn content(&mut self, request: &Request) -> Result<Vec<u8>, End> {
        if matches!(request.framing, Framing::Length(length) if length > MOST_CONTENT) {
            return Err(Reject::ContentTooLarge.into());
        }
        // Nobody is asked for content that is refused (RFC 9110 section 10.1.1).
        if request.expects_continue {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        match request.framing {
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

    fn chunks(&mut self) -> Result<Vec<u8>, End> {
        let (mut decoder, mut content) = (ChunkedDecoder::default(), Vec::new());
        loop {
            let (consumed, piece) = decoder.step(&self.input)?;
            if let Piece::Data(data) = piece {
                content.extend_from_slice(data);
            }
            self.input.drain(..consumed);
            if decoder.has_ended() {
                return Ok(content);
            }
            if content.len() as u64 > MOST_CONTENT {
                return Err(Reject::ContentTooLarge.into());
            }
            if self.input.is_empty() {
                self.receive_more()?;
            }
        }
    }

    /// To a request, or to what is refused: then it is the last answer.
    fn answer(&mut self, status: u16, content: &[u8], to: Option<&Request>) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (mut dates, mut out) = (DateCache::default(), Vec::new());
        let fields = [("Content-Type", "text/plain; charset=utf-8")];
        let (length, date) = (Some(content.len() as u64), dates.at(now.as_secs()).as_bytes());
        let version = to.map_or(Version::Http11, |request| request.version);
        let keep_alive = to.is_some_and(|request| request.keep_alive);
        http::write_own_response(&mut out, status, &fields, length, version, keep_alive, date);
        if to.is_none_or(|request| request.method != "HEAD") {
            out.extend_from_slice(content);
        }
        self.stream.write_all(&out)
    }

    /// To close while the client sends is a reset, which may take the answer away from it: it is
    /// told the end, and has a moment to end, too (RFC 9112 section 9.6).
    fn linger(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        let until = Instant::now() + LINGERING;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // To wait no time at all is an error, and ends this, too.
            self.stream.set_read_timeout(Some(left))?;
            self.input.clear();
            if self.receive()? == 0 {
                return Ok(());
            }
        }
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
const LINGERING: Duration = Duration::from_secs(5);
