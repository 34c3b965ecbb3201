//! Why a ring could not be had, and what to do about it.
//!
//! Owns the explanation of error numbers. Must not know what the ring is for.

use crate::io::{Errno, sys};

/// io_uring cannot be used; the message names cause and remedy on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The system calls do not exist, or a seccomp filter says so.
    #[error(
        "io_uring does not exist here (ENOSYS): use a Linux kernel 6.1 or later that is built \
         with CONFIG_IO_URING, and allow io_uring_setup, io_uring_enter and io_uring_register in \
         the seccomp profile if there is one"
    )]
    Missing,

    /// `kernel.io_uring_disabled` is 2.
    #[error(
        "io_uring is disabled for all processes (kernel.io_uring_disabled = 2): \
         run `sysctl kernel.io_uring_disabled=0`"
    )]
    Disabled,

    /// `kernel.io_uring_disabled` is 1, and this process is not of the permitted group.
    #[error(
        "io_uring is restricted to a group (kernel.io_uring_disabled = 1): run this process with \
         the group of `sysctl kernel.io_uring_group`, or run `sysctl kernel.io_uring_disabled=0`"
    )]
    Restricted,

    /// Something forbids it, though the kernel's switch does not.
    #[error(
        "io_uring is forbidden (EPERM), most likely by the default seccomp profile of Docker or \
         containerd: use a profile that allows io_uring_setup, io_uring_enter and \
         io_uring_register"
    )]
    Forbidden,

    /// The kernel lacks what Linux 6.1 brought.
    #[error("io_uring of Linux {release} is too old: use Linux 6.1 or later, best 6.12 or later")]
    TooOld {
        /// The running kernel, as `uname -r` prints it.
        release: String,
    },

    /// Not enough memory, or not enough of it may be locked.
    #[error(
        "no memory for io_uring (ENOMEM): raise the memory limit of the service, or \
         RLIMIT_MEMLOCK (`ulimit -l`, `LimitMEMLOCK=`)"
    )]
    NoMemory,

    /// The limit of open files is reached.
    #[error("no file descriptor for io_uring: raise RLIMIT_NOFILE (`ulimit -n`, `LimitNOFILE=`)")]
    NoDescriptor,

    /// The ring was made, but a first exchange through it failed or was not answered.
    #[error("io_uring does not work here: {0}")]
    Broken(String),
}

impl SetupError {
    /// Explains the error number of a call to io_uring on this machine.
    pub(super) fn from_errno(errno: Errno) -> SetupError {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        SetupError::explain(errno, disabled.as_deref(), sys::kernel_release())
    }

    /// `disabled` is the content of `/proc/sys/kernel/io_uring_disabled`, which exists since
    /// Linux 6.6.
    fn explain(errno: Errno, disabled: Option<&str>, release: String) -> SetupError {
        match (errno.0, disabled.map(str::trim)) {
            (libc::ENOSYS, _) => SetupError::Missing,
            (libc::EPERM | libc::EACCES, Some("2")) => SetupError::Disabled,
            (libc::EPERM | libc::EACCES, Some("1")) => SetupError::Restricted,
            (libc::EPERM | libc::EACCES, _) => SetupError::Forbidden,
            (libc::EINVAL, _) => SetupError::TooOld { release },
            (libc::ENOMEM, _) => SetupError::NoMemory,
            (libc::EMFILE | libc::ENFILE, _) => SetupError::NoDescriptor,
            _ => SetupError::Broken(errno.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(errno: i32, disabled: Option<&str>) -> String {
        SetupError::explain(Errno(errno), disabled, "5.15.0-91".into()).to_string()
    }

    #[test]
    fn names_cause_and_remedy() {
        let cases = [
            (libc::ENOSYS, None, "CONFIG_IO_URING"),
            (libc::EPERM, Some("2\n"), "sysctl kernel.io_uring_disabled=0"),
            (libc::EPERM, Some("1\n"), "kernel.io_uring_group"),
            (libc::EPERM, Some("0\n"), "seccomp"),
            (libc::EPERM, None, "seccomp"),
            (libc::EINVAL, None, "Linux 5.15.0-91 is too old"),
            (libc::ENOMEM, None, "RLIMIT_MEMLOCK"),
            (libc::EMFILE, None, "RLIMIT_NOFILE"),
            (libc::EIO, None, "Input/output error"),
        ];
        for (errno, disabled, expected) in cases {
            let message = message(errno, disabled);
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains('\n') && !message.contains("  "), "{message}");
        }
    }
}
