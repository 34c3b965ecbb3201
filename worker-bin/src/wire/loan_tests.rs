//! Content that goes into a file of the edge's, and what an edge can say about it.

use super::descriptor_tests::open_copies;
use super::tests::terms;
use super::*;
use bytes::Bytes;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier};
use std::thread;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const LENGTH: usize = 3 << 20;

fn content() -> Bytes {
    (0..LENGTH).map(|at| (at % 251) as u8).collect()
}

fn large(fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nForebay-Spool: yes\r\n{fields}Content-Length: {LENGTH}\r\n\r\n")
        .into()
}

/// Says all of it with `Content-Length`, piece by piece.
fn in_pieces(piece: usize) -> impl Fn(Request) -> Response + Sync {
    move |_| {
        let content = content();
        let starts = (0..LENGTH).step_by(piece);
        let pieces = starts.map(move |at| Ok(content.slice(at..LENGTH.min(at + piece))));
        Response::stream(pieces).with_field("Content-Length", LENGTH.to_string())
    }
}

/// The other end of a slot.
struct Far(UnixStream);

impl Far {
    fn ask(&mut self) {
        self.0.write_all(GET).unwrap();
    }

    fn offer(&self, file: &File) {
        self.say_with(b"(", file);
    }

    /// Both are there when either is seen.
    fn offer_and_recall(&self, file: &File) {
        self.say_with(b"()", file);
    }

    fn say_with(&self, words: &[u8], file: &File) {
        let one = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&one)));
        let sent = sendmsg(&self.0, &[IoSlice::new(words)], &mut control, SendFlags::NOSIGNAL);
        assert_eq!(sent.unwrap(), words.len());
    }

    fn recall(&mut self) {
        self.0.write_all(b")").unwrap();
    }

    fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// What comes before the file is taken.
    fn read_until_taken(&mut self) -> Vec<u8> {
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let slices = &mut [IoSliceMut::new(&mut buffer)];
            let received = recvmsg(&self.0, slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
            assert_ne!(received.bytes, 0, "{} bytes have come", bytes.len());
            bytes.extend_from_slice(&buffer[..received.bytes]);
            let passed = control.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
                _ => None,
            });
            if let Some(file) = passed {
                drop::<OwnedFd>(file);
                assert_eq!(bytes.pop(), Some(b'('), "the last byte of its receive");
                return bytes;
            }
        }
    }

    /// How much is in the file.
    fn receipt(&mut self) -> usize {
        let mut digits = String::new();
        loop {
            match self.read(1)[0] {
                b'\n' => return digits.parse().unwrap(),
                digit => digits.push(digit.into()),
            }
        }
    }

    fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.0.read_to_end(&mut bytes);
        bytes
    }
}

/// A worker on one end, the test on the other; the worker ends with the test.
fn talk<T: Send>(app: &(impl App + ?Sized), edge: impl FnOnce(Far) -> T + Send) -> T {
    let (far, near) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let edge = scope.spawn(move || edge(Far(far)));
        let (socket, mut exchanger) = (Socket::new(near), Exchanger::new(32 << 10));
        while exchanger.exchange(&socket, app, &terms(true)) == Outcome::Next {}
        drop(socket);
        edge.join().unwrap()
    })
}

