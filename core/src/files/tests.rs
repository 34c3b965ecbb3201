//! Files as a client sees them, against real directories.

use super::*;
use crate::allocations::allocations;
use crate::http::Version;
use crate::io::{Done, Errno, FileKind, Stat, Time};
use disk::{Disk, GET, Site, get_with};
use std::os::unix::fs::PermissionsExt;

mod disk;
mod search;

#[test]
fn small_files_are_kept_in_memory_and_answered_without_allocating() {
    let mut site = Site::new();
    site.disk.read_most = 2;
    assert_eq!(site.get("small.txt"), (200, b"hello".to_vec(), 5));
    assert_eq!(site.disk.open_files(), 1, "only the root");
    let mut out = Vec::with_capacity(1024);
    let ask = get_with(&[("If-None-Match", "\"other\", \"another\"")]);
    let before = allocations();
    let Step::Reply(reply) = site.begin("small.txt", ask) else { panic!("not cached") };
    reply.write_head(&mut out, Version::Http11, true, b"now");
    assert!(matches!(&reply.content, FileContent::Memory(content) if content == "hello"));
    drop(reply);
    assert_eq!(allocations() - before, 0);
    site.assert_no_leak();
}

#[test]
fn large_files_are_kept_open() {
    let mut site = Site::new();
    let (reply, operations) = site.ask("large.bin", GET);
    assert_eq!((reply.content_length(), operations), (100_000, 1));
    assert!(matches!(reply.content, FileContent::File { len: 100_000, .. }));
    assert_eq!(site.ask("large.bin", GET).1, 0);
    assert_eq!(site.disk.open_files(), 2);
    site.milliseconds += 1000;
    std::fs::remove_file(site.disk.path("large.bin")).unwrap();
    assert_eq!(site.get("large.bin").0, 404);
    assert_eq!(site.content(&reply), [b'x'; 100_000], "still being sent");
    drop(reply);
    site.assert_no_leak();
}

