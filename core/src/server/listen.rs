//! TCP listeners: for each address one per reactor, on the same port.
//!
//! The first is bound without `SO_REUSEPORT`, so that a taken port is an error even if its owner
//! set the option; then it gets the option, and the others join it. The kernel spreads
//! connections over them.

use super::error::BuildError;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

/// Connections that may wait for accept(2); the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// The real addresses, and for each reactor one listener per address.
pub(super) fn bind_all(
    addresses: &[String],
    count: usize,
) -> Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>), BuildError> {
    let wanted = addresses.iter().map(|address| resolve(address)).collect::<Result<Vec<_>, _>>()?;
    let mut all_bound = Vec::new();
    let mut listeners: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    for (text, address) in addresses.iter().zip(&wanted) {
        // Where IPv4 has listeners of its own for a port, `[::]` leaves it to them.
        let is_v4 = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port();
        let only_v6 = address.port() != 0 && wanted.iter().any(is_v4);
        let (bound, of_reactors) = bind(text, *address, only_v6, count)?;
        all_bound.push(bound);
        for (mine, listener) in listeners.iter_mut().zip(of_reactors) {
            mine.push(listener);
        }
    }
    Ok((all_bound, listeners))
}

fn resolve(address: &str) -> Result<SocketAddr, BuildError> {
    let resolved = address.to_socket_addrs().ok().and_then(|mut found| found.next());
    resolved.ok_or_else(|| BuildError::Address(address.into()))
}

/// Binds `count` listeners to one address; says which it is, with the real port.
fn bind(
    address: &str,
    wanted: SocketAddr,
    only_v6: bool,
    count: usize,
) -> Result<(SocketAddr, Vec<TcpListener>), BuildError> {
    let failed = |error: io::Error| explain(address, error);
    let socket = |address| socket(address, only_v6);
    let first = socket(wanted).map_err(failed)?;
    first.bind(&wanted.into()).map_err(failed)?;
    first.set_reuse_port(true).map_err(failed)?;
    first.listen(BACKLOG).map_err(failed)?;
    let bound = first.local_addr().map_err(failed)?.as_socket().unwrap_or(wanted);
    let mut listeners = vec![TcpListener::from(first)];
    for _ in 1..count {
        let next = socket(bound).map_err(failed)?;
        next.set_reuse_port(true).map_err(failed)?;
        next.bind(&bound.into()).map_err(failed)?;
        next.listen(BACKLOG).map_err(failed)?;
        listeners.push(next.into());
    }
    Ok((bound, listeners))
}

fn socket(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server need not wait for old connections to be forgotten.
    socket.set_reuse_address(true)?;
    // Accepted connections inherit it.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    Ok(socket)
}

fn explain(address: &str, error: io::Error) -> BuildError {
    let address = address.to_owned();
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => return BuildError::AddressInUse(address),
        io::ErrorKind::PermissionDenied => {
            ": ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one, or grant it"
        }
        io::ErrorKind::AddrNotAvailable => ": this machine does not have that address",
        _ => "",
    };
    BuildError::Listen { address, error, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(address: &str, count: usize) -> Result<(SocketAddr, Vec<TcpListener>), BuildError> {
        super::bind(address, resolve(address)?, false, count)
    }

    #[test]
    fn both_families_may_have_listeners_of_their_own_for_a_port() {
        let free = || bind("0.0.0.0:0", 1).unwrap().0.port();
        for order in [["0.0.0.0", "[::]"], ["[::]", "127.0.0.1"]] {
            let port = free();
            let addresses = order.map(|ip| format!("{ip}:{port}"));
            let (bound, listeners) = bind_all(&addresses, 2).unwrap();
            assert_eq!((bound.len(), listeners[1].len()), (2, 2));
            for ip in ["127.0.0.1", "::1"] {
                let ip: std::net::IpAddr = ip.parse().unwrap();
                std::net::TcpStream::connect((ip, port)).unwrap();
            }
        }
        let (bound, _listeners) = bind_all(&["[::]:0".into()], 1).unwrap();
        std::net::TcpStream::connect(("127.0.0.1", bound[0].port())).unwrap();
    }

    #[test]
    fn all_listeners_share_a_port_that_nobody_else_can_take() {
        let (address, listeners) = bind("127.0.0.1:0", 3).unwrap();
        assert_eq!(listeners.len(), 3);
        assert!(listeners.iter().all(|l| l.local_addr().unwrap() == address));
        let again = bind(&address.to_string(), 1);
        assert!(matches!(again, Err(BuildError::AddressInUse(_))), "{again:?}");
    }

    #[test]
    fn nonsense_is_not_an_address() {
        for text in ["", "8080", "localhost", "1.2.3.4:99999"] {
            assert!(matches!(bind(text, 1), Err(BuildError::Address(_))), "{text}");
        }
    }
}
