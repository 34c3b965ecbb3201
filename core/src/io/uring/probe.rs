//! Whether io_uring works here, by using it.
//!
//! Owns nothing. Must not know what the server is set up to do.

use super::{SetupError, Uring, UringOptions};
use crate::io::{Backend, Body, Done, Op, Outgoing, Token, Wait, sys};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

/// Makes a small ring and sends one message through it, as a server will.
///
/// # Errors
///
/// [`SetupError`] says what is missing and what to do about it.
pub fn probe() -> Result<(), SetupError> {
    // The end of a ring interrupts what a thread that has used it waits for next (`EINTR`). So
    // that is not the caller's.
    thread::scope(|scope| {
        let probing = thread::Builder::new().name("forebay-probe".into());
        match probing.spawn_scoped(scope, send_through_a_ring) {
            Ok(thread) => thread.join().unwrap_or_else(|payload| resume_unwind(payload)),
            Err(error) => Err(SetupError::Broken(format!("cannot start a thread: {error}"))),
        }
    })
}

fn send_through_a_ring() -> Result<(), SetupError> {
    let options = UringOptions {
        submissions: 8,
        completions: 16,
        transit_count: 1,
        transit_size: MESSAGE.len() as u32,
        ..UringOptions::default()
    };
    let mut uring = Uring::new(options)?;
    let (sender, receiver) =
        UnixStream::pair().map_err(|error| SetupError::from_errno(sys::errno_of(&error)))?;
    let out = Outgoing::new(MESSAGE.to_vec(), Body::None);
    uring.submit(
        Token::new(0, 0, 0),
        Op::Recv { fd: receiver.as_raw_fd(), poll_first: true, repeat: false },
    );
    uring.submit(Token::new(0, 1, 0), Op::Send { fd: sender.as_raw_fd(), out, more: false });

    let deadline = uring.now().after(Duration::from_secs(5));
    let mut done = Vec::new();
    while uring.in_flight() > 0 && uring.now() < deadline {
        uring.turn(Wait::Until(deadline), &mut done).map_err(SetupError::from_errno)?;
    }
    let arrived = done.iter().any(|completion| match &completion.done {
        Done::Recv { result: Ok(Some(piece)), .. } => uring.transit(piece) == MESSAGE,
        _ => false,
    });
    if arrived { Ok(()) } else { Err(SetupError::Broken(format!("no answer but {done:?}"))) }
}

const MESSAGE: &[u8] = b"round trip";

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::UdpSocket;
    use std::time::Duration;

    #[test]
    fn works_here() {
        super::probe().unwrap();
    }

    #[test]
    fn what_the_caller_waits_for_next_is_not_interrupted() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        for _ in 0..10 {
            super::probe().unwrap();
            assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }
}
