//! A file in place of standard error, opened anew when it was moved away.
//!
//! Owns descriptor 2. Must not know what is written to it.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicPtr, Ordering};

/// From now on standard error is this file, appended to. Children inherit it.
pub(crate) fn use_file(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    let path = CString::new(path.as_os_str().as_bytes())?;
    // Signal handlers may read it at any time: it is never freed.
    PATH.store(path.into_raw(), Ordering::Release);
    reopen()
}

/// Opens the file anew, if there is one. Signal handlers may call this.
pub(crate) fn reopen() -> io::Result<()> {
    let path = PATH.load(Ordering::Acquire);
    if path.is_null() {
        return Ok(());
    }
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: async-signal-safe calls; `path` is a C string that is never freed, and `fd` is ours
    // alone. dup2(2) replaces standard error in one step and without CLOEXEC.
    unsafe {
        let fd = libc::open(path, flags, 0o644);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let result = libc::dup2(fd, libc::STDERR_FILENO);
        libc::close(fd);
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

static PATH: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());
