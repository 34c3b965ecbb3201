//! Content that travels as a descriptor, in both directions, and what an edge must not do.

use super::tests::{from_client, talk_under, terms};
use super::*;
use crate::app::Request;
use crate::content::{Content, FileRange};
use forebay::http::slot;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;

/// A file without a name.
fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn head(length: usize, fields: &str) -> String {
    format!("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{fields}\r\n")
}

/// One message, with so many descriptors of the file.
fn send(far: &UnixStream, bytes: &[u8], file: &File, count: usize) {
    let many = vec![file.as_fd(); count];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(100))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
    let sent = sendmsg(far, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
    assert_eq!(sent.unwrap(), bytes.len());
}

/// Reads until the message is whole, and what descriptor has come with it.
fn receive(far: &UnixStream, len: usize) -> (String, Option<File>) {
    let (mut bytes, mut passed) = (vec![0; len], None::<OwnedFd>);
    let mut at = 0;
    while at < len {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut bytes[at..])];
        let received = recvmsg(far, slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        assert_ne!(received.bytes, 0, "{:?}", String::from_utf8_lossy(&bytes[..at]));
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(fds) = message else { continue };
            fds.for_each(|fd| assert!(passed.replace(fd).is_none()));
        }
        at += received.bytes;
    }
    (String::from_utf8(bytes).unwrap(), passed.map(File::from))
}

/// How many descriptors of this process are of that file.
pub(super) fn open_copies(file: &File) -> usize {
    let link = |name: &std::path::Path| std::fs::read_link(name).ok();
    let own = link(format!("/proc/self/fd/{}", file.as_raw_fd()).as_ref()).unwrap();
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    all.filter(|entry| link(&entry.as_ref().unwrap().path()).as_ref() == Some(&own)).count()
}

/// Answers with where the content is, and what it is.
fn describe(request: Request) -> Response {
    assert!(request.fields().all(|(name, _)| !slot::is_reserved(name)));
    let place = match request.body() {
        Content::Inline(_) => "inline",
        Content::File(_) => "file",
    };
    let mut content = String::new();
    request.body().reader().read_to_string(&mut content).unwrap();
    assert_eq!(request.content(), content.as_bytes());
    Response::new(format!("{place} {content}"))
}

/// What comes back from a worker to which `write` has spoken.
fn from_edge(write: impl FnOnce(&mut UnixStream) + Send) -> String {
    talk_under(&terms(true), describe, write)
}

#[test]
fn content_in_a_file_is_read_where_it_is() {
    let file = file(b"0123456789");
    let answer = from_edge(|far| {
        send(far, head(4, "Forebay-Content-Fd: 3\r\n").as_bytes(), &file, 1);
        far.write_all(head(2, "").as_bytes()).unwrap();
        far.write_all(b"ab").unwrap();
        send(far, head(10, "forebay-content-fd: 0\r\n").as_bytes(), &file, 1);
        send(far, head(0, "Forebay-Content-Fd: 10\r\n").as_bytes(), &file, 1);
    });
    let contents: Vec<_> = answer.split("HTTP/1.1 200 OK\r\n").skip(1).collect();
    assert_eq!(contents.len(), 4, "{answer}");
    let ends = ["\nfile 3456", "\ninline ab", "\nfile 0123456789", "\nfile "];
    for (content, end) in contents.iter().zip(ends) {
        assert!(content.ends_with(end), "{answer}");
    }
    assert_eq!(open_copies(&file), 1);
}

#[test]
fn the_head_may_be_cut_anywhere() {
    let file = file(b"0123456789");
    let head = head(4, "Forebay-Content-Fd: 3\r\n");
    for cut in 1..head.len() {
        let answer = from_edge(|far| {
            send(far, &head.as_bytes()[..cut], &file, 1);
            thread::yield_now();
            far.write_all(&head.as_bytes()[cut..]).unwrap();
        });
        assert!(answer.ends_with("\r\n\r\nfile 3456"), "cut at {cut}: {answer}");
    }
    let byte_by_byte = from_edge(|far| {
        send(far, &head.as_bytes()[..1], &file, 1);
        for byte in &head.as_bytes()[1..] {
            far.write_all(&[*byte]).unwrap();
            thread::yield_now();
        }
    });
    assert!(byte_by_byte.ends_with("\r\n\r\nfile 3456"), "{byte_by_byte}");
    assert_eq!(open_copies(&file), 1);
}

