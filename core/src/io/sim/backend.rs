//! A reactor's view of the simulated kernel.
//!
//! Owns the reactor's transit buffers. Must not know how operations are performed.

use super::super::{Backend, Completion, Errno, Fd, Op, Peer, Time, Token, Transit, Wait, Wake};
use super::descriptors::Object;
use super::ring::Ring;
use super::transit::{TransitPool, TransitSize};
use super::{SimKernel, WakeFlag};
use std::net::SocketAddr;
use std::sync::Arc;

/// Names a backend when its reactor has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BackendId(pub(super) usize);

/// [`Backend`] on a [`SimKernel`]. Nothing may be in flight when it is dropped, unless by
/// [`SimBackend::abandon`].
pub(crate) struct SimBackend {
    kernel: SimKernel,
    id: BackendId,
    pool: TransitPool,
    flag: Arc<WakeFlag>,
}

impl SimBackend {
    pub(super) fn new(kernel: &SimKernel, transit: TransitSize) -> SimBackend {
        let rings = &mut kernel.kernel_mut().rings;
        let ring = Ring::default();
        let pool = TransitPool::new(transit, ring.outstanding.clone());
        let flag = Arc::clone(&ring.flag);
        rings.push(ring);
        SimBackend { kernel: kernel.clone(), id: BackendId(rings.len() - 1), pool, flag }
    }

    pub(crate) fn id(&self) -> BackendId {
        self.id
    }

    /// Ends the reactor with whatever is in flight, as the end of its thread would.
    pub(crate) fn abandon(self) {
        self.kernel.kernel_mut().abandon(self.id.0);
    }
}

impl Backend for SimBackend {
    fn submit(&mut self, token: Token, op: Op) {
        let misses_resets = matches!(op, Op::Recv { poll_first: true, repeat: true, .. });
        assert!(!misses_resets, "{op:?}");
        self.kernel.kernel_mut().submit(self.id.0, token, op);
    }

    fn turn(&mut self, wait: Wait, done: &mut Vec<Completion>) -> Result<(), Errno> {
        self.pool.assert_recycled();
        self.kernel.kernel_mut().turn(self.id.0, &mut self.pool, wait, done);
        Ok(())
    }

    /// Simulated clients have addresses that differ in their port.
    fn peer_address(&self, fd: Fd) -> Result<SocketAddr, Errno> {
        Ok(SocketAddr::from(([192, 0, 2, 1], fd as u16)))
    }

    fn local_address(&self, _: Fd) -> Result<SocketAddr, Errno> {
        Ok(SocketAddr::from(([192, 0, 2, 2], 80)))
    }

    /// Simulated connections are established when they are seen.
    fn begin_no_connection(&self, _: Fd) {}

    fn peer(&self, fd: Fd) -> Peer {
        Peer { process: self.kernel.process_behind(fd), user: 0 }
    }

    fn unsent(&self, fd: Fd) -> u64 {
        let kernel = self.kernel.kernel();
        match *kernel.descriptors.object(fd) {
            Object::Stream(stream) => kernel.streams[stream].unsent() as u64,
            ref other => panic!("simulator: descriptor {fd} is no connection: {other:?}"),
        }
    }

    fn transit(&self, piece: &Transit) -> &[u8] {
        self.pool.read(piece)
    }

    fn recycle(&mut self, piece: Transit) {
        self.pool.recycle(piece);
    }

    fn has_spare(&self) -> bool {
        false
    }

    fn trim(&mut self, _heap: bool) {}

    fn now(&mut self) -> Time {
        self.kernel.now()
    }

    fn unix_seconds(&mut self) -> u64 {
        self.kernel.kernel().timestamp().0 as u64
    }

    fn in_flight(&self) -> usize {
        self.kernel.in_flight(self.id)
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.flag.clone()
    }
}

