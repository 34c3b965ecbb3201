//! Connections: accept, receive, send, poll, cancel.

use super::*;
use std::net::Shutdown;

#[test]
fn serves_a_connection_from_accept_to_close() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    bench.submit(1, Op::Accept { listener: listener.as_raw_fd() });
    bench.poll();
    for round in 0..2 {
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let Done::Accept { result: Ok(fd), armed: true } = bench.answer(1) else { panic!() };
        client.write_all(b"ping").unwrap();
        bench.submit(2, Op::Recv { fd, poll_first: false, repeat: false });
        assert_eq!(bench.received(2), b"ping");
        let out = Outgoing::new(b"pong".to_vec(), Body::None);
        let Done::Send { out, result } = bench.perform(2, Op::Send { fd, out, more: false }) else {
            panic!()
        };
        assert_eq!((out.remaining(), result), (0, Ok(4)));
        bench.submit(2, Op::Close { fd });
        bench.poll();
        let mut seen = String::new();
        client.read_to_string(&mut seen).unwrap();
        assert_eq!((seen.as_str(), round), ("pong", round));
    }
    assert_eq!(bench.uring.in_flight(), 1);
}

#[test]
fn accepted_sockets_are_nonblocking_and_close_on_exec() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let fd = listener.as_raw_fd();
    let first = bench.perform(1, Op::AcceptNow { listener: fd });
    assert!(matches!(first, Done::Accept { result: Err(Errno(libc::EAGAIN)), armed: false }));
    let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
    let now = bench.perform(1, Op::AcceptNow { listener: fd });
    // The listener is non-blocking by now, which must not end a multishot accept.
    let armed = bench.perform(2, Op::Accept { listener: fd });
    for (done, expected) in [(now, false), (armed, true)] {
        let Done::Accept { result: Ok(fd), armed } = done else { panic!("{done:?}") };
        assert_eq!(armed, expected);
        // SAFETY: fcntl with these commands passes no memory.
        let flags = unsafe { (libc::fcntl(fd, libc::F_GETFL), libc::fcntl(fd, libc::F_GETFD)) };
        assert!(flags.0 & libc::O_NONBLOCK != 0 && flags.1 & libc::FD_CLOEXEC != 0);
        bench.submit(3, Op::Close { fd });
    }
    bench.poll();
    assert_eq!(bench.uring.in_flight(), 1);
}

#[test]
fn who_must_be_silent_and_is_not_gets_nothing() {
    let mut bench = Bench::new();
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let fd = ours.as_raw_fd();
    let send = || Op::SendIfSilent { fd, out: Outgoing::new(b"request".to_vec(), Body::None) };
    let Done::Send { out, result } = bench.perform(1, send()) else { panic!() };
    assert_eq!((out.remaining(), result), (0, Ok(7)));
    theirs.write_all(b"x").unwrap();
    let Done::Send { out, result } = bench.perform(1, send()) else { panic!() };
    assert_eq!((out.remaining(), result), (7, Err(Errno(libc::EBUSY))));
    bench.perform(2, Op::Fill { fd, buf: Vec::with_capacity(9), poll_first: false });
    drop(theirs);
    let Done::Send { result, .. } = bench.perform(1, send()) else { panic!() };
    assert_eq!(result, Err(Errno(libc::EPIPE)), "an end is silent");
}

#[test]
fn cancelling_an_accept_ends_it() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    bench.submit(1, Op::Accept { listener: listener.as_raw_fd() });
    bench.poll();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    bench.submit(9, Op::Cancel { target: token(1) });
    let mut accepted = 0;
    loop {
        match bench.answer(1) {
            Done::Accept { result: Ok(_), armed: true } => accepted += 1,
            Done::Accept { result, armed: false } => {
                accepted += usize::from(result.is_ok());
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.uring.in_flight(), 0);
    // The connection came out before, or still waits in the listener.
    let next = bench.perform(2, Op::AcceptNow { listener: listener.as_raw_fd() });
    let Done::Accept { result, .. } = next else { panic!() };
    assert_eq!(accepted + usize::from(result.is_ok()), 1);
}

#[test]
fn a_listener_that_leaves_begins_no_connection_and_loses_none() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (fd, address) = (listener.as_raw_fd(), listener.local_addr().unwrap());
    let mut established = TcpStream::connect(address).unwrap();
    bench.uring.begin_no_connection(fd);
    established.write_all(b"ping").unwrap();
    let patience = std::time::Duration::from_millis(50);
    let refused = TcpStream::connect_timeout(&address, patience).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut);
    let now = bench.perform(1, Op::AcceptNow { listener: fd });
    let Done::Accept { result: Ok(fd), .. } = now else { panic!("{now:?}") };
    bench.submit(2, Op::Recv { fd, poll_first: false, repeat: false });
    assert_eq!(bench.received(2), b"ping");
}