#[test]
fn what_nobody_has_agreed_to_closes_the_slot() {
    let (bytes, at) = (file(b"0123456789"), "Forebay-Content-Fd: 3\r\n");
    let directory = File::open("/").unwrap();
    let chunked = "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\
                   Forebay-Content-Fd: 3\r\n\r\n0\r\n\r\n";
    for (what, request, file, count) in [
        ("not announced", head(0, ""), &bytes, 1),
        ("not announced", head(3, "") + "abc", &bytes, 1),
        ("missing", head(4, at), &bytes, 0),
        ("two", head(4, at), &bytes, 2),
        ("truncated control data", head(4, at), &bytes, 100),
        ("no number", head(4, "Forebay-Content-Fd: x\r\n"), &bytes, 1),
        ("negative", head(4, "Forebay-Content-Fd: -1\r\n"), &bytes, 1),
        ("twice", head(4, &at.repeat(2)), &bytes, 1),
        ("short", head(8, at), &bytes, 1),
        ("overflow", head(4, "Forebay-Content-Fd: 18446744073709551615\r\n"), &bytes, 1),
        ("a directory", head(4, at), &directory, 1),
        ("no length", chunked.to_owned(), &bytes, 1),
    ] {
        let answer = from_edge(|far| match count {
            0 => far.write_all(request.as_bytes()).unwrap(),
            count => send(far, request.as_bytes(), file, count),
        });
        assert_eq!(answer, "", "{what}");
    }
    assert_eq!(open_copies(&bytes), 1);
}

#[test]
fn a_descriptor_with_a_later_part_is_one_too_many() {
    let file = file(b"0123456789");
    let head = head(4, "Forebay-Content-Fd: 3\r\n");
    let (first, rest) = head.as_bytes().split_at(10);
    let answer = from_edge(|far| {
        send(far, first, &file, 1);
        send(far, rest, &file, 1);
    });
    assert_eq!(answer, "");
    let (most, last) = head.as_bytes().split_at(head.len() - 1);
    let answer = from_edge(|far| {
        far.write_all(most).unwrap();
        send(far, last, &file, 1);
    });
    assert_eq!(answer, "", "the last byte comes too late to bring it");
    assert_eq!(open_copies(&file), 1);
}

#[test]
fn content_bytes_behind_a_descriptor_are_no_request() {
    let file = file(b"0123456789");
    let answer = from_edge(|far| {
        send(far, (head(4, "Forebay-Content-Fd: 3\r\n") + "abcd\r\n\r\n").as_bytes(), &file, 1);
    });
    assert!(answer.contains("\r\n\r\nfile 3456HTTP/1.1 400 "), "{answer}");
}

