//! An edge before an application that remembers what it has run, for requests that must not reach
//! it, and for odd ones that must.
//!
//! Owns what a proper refusal is. Offences are collected, so that one run shows them all.

use crate::client::{Client, Failure};
use crate::site::{Site, SiteBuilder};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Display;
use std::fs;

/// See the module's documentation. Requests go to [`Strict::BAD`] if they are to be refused, to
/// [`Strict::ECHO`] if they are to be served.
pub struct Strict {
    site: Site,
    offences: Vec<String>,
    /// Executions that are expected.
    executed: Vec<String>,
}

impl Strict {
    /// The target of which no execution is forgiven.
    pub const BAD: &str = "/once/bad";
    /// The target that answers what it has seen.
    pub const ECHO: &str = "/echo";

    /// The application `probe`, and nothing else.
    ///
    /// # Panics
    /// When it does not start.
    pub fn edge() -> Strict {
        Strict::on(Site::builder())
    }

    /// The same beside other routes and limits.
    ///
    /// # Panics
    /// When it does not start.
    pub fn on(site: SiteBuilder) -> Strict {
        let site = site.app("probe", 1).path_variable("PROBE_LOG", "log").start();
        Strict { site, offences: Vec::new(), executed: Vec::new() }
    }

    /// The site, for what is neither refused nor echoed.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The request, with another behind it, is refused with this status in a readable answer that
    /// ends the connection.
    pub fn refuses(&mut self, what: impl Display, request: impl AsRef<[u8]>, status: u16) {
        self.answers_last(what, request, &[status]);
    }

    /// The request is the last of its connection, although others follow: its answers have these
    /// statuses, and the client can read them all while it is still sending.
    pub fn answers_last(
        &mut self,
        what: impl Display,
        request: impl AsRef<[u8]>,
        statuses: &[u16],
    ) {
        if let Err(offence) = self.try_last(request.as_ref(), statuses) {
            self.offend(what, request, &offence);
        }
    }

    /// The request is served, and the application sees this content; so is another behind it.
    pub fn serves(&mut self, what: impl Display, request: impl AsRef<[u8]>, content: &[u8]) {
        if let Err(offence) = self.try_served(request.as_ref(), content) {
            self.offend(what, request, &offence);
        }
    }

    /// Notes an offence unless this holds.
    pub fn holds(&mut self, what: impl Display, holds: bool) {
        if !holds {
            self.offences.push(what.to_string());
        }
    }

    /// `/once/ID` may run once.
    pub fn may_run(&mut self, id: &str) {
        self.executed.push(id.to_owned());
    }

    /// The end: nothing ran that must not, and the application is still well.
    ///
    /// # Panics
    /// When there were offences.
    pub fn finish(mut self) {
        let last = self.site.client().get("/once/last");
        self.holds(format_args!("the last request got {}", last.status), last.status == 200);
        self.may_run("last");
        let log = fs::read_to_string(self.site.path("log")).unwrap_or_default();
        let executed: Vec<_> = log.lines().collect();
        if executed != self.executed {
            self.offences.push(format!("executed: {executed:?}, not {:?}", self.executed));
        }
        assert!(self.offences.is_empty(), "{}", self.offences.join("\n"));
    }

    fn offend(&mut self, what: impl Display, request: impl AsRef<[u8]>, offence: &str) {
        let request = request.as_ref();
        let shown = request[..request.len().min(200)].escape_ascii();
        self.offences.push(format!("{what}: {offence}: {shown}"));
    }

    fn try_last(&self, request: &[u8], statuses: &[u16]) -> Result<(), String> {
        let mut client = self.site.client();
        // Who writes on meanwhile must not be reset before it has read (RFC 9112 §9.6).
        let sent = [request, SMUGGLED, &[b'x'; MORE]].concat();
        client.try_send(sent).map_err(|failure| failure.to_string())?;
        for (index, status) in statuses.iter().enumerate() {
            let response = client.try_response(false).map_err(|failure| failure.to_string())?;
            if response.status != *status {
                return Err(format!("status {}, not {status}", response.status));
            }
            let is_last = index + 1 == statuses.len();
            if is_last && response.field("Connection") != Some("close") {
                return Err(format!("no Connection: close in {:?}", response.fields));
            }
        }
        client.half_close();
        match client.try_response(false) {
            Err(Failure::Closed) => Ok(()),
            other => Err(format!("after the answer: {other:?}")),
        }
    }

    fn try_served(&self, request: &[u8], content: &[u8]) -> Result<(), String> {
        let mut client = self.site.client();
        let sent = [request, b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        client.try_send(sent).map_err(|failure| failure.to_string())?;
        let seen = next_final(&mut client)?;
        if seen.status != 200 {
            return Err(format!("status {}", seen.status));
        }
        let seen = STANDARD.decode(seen.json()["content"].as_str().unwrap_or_default());
        if seen.as_deref() != Ok(content) {
            return Err(format!("content {seen:?}"));
        }
        match next_final(&mut client)?.status {
            200 => Ok(()),
            status => Err(format!("the request behind it: {status}")),
        }
    }
}

fn next_final(client: &mut Client) -> Result<crate::response::Response, String> {
    loop {
        let response = client.try_response(false).map_err(|failure| failure.to_string())?;
        if response.status != 100 {
            return Ok(response);
        }
    }
}

const SMUGGLED: &[u8] = b"GET /once/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Bytes that a client sends behind a request that is refused.
const MORE: usize = 100_000;