#[test]
fn sends_to_a_slow_reader_end_short_and_lose_nothing() {
    let mut bench = Bench::new();
    let (server, client) = tcp_pair();
    let mut reader = SlowReader::new(client);
    let content = pattern(8 << 20);
    let mut out = Outgoing::new(b"head".to_vec(), Body::Owned(content.clone(), 0..content.len()));
    let mut sends = 0;
    while out.remaining() > 0 {
        bench.submit(1, Op::Send { fd: server.as_raw_fd(), out, more: false });
        let done = bench.answer_while(1, || reader.read_some());
        let Done::Send { out: rest, result } = done else { panic!("{done:?}") };
        assert!(result.unwrap() > 0);
        out = rest;
        sends += 1;
    }
    reader.read_to(4 + content.len());
    assert!(sends > 1, "one send took all");
    assert!(reader.seen[..4] == *b"head" && reader.seen[4..] == content);
}

#[test]
fn sends_two_pieces_and_shared_content() {
    let mut bench = Bench::new();
    let (left, mut right) = UnixStream::pair().unwrap();
    let shared = Body::Shared(bytes::Bytes::from_static(b" shared"));
    for (index, body) in [(1, Body::Owned(b"x owned".to_vec(), 1..7)), (2, shared)] {
        let done = bench.perform(index, send(&left, b"head", body));
        let Done::Send { out, result: Ok(_) } = done else { panic!("{done:?}") };
        assert_eq!(out.remaining(), 0);
    }
    let mut seen = [0; 21];
    right.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"head ownedhead shared");
    let nothing = bench.perform(3, send(&left, b"", Body::None));
    assert!(matches!(nothing, Done::Send { result: Ok(0), .. }));
}

#[test]
fn a_send_to_a_peer_that_is_gone_fails() {
    let mut bench = Bench::new();
    let (left, right) = UnixStream::pair().unwrap();
    drop(right);
    let done = bench.perform(1, send(&left, b"head", Body::None));
    assert!(matches!(done, Done::Send { result: Err(Errno(libc::EPIPE)), .. }), "{done:?}");
}

#[test]
fn shutdown_ends_an_armed_receive() {
    let mut bench = Bench::new();
    let (server, mut client) = tcp_pair();
    bench.submit(1, recv(&server));
    bench.poll();
    assert!(bench.done.is_empty());
    bench.submit(2, Op::Shutdown { fd: server.as_raw_fd(), direction: Direction::Both });
    assert_eq!(bench.received(1), b"");
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(bench.uring.in_flight(), 0);
}

#[test]
fn an_empty_pool_is_an_error_until_a_buffer_returns() {
    let mut bench = Bench::with(UringOptions { transit_count: 1, ..Default::default() });
    let (mut one, first) = UnixStream::pair().unwrap();
    let (mut two, second) = UnixStream::pair().unwrap();
    one.write_all(b"one").unwrap();
    let Done::Recv { result: Ok(Some(held)), .. } = bench.perform(1, recv(&first)) else {
        panic!()
    };

    let starved = bench.perform(2, recv(&second));
    assert_eq!(receive_errno(&starved), Some(libc::ENOBUFS));
    bench.submit(2, recv_later(&second));
    bench.poll();
    assert!(bench.done.is_empty(), "arms although the pool is empty");
    two.write_all(b"two").unwrap();
    let starved = bench.answer(2);
    assert_eq!(receive_errno(&starved), Some(libc::ENOBUFS));

    assert_eq!(bench.uring.transit(&held), b"one");
    bench.uring.recycle(held);
    bench.submit(2, recv_later(&second));
    assert_eq!(bench.received(2), b"two");
    // End of file takes no buffer out of the pool.
    drop((one, two));
    for socket in [&first, &second] {
        bench.submit(3, recv(socket));
        assert_eq!(bench.received(3), b"");
    }
}

#[test]
fn buffers_go_round() {
    let mut bench =
        Bench::with(UringOptions { transit_count: 2, transit_size: 8, ..Default::default() });
    let (mut left, right) = UnixStream::pair().unwrap();
    for round in 0..100u8 {
        left.write_all(&[round; 12]).unwrap();
        for expected in [8, 4] {
            bench.submit(1, recv(&right));
            assert_eq!(bench.received(1), vec![round; expected]);
        }
    }
}