#[test]
fn the_last_byte_of_the_head_is_the_last_act() {
    let (bytes, short) = (file(b"0123456789"), file(b"0"));
    let request = head(4, "Forebay-Content-Fd: 3\r\n");
    // Good: all has left the kernel when the application is called.
    let (far, near) = UnixStream::pair().unwrap();
    send(&far, request.as_bytes(), &bytes, 1);
    let left = Socket::new(near.try_clone().unwrap());
    let app = move |_: Request| {
        let [unread] = wait_readable([left.as_fd()], Some(Duration::ZERO)).unwrap();
        Response::new(if unread { "unread" } else { "all taken" })
    };
    let outcome = Exchanger::new(32 << 10).exchange(&Socket::new(near), &app, &terms(true));
    assert_eq!(outcome, Outcome::Next);
    drop(app);
    let mut answer = String::new();
    (&far).read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("all taken"), "{answer}");
    // Bad: the sender hears that it was not begun.
    let (far, near) = UnixStream::pair().unwrap();
    send(&far, request.as_bytes(), &short, 1);
    let outcome = Exchanger::new(32 << 10).exchange(&Socket::new(near), &describe, &terms(true));
    assert_eq!(outcome, Outcome::Ended);
    assert_eq!((&far).read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn clients_cannot_pass_descriptors() {
    let file = file(b"0123456789");
    let answer = talk_under(&terms(false), describe, |far| {
        send(far, (head(2, "Forebay-Content-Fd: 3\r\n") + "ab").as_bytes(), &file, 1);
    });
    assert_eq!(answer, "");
    let believed = head(2, "Forebay-Content-Fd: 3\r\n") + "ab";
    let answer = from_client(describe, believed.as_bytes());
    assert!(answer.ends_with("inline ab"), "{answer}");
    assert_eq!(open_copies(&file), 1);
}

#[test]
fn no_descriptor_is_left_after_10_000_requests() {
    let file = file(b"0123456789");
    let (far, near) = UnixStream::pair().unwrap();
    let answers = file.try_clone().unwrap();
    let app = move |request: Request| match request.body() {
        Content::File(_) => Response::file(answers.try_clone().unwrap(), 2, 8),
        Content::Inline(_) => Response::new("01234567"),
    };
    let server = thread::spawn(move || {
        let (socket, mut exchanger) = (Socket::new(near), Exchanger::new(32 << 10));
        while exchanger.exchange(&socket, &app, &terms(true)) == Outcome::Next {}
    });
    let (passing, inline) = (head(4, "Forebay-Content-Fd: 3\r\n"), head(4, "") + "abcd");
    let by_file = "HTTP/1.1 200 OK\r\nForebay-Body-Fd: 2\r\nContent-Length: 8\r\n\r\n";
    let in_line = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n01234567";
    for number in 0..10_000 {
        if number % 3 == 0 {
            (&far).write_all(inline.as_bytes()).unwrap();
            let (answer, passed) = receive(&far, in_line.len());
            assert_eq!((answer.as_str(), passed.is_some()), (in_line, false));
        } else {
            send(&far, passing.as_bytes(), &file, 1);
            let (answer, passed) = receive(&far, by_file.len());
            assert_eq!((answer.as_str(), passed.is_some()), (by_file, true));
        }
    }
    assert_eq!(open_copies(&file), 2, "this one, and the application's");
    drop(far);
    server.join().unwrap();
    assert_eq!(open_copies(&file), 1);
}

#[test]
fn the_edge_gets_files_and_clients_their_content() {
    let app = |request: Request| {
        let response = Response::file(file(b"0123456789"), 3, 4);
        match request.path() {
            "/empty" => Response::file(file(b"0123456789"), 3, 0),
            "/304" => response.with_status(304),
            _ => response.with_field("Forebay-Body-Fd", "7"),
        }
    };
    let (far, near) = UnixStream::pair().unwrap();
    let get = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    (&far).write_all(get).unwrap();
    let outcome = Exchanger::new(32 << 10).exchange(&Socket::new(near), &app, &terms(true));
    assert_eq!(outcome, Outcome::Next);
    let expected = "HTTP/1.1 200 OK\r\nForebay-Body-Fd: 3\r\nContent-Length: 4\r\n\r\n";
    let (answer, passed) = receive(&far, expected.len());
    assert_eq!(answer, expected, "once, and not the application's own");
    let content = Content::File(FileRange::new(passed.unwrap(), 3, 4).unwrap());
    assert_eq!(content.bytes().unwrap(), "3456");

    let head = b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let empty = b"GET /empty HTTP/1.1\r\nHost: h\r\n\r\n";
    let unchanged = b"GET /304 HTTP/1.1\r\nHost: h\r\n\r\n";
    for request in [&head[..], empty, unchanged] {
        let answer = talk_under(&terms(true), app, |far| far.write_all(request).unwrap());
        assert!(!answer.contains("Forebay") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
    let answer = from_client(app, &[&get[..], head, get].concat());
    assert!(!answer.contains("Forebay"), "{answer}");
    assert_eq!(answer.matches("\r\n\r\n3456").count(), 2, "{answer}");
    assert!(answer.ends_with("\r\n\r\n3456"), "{answer}");
}

#[test]
fn a_large_file_reaches_a_client_whole() {
    let bytes: Vec<u8> = (0..3 << 20).map(|i| b'a' + (i % 23) as u8).collect();
    let content = file(&bytes);
    let app = move |_: Request| Response::file(content.try_clone().unwrap(), 1, (3 << 20) - 1);
    let answer = from_client(app, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    let (_, back) = answer.split_once("\r\n\r\n").unwrap();
    assert!(back.as_bytes() == &bytes[1..], "{} bytes came back", back.len());
}

#[test]
fn a_file_that_is_of_no_use_is_500() {
    let bad: [fn() -> io::Result<Response>; 3] = [
        || Ok(Response::file(file(b"abc"), 1, 3)),
        || Ok(Response::file(file(b"abc"), u64::MAX, 1)),
        || Ok(Response::file(File::open("/")?, 0, 1)),
    ];
    for response in bad {
        let app = move |_: Request| response().unwrap();
        for from_edge in [true, false] {
            let answer = talk_under(&terms(from_edge), app, |far| {
                far.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            });
            assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        }
    }
}
