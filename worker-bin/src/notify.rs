//! Tells who has started us how far we are, if they asked to be told: sd_notify(3).
//!
//! Owns the protocol: a datagram to the socket that they name. Must not know states.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends `what`, such as `READY=1`, to the socket of this name.
///
/// # Errors
/// Nobody is there, or there is no such kind of socket.
pub(crate) fn notify(socket: &OsStr, what: &str) -> io::Result<()> {
    send(&address(socket)?, what)
}

/// A path, or `@NAME` in the abstract namespace (unix(7)).
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(socket),
        _ => Err(ErrorKind::Unsupported.into()),
    }
}

fn send(address: &SocketAddr, what: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // Nobody reads: it is not worth waiting.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(what.as_bytes(), address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_sockets_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("@worker-bin-test-{}", std::process::id());
        for socket in [path.as_os_str(), name.as_ref()] {
            let listener = UnixDatagram::bind_addr(&address(socket).unwrap()).unwrap();
            notify(socket, "READY=1").unwrap();
            let mut message = [0; 32];
            let length = listener.recv(&mut message).unwrap();
            assert_eq!(&message[..length], b"READY=1");
        }
        for wrong in ["", "vsock:2:1234"] {
            assert!(notify(wrong.as_ref(), "READY=1").is_err(), "{wrong}");
        }
    }
}