impl Drop for SimBackend {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let in_flight = self.in_flight();
        assert!(in_flight == 0, "simulator: dropped with {in_flight} operations in flight");
        self.kernel.kernel_mut().abandon(self.id.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{
        Body, Direction, Done, Fd, FileKind, Graveyard, Outgoing, SharedFile,
    };
    use super::super::{Faults, Peer, StreamKind};
    use super::*;
    use std::ffi::CStr;

    const TOKEN: Token = Token::new(0, 1, 0);
    const OTHER: Token = Token::new(0, 2, 0);

    fn kernel() -> SimKernel {
        SimKernel::new(1, Faults::none())
    }

    /// One turn's completions.
    fn turn(backend: &mut SimBackend) -> Vec<Completion> {
        let mut done = Vec::new();
        backend.turn(Wait::Forever, &mut done).unwrap();
        done
    }

    /// The only completion of one turn.
    fn only(backend: &mut SimBackend) -> Done {
        let mut done = turn(backend);
        assert_eq!(done.len(), 1, "{done:?}");
        done.remove(0).done
    }

    fn perform(backend: &mut SimBackend, op: Op) -> Done {
        backend.submit(TOKEN, op);
        only(backend)
    }

    fn connected(kernel: &SimKernel, backend: &mut SimBackend, kind: StreamKind) -> (Fd, Peer) {
        let listener = kernel.listen_on(kind);
        let peer = kernel.connect(listener);
        let Done::Accept { result, armed: false } = perform(backend, Op::AcceptNow { listener })
        else {
            panic!("AcceptNow is no multishot")
        };
        backend.submit(TOKEN, Op::Close { fd: listener });
        (result.unwrap(), peer)
    }

    fn pair() -> (SimKernel, SimBackend, Fd, Peer) {
        let kernel = kernel();
        let mut backend = kernel.backend();
        let (fd, peer) = connected(&kernel, &mut backend, StreamKind::Tcp);
        (kernel, backend, fd, peer)
    }

    fn fill(fd: Fd) -> Op {
        Op::Fill { fd, buf: Vec::with_capacity(16), poll_first: false }
    }

    fn send(fd: Fd, bytes: &[u8]) -> Op {
        Op::Send { fd, out: Outgoing::new(bytes.to_vec(), Body::None), more: false }
    }

    #[test]
    fn accept_is_multishot_until_cancelled() {
        let kernel = kernel();
        let mut backend = kernel.backend();
        let listener = kernel.listen();
        backend.submit(TOKEN, Op::Accept { listener });
        assert!(turn(&mut backend).is_empty());
        let _peers = [kernel.connect(listener), kernel.connect(listener)];
        let accepted = turn(&mut backend);
        assert!(accepted.iter().all(|completion| matches!(
            completion.done,
            Done::Accept { result: Ok(_), armed: true }
        )));
        assert_eq!((accepted.len(), backend.in_flight()), (2, 1));
        backend.submit(OTHER, Op::Cancel { target: TOKEN });
        let Done::Accept { result: Err(Errno(libc::ECANCELED)), armed: false } = only(&mut backend)
        else {
            panic!("cancelled")
        };
        assert_eq!(backend.in_flight(), 0);
        let Done::Accept { result: Err(Errno(libc::EAGAIN)), .. } =
            perform(&mut backend, Op::AcceptNow { listener })
        else {
            panic!("nobody waits")
        };
    }

    #[test]
    fn receives_wait_for_data_and_buffers() {
        let kernel = kernel();
        let mut backend = kernel.backend_with(TransitSize { buffers: 1, bytes: 4 });
        let (fd, peer) = connected(&kernel, &mut backend, StreamKind::Tcp);
        backend.submit(TOKEN, Op::Recv { fd, poll_first: false, repeat: false });
        assert!(turn(&mut backend).is_empty());
        peer.send(b"hello");
        let Done::Recv { result: Ok(Some(piece)), .. } = only(&mut backend) else { panic!() };
        assert_eq!(backend.transit(&piece), b"hell");
        assert_eq!(kernel.transit_outstanding(backend.id()), 1);
        backend.recycle(piece);

        let (other, _peer) = connected(&kernel, &mut backend, StreamKind::Tcp);
        backend.submit(TOKEN, Op::Recv { fd, poll_first: false, repeat: false });
        backend.submit(OTHER, Op::Recv { fd: other, poll_first: false, repeat: false });
        let done: [Completion; 2] = turn(&mut backend).try_into().unwrap();
        let [Done::Recv { result: Ok(Some(piece)), .. }, Done::Recv { result: Err(errno), .. }] =
            done.map(|completion| completion.done)
        else {
            panic!("one buffer, two receives")
        };
        assert_eq!(errno.0, libc::ENOBUFS);
        assert_eq!(backend.transit(&piece), b"o");
        backend.recycle(piece);
    }

    /// The next piece, whether more follows, and how the receive has ended.
    fn shot(backend: &mut SimBackend, done: Completion) -> (Vec<u8>, bool, Option<Errno>) {
        let Done::Recv { result, armed } = done.done else { panic!("{done:?}") };
        match result {
            Ok(Some(piece)) => {
                let bytes = backend.transit(&piece).to_vec();
                backend.recycle(piece);
                (bytes, armed, None)
            }
            Ok(None) => (Vec::new(), armed, None),
            Err(errno) => (Vec::new(), armed, Some(errno)),
        }
    }

    #[test]
    fn a_repeated_receive_goes_on_until_it_is_ended() {
        let kernel = kernel();
        let mut backend = kernel.backend_with(TransitSize { buffers: 2, bytes: 4 });
        let (fd, peer) = connected(&kernel, &mut backend, StreamKind::Tcp);
        let repeated = || Op::Recv { fd, poll_first: false, repeat: true };
        let shots = |backend: &mut SimBackend| {
            let done = turn(backend);
            done.into_iter().map(|done| shot(backend, done)).collect::<Vec<_>>()
        };
        backend.submit(TOKEN, repeated());
        assert!(shots(&mut backend).is_empty());
        peer.send(b"hello");
        let pieces = [(b"hell".to_vec(), true, None), (b"o".to_vec(), true, None)];
        assert_eq!(shots(&mut backend), pieces);
        peer.send(b"goodbye!!");
        let last = shots(&mut backend).pop();
        assert_eq!(last, Some((Vec::new(), false, Some(Errno(libc::ENOBUFS)))));
        assert_eq!(backend.in_flight(), 0);

        backend.submit(TOKEN, repeated());
        assert_eq!(shots(&mut backend), [(b"!".to_vec(), true, None)]);
        backend.submit(TOKEN, Op::AwaitHangUp { fd });
        backend.submit(OTHER, Op::EndRecv { target: TOKEN });
        assert_eq!(shots(&mut backend), [(Vec::new(), false, Some(Errno(libc::ECANCELED)))]);
        assert_eq!(backend.in_flight(), 1, "the poll goes on");

        backend.submit(OTHER, repeated());
        peer.finish();
        let mut done = turn(&mut backend);
        done.retain(|completion| completion.token == OTHER);
        assert_eq!(shot(&mut backend, done.remove(0)), (Vec::new(), false, None));
    }

    #[test]
    fn shutdown_of_both_ends_what_is_in_flight() {
        let kernel = kernel();
        kernel.set_capacity(4);
        let (mut backend, mut warden) = (kernel.backend(), kernel.backend());
        let (fd, peer) = connected(&kernel, &mut backend, StreamKind::Unix);
        warden.submit(OTHER, Op::AwaitHangUp { fd });
        backend.submit(TOKEN, fill(fd));
        backend.submit(TOKEN, send(fd, b"12345678"));
        let Done::Send { out, result: Ok(4) } = only(&mut backend) else { panic!("4 fit") };
        backend.submit(TOKEN, Op::Send { fd, out, more: false });
        assert!(turn(&mut backend).is_empty() && turn(&mut warden).is_empty());
        backend.submit(TOKEN, Op::Shutdown { fd, direction: Direction::Both });
        for Completion { done, .. } in turn(&mut backend) {
            match done {
                Done::Fill { result, .. } => assert_eq!(result, Ok(0)),
                Done::Send { result, .. } => assert_eq!(result, Err(Errno(libc::EPIPE))),
                other => panic!("{other:?}"),
            }
        }
        assert!(kernel.has_work(warden.id()) && backend.in_flight() == 0);
        assert!(matches!(only(&mut warden), Done::Awaited));
        backend.submit(TOKEN, Op::Close { fd });
        assert!(turn(&mut backend).is_empty());
        assert_eq!(peer.receive(), b"1234");
        assert!(peer.at_end());
        assert_eq!(kernel.open_descriptors(), []);
    }

    #[test]
    fn hangup_is_not_input() {
        let (_kernel, mut backend, fd, peer) = pair();
        backend.submit(TOKEN, Op::AwaitHangUp { fd });
        peer.send(b"input");
        assert!(turn(&mut backend).is_empty());
        peer.finish();
        assert!(matches!(only(&mut backend), Done::Awaited));
    }

    #[test]
    fn files_go_out_window_by_window() {
        let (kernel, mut backend, fd, peer) = pair();
        kernel.add_file("a.txt", "0123456789");
        let graveyard = Graveyard::default();
        let root = SharedFile::new(kernel.root(), &graveyard);
        let open = |path: &CStr| Op::OpenFile {
            root: root.clone(),
            path: path.into(),
            links: crate::io::Links::Beneath,
        };
        let Done::OpenFile { result: Ok((opened, stat)) } = perform(&mut backend, open(c"a.txt"))
        else {
            panic!("it is there")
        };
        assert_eq!((stat.kind, stat.size), (FileKind::Regular, 10));
        kernel.replace_file("a.txt", "new");
        let file = SharedFile::new(opened, &graveyard);
        let mut window = |offset, len| {
            let done = perform(&mut backend, Op::SendFile { fd, file: file.clone(), offset, len });
            let Done::SendFile { result, .. } = done else { panic!("{done:?}") };
            result
        };
        assert_eq!((window(0, 4), window(4, 100), window(10, 4)), (Ok(4), Ok(6), Ok(0)));
        assert_eq!(peer.receive(), b"0123456789");
        let buf = Vec::with_capacity(3);
        let read = Op::ReadFile { file: file.clone(), buf, offset: 8 };
        let Done::ReadFile { buf, result: Ok(2) } = perform(&mut backend, read) else { panic!() };
        assert_eq!(buf, b"89");
        let Done::OpenFile { result: Err(errno) } = perform(&mut backend, open(c"../a.txt")) else {
            panic!("it is outside")
        };
        assert_eq!(errno.0, libc::EXDEV);
        drop((file, root));
        backend.submit(TOKEN, Op::Close { fd });
        while let Some(fd) = graveyard.pop() {
            backend.submit(TOKEN, Op::Close { fd });
        }
        turn(&mut backend);
        assert_eq!(kernel.open_descriptors(), []);
    }

    #[test]
    fn turns_are_bounded() {
        let kernel = kernel();
        let mut backend = kernel.backend();
        let root = SharedFile::new(kernel.root(), &Graveyard::default());
        for _ in 0..700 {
            backend.submit(TOKEN, Op::StatOpen { file: root.clone() });
        }
        assert_eq!((turn(&mut backend).len(), backend.in_flight()), (512, 188));
        assert!(kernel.has_work(backend.id()));
        assert_eq!((turn(&mut backend).len(), backend.in_flight()), (188, 0));
    }

    #[test]
    fn an_abandoned_reactor_leaves_nothing_behind() {
        let (kernel, mut backend, fd, peer) = pair();
        backend.submit(TOKEN, fill(fd));
        turn(&mut backend);
        backend.abandon();
        peer.send(b"x");
        assert!(kernel.is_idle());
        let mut heir = kernel.backend();
        heir.submit(TOKEN, Op::Close { fd });
        assert!(turn(&mut heir).is_empty());
        assert!(peer.was_reset() && kernel.open_descriptors().is_empty());
    }

    #[test]
    #[should_panic(expected = "Close of descriptor 4 (Stream) with 1 operations in flight")]
    fn closing_under_another_reactors_operation_is_a_mistake() {
        let (kernel, mut backend, fd, _peer) = pair();
        let mut other = kernel.backend();
        other.submit(OTHER, Op::AwaitHangUp { fd });
        turn(&mut other);
        backend.submit(TOKEN, Op::Close { fd });
    }

    #[test]
    #[should_panic(expected = "Fill on descriptor 4, which is being closed")]
    fn using_a_closed_descriptor_is_a_mistake() {
        let (_kernel, mut backend, fd, _peer) = pair();
        backend.submit(TOKEN, Op::Close { fd });
        backend.submit(TOKEN, fill(fd));
    }

    #[test]
    #[should_panic(expected = "AwaitHangUp on descriptor 77, which is not open")]
    fn using_an_unknown_descriptor_is_a_mistake() {
        let mut backend = kernel().backend();
        backend.submit(TOKEN, Op::AwaitHangUp { fd: 77 });
    }

    #[test]
    #[should_panic(expected = "Send on descriptor 4, on which another send is in flight")]
    fn two_sends_on_one_socket_are_a_mistake() {
        let (_kernel, mut backend, fd, _peer) = pair();
        backend.submit(TOKEN, send(fd, b"a"));
        backend.submit(TOKEN, send(fd, b"b"));
    }

    #[test]
    #[should_panic(expected = "Fill without spare capacity")]
    fn a_fill_without_room_is_a_mistake() {
        let (_kernel, mut backend, fd, _peer) = pair();
        backend.submit(TOKEN, Op::Fill { fd, buf: Vec::new(), poll_first: false });
    }

    #[test]
    #[should_panic(expected = "Fill on descriptor 3, which is a File")]
    fn operations_fit_their_descriptors() {
        let kernel = kernel();
        kernel.backend().submit(TOKEN, fill(kernel.root()));
    }

    #[test]
    #[should_panic(expected = "dropped with 1 operations in flight")]
    fn dropping_with_operations_in_flight_is_a_mistake() {
        let (_kernel, mut backend, fd, _peer) = pair();
        backend.submit(TOKEN, fill(fd));
    }
}