#[test]
fn changes_are_seen_after_a_second() {
    let replace = |disk: &Disk, name: &str| {
        disk.write("new", b"replaced");
        std::fs::rename(disk.path("new"), disk.path(name)).unwrap();
    };
    let truncate = |disk: &Disk, name: &str| {
        let file = std::fs::OpenOptions::new().write(true).open(disk.path(name));
        file.unwrap().set_len(1).unwrap();
    };
    let delete = |disk: &Disk, name: &str| std::fs::remove_file(disk.path(name)).unwrap();
    type Change<'a> = &'a dyn Fn(&Disk, &str);
    let changes: [(Change<'_>, u16, Option<&[u8]>); 5] = [
        (&|disk, name| disk.write(name, b"HELLO"), 200, Some(b"HELLO")),
        (&replace, 200, Some(b"replaced")),
        (&truncate, 200, None),
        (&delete, 404, None),
        (&|disk, name| disk.write(name, &[b'y'; 70_000]), 200, Some(&[b'y'; 70_000])),
    ];
    for name in ["small.txt", "large.bin"] {
        for (change, status, content) in changes {
            let mut site = Site::new();
            let (_, before, _) = site.get(name);
            change(&site.disk, name);
            site.milliseconds += 999;
            let old = site.ask(name, GET).0;
            assert_eq!((old.status, old.content_length()), (200, before.len() as u64));
            site.milliseconds += 1;
            let (now, after, _) = site.get(name);
            assert_eq!(now, status);
            match content {
                Some(content) => assert_eq!(after, content),
                None => assert_ne!(after, before),
            }
            drop(old);
            site.assert_no_leak();
        }
    }
}

#[test]
fn missing_files_are_remembered_for_a_second() {
    let mut site = Site::new();
    assert_eq!(site.get("new.txt"), (404, b"404 Not Found\n".to_vec(), 1));
    site.disk.write("new.txt", b"new");
    site.milliseconds += 999;
    assert_eq!(site.get("new.txt").2, 0);
    site.milliseconds += 1;
    assert_eq!(site.get("new.txt").1, b"new");
    assert_eq!(site.get("other.txt").2, 1);
    site.milliseconds += 1000;
    assert_eq!((site.get("other.txt").2, site.get("other.txt").2), (1, 0));
}

#[test]
fn unchanged_files_are_checked_once_a_second() {
    let mut site = Site::new();
    for name in ["small.txt", "large.bin"] {
        let content = site.get(name).1;
        for _ in 0..3 {
            site.milliseconds += 1000;
            assert_eq!(site.get(name), (200, content.clone(), 1));
            assert_eq!(site.get(name), (200, content.clone(), 0));
        }
    }
}

#[test]
fn files_changed_just_now_are_checked_each_time() {
    let mut site = Site::new();
    let changed = std::fs::metadata(site.disk.path("small.txt")).unwrap();
    let changed = std::os::unix::fs::MetadataExt::ctime(&changed) as u64;
    for (after, operations) in [(0, 3), (0, 1), (1, 1), (2, 1), (3, 1), (3, 0), (4, 0)] {
        let step = site.cache.begin(&site.route, "small.txt", GET, Time(0), changed + after);
        assert_eq!(site.finish(step).1, operations, "after {after} s");
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_served_but_not_remembered() {
    for size in [3, 5, 9] {
        let mut site = Site::new();
        let Step::Do(open, pending) = site.begin("small.txt", GET) else { panic!() };
        let opened = site.disk.perform(open);
        site.disk.write("small.txt", &vec![b'z'; size]);
        let Step::Do(read, pending) = site.resume(pending, opened) else { panic!() };
        let step = site.resume(pending, site.disk.perform(read));
        let reply = site.finish(step).0;
        assert_eq!((reply.status, reply.content_length()), (200, size as u64));
        assert_eq!(site.content(&reply), vec![b'z'; size]);
        assert!(matches!(reply.content, FileContent::File { .. }));
        drop(reply);
        assert!(matches!(site.begin("small.txt", GET), Step::Do(Op::OpenFile { .. }, _)));
        site.assert_no_leak();
    }
}

#[test]
fn directories_answer_with_their_index_or_redirect_to_themselves() {
    let mut site = Site::new();
    site.disk.write("index.html", b"top");
    site.disk.write("sub/index.html", b"sub");
    site.disk.write("odd/index.html/x", b"");
    std::fs::create_dir(site.disk.path("empty")).unwrap();
    assert_eq!(site.get("").1, b"top");
    assert_eq!(site.get("sub/").1, b"sub");
    for path in ["empty/", "odd/", "small.txt/"] {
        assert_eq!((site.get(path).0, site.get(path).0), (404, 404), "{path}");
    }
    let ask = Ask { original_path: "/r/sub".into(), query: Some("a=1".into()), ..GET };
    for operations in [1, 0] {
        let (reply, performed) = site.ask("sub", ask.clone());
        let mut head = Vec::new();
        reply.write_head(&mut head, Version::Http11, true, b"");
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains("\r\nLocation: /r/sub/?a=1\r\n"), "{head}");
        assert_eq!((reply.status, performed), (301, operations));
    }
    site.milliseconds += 1000;
    assert_eq!(site.ask("sub", ask.clone()).1, 1);
    let prefix_itself = Ask { original_path: "/r".into(), ..GET };
    assert_eq!(site.ask("", prefix_itself).0.status, 301);
    site.assert_no_leak();
}

#[test]
fn nothing_outside_the_root_is_asked_for() {
    let mut site = Site::new();
    std::fs::write(site.disk.path("../secret"), b"secret").unwrap();
    site.disk.write(".env", b"secret");
    let paths = [
        "../secret",
        "%2e%2e/secret",
        ".%2e/secret",
        "..%2fsecret",
        "x/../../secret",
        "..%5csecret",
        "..\\secret",
        "small.txt%00.png",
        "%2eenv",
        ".env",
        "/etc/passwd",
    ];
    for path in paths {
        assert_eq!(site.get(path), (404, b"404 Not Found\n".to_vec(), 0), "{path}");
    }
    assert_eq!(site.get("%252e%252e/secret").0, 404);
    assert_eq!(site.get("..%252fsecret").0, 404);
}

#[test]
fn conditions_hold_from_memory_and_from_disk() {
    let mut site = Site::new();
    for name in ["small.txt", "large.bin"] {
        let (reply, _) = site.ask(name, GET);
        let mut head = Vec::new();
        reply.write_head(&mut head, Version::Http11, true, b"");
        let head = String::from_utf8(head).unwrap();
        let value = |field| head.split_once(field).unwrap().1.split_once("\r\n").unwrap().0;
        let (etag, date) = (value("ETag: "), value("Last-Modified: "));
        for _ in 0..2 {
            for (lines, status) in [
                (&[("If-None-Match", etag)][..], 304),
                (&[("If-Modified-Since", date)], 304),
                (&[("If-None-Match", "\"x\""), ("If-Modified-Since", date)], 200),
                (&[("If-Match", "\"x\"")], 412),
                (&[("If-Match", etag), ("Range", "bytes=1-2")], 206),
                (&[("If-Range", etag), ("Range", "bytes=1-2")], 206),
                (&[("If-Range", date), ("Range", "bytes=1-2")], 206),
                (&[("If-Range", "\"x\""), ("Range", "bytes=1-2")], 200),
                (&[("If-None-Match", etag), ("Range", "bytes=1-2")], 304),
                (&[("Range", "bytes=100000-")], 416),
            ] {
                assert_eq!(site.ask(name, get_with(lines)).0.status, status, "{lines:?}");
            }
            let head = Ask { method: "HEAD".into(), ..get_with(&[("Range", "bytes=1-2")]) };
            assert_eq!(site.ask(name, head).0.status, 200, "ranges are for GET only");
            site.cache = FileCache::new(CacheLimits::default(), site.disk.graveyard.clone());
        }
    }
    for (method, status) in [("POST", 405), ("get", 405), ("OPTIONS", 204)] {
        let ask = Ask { method: method.into(), ..GET };
        assert_eq!(site.ask("small.txt", ask).0.status, status);
    }
}

#[test]
fn parts_come_from_memory_and_from_disk() {
    let mut site = Site::new();
    let large: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    site.disk.write("large.bin", &large);
    for (name, content) in [("small.txt", &b"hello"[..]), ("large.bin", &large)] {
        for _ in 0..2 {
            let one = site.ask(name, get_with(&[("Range", "bytes=1-3")])).0;
            assert_eq!((one.status, site.content(&one)), (206, content[1..4].to_vec()));
        }
    }
    let several = site.ask("large.bin", get_with(&[("Range", "bytes=500-502,-2")])).0;
    let part = |range, content: &[u8]| {
        let head = "\r\n--0123456789abcdef\r\nContent-Type: application/octet-stream\r\n\
                    Content-Range: bytes ";
        [head.as_bytes(), range, b"/100000\r\n\r\n", content].concat()
    };
    let expected = [
        part(b"500-502", &large[500..503]),
        part(b"99998-99999", &large[99_998..]),
        b"\r\n--0123456789abcdef--\r\n".to_vec(),
    ];
    assert_eq!(site.content(&several), expected.concat());
    assert_eq!(several.content_length(), expected.concat().len() as u64);
    drop(several);
    site.assert_no_leak();
}

#[test]
fn only_regular_files_are_served() {
    let mut site = Site::new();
    let _socket = std::os::unix::net::UnixListener::bind(site.disk.path("socket")).unwrap();
    assert_eq!(site.get("socket").0, 404);
    let Step::Do(_, pending) = site.begin("fifo", GET) else { panic!() };
    let (fd, stat) = opened(&site.disk, "small.txt");
    let result = Ok((fd, Stat { kind: FileKind::Other, ..stat }));
    let Step::Reply(reply) = site.resume(pending, Done::OpenFile { result }) else { panic!() };
    assert_eq!(reply.status, 404);
    site.assert_no_leak();
}

#[test]
fn unreadable_files_are_forbidden_until_they_are_readable() {
    let mut site = Site::new();
    let Step::Do(_, pending) = site.begin("small.txt", GET) else { panic!() };
    let result = Err(Errno(libc::EACCES));
    let Step::Reply(reply) = site.resume(pending, Done::OpenFile { result }) else { panic!() };
    assert_eq!(reply.status, 403);
    assert_eq!((site.get("small.txt").0, site.get("small.txt").2), (403, 0));
    let readable = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(site.disk.path("small.txt"), readable).unwrap();
    site.milliseconds += 1000;
    assert_eq!(site.get("small.txt").0, 200);
}

#[test]
fn our_own_troubles_are_not_remembered() {
    let troubles = [(libc::EMFILE, 503), (libc::ENFILE, 503), (libc::ENOMEM, 503)];
    for (errno, status) in troubles.into_iter().chain([(libc::EIO, 500)]) {
        for stage in 0..3 {
            let mut site = Site::new();
            let mut step = site.begin("small.txt", GET);
            for _ in 0..stage {
                let Step::Do(op, pending) = step else { panic!() };
                step = site.resume(pending, site.disk.perform(op));
            }
            let Step::Do(op, pending) = step else { panic!() };
            let done = fail(op, Errno(errno));
            let Step::Reply(reply) = site.resume(pending, done) else { panic!() };
            assert_eq!(reply.status, status);
            assert_eq!(site.get("small.txt").0, 200);
            site.assert_no_leak();
        }
    }
}

#[test]
fn open_files_are_bounded() {
    let mut site = Site::new();
    let limits = CacheLimits { open_files: 2, memory_object: 0, ..CacheLimits::default() };
    site.cache = FileCache::new(limits, site.disk.graveyard.clone());
    for nth in 0..5 {
        site.disk.write(&format!("{nth}"), b"x");
        assert_eq!(site.get(&format!("{nth}")).0, 200);
        assert!(site.disk.open_files() <= 3);
    }
    assert_eq!(site.get("4").2, 0);
    site.assert_no_leak();
}

#[test]
fn without_descriptors_open_files_are_closed_and_it_is_tried_again() {
    for errno in [libc::EMFILE, libc::ENFILE] {
        let mut site = Site::new();
        site.disk.write("other.bin", &[b'y'; 100_000]);
        let (sending, _) = site.ask("large.bin", GET);
        assert_eq!(site.get("other.bin").0, 200);
        assert_eq!(site.disk.open_files(), 3);
        let Step::Do(op, pending) = site.begin("small.txt", GET) else { panic!() };
        let step = site.resume(pending, fail(op, Errno(errno)));
        assert!(site.cache.take_shortage() && !site.cache.take_shortage());
        assert_eq!(site.disk.open_files(), 2, "the root and what is being sent");
        let (reply, _) = site.finish(step);
        assert_eq!(site.content(&reply), b"hello");
        assert_eq!(site.content(&sending), [b'x'; 100_000]);
        drop(sending);
        let Step::Do(op, pending) = site.begin("large.bin", GET) else { panic!() };
        let Step::Reply(reply) = site.resume(pending, fail(op, Errno(errno))) else { panic!() };
        assert_eq!(reply.status, 503, "nothing is left to be closed");
        site.assert_no_leak();
    }
}

#[test]
fn open_files_that_nobody_asks_for_are_closed_within_a_minute() {
    let mut site = Site::new();
    assert_eq!(site.get("small.txt").0, 200);
    assert_eq!(site.cache.sweep_at(), None, "nothing is open");
    for name in ["large.bin", "other.bin"] {
        site.disk.write(name, &[b'x'; 100_000]);
        assert_eq!(site.get(name).0, 200);
    }
    std::fs::remove_file(site.disk.path("other.bin")).unwrap();
    let began = site.milliseconds;
    while site.disk.open_files() > 2 {
        site.milliseconds += 1000;
        assert_eq!(site.get("large.bin").2, 1, "who is asked for stays open");
        site.cache.sweep(site.now().0);
    }
    let after = site.milliseconds - began;
    assert!((30_000..=60_000).contains(&after), "{after} ms");
    while let Some(due) = site.cache.sweep_at() {
        assert!(due <= site.now().0.after(std::time::Duration::from_secs(30)));
        site.milliseconds = due.0 / 1_000_000;
        site.cache.sweep(due);
    }
    assert_eq!(site.disk.open_files(), 1, "only the root");
    site.assert_no_leak();
}

fn opened(disk: &Disk, name: &str) -> (crate::io::Fd, Stat) {
    let path = std::ffi::CString::new(disk.path(name).to_str().unwrap()).unwrap();
    match disk.perform(Op::OpenDirectory { path: path.into() }) {
        Done::OpenFile { result: Ok(opened) } => opened,
        done => panic!("{done:?}"),
    }
}

fn fail(op: Op, errno: Errno) -> Done {
    match op {
        Op::OpenFile { .. } => Done::OpenFile { result: Err(errno) },
        Op::ReadFile { buf, .. } => Done::ReadFile { buf, result: Err(errno) },
        Op::StatOpen { .. } => Done::StatOpen { result: Err(errno) },
        op => panic!("{op:?}"),
    }
}

fn head_of(reply: &FileReply) -> String {
    let mut head = Vec::new();
    reply.write_head(&mut head, Version::Http11, true, b"now");
    String::from_utf8(head).unwrap()
}
