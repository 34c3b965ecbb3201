//! A response on its way: head first, then content, whole or piece by piece.
//!
//! Owns its framing and the number of system calls. Must not know what the application is.

use super::loan::{self, Loan};
use super::{Outcome, Terms};
use crate::access::Record;
use crate::content::check_range;
use crate::log;
use crate::socket::Socket;
use forebay::http::{self, CHUNK_END, DateCache, Framing, LAST_CHUNK, Version, slot};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

/// Answers one request. [`begin`](Responder::begin) and [`field`](Responder::field) write the head,
/// which leaves with the first bytes of content; until then both may begin anew.
#[derive(Debug)]
pub struct Responder<'a> {
    socket: &'a Socket,
    sender: &'a mut Sender,
    reply: Reply,
    terms: &'a Terms<'a>,
    head: Head,
    stage: Stage,
    /// A file of the edge that content goes to.
    loan: Option<Loan>,
}

/// A request is answered, as well as it could be.
#[derive(Debug)]
pub struct Answered(pub(super) Outcome);

/// What the response to a request must heed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    /// The request was HEAD.
    pub(super) to_head: bool,
    pub(super) version: Version,
    pub(super) keep_alive: bool,
    /// The client knows that nothing follows, and sends no more.
    pub(super) expects_close: bool,
    /// The edge adds what clients need.
    pub(super) from_edge: bool,
}

/// What is kept from one response to the next.
#[derive(Debug, Default)]
pub(super) struct Sender {
    out: Vec<u8>,
    date: DateCache,
    /// Of the last response: its status, and bytes of content that were given to be sent.
    status: u16,
    content: u64,
}

/// What the head says of the rest.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    status: u16,
    /// Its `Content-Length`.
    length: Option<u64>,
    has_date: bool,
    /// It says that content may go to a file of the edge.
    takes_file: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has left.
    Head,
    /// So many bytes of content are due, if that is known.
    Content(Option<u64>),
    /// The other end cannot be told anything any more.
    Lost,
}

