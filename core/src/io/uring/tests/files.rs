//! Opening, reading, and sending files.

use super::*;
use crate::io::Links;

#[test]
fn sendfile_waits_for_a_slow_reader_and_notices_a_shorter_file() {
    let mut bench = Bench::new();
    let (server, client) = tcp_pair();
    let mut reader = SlowReader::new(client);
    let content = pattern(1 << 20);
    let mut temporary = tempfile::NamedTempFile::new().unwrap();
    temporary.write_all(&content).unwrap();
    let file = shared(File::open(temporary.path()).unwrap());
    let mut offset = 0;
    let mut waited = false;
    let sent_in_full = 768 << 10;
    loop {
        let fd = server.as_raw_fd();
        bench.submit(1, Op::SendFile { fd, file: file.clone(), offset, len: 256 << 10 });
        let done = bench.answer_while(1, || {
            waited = true;
            reader.read_some();
        });
        let Done::SendFile { result: Ok(sent), .. } = done else { panic!("{done:?}") };
        offset += sent as u64;
        if offset >= sent_in_full {
            temporary.as_file().set_len(sent_in_full).unwrap();
        }
        if sent == 0 {
            break;
        }
    }
    assert!(waited || offset < 1 << 20);
    reader.read_to(offset as usize);
    assert!(reader.seen == content[..offset as usize]);
}

#[test]
fn a_waiting_sendfile_can_be_cancelled() {
    let mut bench = Bench::new();
    let (server, _client) = tcp_pair();
    let temporary = tempfile::tempfile().unwrap();
    temporary.set_len(1 << 30).unwrap();
    let file = shared(temporary);
    let fd = server.as_raw_fd();
    loop {
        bench.submit(1, Op::SendFile { fd, file: file.clone(), offset: 0, len: 1 << 20 });
        bench.poll();
        if bench.take(1).is_none() {
            break;
        }
    }
    bench.submit(2, Op::Cancel { target: token(1) });
    let done = bench.answer(1);
    assert!(matches!(done, Done::SendFile { result: Err(Errno(libc::ECANCELED)), .. }));
    assert_eq!(bench.uring.in_flight(), 0);
}

#[test]
fn windows_beyond_a_turn_wait_for_the_next_and_can_be_cancelled() {
    let mut bench = Bench::new();
    let pairs: Vec<_> = (0..6).map(|_| tcp_pair()).collect();
    let temporary = tempfile::tempfile().unwrap();
    temporary.set_len(1 << 20).unwrap();
    let file = shared(temporary);
    let submit = |bench: &mut Bench| {
        for (number, (server, _)) in pairs.iter().enumerate() {
            let (fd, file) = (server.as_raw_fd(), file.clone());
            bench.submit(number as u32, Op::SendFile { fd, file, offset: 0, len: 256 << 10 });
        }
    };
    submit(&mut bench);
    assert!(!bench.uring.windows.is_empty());
    assert_eq!(bench.uring.in_flight(), 6);
    bench.submit(9, Op::Cancel { target: token(5) });
    for number in 0..5 {
        let Done::SendFile { result, .. } = bench.answer(number) else { panic!() };
        assert!(result.unwrap() > 0, "{number}");
    }
    let done = bench.answer(5);
    assert!(matches!(done, Done::SendFile { result: Err(Errno(libc::ECANCELED)), .. }));
    assert_eq!(bench.uring.in_flight(), 0);
    submit(&mut bench);
    drop((bench, done));
    assert_eq!(Rc::strong_count(&file), 1);
}