fn written(file: &File, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Everything of a response of which the rest goes into the file.
fn read_with_file(far: &mut Far, file: &File) -> (Vec<u8>, usize) {
    let mut bytes = far.read_until_taken();
    let count = far.receipt();
    bytes.extend(written(file, count));
    (bytes, count)
}

#[test]
fn what_comes_after_the_offer_is_in_the_file() {
    let whole = |_: Request| Response::new(content());
    let apps: [Box<dyn App>; 4] = [
        Box::new(whole),
        Box::new(in_pieces(64 << 10)),
        Box::new(in_pieces(1_000)),
        Box::new(in_pieces(1_999_999)),
    ];
    for app in apps {
        let file = tempfile::tempfile().unwrap();
        talk(&*app, |mut far| {
            for _ in 0..2 {
                far.ask();
                let head = large("");
                assert_eq!(far.read(head.len()), head);
                far.offer(&file);
                let (bytes, count) = read_with_file(&mut far, &file);
                assert!(bytes == content(), "{} bytes", bytes.len());
                assert!(count > LENGTH / 2, "{count} of them in the file");
                file.set_len(0).unwrap();
            }
        });
        assert_eq!(open_copies(&file), 1);
    }
}

#[test]
fn after_a_recall_content_comes_as_before_and_may_go_to_another_file() {
    talk(&in_pieces(10_000), |mut far| {
        far.ask();
        let head = large("");
        far.read(head.len());
        let mut all = Vec::new();
        for _ in 0..2 {
            let file = tempfile::tempfile().unwrap();
            // So it is one piece that goes there.
            far.offer_and_recall(&file);
            all.extend(far.read_until_taken());
            let count = far.receipt();
            assert_eq!(count, 10_000);
            all.extend(written(&file, count));
            all.extend(far.read(100_000));
        }
        let rest = LENGTH - all.len();
        all.extend(far.read(rest));
        assert!(all == content());
        far.ask();
        assert_eq!(far.read(head.len()), head);
    });
}

#[test]
fn a_recall_is_seen_within_a_large_piece() {
    let file = tempfile::tempfile().unwrap();
    talk(&in_pieces(LENGTH), |mut far| {
        far.ask();
        far.read(large("").len());
        far.offer_and_recall(&file);
        let (mut all, count) = read_with_file(&mut far, &file);
        assert!((1..=1 << 20).contains(&count), "{count} of them in the file");
        let rest = LENGTH - all.len();
        all.extend(far.read(rest));
        assert!(all == content());
    });
}

#[test]
fn what_is_said_too_late_is_dropped_before_the_next_request() {
    let file = tempfile::tempfile().unwrap();
    talk(&in_pieces(64 << 10), |mut far| {
        for _ in 0..3 {
            far.ask();
            let head = large("");
            far.read(head.len());
            assert!(far.read(LENGTH) == content());
            far.offer(&file);
            far.recall();
            far.offer(&file);
        }
    });
    assert_eq!(open_copies(&file), 1);
}

#[test]
fn what_cannot_be_written_is_sent() {
    let named = tempfile::NamedTempFile::new().unwrap();
    let read_only = OpenOptions::new().read(true).open(named.path()).unwrap();
    talk(&in_pieces(64 << 10), |mut far| {
        far.ask();
        far.read(large("").len());
        far.offer(&read_only);
        let mut all = far.read_until_taken();
        assert_eq!(far.receipt(), 0);
        let rest = LENGTH - all.len();
        all.extend(far.read(rest));
        assert!(all == content());
    });
}

#[test]
fn an_application_that_fails_leaves_what_it_has_given() {
    let app = |_: Request| {
        let content = content();
        let pieces = (0..32).map(move |number| match number {
            31 => Err(io::Error::other("no more")),
            number => Ok(content.slice(number << 16..(number + 1) << 16)),
        });
        Response::stream(pieces).with_field("Content-Length", LENGTH.to_string())
    };
    let file = tempfile::tempfile().unwrap();
    talk(&app, |mut far| {
        far.ask();
        far.read(large("").len());
        far.offer(&file);
        let (bytes, _) = read_with_file(&mut far, &file);
        assert!(bytes == content()[..31 << 16]);
        assert_eq!(far.read_to_end(), b"");
    });
}

#[test]
fn the_last_byte_ends_the_response_whatever_the_application_does_then() {
    let (ended, file) = (Arc::new(Barrier::new(2)), tempfile::tempfile().unwrap());
    let waits = Arc::clone(&ended);
    let app = move |_: Request| {
        let (content, waits) = (content(), Arc::clone(&waits));
        let pieces = (0..=48).map(move |number| {
            if number == 48 {
                waits.wait();
                return Ok(Bytes::new());
            }
            Ok(content.slice(number << 16..(number + 1) << 16))
        });
        Response::stream(pieces).with_field("Content-Length", LENGTH.to_string())
    };
    talk(&app, |mut far| {
        far.ask();
        far.read(large("").len());
        far.offer(&file);
        let (bytes, _) = read_with_file(&mut far, &file);
        assert!(bytes == content());
        ended.wait();
    });
}

#[test]
fn an_edge_that_goes_away_ends_the_response() {
    let file = tempfile::tempfile().unwrap();
    talk(&in_pieces(64 << 10), |mut far| {
        far.ask();
        far.read(large("").len());
        far.offer(&file);
        far.read_until_taken();
    });
    assert_eq!(open_copies(&file), 1);
}

#[test]
fn it_is_said_only_where_it_is_of_use() {
    let says = |app: &dyn App, request: &str, from_edge: bool| {
        let (far, near) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            let far = scope.spawn(move || {
                let mut far = Far(far);
                far.0.write_all(request.as_bytes()).unwrap();
                far.0.shutdown(std::net::Shutdown::Write).unwrap();
                String::from_utf8_lossy(&far.read_to_end()).contains("Forebay-Spool")
            });
            let mut exchanger = Exchanger::new(32 << 10);
            exchanger.exchange(&Socket::new(near), app, &terms(from_edge));
            far.join().unwrap()
        })
    };
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let of = |len: usize| move |_: Request| Response::new(vec![b'x'; len]);
    assert!(says(&of(1 << 20), get, true));
    assert!(!says(&of((1 << 20) - 1), get, true));
    assert!(!says(&of(1 << 20), get, false));
    assert!(!says(&of(1 << 20), "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", true));
    let stream = |_: Request| Response::stream((0..32).map(|_| Ok(Bytes::from(vec![0; 1 << 16]))));
    assert!(!says(&stream, get, true), "without a length");
}
