//! The access log: lines made on the reactors, written by one thread of its own.
//!
//! Owns the format, a bounded buffer and the file. A reactor never waits for a disk or a pipe:
//! when the buffer is full, lines are dropped and counted.
//!
//! A line is the combined format and times in seconds: `rt` from the head to the last byte sent,
//! `qt` from the head until a worker gets the request, `ut` from then to the head of its response
//! (`-` where there was no worker, or no response). A client that did not wait for its answer has
//! 499 there, one that was cut off by the end of the server 503; if the kernel has taken any of the
//! answer, its status and the bytes of content that it has taken. Here it is broken in two:
//!
//! ```text
//! 127.0.0.1 - - [24/Nov/2026:09:36:24 +0000] "GET / HTTP/1.1" 200 13 "-" "curl/8"
//!     rt=0.001 qt=0.000 ut=0.001
//! ```

use crate::http::RequestHead;
use crate::io::Time;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Where the server's access log goes. Cheap to clone; all clones are the same log. Its thread ends
/// with the last of them.
#[derive(Clone)]
pub struct AccessLog(Arc<Owner>);

struct Owner(Arc<Shared>);

struct Shared {
    buffer: Mutex<Buffer>,
    filled: Condvar,
    dropped: AtomicU64,
}

struct Buffer {
    lines: Vec<u8>,
    reopen: bool,
    /// Turns of the writer: each does all that is asked for when it begins.
    begun: u64,
    ended: u64,
    /// Nobody logs any more.
    is_over: bool,
}

/// What the writer's thread writes to.
trait Sink: Write + Send + 'static {
    /// Begins anew, in the place of the same name.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for io::Stdout {}

struct LogFile {
    path: PathBuf,
    file: File,
}

impl AccessLog {
    /// To standard output.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn stdout() -> io::Result<AccessLog> {
        AccessLog::start(io::stdout())
    }

    /// Appends to a file, which is created if need be.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or the thread cannot be started.
    pub fn file(path: impl AsRef<Path>) -> io::Result<AccessLog> {
        let path = std::path::absolute(path)?;
        let file = open(&path)?;
        AccessLog::start(LogFile { path, file })
    }

    /// Closes the file and opens the one that now has its path: after a rotation. If that fails
    /// the log stays where it is, and the reason is logged. Returns at once.
    pub fn reopen(&self) {
        self.lock().reopen = true;
        self.shared().filled.notify_all();
    }

    /// Lines lost because the buffer was full, or because they could not be written.
    pub fn dropped(&self) -> u64 {
        self.shared().dropped.load(Ordering::Relaxed)
    }

    /// Waits until what has been logged so far is written, and what has been asked for is done.
    pub fn flush(&self) {
        let buffer = self.lock();
        let last = buffer.last_turn();
        let done = self.shared().filled.wait_while(buffer, |buffer| buffer.ended < last);
        drop(done.unwrap_or_else(PoisonError::into_inner));
    }

    /// The same, but only so long. False: something is not written yet.
    pub(crate) fn flush_for(&self, patience: Duration) -> bool {
        let filled = &self.shared().filled;
        let buffer = self.lock();
        let last = buffer.last_turn();
        let is_behind = |buffer: &mut Buffer| buffer.ended < last;
        let waited = filled.wait_timeout_while(buffer, patience, is_behind);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn start(sink: impl Sink) -> io::Result<AccessLog> {
        let buffer = Buffer {
            lines: Vec::with_capacity(BUFFER_BYTES),
            reopen: false,
            begun: 0,
            ended: 0,
            is_over: false,
        };
        let shared = Arc::new(Shared {
            buffer: Mutex::new(buffer),
            filled: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("forebay-log".into())
            .spawn(move || writer.write_to_the_end(sink))?;
        Ok(AccessLog(Arc::new(Owner(shared))))
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.shared().lock()
    }

    /// Only a copy happens under the lock.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut buffer = self.lock();
        if buffer.lines.len() + line.len() > BUFFER_BYTES {
            self.shared().dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = buffer.lines.is_empty();
        buffer.lines.extend_from_slice(line);
        drop(buffer);
        if was_empty {
            self.shared().filled.notify_all();
        }
    }
}

impl Buffer {
    /// There is something for a next turn.
    fn has_work(&self) -> bool {
        !self.lines.is_empty() || self.reopen
    }

    /// When this turn has ended, all that is asked for now is done.
    fn last_turn(&self) -> u64 {
        self.begun + u64::from(self.has_work())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.filled.notify_all();
    }
}

impl Shared {
    fn write_to_the_end(&self, mut sink: impl Sink) {
        let mut lines = Vec::with_capacity(BUFFER_BYTES);
        let mut failing = false;
        loop {
            let mut buffer = self.lock();
            while !buffer.has_work() {
                if buffer.is_over {
                    return;
                }
                buffer = self.filled.wait(buffer).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut buffer.lines, &mut lines);
            buffer.begun += 1;
            let reopen = std::mem::take(&mut buffer.reopen);
            drop(buffer);
            let result = sink.write_all(&lines).and_then(|()| sink.flush());
            if let Err(error) = &result
                && !failing
            {
                tracing::error!(%error, "cannot write the access log; lines are lost");
            }
            failing = result.is_err();
            if failing {
                let lost = memchr::memchr_iter(b'\n', &lines).count();
                self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
            }
            lines.clear();
            if reopen && let Err(error) = sink.reopen() {
                tracing::error!(%error, "cannot reopen the access log; it goes on as before");
            }
            self.lock().ended += 1;
            self.filled.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for LogFile {
    fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A pipe needs a reader already: waiting for one would be for ever.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    let at_once = options.clone().custom_flags(libc::O_NONBLOCK).open(path);
    let _kept = at_once.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) if is_socket(path) => io::Error::other("this is a socket, not a file"),
        Some(libc::ENXIO) => io::Error::other("nobody reads this pipe: start its reader first"),
        _ => error,
    })?;
    options.open(path)
}

/// As standard output is under systemd: it has a name, but cannot be opened by it.
fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

impl std::fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessLog")
    }
}