#[test]
fn opens_only_beneath_the_root() {
    let (_outer, root) = tree();
    let mut bench = Bench::new();
    let cases = [
        ("file", Ok(FileKind::Regular)),
        ("sub/relative", Ok(FileKind::Regular)),
        ("sub", Ok(FileKind::Directory)),
        ("fifo", Ok(FileKind::Other)),
        ("../secret", Err(Errno(libc::EXDEV))),
        ("/etc/passwd", Err(Errno(libc::EXDEV))),
        ("absolute", Err(Errno(libc::EXDEV))),
        ("outward", Err(Errno(libc::EXDEV))),
        ("missing", Err(Errno(libc::ENOENT))),
        ("file/", Err(Errno(libc::ENOTDIR))),
        ("", Err(Errno(libc::ENOENT))),
    ];
    for (name, expected) in cases {
        // Inline as far as the kernel has it cached, and through the ring.
        for through_ring in [false, true] {
            let open = Op::OpenFile { root: root.clone(), path: path(name), links: Links::Beneath };
            let stat = Op::StatFile { root: root.clone(), path: path(name), links: Links::Beneath };
            if through_ring {
                bench.uring.start(token(1), open);
                bench.uring.start(token(2), stat);
            } else {
                bench.submit(1, open);
                bench.submit(2, stat);
            }
            let Done::OpenFile { result: opened } = bench.answer(1) else { panic!() };
            let Done::StatFile { result: stat } = bench.answer(2) else { panic!() };
            assert_eq!(opened.map(|(_, stat)| stat), stat, "{name}");
            assert_eq!(stat.map(|stat| stat.kind), expected, "{name}");
            if let Ok((fd, _)) = opened {
                bench.submit(3, Op::Close { fd });
            }
        }
    }
}

#[test]
fn reads_and_stats_an_open_file() {
    let (outer, root) = tree();
    let mut bench = Bench::new();
    let opened = bench.perform(1, Op::OpenFile { root, path: path("file"), links: Links::Beneath });
    let Done::OpenFile { result: Ok((fd, stat)) } = opened else { panic!("{opened:?}") };
    let file = SharedFile::new(fd, &Graveyard::default());
    assert_eq!((stat.kind, stat.size), (FileKind::Regular, 7));

    // Out of the cache if possible, so that the read has to wait.
    // SAFETY: posix_fadvise(2) passes no memory.
    unsafe { libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED) };
    let mut buf = Vec::with_capacity(100);
    buf.push(b'>');
    for (offset, expected) in [(3, Ok(4)), (7, Ok(0))] {
        let done = bench.perform(1, Op::ReadFile { file: file.clone(), buf, offset });
        let Done::ReadFile { buf: filled, result } = done else { panic!("{done:?}") };
        assert_eq!(result, expected);
        buf = filled;
    }
    assert_eq!(buf, b">tent");

    fs::write(outer.path().join("root/file"), "longer content").unwrap();
    let Done::StatOpen { result: Ok(new) } = bench.perform(1, Op::StatOpen { file }) else {
        panic!()
    };
    assert_eq!((new.size, new.inode, new.device), (14, stat.inode, stat.device));
    assert_ne!(new, stat);
}

#[test]
fn a_cold_file_is_read_by_the_ring_before_it_is_sent() {
    let mut bench = Bench::new();
    let (server, client) = tcp_pair();
    let mut reader = SlowReader::new(client);
    let content = pattern(1 << 20);
    let now = bench.uring.now();
    // To look at a file is to have it read, so those are other ones.
    let is_cold = |_| residency::resident(&forgotten(&content), 0, 1 << 20, now) == 0;
    if !(0..ATTEMPTS).any(is_cold) {
        let is_required = std::env::var("FOREBAY_REQUIRE").is_ok_and(|value| value == "all");
        assert!(!is_required, "no file can be made cold, and FOREBAY_REQUIRE=all forbids to skip");
        eprintln!("files cannot be made cold here");
        return;
    }
    // What has just been forgotten can be in memory again when its turn comes.
    let mut attempts = (1..=ATTEMPTS).map(|n| (n, forgotten(&content)));
    let (count, file) = loop {
        let (count, file) = attempts.next().expect("a part that was not in memory");
        let (mut offset, mut was_read) = (0, false);
        while offset < 1 << 20 {
            let fd = server.as_raw_fd();
            bench.submit(1, Op::SendFile { fd, file: file.clone(), offset, len: 256 << 10 });
            was_read |= is_being_read(&mut bench);
            let done = bench.answer_while(1, || reader.read_some());
            let Done::SendFile { result: Ok(sent), .. } = done else { panic!("{done:?}") };
            assert!(sent > 0);
            offset += sent as u64;
        }
        if was_read {
            break (count, file);
        }
    };
    reader.read_to(content.len() * count);
    assert!(reader.seen == content.repeat(count));
    let resident = |file: &SharedFile, after| {
        residency::resident(file, 0, 1 << 20, now.after(Duration::from_millis(after)))
    };
    assert_eq!(resident(&file, 20_000), 1 << 20);
    // What has just been sent may be the network's for a while, which keeps it in memory.
    let is_looked_at_again = |_| {
        let file = written(&content);
        assert_eq!(resident(&file, 0), 1 << 20);
        forget(&file);
        assert_eq!(resident(&file, 50), 1 << 20, "just seen");
        resident(&file, 150) < 1 << 20
    };
    assert!((0..ATTEMPTS).any(is_looked_at_again));
}

