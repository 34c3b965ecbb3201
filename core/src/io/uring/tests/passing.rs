//! Files that are made, written, and passed over Unix sockets.

use super::*;
use crate::io::{Creation, Passed, PassedFile, passing};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn c_path(path: &Path) -> Rc<CStr> {
    Rc::from(CString::new(path.as_os_str().as_bytes()).unwrap())
}

fn create(bench: &mut Bench, directory: &Path, creation: Creation) -> Result<Fd, Errno> {
    let done = bench.perform(1, Op::CreateFile { directory: c_path(directory), creation });
    let Done::CreateFile { result } = done else { panic!("{done:?}") };
    result
}

fn named(path: &Path) -> Creation {
    Creation::Named(CString::new(path.as_os_str().as_bytes()).unwrap(), 1)
}

#[test]
fn a_spool_file_has_no_name_and_is_written_anywhere() {
    let directory = tempfile::tempdir().unwrap();
    let taken = directory.path().join("taken");
    fs::write(&taken, "").unwrap();
    let mut bench = Bench::new();
    let ways = [Creation::Unnamed, named(&directory.path().join("free")), named(&taken)];
    for creation in ways {
        let fd = create(&mut bench, directory.path(), creation).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no name remains");
        // SAFETY: fcntl with this command passes no memory.
        assert!(unsafe { libc::fcntl(fd, libc::F_GETFD) } & libc::FD_CLOEXEC != 0);
        let file = SharedFile::new(fd, &Graveyard::default());
        for (offset, text) in [(3, "def"), (0, "abc")] {
            let (head, tail) = text.split_at(1);
            let body = Body::Shared(bytes::Bytes::copy_from_slice(tail.as_bytes()));
            let out = Outgoing::new(head.into(), body);
            let done = bench.perform(2, Op::WriteFile { file: file.clone(), out, offset });
            let Done::WriteFile { out, result } = done else { panic!("{done:?}") };
            assert_eq!((out.remaining(), result), (0, Ok(3)));
        }
        let read = Op::ReadFile { file, buf: Vec::with_capacity(9), offset: 0 };
        let Done::ReadFile { buf, .. } = bench.perform(2, read) else { panic!() };
        assert_eq!(buf, b"abcdef");
        bench.submit(3, Op::Close { fd });
    }
}

#[test]
fn what_cannot_be_made_or_written_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    let missing = directory.path().join("missing");
    for creation in [Creation::Unnamed, named(&missing.join("x"))] {
        assert_eq!(create(&mut bench, &missing, creation), Err(Errno(libc::ENOENT)));
    }
    let full = shared(File::options().write(true).open("/dev/full").unwrap());
    let out = Outgoing::new(b"x".to_vec(), Body::None);
    let done = bench.perform(2, Op::WriteFile { file: full, out, offset: 0 });
    let Done::WriteFile { out, result } = done else { panic!("{done:?}") };
    assert_eq!((out.remaining(), result), (1, Err(Errno(libc::ENOSPC))));
}

/// Receives all that the other end sends; also says which descriptors came.
fn receive_all(socket: &UnixStream, len: usize) -> (Vec<u8>, Vec<PassedFile>) {
    let (mut bytes, mut files) = (Vec::with_capacity(len + 1), Vec::new());
    while bytes.len() < len {
        match passing::receive(socket.as_raw_fd(), &mut bytes) {
            Ok((_, Passed::File(file))) => files.push(file),
            Ok((count, Passed::Nothing)) => assert!(count > 0),
            Err(Errno(libc::EAGAIN)) => break,
            other => panic!("{other:?}"),
        }
    }
    (bytes, files)
}

