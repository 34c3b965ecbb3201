//! Descriptors that the children which an application forks do not keep.
//!
//! Owns the list of them, and what happens to it at a fork. Must not know what they are.
//!
//! A child that keeps a slot would keep a dead worker's slot alive. Close-on-exec is not enough:
//! it may never exec.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, RawFd};

/// Something with a descriptor, which is closed in forked children for as long as this lives.
#[derive(Debug)]
pub(crate) struct Private<T: AsFd>(Option<T>);

impl<T: AsFd> Private<T> {
    /// Makes it. No thread can fork between its making and its becoming private; so `make` must
    /// neither wait nor fork, nor make another.
    pub(crate) fn make(make: impl FnOnce() -> io::Result<T>) -> io::Result<Private<T>> {
        let mut list = LIST.lock();
        list.prepare()?;
        let made = make()?;
        list.fds.push(made.as_fd().as_raw_fd());
        Ok(Private(Some(made)))
    }
}

impl<T: AsFd> Private<T> {
    /// The children that are forked now have it.
    pub(crate) fn expose(&self) {
        LIST.lock().forget(self.as_fd().as_raw_fd());
    }

    /// Those that are forked from now on do not.
    pub(crate) fn hide(&self) {
        LIST.lock().fds.push(self.as_fd().as_raw_fd());
    }
}

impl<T: AsFd> Deref for Private<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until the drop")
    }
}

impl<T: AsFd> Drop for Private<T> {
    fn drop(&mut self) {
        let mut list = LIST.lock();
        if let Some(made) = self.0.take() {
            list.forget(made.as_fd().as_raw_fd());
            // Closed before the lock is given back.
            drop(made);
        }
    }
}

/// The list behind a lock that a fork takes as well: std's cannot be let go in the child.
struct Shared {
    lock: UnsafeCell<libc::pthread_mutex_t>,
    list: UnsafeCell<List>,
}

struct List {
    fds: Vec<RawFd>,
    /// /dev/null, when forks are being watched.
    null: Option<RawFd>,
}

// SAFETY: `list` is used only with `lock` held, and the lock is made for several threads.
unsafe impl Sync for Shared {}

static LIST: Shared = Shared {
    lock: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
    list: UnsafeCell::new(List { fds: Vec::new(), null: None }),
};

impl Shared {
    fn lock(&self) -> Locked<'_> {
        // SAFETY: an initialised lock that never moves.
        let error = unsafe { libc::pthread_mutex_lock(self.lock.get()) };
        assert_eq!(error, 0, "an initialised lock that nobody takes twice");
        Locked(self)
    }

    /// # Safety
    /// The caller, or in the child of a fork its parent, has the lock and uses the list no more.
    unsafe fn unlock(&self) {
        // SAFETY: the caller's promise.
        unsafe { libc::pthread_mutex_unlock(self.lock.get()) };
    }
}

struct Locked<'a>(&'a Shared);

impl Deref for Locked<'_> {
    type Target = List;

    fn deref(&self) -> &List {
        // SAFETY: the lock is held.
        unsafe { &*self.0.list.get() }
    }
}

impl std::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut List {
        // SAFETY: the lock is held, and borrowed exclusively.
        unsafe { &mut *self.0.list.get() }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: `self` had the lock.
        unsafe { self.0.unlock() };
    }
}

impl List {
    fn forget(&mut self, fd: RawFd) {
        if let Some(place) = self.fds.iter().position(|&other| other == fd) {
            self.fds.swap_remove(place);
        }
    }

    /// What must be done once, before the first descriptor.
    fn prepare(&mut self) -> io::Result<()> {
        if self.null.is_none() {
            let null = File::open("/dev/null")?;
            // SAFETY: the handlers call async-signal-safe functions only, besides the lock's,
            // which a fork may use in this way (pthread_atfork(3)).
            let error = unsafe {
                libc::pthread_atfork(
                    Some(before_fork),
                    Some(after_fork_in_parent),
                    Some(after_fork_in_child),
                )
            };
            if error != 0 {
                return Err(io::Error::from_raw_os_error(error));
            }
            self.null = Some(null.into_raw_fd());
        }
        Ok(())
    }
}

unsafe extern "C" fn before_fork() {
    std::mem::forget(LIST.lock());
}

unsafe extern "C" fn after_fork_in_parent() {
    // SAFETY: taken by `before_fork`.
    unsafe { LIST.unlock() };
}

/// The numbers stay taken, by /dev/null, so that a destructor in the child closes nothing else.
unsafe extern "C" fn after_fork_in_child() {
    // SAFETY: the lock was taken by `before_fork` in the parent, so the list is whole.
    let list = unsafe { &*LIST.list.get() };
    for &fd in &list.fds {
        if let Some(null) = list.null {
            // SAFETY: an async-signal-safe call on descriptors of this process.
            unsafe { libc::dup3(null, fd, libc::O_CLOEXEC) };
        }
    }
    // SAFETY: as above; `list` is used no more.
    unsafe { LIST.unlock() };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::process;
    use crate::signals::exit_now;
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    fn is_listed(fd: RawFd) -> bool {
        LIST.lock().fds.contains(&fd)
    }

    #[test]
    fn it_is_listed_for_as_long_as_it_lives() {
        let (one, two) = UnixStream::pair().unwrap();
        let fds = [one.as_raw_fd(), two.as_raw_fd()];
        // Open to the end, so that no other test gets their numbers.
        let private = [&one, &two].map(|stream| Private::make(|| Ok(stream.as_fd())).unwrap());
        assert!(fds.iter().all(|&fd| is_listed(fd)));
        assert_eq!(private[0].as_raw_fd(), fds[0]);
        private[0].expose();
        assert_eq!(fds.map(is_listed), [false, true]);
        private[0].hide();
        assert_eq!(fds.map(is_listed), [true, true]);
        drop(private);
        assert!(!fds.iter().any(|&fd| is_listed(fd)));
    }

    #[test]
    fn what_cannot_be_made_is_not_listed() {
        let made: io::Result<Private<UnixStream>> = Private::make(|| Err(io::Error::other("no")));
        assert!(made.is_err());
        assert!(Private::make(|| File::open("/dev/null")).is_ok(), "and the lock is free");
    }

    #[test]
    fn a_fork_beside_its_making_and_its_end_keeps_no_copy() {
        let mut children = Vec::new();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let maker = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let mut far = None;
                    let near = Private::make(|| {
                        let (one, two) = UnixStream::pair()?;
                        far = Some(one);
                        Ok(two)
                    });
                    drop(near.unwrap());
                    let mut far = far.unwrap();
                    far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    assert_eq!(far.read(&mut [0]).unwrap(), 0, "nobody has the other end");
                }
            });
            while children.len() < 100 && !maker.is_finished() {
                match process::fork().unwrap() {
                    Some(child) => children.push(child),
                    None => {
                        process::sleep(Duration::from_secs(60));
                        exit_now(0);
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
            let ended = maker.join();
            for child in children {
                // SAFETY: system calls without pointers, on children that are not reaped yet.
                unsafe {
                    libc::kill(child, libc::SIGKILL);
                    libc::waitpid(child, std::ptr::null_mut(), 0);
                }
            }
            ended.unwrap();
        });
    }
}
