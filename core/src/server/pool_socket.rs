//! The Unix socket of a pool, where its workers dial in.
//!
//! Owns the socket file. A lock file beside it tells a stale socket, which is replaced, from a
//! live one, which is an error; the new one is renamed into place, so that workers never meet a
//! socket that does not listen yet.

use super::error::BuildError;
use std::fs::{self, File, TryLockError};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A bound socket. Its file is removed when it is dropped.
pub(super) struct PoolSocket {
    path: PathBuf,
    listener: UnixListener,
    /// Held as long as the socket is ours.
    _lock: File,
}

/// sockaddr_un has 108 bytes with the final NUL (unix(7)).
const PATH_MOST: usize = 107;

impl PoolSocket {
    pub(super) fn bind(path: &Path) -> Result<PoolSocket, BuildError> {
        let temporary = beside(path, &format!(".{}", std::process::id()));
        for name in [path, &temporary] {
            let length = name.as_os_str().as_bytes().len();
            if length > PATH_MOST {
                return Err(BuildError::SocketPathTooLong { path: name.into(), length });
            }
        }
        let failed = |error| BuildError::Socket { path: path.into(), error };
        let lock = File::options().create(true).truncate(false).write(true).open(lock_path(path));
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BuildError::SocketInUse(path.into())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Ours from before: whoever had it held the lock.
        let _ = fs::remove_file(&temporary);
        let listener = UnixListener::bind(&temporary).map_err(failed)?;
        fs::rename(&temporary, path).map_err(|error| {
            let _ = fs::remove_file(&temporary);
            failed(error)
        })?;
        Ok(PoolSocket { path: path.into(), listener, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> i32 {
        self.listener.as_raw_fd()
    }
}

impl Drop for PoolSocket {
    fn drop(&mut self) {
        // The lock file stays: removing it would let two servers hold locks on different files.
        let _ = fs::remove_file(&self.path);
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
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        drop(UnixListener::bind(&path).unwrap()); // a crashed server's
        assert!(UnixStream::connect(&path).is_err());
        let socket = PoolSocket::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        assert!(matches!(PoolSocket::bind(&path), Err(BuildError::SocketInUse(_))));
        drop(socket);
        assert!(!path.exists());
        assert!(PoolSocket::bind(&path).is_ok());
    }

    #[test]
    fn bad_paths_say_why() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(120));
        assert!(matches!(PoolSocket::bind(&long), Err(BuildError::SocketPathTooLong { .. })));
        let missing = dir.path().join("missing/app.sock");
        assert!(matches!(PoolSocket::bind(&missing), Err(BuildError::Socket { .. })));
    }
}