fn temporary(content: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

#[test]
fn a_descriptor_goes_with_the_first_byte_and_only_with_that() {
    let mut bench = Bench::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let fd = ours.as_raw_fd();
    let file = shared(temporary("spooled"));
    let body = pattern(4 << 20);
    let head = b"head".to_vec();
    let mut out = Outgoing::new(head, Body::Owned(body.clone(), 0..body.len()));
    out.file = Some(file);
    bench.submit(1, Op::SendIfSilent { fd, out });
    let (mut bytes, mut files, mut sends) = (Vec::new(), Vec::new(), 0);
    loop {
        let done = bench.answer_while(1, || {
            let (more, passed) = receive_all(&theirs, 1 << 20);
            bytes.extend(more);
            files.extend(passed);
        });
        let Done::Send { out, result } = done else { panic!("{done:?}") };
        assert!(result.unwrap() > 0);
        sends += 1;
        if out.remaining() == 0 {
            break;
        }
        assert!(out.file_due().is_none());
        bench.submit(1, Op::Send { fd, out, more: false });
    }
    let (more, passed) = receive_all(&theirs, usize::MAX >> 1 & (8 << 20));
    bytes.extend(more);
    files.extend(passed);
    assert!(sends > 1 && bytes[4..] == body[..]);
    let [file] = &files[..] else { panic!("{files:?}") };
    assert_eq!((file.stat.kind, file.stat.size, file.readable), (FileKind::Regular, 7, true));
}

#[test]
fn a_descriptor_waits_for_room() {
    let mut bench = Bench::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let fd = ours.as_raw_fd();
    ours.set_nonblocking(true).unwrap();
    while (&ours).write(&[0; 10_000]).is_ok() {}
    let mut out = Outgoing::new(b"head".to_vec(), Body::None);
    out.file = Some(shared(temporary("x")));
    bench.submit(1, Op::Send { fd, out, more: false });
    bench.poll();
    assert!(bench.take(1).is_none());
    let mut files = Vec::new();
    let done = bench.answer_while(1, || files.extend(receive_all(&theirs, 1 << 20).1));
    assert!(matches!(done, Done::Send { result: Ok(4), .. }), "{done:?}");
    files.extend(receive_all(&theirs, 1 << 20).1);
    assert_eq!(files.len(), 1);
}

/// As a worker may do it.
fn pass(socket: &UnixStream, bytes: &[u8], files: &[Fd]) {
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = [0u64; 200];
    // SAFETY: the header describes memory that outlives the call, with room for the message.
    unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        (header.msg_iov, header.msg_iovlen) = (&mut part, 1);
        header.msg_control = control.as_mut_ptr().cast();
        let size = mem::size_of_val(files) as u32;
        header.msg_controllen = libc::CMSG_SPACE(size) as usize;
        let message = libc::CMSG_FIRSTHDR(&header);
        (*message).cmsg_level = libc::SOL_SOCKET;
        (*message).cmsg_type = libc::SCM_RIGHTS;
        (*message).cmsg_len = libc::CMSG_LEN(size) as usize;
        files.as_ptr().copy_to_nonoverlapping(libc::CMSG_DATA(message).cast(), files.len());
        assert_eq!(libc::sendmsg(socket.as_raw_fd(), &header, 0), bytes.len() as isize);
    }
}

fn fill(bench: &mut Bench, socket: &UnixStream, poll_first: bool) -> (Vec<u8>, Passed) {
    let (fd, buf) = (socket.as_raw_fd(), Vec::with_capacity(100));
    let done = bench.perform(1, Op::FillWithFile { fd, buf, poll_first });
    let Done::FillWithFile { buf, passed, result } = done else { panic!("{done:?}") };
    assert_eq!(result, Ok(buf.len()));
    (buf, passed)
}

#[test]
fn a_descriptor_arrives_with_its_bytes() {
    let mut bench = Bench::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "content").unwrap();
    let path_only = {
        // SAFETY: the path ends with a zero byte; the descriptor is new.
        unsafe { File::from_raw_fd(libc::open(c_path(&path).as_ptr(), libc::O_PATH)) }
    };
    let write_only = File::options().write(true).open(&path).unwrap();
    let folder = File::open(directory.path()).unwrap();
    let cases = [
        (File::open(&path).unwrap(), true, FileKind::Regular),
        (path_only, false, FileKind::Regular),
        (write_only, false, FileKind::Regular),
        (folder, true, FileKind::Directory),
    ];
    for poll_first in [true, false] {
        for (file, readable, kind) in &cases {
            pass(&theirs, b"head", &[file.as_raw_fd()]);
            let (bytes, passed) = fill(&mut bench, &ours, poll_first);
            let Passed::File(passed) = passed else { panic!("{passed:?}") };
            assert_eq!(
                (&bytes[..], passed.readable, passed.stat.kind),
                (&b"head"[..], *readable, *kind)
            );
            // SAFETY: fcntl with this command passes no memory.
            assert!(unsafe { libc::fcntl(passed.fd, libc::F_GETFD) } & libc::FD_CLOEXEC != 0);
            sys::close(passed.fd);
        }
        theirs.write_all(b"without").unwrap();
        assert_eq!(fill(&mut bench, &ours, poll_first), (b"without".to_vec(), Passed::Nothing));
    }
    drop(theirs);
    assert_eq!(fill(&mut bench, &ours, true), (Vec::new(), Passed::Nothing));
}

#[test]
fn more_descriptors_than_one_are_closed() {
    let mut bench = Bench::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    // A pipe says when the last descriptor of its writing end is gone.
    let (mut reader, writer) = std::io::pipe().unwrap();
    for count in [2, 3, 100, 253] {
        pass(&theirs, b"head", &vec![writer.as_raw_fd(); count]);
        assert_eq!(fill(&mut bench, &ours, count % 2 == 0), (b"head".to_vec(), Passed::Broken));
    }
    pass(&theirs, b"head", &[writer.as_raw_fd()]);
    let plain = Op::Fill { fd: ours.as_raw_fd(), buf: Vec::with_capacity(9), poll_first: false };
    assert!(matches!(bench.perform(1, plain), Done::Fill { result: Ok(4), .. }));
    drop(writer);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "a descriptor is still open");
}

#[test]
fn who_waits_for_a_descriptor_can_be_cancelled() {
    let mut bench = Bench::new();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (fd, buf) = (ours.as_raw_fd(), Vec::with_capacity(100));
    bench.submit(1, Op::FillWithFile { fd, buf, poll_first: false });
    bench.poll();
    bench.submit(2, Op::Cancel { target: token(1) });
    let done = bench.answer(1);
    assert!(matches!(done, Done::FillWithFile { result: Err(Errno(libc::ECANCELED)), .. }));
}
