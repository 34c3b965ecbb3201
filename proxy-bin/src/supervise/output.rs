//! What workers write to standard output and standard error.
//!
//! Owns the prefix and where lines end. Must not know processes.

use crate::stderr;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::Sender;
use std::thread;

/// Copies `source` to standard error in a thread of its own, each line after `[pool] `. `done` is
/// dropped at the end.
pub(crate) fn forward(pool: &str, source: impl Read + Send + 'static, done: Sender<()>) {
    let prefix = format!("[{pool}] ");
    let copy = move || {
        // A worker does not wait. When it cannot be read there are no lines any more.
        let _ = copy_lines(source, &prefix, stderr::write);
        drop(done);
    };
    let thread = thread::Builder::new().name("output".into()).spawn(copy);
    if let Err(error) = thread {
        tracing::error!(pool, %error, "no thread for the output of workers, it is lost");
    }
}

/// Each line goes out whole, in one write, so that lines of several processes do not mix.
fn copy_lines(source: impl Read, prefix: &str, mut write: impl FnMut(&[u8])) -> io::Result<()> {
    let mut source = BufReader::new(source);
    let mut line = Vec::new();
    loop {
        line.clear();
        line.extend_from_slice(prefix.as_bytes());
        if source.by_ref().take(LINE_MOST).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        write(&line);
    }
}

/// Bytes. Longer lines are broken.
const LINE_MOST: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(source: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        copy_lines(source, "[app] ", |line| lines.push(line.to_owned())).unwrap();
        lines
    }

    #[test]
    fn every_line_gets_the_prefix_and_an_end() {
        assert_eq!(copied(b"a\n\n\xFFb"), [&b"[app] a\n"[..], b"[app] \n", b"[app] \xFFb\n"]);
        assert!(copied(b"").is_empty());
    }

    #[test]
    fn endless_lines_are_broken() {
        let lines = copied(&vec![b'x'; LINE_MOST as usize + 1]);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [LINE_MOST as usize + 7, 8]);
    }
}