#[test]
fn fill_appends() {
    let mut bench = Bench::new();
    let (mut left, right) = UnixStream::pair().unwrap();
    let mut buf = Vec::with_capacity(8);
    buf.extend_from_slice(b"ab");
    left.write_all(b"cdefghijk").unwrap();
    let done = bench.perform(1, Op::Fill { fd: right.as_raw_fd(), buf, poll_first: false });
    let Done::Fill { buf, result: Ok(6) } = done else { panic!("{done:?}") };
    assert_eq!(buf, b"abcdefgh");
    left.shutdown(std::net::Shutdown::Write).unwrap();
    for expected in [3, 0] {
        let buf = Vec::with_capacity(8);
        let done = bench.perform(1, Op::Fill { fd: right.as_raw_fd(), buf, poll_first: false });
        let Done::Fill { buf, result } = done else { panic!("{done:?}") };
        assert_eq!((buf.len(), result), (expected, Ok(expected)));
    }
}

#[test]
fn polls_for_hangup_only() {
    let mut bench = Bench::new();
    let (server, mut client) = tcp_pair();
    bench.submit(1, Op::AwaitHangUp { fd: server.as_raw_fd() });
    client.write_all(b"input").unwrap();
    bench.poll();
    assert!(bench.done.is_empty(), "input is not a hang-up");
    client.shutdown(Shutdown::Write).unwrap();
    assert!(matches!(bench.answer(1), Done::Awaited));
}

#[test]
fn polls_for_input_and_its_end() {
    let mut bench = Bench::new();
    let (mut server, mut client) = tcp_pair();
    bench.submit(1, Op::AwaitInput { fd: server.as_raw_fd() });
    bench.poll();
    assert!(bench.done.is_empty(), "nothing has come");
    client.write_all(b"input").unwrap();
    assert!(matches!(bench.answer(1), Done::Awaited));
    server.read_exact(&mut [0; 5]).unwrap();
    bench.submit(1, Op::AwaitInput { fd: server.as_raw_fd() });
    bench.poll();
    assert!(bench.done.is_empty(), "all has been taken");
    client.shutdown(Shutdown::Write).unwrap();
    assert!(matches!(bench.answer(1), Done::Awaited));
}

