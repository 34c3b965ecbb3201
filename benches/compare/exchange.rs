//! The same request again and again: verified, then timed.
//!
//! Owns what a right answer is. Must not know configurations.

use crate::case::{Case, Site};
use crate::fetch::{self, Answer};
use crate::load::{Clients, Crowd, Expected, Load};
use crate::measure::Used;
use crate::run::Stack;
use crate::server::{BARE, Place};
use crate::{Failure, proxied, statics};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// What each connection asks, over and over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) path: &'static str,
    /// Of the right answer.
    pub(crate) status: u16,
    pub(crate) connections: usize,
    /// Requests at once.
    pub(crate) pipelined: usize,
    /// A connection per request.
    pub(crate) closes: bool,
}

impl Exchange {
    pub(crate) const fn of(path: &'static str) -> Exchange {
        Exchange { path, status: 200, connections: 64, pipelined: 1, closes: false }
    }

    /// Runs until there is a sample of so much time.
    ///
    /// # Errors
    /// A wrong answer before or after, or none.
    pub(crate) fn measure(
        &self,
        stack: &Stack,
        place: &Place<'_>,
        time: Duration,
    ) -> Result<(Load, Used), Failure> {
        let mut crowd = Crowd::connect(place.port, vec![self.clients(place)?])?;
        crowd.run(time.min(WARM_UP))?;
        let before = stack.used();
        let load = crowd.run(time)?.remove(0);
        let used = stack.used() - before;
        drop(crowd);
        if load.requests == 0 {
            return Err("no request was answered".into());
        }
        self.verify(place)?;
        Ok((load, used))
    }

    /// Who asks so, and expects what this server has just said.
    pub(crate) fn clients(&self, place: &Place<'_>) -> Result<Clients, Failure> {
        self.verify(place)?;
        self.verify(place)?;
        let (answer, fields) = self.verify(place)?;
        let close = if self.closes { "Connection: close\r\n" } else { "" };
        let path = self.path;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}{close}\r\n");
        Ok(Clients {
            requests: vec![request.repeat(self.pipelined).into_bytes()],
            expected: Expected { status: answer.status, length: answer.content.len() },
            connections: self.connections,
            pipelined: self.pipelined,
            closes: self.closes,
            answered: None,
        })
    }

    /// The answer, and the fields of the request that it is for.
    fn verify(&self, place: &Place<'_>) -> Result<(Answer, String), Failure> {
        let answer = fetch::get(place.port, self.path, "")?;
        if self.status == 404 {
            status(&answer, 404)?;
            return Ok((answer, String::new()));
        }
        let etag = answer.field("etag").unwrap_or_default();
        let fields = format!("If-None-Match: {etag}\r\n");
        if self.status == 304 && place.server == BARE {
            // It has no other answer.
            status(&answer, 304)?;
            return Ok((answer, fields));
        }
        right(place.case, self.path, &answer)?;
        if self.status != 304 {
            return Ok((answer, String::new()));
        }
        let answer = fetch::get(place.port, self.path, &fields)?;
        status(&answer, 304)?;
        Ok((answer, fields))
    }
}

/// Status, length and content are those of the case; files have their validators.
fn right(case: &Case, path: &str, answer: &Answer) -> Result<(), Failure> {
    status(answer, 200)?;
    let is_file = case.site == Site::Files;
    let expected = if is_file { statics::content_at(path) } else { proxied::content_at(path) };
    let expected = expected.ok_or("nobody knows the right answer")?;
    let (found, wanted) = (answer.content.len(), expected.len());
    if found != wanted {
        return Err(format!("{found} bytes instead of {wanted}").into());
    }
    if Sha256::digest(&answer.content) != Sha256::digest(&expected) {
        return Err("the content has another SHA-256 than it should".into());
    }
    let has_validators = ["etag", "last-modified"].iter().all(|name| answer.field(name).is_some());
    if is_file && !has_validators {
        return Err("a file without ETag or Last-Modified is not a fair comparison".into());
    }
    Ok(())
}

fn status(answer: &Answer, expected: u16) -> Result<(), Failure> {
    match answer.status {
        status if status == expected => Ok(()),
        status => Err(format!("status {status} instead of {expected}").into()),
    }
}

const WARM_UP: Duration = Duration::from_millis(400);
