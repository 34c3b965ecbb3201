//! Standard error, which may be a pipe that nobody reads.
//!
//! Owns what waits to be written there, and the thread that writes it: nobody else waits for it.
//! What finds no room is lost, and counted. Must not know what it says.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// Writes lines, whole, in their order.
struct Writer {
    lines: Sender<Entry>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Bytes that wait.
    waiting: AtomicUsize,
    /// Lines that found no room since the last that did.
    lost: AtomicU64,
}

enum Entry {
    Line(Vec<u8>),
    /// Dropped when all before it is written.
    End(#[allow(dead_code)] Sender<()>),
}

static STDERR: OnceLock<Option<Writer>> = OnceLock::new();

/// A line, or several, with their ends. Never waits, unless there is no thread to do so.
pub(crate) fn write(lines: &[u8]) {
    match writer() {
        Some(writer) => writer.write(lines),
        // Nobody is left to be told that standard error is gone.
        None => drop(io::stderr().write_all(lines)),
    }
}

/// Waits until everything is written, but not long for a pipe that nobody reads.
pub(crate) fn flush() {
    if let Some(Some(writer)) = STDERR.get() {
        writer.flush(PATIENCE);
    }
}

/// [`write()`], for who writes.
#[derive(Debug)]
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn writer() -> Option<&'static Writer> {
    STDERR.get_or_init(|| Writer::start(io::stderr()).ok()).as_ref()
}

impl Writer {
    fn start(sink: impl Write + Send + 'static) -> io::Result<Writer> {
        let (lines, entries) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let writer = Writer { lines, shared: Arc::clone(&shared) };
        let body = move || shared.write_all(sink, &entries);
        thread::Builder::new().name("stderr".into()).spawn(body)?;
        Ok(writer)
    }

    fn write(&self, lines: &[u8]) {
        let waiting = self.shared.waiting.fetch_add(lines.len(), Ordering::Relaxed);
        let has_room = waiting == 0 || waiting + lines.len() <= MOST;
        if !has_room || self.lines.send(Entry::Line(lines.to_owned())).is_err() {
            self.shared.waiting.fetch_sub(lines.len(), Ordering::Relaxed);
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// False: not everything is written yet.
    fn flush(&self, patience: Duration) -> bool {
        let (end, ended) = mpsc::channel();
        let is_told = self.lines.send(Entry::End(end)).is_ok();
        is_told && ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}

impl Shared {
    fn write_all(&self, mut sink: impl Write, entries: &Receiver<Entry>) {
        for entry in entries {
            let Entry::Line(line) = entry else { continue };
            // The line is lost if it cannot be written; the next may fit again.
            let _ = sink.write_all(&line);
            self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let _ = writeln!(sink, "proxy-bin: {lost} lines before this one found no room");
            }
        }
    }
}

/// Bytes that may wait.
const MOST: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Takes a line when it is let.
    struct Slow {
        lets: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An end lets everything pass.
            let _ = self.lets.recv();
            self.taken.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_writes_does_not_wait_and_what_is_lost_is_told() {
        let (let_one, lets) = mpsc::channel();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let writer = Writer::start(Slow { lets, taken: Arc::clone(&taken) }).unwrap();
        writer.write(b"first\n");
        let line = vec![b'#'; MOST / 4];
        for _ in 0..6 {
            writer.write(&line);
        }
        assert!(!writer.flush(Duration::from_millis(10)));
        drop(let_one);
        assert!(writer.flush(Duration::from_secs(60)));
        writer.write(b"last\n");
        assert!(writer.flush(Duration::from_secs(60)));
        let taken = taken.lock().unwrap();
        assert!(taken.starts_with(b"first\n") && taken.ends_with(b"last\n"));
        assert_eq!(taken.iter().filter(|&&byte| byte == b'#').count(), 3 * line.len());
        let text = String::from_utf8_lossy(&taken);
        assert_eq!(text.matches("3 lines before this one found no room").count(), 1);
    }
}
