//! Addresses as people write them: `unix:PATH`, `HOST:PORT`, or a part of the latter.
//!
//! Owns their reading, and binding with errors that say what to do. Must not know what is served.

use crate::identity::Identity;
use crate::socket::{Socket, set_backlog};
use rustix::fs::{Mode, OFlags, fchmod};
use socket2::{Domain, SockAddr, Type};
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Where to listen or to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
}

/// Why an address is of no use; one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("`{0}` is no address: write unix:PATH, HOST:PORT, :PORT or PORT")]
    Malformed(String),
    #[error(
        "the socket path {0:?} has {1} bytes, and Linux allows {MOST_PATH_BYTES}: \
         use a shorter or a relative path"
    )]
    TooLong(PathBuf, usize),
    #[error("{0} is in use: stop the server that has it, or use another address")]
    InUse(String),
    #[error("{0} exists and is not a socket: remove it, or use another path")]
    NotASocket(String),
    #[error("no permission for {0}: use a port from 1024, or a directory that you may write to")]
    NoPermission(String),
    #[error("the directory of {0} does not exist: create it first")]
    NoDirectory(String),
    #[error("cannot listen on {0}: {1}; use another address")]
    Other(String, io::Error),
}

impl Address {
    /// As gunicorn reads them: `:PORT` is every address, and a mere `HOST` its port 8000. A mere
    /// `PORT` is nobody else's.
    pub(crate) fn parse(text: &str) -> Result<Address, AddressError> {
        let malformed = || AddressError::Malformed(text.into());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
            return match path.len() {
                0 => Err(malformed()),
                len if len > MOST_PATH_BYTES => Err(AddressError::TooLong(path.into(), len)),
                _ => Ok(Address::Unix(path.into())),
            };
        }
        let text = text.strip_prefix("tcp://").unwrap_or(text);
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (host, port) = match text.rsplit_once(':') {
            Some(("", port)) => ("0.0.0.0", port),
            // Colons of an IPv6 address are inside its brackets.
            Some((host, port)) if !port.ends_with(']') => (host, port),
            None if is_number => ("127.0.0.1", text),
            Some(_) | None => (text, DEFAULT_PORT),
        };
        let is_host = !host.is_empty() && !host.contains(['/', ' ']);
        match port.parse::<u16>() {
            Ok(_) if is_host => Ok(Address::Tcp(format!("{host}:{port}"))),
            _ => Err(malformed()),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp(address) => f.write_str(address),
        }
    }
}

/// A bound socket from which connections come; accepting never blocks. Dropping it does not
/// remove its path: workers hold copies.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// With its path, and the inode that we have made there.
    Unix(UnixListener, PathBuf, u64),
}

impl Listener {
    /// A front server is mostly another user. As with a port on 127.0.0.1, whoever should not
    /// connect to a path is kept away otherwise: by the directory.
    pub(crate) fn bind(address: &Address) -> Result<Listener, AddressError> {
        Listener::bind_for(address, EVERYBODY, |_| Ok(()))
    }

    /// Likewise, but only `owner`, which is this user otherwise, and root may connect to a path.
    pub(crate) fn bind_own(address: &Address, owner: &Identity) -> Result<Listener, AddressError> {
        Listener::bind_for(address, OWNER, |path| owner.own(path))
    }

    fn bind_for(
        address: &Address,
        mode: u32,
        give: impl Fn(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<Listener, AddressError> {
        let listener = match address {
            Address::Tcp(text) => TcpListener::bind(text.as_str()).map(Listener::Tcp),
            Address::Unix(path) => {
                remove_stale(address, path)?;
                bind_unix(path, mode, give)
            }
        };
        let prepare = |listener: Listener| {
            listener.set_nonblocking()?;
            set_backlog(listener.as_fd(), BACKLOG)?;
            Ok(listener)
        };
        listener.and_then(prepare).map_err(|error| explain(address, error))
    }

    /// One that another process has bound to this address, and passed on.
    pub(crate) fn inherited(listener: OwnedFd, address: &Address) -> Listener {
        match address {
            Address::Tcp(_) => Listener::Tcp(listener.into()),
            // The path is the other's to remove.
            Address::Unix(path) => Listener::Unix(listener.into(), path.clone(), 0),
        }
    }

    /// What to tell people: with the real port.
    pub(crate) fn url(&self) -> String {
        match self {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}"),
                Err(_) => "http://?".into(),
            },
            Listener::Unix(_, path, _) => format!("unix:{}", path.display()),
        }
    }