/// How often a file is taken out of memory, which the kernel may decline, until it has left.
const ATTEMPTS: usize = 50;

/// Whether what is in flight, which is the sending of a file, is a read of that file.
fn is_being_read(bench: &mut Bench) -> bool {
    let sending = bench.uring.in_flight.get_mut(0);
    sending.is_some_and(|sending| {
        assert!(matches!(*sending.op, Op::SendFile { .. }));
        *sending.is_cold
    })
}

/// A file of which nothing is in memory, if its file system is not memory itself.
fn forgotten(content: &[u8]) -> Rc<SharedFile> {
    let file = written(content);
    forget(&file);
    file
}

/// A file that is in memory and on the disk.
fn written(content: &[u8]) -> Rc<SharedFile> {
    let mut temporary = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    temporary.write_all(content).unwrap();
    temporary.as_file().sync_all().unwrap();
    shared(File::open(temporary.path()).unwrap())
}

/// The clock is that of the end of the wait.
#[test]
fn what_was_seen_before_a_long_wait_is_looked_at_again() {
    let mut bench = Bench::new();
    let (server, client) = tcp_pair();
    let mut reader = SlowReader::new(client);
    let mut temporary = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    temporary.write_all(&pattern(256 << 10)).unwrap();
    let file = shared(File::open(temporary.path()).unwrap());
    let (fd, offset, len) = (server.as_raw_fd(), 0, 256 << 10);
    loop {
        bench.submit(1, Op::SendFile { fd, file: file.clone(), offset, len });
        if bench.uring.local.is_empty() {
            break;
        }
        bench.answer(1);
    }
    let (before, end) = (file.seen().at, bench.uring.now().after(Duration::from_millis(150)));
    bench.uring.turn(Wait::Until(end), &mut bench.done).unwrap();
    assert!(bench.done.is_empty(), "the client has not read");
    bench.answer_while(1, || reader.read_some());
    assert!(file.seen().at >= end, "{:?} was {:?} before", file.seen().at, before);
}

/// Takes a file out of memory, if nobody else has just written it.
fn forget(file: &SharedFile) {
    // SAFETY: posix_fadvise(2) passes no memory.
    unsafe { libc::posix_fadvise(file.fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

#[test]
fn what_cannot_be_read_without_waiting_is_read_all_the_same() {
    let mut bench = Bench::new();
    let root = shared(File::open("/proc").unwrap());
    let open = Op::OpenFile { root, path: path("version"), links: Links::Beneath };
    let Done::OpenFile { result: Ok((fd, _)) } = bench.perform(1, open) else { panic!() };
    let file = SharedFile::new(fd, &Graveyard::default());
    let read = Op::ReadFile { file: file.clone(), buf: Vec::with_capacity(100), offset: 0 };
    let Done::ReadFile { buf, result } = bench.perform(1, read) else { panic!() };
    assert!(result.is_ok_and(|count| count > 0) && buf.starts_with(b"Linux"), "{result:?}");
    let (server, mut client) = tcp_pair();
    let fd = server.as_raw_fd();
    let send = |offset| Op::SendFile { fd, file: file.clone(), offset, len: 5 };
    assert!(matches!(bench.perform(1, send(0)), Done::SendFile { result: Ok(5), .. }));
    // Behind its end, where one is that has become shorter.
    assert!(matches!(bench.perform(1, send(100_000)), Done::SendFile { result: Ok(0), .. }));
    let mut received = [0; 5];
    client.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"Linux");
}