/// What is known of one request until its line is written.
pub(crate) struct Record {
    peer: SocketAddr,
    started: Time,
    /// The request line, then the quoted `Referer` and `User-Agent`.
    text: Vec<u8>,
    request_line: usize,
    /// That of its answer, if there is any.
    status: Option<u16>,
    /// What is logged otherwise.
    unanswered: u16,
    /// Bytes of content that are queued or sent.
    content: u64,
    /// Where the answer begins in all that the connection sends, and where what there is of it
    /// ends.
    begins_at: u64,
    ends_at: u64,
    dispatched: Option<Time>,
    responded: Option<Time>,
}

impl Record {
    /// `text` is an empty buffer to use.
    pub(crate) fn new(
        head: &RequestHead<'_, '_>,
        peer: SocketAddr,
        started: Time,
        mut text: Vec<u8>,
    ) -> Record {
        for part in [head.method, " ", head.target, " ", head.version.as_str()] {
            escape(&mut text, part.as_bytes());
        }
        let mut record = Record::with_request_line(text, peer, started);
        for name in ["Referer", "User-Agent"] {
            record.text.extend_from_slice(b" \"");
            escape(&mut record.text, head.field(name).unwrap_or(b"-"));
            record.text.push(b'"');
        }
        record
    }

    /// For something that is no request: its first line, cut off if it is long.
    pub(crate) fn refused(
        bytes: &[u8],
        peer: SocketAddr,
        started: Time,
        mut text: Vec<u8>,
    ) -> Record {
        let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty());
        let line = line.unwrap_or_default();
        escape(&mut text, &line[..line.len().min(REFUSED_MOST)]);
        let mut record = Record::with_request_line(text, peer, started);
        record.text.extend_from_slice(b" \"-\" \"-\"");
        record
    }

    fn with_request_line(text: Vec<u8>, peer: SocketAddr, started: Time) -> Record {
        let request_line = text.len();
        Record {
            peer,
            started,
            text,
            request_line,
            status: None,
            unanswered: CLIENT_CLOSED_REQUEST,
            content: 0,
            begins_at: 0,
            ends_at: 0,
            dispatched: None,
            responded: None,
        }
    }

    /// So many bytes come before its answer on its connection.
    pub(crate) fn begins_behind(&mut self, bytes: u64) {
        self.begins_at = bytes;
    }

    pub(crate) fn set_exchange(&mut self, dispatched: Option<Time>, responded: Option<Time>) {
        self.dispatched = dispatched;
        self.responded = responded;
    }

    /// It is known when its response began, so also when a worker got it.
    pub(crate) fn has_response(&self) -> bool {
        self.responded.is_some()
    }

    /// So much of its response is here: content, and what is around it.
    pub(crate) fn passes(&mut self, status: u16, content: u64, around: u64) {
        self.answered(status, content, self.begins_at + content + around);
    }

    /// All of its answer is queued, and ends behind so many bytes of its connection.
    pub(crate) fn answered(&mut self, status: u16, content: u64, ends_at: u64) {
        (self.status, self.content, self.ends_at) = (Some(status), content, ends_at);
    }

    /// What is not sent of its answer now is not its client's fault.
    pub(crate) fn cut_off(&mut self) {
        self.unanswered = CUT_OFF;
    }

    /// Nothing more is sent of it: the kernel has accepted so many bytes of its connection.
    pub(crate) fn ends_with(&mut self, accepted: u64) {
        if accepted <= self.begins_at {
            (self.status, self.content) = (None, 0);
        } else {
            let lost = self.ends_at.saturating_sub(accepted);
            self.content = self.content.saturating_sub(lost);
        }
    }

    fn status(&self) -> u16 {
        self.status.unwrap_or(self.unanswered)
    }

    /// Writes its line as sent at `now`. `date`: the same moment as in the `Date` field.
    pub(crate) fn write(&self, line: &mut Vec<u8>, now: Time, date: &str) {
        let seconds = |from: Option<Time>, to: Option<Time>| match (from, to) {
            (Some(from), Some(to)) => Seconds(Some(to.since(from))),
            _ => Seconds(None),
        };
        let (request_line, fields) = self.text.split_at(self.request_line);
        // `Sun, 06 Nov 1994 08:49:37 GMT`
        let (day, month) = (date.get(5..7), date.get(8..11));
        let (year, time) = (date.get(12..16), date.get(17..25));
        // Writing to a vector succeeds.
        let _ = write!(
            line,
            "{} - - [{}/{}/{}:{} +0000] \"",
            self.peer.ip().to_canonical(),
            day.unwrap_or("-"),
            month.unwrap_or("-"),
            year.unwrap_or("-"),
            time.unwrap_or("-"),
        );
        line.extend_from_slice(request_line);
        let _ = write!(line, "\" {} {}", self.status(), self.content);
        line.extend_from_slice(fields);
        let _ = writeln!(
            line,
            " rt={} qt={} ut={}",
            seconds(Some(self.started), Some(now)),
            seconds(Some(self.started), self.dispatched),
            seconds(self.dispatched, self.responded),
        );
    }

    /// Bytes of memory.
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.text
    }
}

/// A time in seconds with milliseconds, or `-`.
struct Seconds(Option<std::time::Duration>);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str("-"),
            Some(time) => write!(f, "{}.{:03}", time.as_secs(), time.subsec_millis()),
        }
    }
}

/// A client's bytes cannot break a line, a quoted string or a terminal.
fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' | ..b' ' | 0x7f.. => {
                let digit = |n: u8| b"0123456789ABCDEF"[usize::from(n)];
                out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
}

/// What the log says about a request whose client did not wait for the answer, or not send all of
/// the request, as nginx does.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What it says about one that the end of the server has left without an answer.
const CUT_OFF: u16 = 503;

/// Bytes of a refused request's first line that are logged.
const REFUSED_MOST: usize = 512;

/// Lines waiting for the writer, at most.
const BUFFER_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests;
