//! A Unix socket to listen at: a pool's, where its workers dial in, or another of the program's.
//!
//! Owns the socket file. Must not know who connects. A lock file beside it tells a stale socket,
//! which is replaced, from a live one, which is an error; the new one is renamed into place, so
//! that nobody ever meets a socket that does not listen yet.

use super::error::SocketError;
use socket2::SockRef;
use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A Unix socket that listens. Its file is removed when it is dropped.
///
/// [`Pool`](super::Pool) makes its own; this one is for what else a program listens for on its
/// machine. A lock file, `PATH.lock`, keeps two servers from using the same path; it stays.
pub struct UnixSocket {
    path: PathBuf,
    listener: UnixListener,
    /// What the kernel made.
    original: SocketAccess,
    /// Of the file: another one may have its path meanwhile.
    identity: Identity,
    /// Held as long as the file is ours.
    lock: Mutex<Option<Arc<File>>>,
}

/// Who may connect, as far as the file system knows; `None`: as the kernel made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketAccess {
    /// Permissions, such as `0o600`: whoever may write may connect.
    pub mode: Option<u32>,
    /// The number of the user who owns the file.
    pub user: Option<u32>,
    /// The number of the group that owns the file.
    pub group: Option<u32>,
}

/// Device and inode.
type Identity = (u64, u64);

/// Of the name by which a socket is made, before it is renamed into place.
const NEW: &str = ".new";

impl UnixSocket {
    /// Bytes that its path may have: sockaddr_un has room for 108 with a final NUL (unix(7)), and
    /// for a while the socket has a longer name.
    pub const PATH_BYTES_MOST: usize = 107 - NEW.len();

    /// Makes the file and listens. A socket that a crash has left is replaced; nobody can connect
    /// before access is as it is to be.
    ///
    /// # Errors
    /// Another process has the path, something else than a socket is there, or the file cannot be
    /// made.
    pub fn bind(path: &Path, access: &SocketAccess) -> Result<UnixSocket, SocketError> {
        UnixSocket::make(path, access, None)
    }