    /// A connection, if one waits that no other worker has taken; with its peer if that is TCP.
    pub(crate) fn accept(&self) -> io::Result<Option<(Socket, Option<SocketAddr>)>> {
        let accepted = match self {
            Listener::Tcp(listener) => listener.accept().and_then(|(stream, peer)| {
                stream.set_nodelay(true)?;
                Ok((Socket::new(stream), Some(peer)))
            }),
            Listener::Unix(listener, ..) => {
                listener.accept().map(|(stream, _)| (Socket::new(stream), None))
            }
        };
        match accepted {
            Ok(accepted) => Ok(Some(accepted)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the path, if it still is the one that we have made.
    pub(crate) fn remove_path(&self) {
        if let Listener::Unix(_, path, inode) = self
            && fs::symlink_metadata(path).is_ok_and(|found| found.ino() == *inode)
        {
            let _ = fs::remove_file(path);
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.set_nonblocking(true),
            Listener::Unix(listener, ..) => listener.set_nonblocking(true),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener, ..) => listener.as_fd(),
        }
    }
}

fn bind_unix(
    path: &Path,
    mode: u32,
    give: impl Fn(BorrowedFd<'_>) -> io::Result<()>,
) -> io::Result<Listener> {
    let socket = make_path(path, mode)?;
    // Whoever may write in the directory may put something else there: this is looked at once.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let found = made.metadata()?;
    if !found.file_type().is_socket() {
        return Err(io::Error::other("something else has taken its place"));
    }
    // What the umask has taken.
    let name = format!("/proc/self/fd/{}", made.as_raw_fd());
    fs::set_permissions(name, Permissions::from_mode(mode))?;
    give(made.as_fd())?;
    socket.listen(BACKLOG)?;
    Ok(Listener::Unix(OwnedFd::from(socket).into(), path.into(), found.ino()))
}

/// At no moment the path has more permissions than `mode`: Linux creates it with those of the
/// socket itself, less the umask.
fn make_path(path: &Path, mode: u32) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    fchmod(&socket, Mode::from_raw_mode(mode))?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// A socket that nobody listens on is what a crashed server has left.
fn remove_stale(address: &Address, path: &Path) -> Result<(), AddressError> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(AddressError::NotASocket(address.to_string()));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| explain(address, error))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(explain(address, error)),
        Ok(_) => Err(AddressError::InUse(address.to_string())),
    }
}

fn explain(address: &Address, error: io::Error) -> AddressError {
    let name = address.to_string();
    match error.kind() {
        ErrorKind::AddrInUse => AddressError::InUse(name),
        ErrorKind::PermissionDenied => AddressError::NoPermission(name),
        ErrorKind::NotFound => AddressError::NoDirectory(name),
        _ => AddressError::Other(name, error),
    }
}

/// unix(7): 108 bytes with the final zero.
const MOST_PATH_BYTES: usize = 107;
const BACKLOG: i32 = 2048;
const EVERYBODY: u32 = 0o666;
const OWNER: u32 = 0o600;
/// gunicorn's.
const DEFAULT_PORT: &str = "8000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        assert_eq!(Address::parse("unix:run/a").unwrap(), Address::Unix("run/a".into()));
        assert_eq!(Address::parse("[::1]:80").unwrap(), Address::Tcp("[::1]:80".into()));
        for (text, address) in [
            ("8080", "127.0.0.1:8080"),
            (":80", "0.0.0.0:80"),
            ("localhost", "localhost:8000"),
            ("[::]", "[::]:8000"),
            ("tcp://h:1", "h:1"),
        ] {
            assert_eq!(Address::parse(text).unwrap(), Address::Tcp(address.into()), "{text}");
        }
        assert_eq!(Address::parse("unix:///run/a").unwrap(), Address::Unix("/run/a".into()));
        for bad in ["", "unix:", "host:99999", "99999", "host:", "/run/a:1", "run/app.sock"] {
            assert!(matches!(Address::parse(bad), Err(AddressError::Malformed(_))), "{bad}");
        }
        let long = format!("unix:/{}", "x".repeat(107));
        assert!(matches!(Address::parse(&long), Err(AddressError::TooLong(_, 108))));
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let address = Address::Unix(directory.path().join("socket"));
        let first = Listener::bind(&address).unwrap();
        assert!(matches!(Listener::bind(&address), Err(AddressError::InUse(_))));
        drop(first);
        let second = Listener::bind(&address).unwrap();
        second.remove_path();
        assert!(!directory.path().join("socket").exists());
    }

    #[test]
    fn a_path_has_never_more_permissions_than_it_should_have() {
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
        let path = directory.path().join("new");
        make_path(&path, OWNER).unwrap();
        assert_eq!(mode(&path), 0o600, "from the first moment");
        let address = Address::Unix(path.clone());
        let nobody = Identity::find(None, None).unwrap();
        let listeners: [(&dyn Fn() -> _, u32); 2] = [
            (&|| Listener::bind(&address), 0o666),
            (&|| Listener::bind_own(&address, &nobody), 0o600),
        ];
        for (bind, expected) in listeners {
            let listener: Result<Listener, AddressError> = bind();
            assert_eq!(mode(&path), expected);
            listener.unwrap().remove_path();
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "precious").unwrap();
        let bind = |path: PathBuf| Listener::bind(&Address::Unix(path)).unwrap_err();
        assert!(matches!(bind(file.clone()), AddressError::NotASocket(_)));
        assert_eq!(fs::read(&file).unwrap(), b"precious");
        let nowhere = directory.path().join("no/socket");
        assert!(matches!(bind(nowhere), AddressError::NoDirectory(_)));
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(taken.local_addr().unwrap().to_string());
        assert!(matches!(Listener::bind(&address), Err(AddressError::InUse(_))));
    }
}