impl<'a> Responder<'a> {
    pub(super) fn new(
        socket: &'a Socket,
        sender: &'a mut Sender,
        reply: Reply,
        terms: &'a Terms<'a>,
    ) -> Responder<'a> {
        let (head, stage, loan) = (Head::default(), Stage::Head, None);
        Responder { socket, sender, reply, terms, head, stage, loan }
    }

    /// The head or a part of it has left, or can leave no more.
    pub fn has_left(&self) -> bool {
        self.stage != Stage::Head
    }

    /// The other end has gone.
    pub fn is_lost(&self) -> bool {
        self.stage == Stage::Lost
    }

    /// The response has no content, whatever the application gives: it is to HEAD, or a 204 or
    /// 304 (RFC 9110 §6.4.1).
    pub fn is_bodiless(&self) -> bool {
        self.reply.to_head || matches!(self.head.status, 204 | 304)
    }

    /// Bytes of content that the head has promised and that are still due.
    pub fn due(&self) -> Option<u64> {
        match self.stage {
            Stage::Content(due) => due,
            Stage::Head | Stage::Lost => self.head.length,
        }
    }

    /// Begins the head, perhaps anew. For `reason` None is the registered phrase.
    ///
    /// # Errors
    /// Why that cannot be sent.
    pub fn begin(&mut self, status: u16, reason: Option<&[u8]>) -> Result<(), &'static str> {
        if !(200..=599).contains(&status) {
            return Err("a status is one of 200 to 599");
        }
        let reason = reason.unwrap_or_else(|| http::reason_phrase(status).as_bytes());
        if !http::is_field_value(reason) {
            return Err("a reason phrase has no control characters");
        }
        self.head = Head { status, ..Head::default() };
        self.sender.out.clear();
        (self.sender.status, self.sender.content) = (status, 0);
        self.sender.extend(&[b"HTTP/1.1 "]);
        self.sender.number(status.into());
        self.sender.extend(&[b" ", reason, b"\r\n"]);
        Ok(())
    }

    /// No other request is taken on the connection: what follows this response may take its time.
    /// To be said before anything has left.
    pub fn set_last(&mut self) {
        self.reply.keep_alive = false;
    }

    /// Adds a field to the head. What is between this server and the next is left out, and so is
    /// `Content-Length`, which is only kept in mind.
    ///
    /// # Errors
    /// Why that cannot be sent.
    pub fn field(&mut self, name: &str, value: &[u8]) -> Result<(), &'static str> {
        if !http::is_token(name.as_bytes()) {
            return Err("the name of a field is a token");
        }
        if !http::is_field_value(value) {
            return Err("the value of a field has no control characters");
        }
        if name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(value).map(str::trim).unwrap_or_default();
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let length = text.parse().ok().filter(|_| is_number);
            self.head.length = Some(length.ok_or("a Content-Length is a number")?);
        } else if !http::is_hop_by_hop(name) && !slot::is_reserved(name) {
            self.head.has_date |= name.eq_ignore_ascii_case("date");
            self.sender.extend(&[name.as_bytes(), b": ", value, b"\r\n"]);
        }
        Ok(())
    }

    /// The content will have this length, if nothing has left that says otherwise.
    pub fn promise(&mut self, length: u64) {
        // What comes with a 304 is not what it is about.
        if self.stage == Stage::Head && self.head.status != 304 {
            self.head.length = Some(length);
        }
    }

    /// Whether [`whole`](Responder::whole) would not have to wait: the edge has taken all of the
    /// last response before it sends another request, so that there is room in the socket.
    pub fn takes_at_once(&self, content: &[&[u8]]) -> bool {
        let total: usize = content.iter().map(|part| part.len()).sum();
        self.reply.from_edge && self.stage == Stage::Head && total <= ROOM
    }

    /// Sends the head and all of the content, which sets the length if nothing else has.
    pub fn whole(mut self, content: &[&[u8]]) -> Answered {
        let total = content.iter().map(|part| part.len() as u64).sum();
        let length = match self.head.length {
            // A promise about what GET would give; this is no evidence of it.
            None if self.reply.to_head && total == 0 => None,
            length => Some(length.unwrap_or(total)),
        };
        if self.is_bodiless() {
            self.end_head(length.map(Framing::Length), None);
            let sent = self.send_slices(&[]);
            return self.end(sent);
        }
        self.end_head(Some(Framing::Length(length.unwrap_or(total))), None);
        if self.head.length.is_some_and(|length| length != total) {
            return self.whole_of_wrong_length(content);
        }
        self.sender.content = total;
        let sent = if total <= COPY_MOST {
            self.sender.extend(content);
            self.send_slices(&[])
        } else {
            self.send_slices(content)
        };
        self.end(sent)
    }

    /// Sends the head and a part of a file.
    ///
    /// # Errors
    /// Why the file is of no use; nothing has left then.
    pub fn file(mut self, file: &File, offset: u64, length: u64) -> Result<Answered, Self> {
        if let Err(error) = check_range(file, offset, length) {
            log::error!("the application has answered with a file that is of no use: {error}");
            return Err(self);
        }
        let is_bodiless = self.is_bodiless();
        let passed = self.reply.from_edge && length > 0 && !is_bodiless;
        self.end_head(Some(Framing::Length(length)), passed.then_some(offset));
        self.sender.content = if is_bodiless { 0 } else { length };
        let sent = match (is_bodiless, passed) {
            (true, _) => self.send_slices(&[]),
            (_, true) => self.socket.send_with(&self.sender.out, file.as_fd()),
            (_, false) => self.send_file(file, offset, length),
        };
        Ok(self.end(sent))
    }

    /// Sends a piece of the content, with the head before the first one.
    ///
    /// # Errors
    /// The other end has gone; or, as `InvalidData`, the piece is beyond the length that the head
    /// has promised, and nothing of it is sent.
    pub fn piece(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.stage == Stage::Head {
            self.begin_pieces();
        }
        if let Stage::Content(Some(left)) = self.stage {
            let left = left.checked_sub(piece.len() as u64).ok_or_else(too_long)?;
            self.stage = Stage::Content(Some(left));
        }
        match self.stage {
            Stage::Lost => Err(io::ErrorKind::BrokenPipe.into()),
            _ if self.is_bodiless() || piece.is_empty() => Ok(()),
            stage => self.send_piece(piece, stage == Stage::Content(None) && self.is_chunked()),
        }
    }

    /// After the last piece.
    pub fn finish(mut self) -> Answered {
        if self.stage == Stage::Head {
            self.begin_pieces();
        }
        match self.stage {
            Stage::Lost | Stage::Head => return Answered(Outcome::Last),
            Stage::Content(None) if self.is_chunked() => self.sender.extend(&[LAST_CHUNK]),
            Stage::Content(_) => {}
        }
        let sent = self.flush().and_then(|()| loan::give_back(self.socket, &mut self.loan));
        let is_short = matches!(self.stage, Stage::Content(Some(1..))) && !self.is_bodiless();
        if is_short {
            log::error!("a response was cut short: its content is less than its Content-Length");
            self.reply.keep_alive = false;
        }
        self.end(sent)
    }

    /// The application has failed after a part of the response has left: the other end shall see
    /// that it is not whole.
    pub fn cut(mut self) -> Answered {
        // What was given is on its way before the end.
        let sent = self.flush().and_then(|()| loan::give_back(self.socket, &mut self.loan));
        self.reply.keep_alive = false;
        self.end(sent)
    }

    /// Without a length the end of the connection is the end of the content for an old client.
    fn begin_pieces(&mut self) {
        let framing = match (self.head.length, self.reply.version) {
            (Some(length), _) => Framing::Length(length),
            (None, Version::Http11) => Framing::Chunked,
            (None, Version::Http10) => Framing::UntilClose,
        };
        self.stage = Stage::Content(self.head.length);
        let is_silent = self.is_bodiless() && self.head.length.is_none();
        self.end_head((!is_silent).then_some(framing), None);
    }

    fn is_chunked(&self) -> bool {
        self.reply.version == Version::Http11 && !self.is_bodiless()
    }

    /// Sends what is in `out`, then the piece.
    fn send_piece(&mut self, piece: &[u8], is_chunked: bool) -> io::Result<()> {
        self.sender.content += piece.len() as u64;
        let sent = if is_chunked {
            http::write_chunk_head(&mut self.sender.out, piece.len());
            self.send_slices(&[piece, CHUNK_END])
        } else {
            self.send_slices(&[piece])
        };
        sent.inspect_err(|_| self.stage = Stage::Lost)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.sender.out.is_empty() {
            true => Ok(()),
            false => self.send_slices(&[]),
        }
    }

    /// Too long: what is promised is sent. Too short: the connection ends, so that it is seen.
    fn whole_of_wrong_length(mut self, content: &[&[u8]]) -> Answered {
        self.stage = Stage::Content(self.head.length);
        for part in content {
            let due = self.due().and_then(|due| usize::try_from(due).ok()).unwrap_or(usize::MAX);
            if part.len() > due {
                log::error!("a response was cut short: {}", too_long());
            }
            if self.piece(&part[..part.len().min(due)]).is_err() || part.len() > due {
                break;
            }
        }
        self.finish()
    }

    fn send_file(&mut self, file: &File, offset: u64, length: u64) -> io::Result<()> {
        self.socket.send_before_file(&self.sender.out)?;
        self.socket.send_file(file, offset, length).inspect_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                log::error!("a response was cut short: {error}");
            }
        })
    }

    /// What is in `out`, and these.
    fn send_slices(&mut self, slices: &[&[u8]]) -> io::Result<()> {
        let behind = match self.stage {
            Stage::Content(Some(left)) => left,
            _ => 0,
        };
        let Responder { socket, sender, loan, head, .. } = &mut *self;
        let mut send = |slices: &mut [IoSlice<'_>], behind| match head.takes_file {
            true => loan::send(socket, loan, slices, behind),
            false => socket.send_all(slices),
        };
        let sent = match slices {
            [] => send(&mut [IoSlice::new(&sender.out)], behind),
            [one] => send(&mut [IoSlice::new(&sender.out), IoSlice::new(one)], behind),
            many => many.chunks(SLICES_MOST).enumerate().try_for_each(|(number, group)| {
                let head = if number == 0 { &sender.out[..] } else { &[] };
                let slices = std::iter::once(&head).chain(group);
                let mut slices: Vec<_> = slices.map(|slice| IoSlice::new(slice)).collect();
                let later = many.iter().skip((number + 1) * SLICES_MOST);
                send(&mut slices, behind + later.map(|slice| slice.len() as u64).sum::<u64>())
            }),
        };
        sender.out.clear();
        sent
    }

    fn end(self, sent: io::Result<()>) -> Answered {
        let Reply { keep_alive, expects_close, from_edge, .. } = self.reply;
        // Even who expects the end may have sent an empty line. A small answer has left then.
        let may_lose = !expects_close || self.sender.content > LEAVES_AT_ONCE;
        Answered(match sent {
            Err(_) => Outcome::Last,
            Ok(()) if self.is_lost() => Outcome::Last,
            Ok(()) if keep_alive => Outcome::Next,
            Ok(()) if may_lose && !from_edge => Outcome::Lingers,
            Ok(()) => Outcome::Last,
        })
    }

    /// `passed`: the content is in the file that goes with the head, from this byte on.
    fn end_head(&mut self, framing: Option<Framing>, passed: Option<u64>) {
        let must_close = framing == Some(Framing::UntilClose) && !self.is_bodiless();
        let keeps = self.terms.keep_alive && !must_close && !self.terms.must_yield();
        self.reply.keep_alive &= keeps;
        if let Some(offset) = passed {
            self.sender.number_field(slot::BODY_FD, offset);
        }
        if !self.reply.from_edge {
            self.write_date();
        }
        let is_large = matches!(framing, Some(Framing::Length(LARGE..)));
        if is_large && self.reply.from_edge && passed.is_none() && !self.is_bodiless() {
            self.head.takes_file = true;
            self.sender.extend(&[slot::SPOOL.as_bytes(), b": yes\r\n"]);
        }
        self.write_connection();
        match framing {
            _ if self.head.status == 204 => {}
            // What 200 would have had, if the application says so (RFC 9110 §15.4.5).
            _ if self.head.status == 304 => {
                if let Some(length) = self.head.length {
                    self.sender.number_field("Content-Length", length);
                }
            }
            Some(Framing::Length(length)) => {
                self.sender.number_field("Content-Length", length);
            }
            Some(Framing::Chunked) => self.sender.extend(&[b"Transfer-Encoding: chunked\r\n"]),
            Some(Framing::UntilClose) | None => {}
        }
        self.sender.extend(&[b"\r\n"]);
    }

    /// What the edge would add (RFC 9110 §6.6.1).
    fn write_date(&mut self) {
        if !self.head.has_date {
            let Sender { out, date, .. } = &mut *self.sender;
            for part in ["Date: ", date.at(unix_seconds()), "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
    }

    /// Whether another request may follow (RFC 9112 §9.3). The edge would send one at once.
    fn write_connection(&mut self) {
        match (self.reply.keep_alive, self.reply.version) {
            (false, _) => self.sender.extend(&[b"Connection: close\r\n"]),
            (true, Version::Http10) => self.sender.extend(&[b"Connection: keep-alive\r\n"]),
            (true, Version::Http11) => {}
        }
    }
}

impl Sender {
    /// Writes the line of a request that was answered.
    pub(super) fn log(&mut self, record: Record) {
        let (status, content) = (self.status, self.content);
        log::access(&record.finish(status, content, &mut self.date, unix_seconds()));
    }

    fn number_field(&mut self, name: &str, number: u64) {
        self.extend(&[name.as_bytes(), b": "]);
        self.number(number);
        self.extend(&[b"\r\n"]);
    }

    fn number(&mut self, mut number: u64) {
        let (mut digits, mut at) = ([0; DIGITS_MOST], DIGITS_MOST);
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[at..]);
    }

    fn extend(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its content is more than its Content-Length")
}

/// Up to this size content is copied behind its head: a second piece costs the kernel more.
const COPY_MOST: u64 = 4 << 10;
/// Bytes of content that TCP sends at once with their head: its first window is ten segments of
/// 1,460 bytes (RFC 6928).
const LEAVES_AT_ONCE: u64 = 12 << 10;
/// Less than a Unix socket holds (net.core.wmem_default), as the head has to go with it.
const ROOM: usize = 32 << 10;
/// From here on a file of the edge is worth its while: less is held for the client by the edge and
/// by the socket.
const LARGE: u64 = 1 << 20;
/// Of a u64.
const DIGITS_MOST: usize = 20;
/// In one system call; with the head less than the kernel's most (`IOV_MAX`).
const SLICES_MOST: usize = 1000;