    /// Another socket at the same path, if somebody has removed the file of this one; `None`: it is
    /// where it was. Who has connected to this one stays.
    ///
    /// # Errors
    /// As for [`UnixSocket::bind`].
    pub fn restored(&self, access: &SocketAccess) -> Result<Option<UnixSocket>, SocketError> {
        let held = self.lock().clone();
        match held {
            Some(held) if !self.is_in_place() => {
                UnixSocket::make(&self.path, access, Some(held)).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn make(
        path: &Path,
        access: &SocketAccess,
        held: Option<Arc<File>>,
    ) -> Result<UnixSocket, SocketError> {
        let length = path.as_os_str().as_bytes().len();
        if length > UnixSocket::PATH_BYTES_MOST {
            return Err(SocketError::PathTooLong { path: path.into(), length });
        }
        let temporary = beside(path, NEW);
        if is_something_else(path) {
            return Err(SocketError::NotASocket(path.into()));
        }
        let failed = |error| SocketError::Make { path: path.into(), error };
        let lock = locked(path, held)?;
        // A crash has left it: whoever makes it holds the lock.
        let _ = fs::remove_file(&temporary);
        let listener = UnixListener::bind(&temporary).map_err(failed)?;
        let settle = || {
            let made = fs::symlink_metadata(&temporary).map_err(failed)?;
            let (original, identity) = (SocketAccess::from(&made), identity(&made));
            let refused = |error| SocketError::Access { path: path.into(), error };
            access.or(original).apply(&temporary, identity).map_err(refused)?;
            fs::rename(&temporary, path).map_err(failed)?;
            Ok((original, identity))
        };
        let (original, identity) = settle().inspect_err(|_: &SocketError| {
            let _ = fs::remove_file(&temporary);
        })?;
        let lock = Mutex::new(Some(lock));
        Ok(UnixSocket { path: path.into(), listener, original, identity, lock })
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// No descriptor is left, or [`UnixSocket::close`] was called (`InvalidInput`).
    pub fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }

    /// Removes the file and ends every [`UnixSocket::accept`], those of other threads too.
    pub fn close(&self) {
        self.remove();
        // It listens, so there is nothing that could fail.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }

    /// Changes mode and owner.
    pub(super) fn adjust(&self, access: &SocketAccess) -> Result<(), SocketError> {
        let refused = |error| SocketError::Access { path: self.path.clone(), error };
        access.or(self.original).apply(&self.path, self.identity).map_err(refused)
    }

    /// Removes the file, after which another socket may take its place.
    pub(super) fn remove(&self) {
        let mut lock = self.lock();
        if lock.is_some() {
            // The lock file stays: removing it would let two servers hold locks on different files.
            if self.is_in_place() {
                let _ = fs::remove_file(&self.path);
            }
            *lock = None;
        }
    }

    /// The path still leads to the file that was made.
    fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<File>>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fd(&self) -> i32 {
        self.listener.as_raw_fd()
    }
}

impl std::fmt::Debug for UnixSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnixSocket").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        self.remove();
    }
}

impl SocketAccess {
    fn or(self, default: SocketAccess) -> SocketAccess {
        SocketAccess {
            mode: self.mode.or(default.mode),
            user: self.user.or(default.user),
            group: self.group.or(default.group),
        }
    }

    /// Only what differs: others than root may not even confirm an owner. If the directory is
    /// somebody else's, anything can be in the socket's place meanwhile, a link to another file
    /// too; so it is opened first, and then named by its descriptor (proc_pid_fd(5)).
    fn apply(self, path: &Path, expected: Identity) -> io::Result<()> {
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let socket = File::options().read(true).custom_flags(flags).open(path)?;
        let found = socket.metadata()?;
        if identity(&found) != expected {
            return Err(io::Error::other("something else has taken the socket's place"));
        }
        let now = SocketAccess::from(&found);
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        if (self.user, self.group) != (now.user, now.group) {
            chown(&path, self.user, self.group)?;
        }
        if let Some(mode) = self.mode.filter(|_| self.mode != now.mode) {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}

impl From<&Metadata> for SocketAccess {
    fn from(now: &Metadata) -> SocketAccess {
        let mode = Some(now.mode() & 0o777);
        SocketAccess { mode, user: Some(now.uid()), group: Some(now.gid()) }
    }
}

/// Whether a file is there that must not be taken for an old socket.
fn is_something_else(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket())
}

fn identity(file: &Metadata) -> Identity {
    (file.dev(), file.ino())
}

/// The lock file, locked; the one that is `held` already if it is still there.
fn locked(path: &Path, held: Option<Arc<File>>) -> Result<Arc<File>, SocketError> {
    let lock = lock_path(path);
    let found = fs::symlink_metadata(&lock);
    let failed = |error| match found {
        Ok(_) => SocketError::Lock { path: lock.clone(), error },
        Err(_) => SocketError::Make { path: path.into(), error },
    };
    if let (Some(held), Ok(found)) = (held, &found)
        && held.metadata().is_ok_and(|held| identity(&held) == identity(found))
    {
        return Ok(held);
    }
    let mut options = File::options();
    options.create(true).truncate(false).write(true).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(&lock).map_err(&failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Arc::new(file)),
        Err(TryLockError::WouldBlock) => Err(SocketError::InUse(path.into())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn lock_path(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    fn bind(path: &Path) -> Result<UnixSocket, SocketError> {
        UnixSocket::bind(path, &SocketAccess::default())
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        drop(UnixListener::bind(&path).unwrap()); // a crashed server's
        assert!(UnixStream::connect(&path).is_err());
        let socket = bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        assert!(matches!(bind(&path), Err(SocketError::InUse(_))));
        drop(socket);
        assert!(!path.exists());
        assert!(bind(&path).is_ok());
    }

    fn access_of(path: &Path) -> SocketAccess {
        SocketAccess::from(&fs::symlink_metadata(path).unwrap())
    }

    #[test]
    fn the_socket_of_another_server_at_the_same_path_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let old = bind(&path).unwrap();
        for gone in [&path, &lock_path(&path)] {
            fs::remove_file(gone).unwrap();
        }
        let new = bind(&path).unwrap();
        let access = SocketAccess { mode: Some(0o666), ..SocketAccess::default() };
        assert!(matches!(old.adjust(&access), Err(SocketError::Access { .. })));
        assert!(matches!(old.restored(&access), Err(SocketError::InUse(_))));
        drop(old);
        assert!(UnixStream::connect(&path).is_ok());
        drop(new);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_whose_file_is_gone_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let access = SocketAccess { mode: Some(0o600), ..SocketAccess::default() };
        let old = UnixSocket::bind(&path, &access).unwrap();
        assert!(old.restored(&access).unwrap().is_none());
        for gone in [&path, &lock_path(&path)] {
            fs::remove_file(gone).unwrap();
            let discarded = old.restored(&access).unwrap().unwrap();
            assert!(UnixStream::connect(&path).is_ok());
            assert_eq!(access_of(&path).mode, Some(0o600));
            drop(discarded);
            assert!(!path.exists());
        }
        let new = old.restored(&access).unwrap().unwrap();
        drop(old);
        assert!(UnixStream::connect(&path).is_ok());
        assert!(matches!(bind(&path), Err(SocketError::InUse(_))), "the lock is the new one's");
        drop(new);
        drop(bind(&path).unwrap());
    }

    #[test]
    fn a_removed_socket_leaves_its_place_to_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let old = bind(&path).unwrap();
        old.remove();
        let new = bind(&path).unwrap();
        drop(old);
        assert!(UnixStream::connect(&path).is_ok());
        drop(new);
    }

    #[test]
    fn the_mode_is_there_from_the_start_and_can_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let mode = || access_of(&path).mode.unwrap();
        let with = |mode| SocketAccess { mode: Some(mode), ..SocketAccess::default() };
        let socket = UnixSocket::bind(&path, &with(0o600)).unwrap();
        assert_eq!(mode(), 0o600);
        socket.adjust(&with(0o660)).unwrap();
        assert_eq!(mode(), 0o660);
        socket.adjust(&SocketAccess::default()).unwrap();
        assert_eq!(Some(mode()), socket.original.mode);
    }

    #[test]
    fn what_has_taken_the_place_of_a_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("app.sock"), dir.path().join("other"));
        fs::write(&other, "").unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o600)).unwrap();
        let socket = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let access = SocketAccess { mode: Some(0o666), ..SocketAccess::default() };
        assert!(matches!(socket.adjust(&access), Err(SocketError::Access { .. })));
        assert_eq!(access_of(&other).mode, Some(0o600));
        drop(socket);
        assert!(path.is_symlink());
        assert!(matches!(bind(&path), Err(SocketError::NotASocket(_))));
        assert!(path.is_symlink() && !lock_path(&other).exists());

        let link = lock_path(&dir.path().join("new.sock"));
        std::os::unix::fs::symlink(dir.path().join("made"), link).unwrap();
        assert!(matches!(bind(&dir.path().join("new.sock")), Err(SocketError::Lock { .. })));
        assert!(!dir.path().join("made").exists());
    }

    #[test]
    fn a_socket_that_is_closed_ends_who_waits_at_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let socket = bind(&path).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| socket.accept().map(drop).and_then(|()| socket.accept()));
            drop(UnixStream::connect(&path).unwrap());
            socket.close();
            let error = waiting.join().unwrap().map(drop).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        });
        assert!(!path.exists());
    }

    #[test]
    fn bad_paths_say_why() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(120));
        assert!(matches!(bind(&long), Err(SocketError::PathTooLong { .. })));
        let room = UnixSocket::PATH_BYTES_MOST - dir.path().as_os_str().len() - 1;
        assert!(bind(&dir.path().join("x".repeat(room))).is_ok());
        let long = dir.path().join("x".repeat(room + 1));
        assert!(matches!(bind(&long), Err(SocketError::PathTooLong { length: 104, .. })));
        let missing = dir.path().join("missing/app.sock");
        assert!(matches!(bind(&missing), Err(SocketError::Make { .. })));
    }
}
