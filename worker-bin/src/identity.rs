//! Who the server is: user, group, umask.
//!
//! Owns giving up privileges for good. Must not know what was done with them before.
#![allow(unsafe_code)]

use rustix::fs::{AtFlags, Gid, Mode, Uid, chownat};
use rustix::process::{getegid, geteuid, umask};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::BorrowedFd;

/// A user and a group to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    user: Option<User>,
    group: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    id: u32,
    group: u32,
    name: CString,
}

/// Why one cannot become somebody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("there is no user `{0}`: create it, or name another")]
    NoUser(String),
    #[error("there is no group `{0}`: create it, or name another")]
    NoGroup(String),
    #[error("cannot become another user: {0}; start as root, or without --user and --group")]
    Denied(io::Error),
}

impl Identity {
    /// By name or number.
    pub(crate) fn find(user: Option<&str>, group: Option<&str>) -> Result<Identity, IdentityError> {
        let user = user.map(find_user).transpose()?;
        let group = group.map(find_group).transpose()?;
        Ok(Identity { user, group })
    }

    /// Becomes them, with the user's supplementary groups, and cannot go back.
    pub(crate) fn assume(&self) -> Result<(), IdentityError> {
        let group = self.group.or(self.user.as_ref().map(|user| user.group));
        if self.is_assumed(group) {
            return Ok(());
        }
        // SAFETY: system calls with numbers, and with a group and, initgroups(3), a C string that
        // live through the call. Those of libc change all threads.
        unsafe {
            if let Some(group) = group {
                match &self.user {
                    Some(user) => check(libc::initgroups(user.name.as_ptr(), group))?,
                    None => check(libc::setgroups(1, &raw const group))?,
                }
                check(libc::setresgid(group, group, group))?;
            }
            if let Some(user) = &self.user {
                check(libc::setresuid(user.id, user.id, user.id))?;
            }
        }
        Ok(())
    }

    /// Gives them what is open, whatever its path means by now. A descriptor that was opened for
    /// its path alone is enough.
    pub(crate) fn own(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        let user = self.user.as_ref().map(|user| Uid::from_raw(user.id));
        let group = self.group.or(self.user.as_ref().map(|user| user.group)).map(Gid::from_raw);
        match (user, group) {
            (None, None) => Ok(()),
            _ => Ok(chownat(file, c"", user, group, AtFlags::EMPTY_PATH)?),
        }
    }

    /// Whether there is anybody to become.
    pub(crate) fn is_given(&self) -> bool {
        self.user.is_some() || self.group.is_some()
    }

    /// Whoever is them already, and not root, need not and cannot set groups.
    fn is_assumed(&self, group: Option<u32>) -> bool {
        let (user_now, group_now) = (geteuid().as_raw(), getegid().as_raw());
        let is_user = self.user.as_ref().is_none_or(|user| user.id == user_now);
        is_user && group.is_none_or(|group| group == group_now) && user_now != 0
            || (self.user.is_none() && group.is_none())
    }
}

/// Nobody's number: system calls take it for whoever it is already (setresuid(2), chown(2)).
const UNCHANGED: u32 = u32::MAX;

/// Permissions that new files do not get.
pub(crate) fn set_umask(mask: u32) {
    umask(Mode::from_raw_mode(mask));
}

fn find_user(text: &str) -> Result<User, IdentityError> {
    let unknown = || IdentityError::NoUser(text.into());
    let name = CString::new(text).map_err(|_| unknown())?;
    // SAFETY: the arbiter is single-threaded, and what these calls return is copied before the
    // next one.
    let found = unsafe {
        let by_name = libc::getpwnam(name.as_ptr());
        let entry = match text.parse() {
            Ok(id) if by_name.is_null() => libc::getpwuid(id),
            _ => by_name,
        };
        entry.as_ref().map(|entry| User {
            id: entry.pw_uid,
            group: entry.pw_gid,
            name: CStr::from_ptr(entry.pw_name).to_owned(),
        })
    };
    // A number needs no entry, but then it must be told its group, or that is the same number.
    let by_number = || text.parse().ok().map(|id| User { id, group: id, name });
    let found = found.or_else(by_number);
    found.filter(|user| user.id != UNCHANGED && user.group != UNCHANGED).ok_or_else(unknown)
}

fn find_group(text: &str) -> Result<u32, IdentityError> {
    let unknown = || IdentityError::NoGroup(text.into());
    let name = CString::new(text).map_err(|_| unknown())?;
    // SAFETY: as above.
    let found = unsafe { libc::getgrnam(name.as_ptr()).as_ref().map(|entry| entry.gr_gid) };
    let found = found.or_else(|| text.parse().ok());
    found.filter(|&group| group != UNCHANGED).ok_or_else(unknown)
}

fn check(result: libc::c_int) -> Result<(), IdentityError> {
    if result < 0 { Err(IdentityError::Denied(io::Error::last_os_error())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let root = Identity::find(Some("root"), Some("root")).unwrap();
        assert_eq!(root, Identity::find(Some("0"), Some("0")).unwrap());
        assert_eq!(root.user.unwrap().name.as_c_str(), c"root");
        assert_eq!(Identity::find(Some("4711"), None).unwrap().user.unwrap().group, 4711);
        let error = Identity::find(Some("nobody-at-all"), None).unwrap_err().to_string();
        assert!(error.contains("no user `nobody-at-all`"), "{error}");
        assert!(Identity::find(None, Some("no-such-group")).is_err());
        let unchanged = Some("4294967295");
        let error = Identity::find(unchanged, None).unwrap_err().to_string();
        assert!(error.contains("no user `4294967295`"), "{error}");
        let error = Identity::find(None, unchanged).unwrap_err().to_string();
        assert!(error.contains("no group `4294967295`"), "{error}");
    }
}
