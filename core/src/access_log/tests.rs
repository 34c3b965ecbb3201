//! Lines as they are written, and what becomes of those that cannot be.

use super::*;
use crate::http::{FieldRoom, HeadLimits, parse_request};
use std::sync::{OnceLock, Weak, mpsc};
use std::time::Duration;

struct Channel(mpsc::Sender<Vec<u8>>);
impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).unwrap();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Channel {}

fn record(request: &[u8]) -> Record {
    let limits = HeadLimits { bytes: 4096, fields: 20, target_bytes: 1000 };
    let mut room = FieldRoom::default();
    let head = parse_request(request, &mut room, &limits).unwrap().unwrap();
    Record::new(&head, "127.0.0.1:5".parse().unwrap(), Time(1_000_000), Vec::new())
}

#[test]
fn a_line_is_combined_format_plus_times() {
    let (sender, lines) = mpsc::channel();
    let log = AccessLog::start(Channel(sender)).unwrap();
    let mut record = record(b"GET /a?b HTTP/1.1\r\nHost: x\r\nUser-Agent: \"evil\\\x80\"\r\n\r\n");
    record.set_exchange(Some(Time(3_000_000)), Some(Time(9_000_000)));
    record.answered(200, 13, 100);
    record.ends_with(100);
    let mut line = Vec::new();
    record.write(&mut line, Time(2_012_000_000), "Sun, 06 Nov 1994 08:49:37 GMT");
    log.push(&line);
    log.flush();
    let line = String::from_utf8(lines.try_iter().flatten().collect()).unwrap();
    assert_eq!(
        line,
        "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b HTTP/1.1\" 200 13 \"-\" \
         \"\\x22evil\\x5C\\x80\\x22\" rt=2.011 qt=0.002 ut=0.006\n"
    );
}

#[test]
fn of_an_answer_that_breaks_off_only_what_was_sent_is_content() {
    let logged = |accepted| {
        let mut record = record(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        record.begins_behind(1_000);
        record.passes(200, 50, 30);
        record.ends_with(accepted);
        (record.status(), record.content)
    };
    let expected = [(999, 499, 0), (1_000, 499, 0), (1_001, 200, 0), (1_030, 200, 0)];
    let with_content = [(1_031, 200, 1), (1_080, 200, 50), (2_000, 200, 50)];
    for (accepted, status, content) in expected.into_iter().chain(with_content) {
        assert_eq!(logged(accepted), (status, content), "{accepted} bytes accepted");
    }
}

#[test]
fn a_reopened_file_is_a_new_one_unless_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, moved) = (dir.path().join("log"), dir.path().join("moved"));
    std::fs::create_dir(&folder).unwrap();
    let log = AccessLog::file(folder.join("access.log")).unwrap();
    let say = |line: &str, reopen: bool| {
        log.push(line.as_bytes());
        if reopen {
            log.reopen();
        }
        log.flush();
    };
    say("a\n", false);
    std::fs::rename(&folder, &moved).unwrap();
    say("b\n", true);
    say("c\n", false);
    assert_eq!(std::fs::read(moved.join("access.log")).unwrap(), b"a\nb\nc\n");
    std::fs::create_dir(&folder).unwrap();
    say("d\n", true);
    say("e\n", false);
    assert_eq!(std::fs::read(moved.join("access.log")).unwrap(), b"a\nb\nc\nd\n");
    assert_eq!(std::fs::read(folder.join("access.log")).unwrap(), b"e\n");
}

#[test]
fn the_thread_ends_with_the_last_clone() {
    let (sender, lines) = mpsc::channel();
    let log = AccessLog::start(Channel(sender)).unwrap();
    let clone = log.clone();
    drop(log);
    clone.push(b"last\n");
    drop(clone);
    assert_eq!(lines.recv().unwrap(), b"last\n");
    assert!(lines.recv().is_err(), "its thread has dropped what it wrote to");
}

#[test]
fn a_pipe_without_a_reader_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("log");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let error = AccessLog::file(&fifo).err().unwrap();
    assert!(error.to_string().contains("nobody reads this pipe"), "{error}");
    // Readable and writable, so it has both ends.
    let mut reader = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    AccessLog::file(&fifo).unwrap().push(b"a line\n");
    let mut line = [0; 7];
    io::Read::read_exact(&mut reader, &mut line).unwrap();
    assert_eq!(&line, b"a line\n");
}

#[test]
fn what_cannot_be_written_is_counted() {
    let log = AccessLog::file("/dev/full").unwrap();
    log.push(b"a\nb\n");
    log.flush();
    log.push(b"c\n");
    log.flush();
    assert_eq!(log.dropped(), 3);
}

#[test]
fn a_blocked_sink_drops_lines_and_counts_them() {
    struct Blocked(mpsc::Receiver<()>);
    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv_timeout(Duration::from_secs(60));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Sink for Blocked {}
    let (release, blocked) = mpsc::channel();
    let log = AccessLog::start(Blocked(blocked)).unwrap();
    let line = vec![b'x'; BUFFER_BYTES / 4];
    for _ in 0..20 {
        log.push(&line);
    }
    assert!(log.dropped() >= 12, "{} dropped", log.dropped());
    assert!(!log.flush_for(Duration::from_millis(10)));
    drop(release);
    assert!(log.flush_for(Duration::from_secs(60)));
}

#[test]
fn a_flush_does_not_wait_for_what_is_logged_meanwhile() {
    /// Whenever it writes, there is more to write.
    struct Fed(Arc<OnceLock<Weak<Owner>>>, mpsc::Sender<Vec<u8>>);
    impl Write for Fed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(owner) = self.0.get().and_then(Weak::upgrade) {
                AccessLog(owner).push(b"more\n");
            }
            if bytes != b"more\n" {
                let _ = self.1.send(bytes.to_vec());
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Sink for Fed {
        fn reopen(&mut self) -> io::Result<()> {
            self.1.send(b"reopened\n".to_vec()).map_err(io::Error::other)
        }
    }
    let (sender, written) = mpsc::channel();
    let owner = Arc::new(OnceLock::new());
    let log = AccessLog::start(Fed(Arc::clone(&owner), sender)).unwrap();
    owner.set(Arc::downgrade(&log.0)).unwrap();
    for number in 0..100 {
        let line = format!("{number}\n");
        log.push(line.as_bytes());
        log.reopen();
        assert!(log.flush_for(Duration::from_secs(20)));
        let written = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
        assert!(written.contains(&line) && written.ends_with("reopened\n"), "{written:?}");
    }
    log.push(b"last\n");
    log.flush();
    let written = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
    assert!(written.contains("last\n"), "{written:?}");
}