/// The next answer of a repeated receive: bytes, and whether more follow.
fn piece(bench: &mut Bench, index: u32) -> Result<(Vec<u8>, bool), Errno> {
    match bench.answer(index) {
        Done::Recv { result: Ok(Some(piece)), armed } => {
            let bytes = bench.uring.transit(&piece).to_vec();
            bench.uring.recycle(piece);
            Ok((bytes, armed))
        }
        Done::Recv { result: Ok(None), armed } => Ok((Vec::new(), armed)),
        Done::Recv { result: Err(errno), armed: false } => Err(errno),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_arrives_while_memory_is_let_go_of_is_not_lost() {
    let mut bench = Bench::new();
    let (server, mut client) = tcp_pair();
    bench.submit(1, Op::Recv { fd: server.as_raw_fd(), poll_first: false, repeat: true });
    for round in 0..500_u32 {
        if round % 3 == 0 {
            bench.poll();
            (0..3).for_each(|_| bench.uring.trim(round % 60 == 0));
            assert!(!bench.uring.has_spare(), "nothing has come for a while");
        }
        client.write_all(&round.to_le_bytes()).unwrap();
        if round % 3 == 1 {
            // It is in a buffer before anybody has looked.
            bench.uring.ring.enter(patience::Want::NOTHING, None).unwrap();
        }
        (0..3).for_each(|_| bench.uring.trim(false));
        assert_eq!(piece(&mut bench, 1), Ok((round.to_le_bytes().to_vec(), true)));
        assert!(bench.uring.has_spare());
    }
}

#[test]
fn a_repeated_receive_gets_piece_after_piece_and_the_end() {
    let mut bench = Bench::new();
    let (server, mut client) = tcp_pair();
    let fd = server.as_raw_fd();
    bench.submit(1, Op::Recv { fd, poll_first: false, repeat: true });
    for round in 0..1_000_u32 {
        client.write_all(&round.to_le_bytes()).unwrap();
        assert_eq!(piece(&mut bench, 1), Ok((round.to_le_bytes().to_vec(), true)));
        assert_eq!(bench.uring.in_flight(), 1);
    }
    client.write_all(b"last").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(piece(&mut bench, 1), Ok((b"last".to_vec(), true)));
    assert_eq!(piece(&mut bench, 1), Ok((Vec::new(), false)), "the end comes without a request");
    assert_eq!(bench.uring.in_flight(), 0);
}

#[test]
fn a_repeated_receive_reports_a_reset() {
    let mut bench = Bench::new();
    let (server, client) = tcp_pair();
    bench.submit(1, Op::Recv { fd: server.as_raw_fd(), poll_first: false, repeat: true });
    bench.poll();
    // With unread input of ours, closing resets.
    (&server).write_all(b"unread").unwrap();
    while client.peek(&mut [0]).unwrap() == 0 {}
    drop(client);
    assert_eq!(piece(&mut bench, 1), Err(Errno(libc::ECONNRESET)));
    assert_eq!(bench.uring.in_flight(), 0);
}

#[test]
fn a_repeated_receive_reports_a_reset_right_behind_its_piece() {
    for is_before in [false, true] {
        let mut bench = Bench::new();
        let (server, mut client) = tcp_pair();
        let receive = Op::Recv { fd: server.as_raw_fd(), poll_first: false, repeat: true };
        let reset = move || {
            client.write_all(b"last").unwrap();
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
        };
        if is_before {
            reset();
            bench.submit(1, receive);
        } else {
            bench.submit(1, receive);
            bench.poll();
            reset();
        }
        assert_eq!(piece(&mut bench, 1), Ok((b"last".to_vec(), true)));
        assert_eq!(piece(&mut bench, 1), Err(Errno(libc::ECONNRESET)));
        assert_eq!(bench.uring.in_flight(), 0);
    }
}

#[test]
fn ending_a_repeated_receive_ends_nothing_else() {
    let mut bench = Bench::new();
    let (server, mut client) = tcp_pair();
    let fd = server.as_raw_fd();
    bench.submit(1, Op::Recv { fd, poll_first: false, repeat: true });
    bench.submit(1, Op::AwaitHangUp { fd });
    client.write_all(b"first").unwrap();
    assert_eq!(piece(&mut bench, 1), Ok((b"first".to_vec(), true)));
    bench.submit(2, Op::EndRecv { target: token(1) });
    assert_eq!(piece(&mut bench, 1), Err(Errno(libc::ECANCELED)));
    client.write_all(b"second").unwrap();
    bench.poll();
    assert!(bench.done.is_empty() && bench.uring.in_flight() == 1, "only the poll is left");
    bench.submit(1, Op::Recv { fd, poll_first: false, repeat: true });
    assert_eq!(piece(&mut bench, 1), Ok((b"second".to_vec(), true)));
}

#[test]
fn a_repeated_receive_ends_when_buffers_run_out() {
    let options = UringOptions { transit_count: 2, transit_size: 4, ..UringOptions::default() };
    let mut bench = Bench::with(options);
    let (server, mut client) = tcp_pair();
    client.write_all(b"0123456789").unwrap();
    bench.submit(1, Op::Recv { fd: server.as_raw_fd(), poll_first: false, repeat: true });
    let held: Vec<Done> = (0..2).map(|_| bench.answer(1)).collect();
    assert!(held.iter().all(|done| matches!(done, Done::Recv { armed: true, .. })));
    assert_eq!(piece(&mut bench, 1), Err(Errno(libc::ENOBUFS)));
    assert_eq!(bench.uring.in_flight(), 0);
}

#[test]
fn cancel_ends_exactly_the_operations_of_its_target() {
    let mut bench = Bench::new();
    let (_left, right) = UnixStream::pair().unwrap();
    bench.submit(1, recv(&right));
    bench.submit(1, Op::AwaitHangUp { fd: right.as_raw_fd() });
    bench.submit(2, recv(&right));
    // In the same turn as the operations, and after them.
    bench.submit(3, Op::Cancel { target: token(1) });
    for _ in 0..2 {
        match bench.answer(1) {
            Done::Recv { result, .. } => assert_eq!(result, Err(Errno(libc::ECANCELED))),
            Done::Awaited => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.uring.in_flight(), 1);
    bench.poll();
    bench.submit(3, Op::Cancel { target: token(1) });
    bench.submit(3, Op::Cancel { target: token(2) });
    let cancelled = bench.answer(2);
    assert_eq!(receive_errno(&cancelled), Some(libc::ECANCELED));
}

#[test]
fn a_late_cancel_never_hits_the_next_operation() {
    let mut bench = Bench::new();
    let (mut left, right) = UnixStream::pair().unwrap();
    for round in 0..200u8 {
        // The receive and its cancellation race; its key is free afterwards and used again.
        bench.submit(1, recv(&right));
        if round % 2 == 0 {
            bench.poll();
        }
        left.write_all(&[round]).unwrap();
        bench.submit(3, Op::Cancel { target: token(1) });
        let buf = Vec::with_capacity(16);
        match bench.answer(1) {
            Done::Recv { result: Ok(Some(piece)), .. } => {
                bench.uring.recycle(piece);
                left.write_all(&[round]).unwrap();
            }
            Done::Recv { result, .. } => assert_eq!(result, Err(Errno(libc::ECANCELED))),
            other => panic!("{other:?}"),
        }
        let done = bench.perform(2, Op::Fill { fd: right.as_raw_fd(), buf, poll_first: false });
        assert!(matches!(done, Done::Fill { result: Ok(1), .. }), "{done:?}");
    }
    assert_eq!(bench.uring.in_flight(), 0);
}

fn receive_errno(done: &Done) -> Option<i32> {
    match done {
        Done::Recv { result: Err(errno), .. } => Some(errno.0),
        _ => None,
    }
}
