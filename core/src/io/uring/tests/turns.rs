//! Waiting, waking, full queues, and the end.

use super::*;

#[test]
fn a_wake_ends_a_wait_from_any_thread() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        let waker = bench.uring.waker();
        let thread = std::thread::spawn(move || waker.wake());
        bench.uring.turn(Wait::Forever, &mut bench.done).unwrap();
        thread.join().unwrap();
    }
    assert!(bench.done.is_empty());
    let waker = bench.uring.waker();
    drop(bench);
    waker.wake();
}

#[test]
fn a_wait_ends_in_time_and_not_before() {
    let mut bench = Bench::new();
    let deadline = bench.uring.now().after(Duration::from_millis(20));
    bench.uring.turn(Wait::Until(deadline), &mut bench.done).unwrap();
    assert!(bench.uring.now() >= deadline);
    assert!(bench.uring.now() < deadline.after(LIVENESS));
    bench.uring.turn(Wait::Until(deadline), &mut bench.done).unwrap();
    assert!(bench.done.is_empty());
}

#[test]
fn who_has_been_busy_waits_for_more_but_not_until_it_is_there() {
    let mut bench = Bench::new();
    let deadline = bench.uring.now().after(LIVENESS);
    let pairs: Vec<_> = (0..20).map(|_| UnixStream::pair().unwrap()).collect();
    for (index, (left, right)) in (0u32..).zip(&pairs) {
        bench.submit(index, recv_later(left));
        (&*right).write_all(b"x").unwrap();
    }
    while bench.done.len() < pairs.len() {
        bench.uring.turn(Wait::Until(deadline), &mut bench.done).unwrap();
    }
    for index in 0..20 {
        assert_eq!(bench.received(index), b"x");
    }
    let one = bench.perform(20, send(&pairs[0].0, b"y", Body::None));
    assert!(matches!(one, Done::Send { result: Ok(1), .. }));
    assert!(bench.uring.now() < deadline);
}

#[test]
fn small_queues_lose_nothing() {
    let options =
        UringOptions { submissions: 4, completions: 8, transit_count: 16, ..Default::default() };
    let mut bench = Bench::with(options);
    let pairs: Vec<_> = (0..300).map(|_| UnixStream::pair().unwrap()).collect();
    for (index, (left, right)) in (0u32..).zip(&pairs) {
        let buf = Vec::with_capacity(16);
        bench.submit(index, Op::Fill { fd: right.as_raw_fd(), buf, poll_first: false });
        let body = Body::Owned(b" body".to_vec(), 0..5);
        bench.submit(1000 + index, send(left, &index.to_le_bytes(), body));
    }
    assert_eq!(bench.uring.in_flight(), 600);
    for index in 0..300 {
        let Done::Fill { buf, result: Ok(9) } = bench.answer(index) else { panic!() };
        assert_eq!(buf, [&index.to_le_bytes()[..], b" body"].concat());
        assert!(matches!(bench.answer(1000 + index), Done::Send { result: Ok(9), .. }));
    }
    assert_eq!(bench.uring.in_flight(), 0);
    assert!(bench.done.is_empty());
}

#[test]
fn a_turn_returns_a_bounded_number_of_completions() {
    let mut bench = Bench::new();
    let (_outer, root) = tree();
    for index in 0..2000 {
        bench.submit(index, Op::StatOpen { file: root.clone() });
    }
    let (mut left, right) = UnixStream::pair().unwrap();
    left.write_all(b"x").unwrap();
    bench.submit(5000, recv(&right));
    bench.poll();
    assert_eq!(bench.done.len(), TURN_LIMIT);
    assert!(bench.take(5000).is_some(), "inline answers starve the ring");
    while bench.uring.in_flight() > 0 {
        bench.poll();
    }
    assert_eq!(bench.done.len(), 2000);
}

#[test]
fn drops_with_everything_in_flight() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (server, _client) = tcp_pair();
    let (_left, right) = UnixStream::pair().unwrap();
    bench.submit(1, Op::Accept { listener: listener.as_raw_fd() });
    bench.submit(2, recv(&server));
    bench.submit(
        3,
        Op::Fill { fd: right.as_raw_fd(), buf: Vec::with_capacity(4096), poll_first: false },
    );
    bench.submit(4, Op::AwaitHangUp { fd: server.as_raw_fd() });
    let content = vec![0; 32 << 20];
    let len = content.len();
    bench.submit(5, send(&right, b"head", Body::Owned(content, 0..len)));
    bench.poll();
    let (full, _reader) = tcp_pair();
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 30).unwrap();
    let file = shared(file);
    let fd = full.as_raw_fd();
    loop {
        bench.submit(6, Op::SendFile { fd, file: file.clone(), offset: 0, len: 1 << 20 });
        bench.poll();
        if bench.take(6).is_none() {
            break;
        }
    }
    // One that has not reached the kernel, and a connection that nobody has seen.
    bench.submit(7, recv_later(&right));
    let mut unseen = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(bench.uring.quiesce(), "{:?}", bench.uring.in_flight);
    drop(bench);
    drop(listener);
    unseen.set_read_timeout(Some(LIVENESS)).unwrap();
    let end = unseen.read(&mut [0]);
    assert!(matches!(&end, Ok(0)) || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
    assert_eq!(Rc::strong_count(&file), 1);
}

#[test]
fn a_refused_setup_is_an_error() {
    let sizes = UringOptions { submissions: 0, ..Default::default() };
    assert!(matches!(Uring::new(sizes), Err(SetupError::TooOld { .. })));
}
