//! An edge with one worker, and clients that send one message each.
//!
//! Owns what a message comes to. Must not know what it should come to.

use super::super::response::{self, Seen, find};
use super::super::{Edge, Settings};
use super::reference::{End, Reading};
use crate::io::sim::Peer;
use std::fmt;
use std::time::Duration;

pub(super) struct Bench {
    edge: Edge,
    worker: Peer,
}

/// What a message comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Of the answers, interim ones aside.
    statuses: Vec<u16>,
    /// What the worker saw: method, target, content.
    handed: Vec<(String, String, Vec<u8>)>,
    /// The last answer said that it is the last.
    said_close: bool,
    /// The connection ended, and not by a reset.
    pub(super) ended_well: bool,
    /// Bytes behind the last answer.
    behind: Vec<u8>,
}

impl Bench {
    pub(super) fn new() -> Bench {
        let mut edge = Edge::new(&Settings::default());
        let worker = edge.dial_in(0);
        Bench { edge, worker }
    }

    pub(super) fn finish(self) {
        self.edge.finish();
    }

    /// One connection: the message in pieces, then the client's end.
    pub(super) fn feed(&mut self, bytes: &[u8], cuts: &[usize]) -> Outcome {
        let client = self.edge.connect(0);
        let (mut handed, mut received, mut from) = (Vec::new(), Vec::new(), 0);
        for &to in cuts.iter().chain([&bytes.len()]) {
            while from < to && !client.was_reset() {
                from += client.send(&bytes[from..to]);
                self.settle(&client, &mut handed, &mut received);
            }
        }
        client.finish();
        self.settle(&client, &mut handed, &mut received);
        let ended_well = client.at_end() && !client.was_reset();
        Outcome::of(&received, handed, ended_well)
    }

    /// Until nobody has anything to say.
    fn settle(
        &mut self,
        client: &Peer,
        handed: &mut Vec<(String, String, Vec<u8>)>,
        received: &mut Vec<u8>,
    ) {
        loop {
            self.edge.settle();
            let request = self.worker.receive();
            if client.receive_into(usize::MAX, received) == 0 && request.is_empty() {
                return;
            }
            if !request.is_empty() {
                handed.push(take_apart(&request));
                self.worker.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    }
}

/// What a client sees of a worker that answers with these bytes, then leaves.
pub(super) fn respond(bytes: &[u8], cuts: &[usize], to_head: bool) {
    let mut edge = Edge::new(&Settings::default());
    let worker = edge.dial_in(0);
    let method = if to_head { "HEAD" } else { "POST" };
    let client = edge.client(0, format!("{method} /app/x HTTP/1.1\r\nHost: x\r\n\r\n"));
    worker.receive();
    let (mut received, mut from) = (Vec::new(), 0);
    for &to in cuts.iter().chain([&bytes.len()]) {
        while from < to && !worker.at_end() && !worker.was_reset() {
            from += worker.send(&bytes[from..to]);
            edge.settle();
            client.receive_into(usize::MAX, &mut received);
        }
    }
    worker.finish();
    drop(worker);
    edge.settle();
    // Whatever happens, it does not take longer.
    edge.pass(Duration::from_secs(200));
    client.receive_into(usize::MAX, &mut received);
    check_response(&received, to_head, client.at_end());
    drop(client);
    edge.finish();
}

fn check_response(received: &[u8], to_head: bool, ended: bool) {
    let shown = received.escape_ascii();
    let Some(end) = find(received, b"\r\n\r\n") else { panic!("no head: {shown}") };
    let head: String = received[..end + 4].iter().copied().map(char::from).collect();
    for line in head.trim_end_matches("\r\n").split("\r\n") {
        let is_good = |c: char| c == '\t' || !(c < ' ' || c == '\x7f');
        assert!(line.chars().all(is_good), "{shown}");
    }
    for gone in ["keep-alive", "upgrade", "trailer", "forebay-fd", "x-accel-redirect"] {
        assert!(!head.to_ascii_lowercase().contains(&format!("\r\n{gone}:")), "{shown}");
    }
    // A part of a response, and the end.
    let is_cut_off = |received: &[u8]| response::parse(received, to_head, false).is_none();
    match response::parse(received, to_head, ended) {
        Some(seen) => assert_eq!(seen.len, received.len(), "more than one response: {shown}"),
        None => assert!(ended && is_cut_off(received), "{shown}"),
    }
}

impl Outcome {
    fn of(received: &[u8], handed: Vec<(String, String, Vec<u8>)>, ended_well: bool) -> Outcome {
        let (mut statuses, mut said_close, mut rest) = (Vec::new(), false, received);
        while let Some(seen) = next_answer(rest) {
            rest = &rest[seen.len..];
            if seen.status != 100 {
                statuses.push(seen.status);
                said_close = seen.is_last;
            }
        }
        Outcome { statuses, handed, said_close, ended_well, behind: rest.to_vec() }
    }

    /// Whether it is what must come of a message that is read like that.
    pub(super) fn agrees_with(&self, read: &Reading) -> Result<(), String> {
        let expected: Vec<_> = read.requests.iter().flatten().collect();
        if !self.handed.iter().eq(expected) {
            return Err("the worker saw something else".into());
        }
        let refused = self.statuses.len().wrapping_sub(read.requests.len());
        let last = self.statuses.last().copied().unwrap_or_default();
        let is_right = match (read.end, refused) {
            (End::Whole, 0) | (End::Short, 0) => true,
            (End::Short | End::Refused, 1) => (400..600).contains(&last) && self.said_close,
            _ => false,
        };
        if !is_right {
            return Err(format!("answers {:?}", self.statuses));
        }
        if !self.ended_well || !self.behind.is_empty() {
            return Err("a bad end".into());
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statuses: Vec<_> = self.statuses.iter().map(u16::to_string).collect();
        f.write_str(&statuses.join(" "))?;
        for (method, target, content) in &self.handed {
            write!(f, " | {method} {target}")?;
            if !content.is_empty() {
                write!(f, " {}", content.escape_ascii())?;
            }
        }
        Ok(())
    }
}

/// No content of the edge's looks like an answer: where one follows a head, that was for HEAD.
fn next_answer(bytes: &[u8]) -> Option<Seen> {
    let behind = &bytes[find(bytes, b"\r\n\r\n")? + 4..];
    let to_head = behind.is_empty() || behind.starts_with(b"HTTP/1.1 ");
    response::parse(bytes, to_head, true)
}

/// A request as the edge has written it: always canonical, always whole.
fn take_apart(request: &[u8]) -> (String, String, Vec<u8>) {
    let end = find(request, b"\r\n\r\n").expect("a whole head") + 4;
    // Values may be of any encoding.
    let head: String = request[..end].iter().copied().map(char::from).collect();
    let line: Vec<_> = head.lines().next().unwrap().split(' ').collect();
    let [method, target, "HTTP/1.1"] = line[..] else { panic!("{head}") };
    let length = response::field(&head, "content-length").map_or(0, |text| text.parse().unwrap());
    assert_eq!(request.len() - end, length, "one whole request: {head}");
    assert!(response::field(&head, "host").is_some(), "{head}");
    for gone in ["transfer-encoding", "connection", "expect", "upgrade"] {
        assert_eq!(response::field(&head, gone), None, "{head}");
    }
    assert!(!head.replace("\r\n", "").contains(|c: char| c.is_ascii_control() && c != '\t'));
    (method.into(), target.into(), request[end..].to_vec())
}
