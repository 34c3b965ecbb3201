//! Users and groups: by name or number, and becoming one.
//!
//! Owns the order in which privileges are given up. Must not know the configuration.

use crate::sys;
use std::io;

/// Why a user is not known or cannot be become.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("there is no user `{0}`: create it, or write another name or a number")]
    NoUser(String),
    #[error("there is no group `{0}`: create it, or write another name or a number")]
    NoGroup(String),
    #[error("user {0} has no entry that says its group: write `group`, too")]
    NoGroupOfUser(u32),
    #[error(
        "cannot become user {user} and group {group}: {error}: start as root, or leave `user` and \
         `group` out"
    )]
    Refused { user: u32, group: u32, error: io::Error },
    #[error("cannot look up users: {0}")]
    System(#[from] io::Error),
}

/// Nobody's number: system calls take it for whoever it is already (setresuid(2), chown(2)).
const UNCHANGED: u32 = u32::MAX;

/// The number of a user, and of the group that is its own if it has an entry.
///
/// # Errors
/// No such name.
pub(crate) fn user(name: &str) -> Result<(u32, Option<u32>), UserError> {
    match name.parse() {
        Ok(UNCHANGED) => Err(UserError::NoUser(name.into())),
        Ok(number) => Ok((number, sys::user_by_number(number)?.map(|entry| entry.group))),
        Err(_) => {
            let entry = sys::user_by_name(name)?;
            let entry = entry.ok_or_else(|| UserError::NoUser(name.into()))?;
            Ok((entry.user, Some(entry.group)))
        }
    }
}

/// The number of a group.
///
/// # Errors
/// No such name.
pub(crate) fn group(name: &str) -> Result<u32, UserError> {
    match name.parse() {
        Ok(UNCHANGED) => Err(UserError::NoGroup(name.into())),
        Ok(number) => Ok(number),
        Err(_) => sys::group_by_name(name)?.ok_or_else(|| UserError::NoGroup(name.into())),
    }
}

/// Whose process this is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Identity {
    /// What this process is, changed by these names. `None`: nothing is to change.
    ///
    /// # Errors
    /// No such name, or a number whose group is not known.
    pub(crate) fn find(
        user_name: Option<&str>,
        group_name: Option<&str>,
    ) -> Result<Option<Identity>, UserError> {
        let named = user_name.map(user).transpose()?;
        let group = group_name.map(group).transpose()?;
        Ok(match (named, group) {
            (None, None) => None,
            (None, Some(group)) => Some(Identity { user: sys::identity().user, group }),
            (Some((user, _)), Some(group)) => Some(Identity { user, group }),
            (Some((user, Some(group))), None) => Some(Identity { user, group }),
            (Some((user, None)), None) => return Err(UserError::NoGroupOfUser(user)),
        })
    }

    /// Gives up everything else: supplementary groups, then the group, then the user, of all
    /// threads. Nothing happens if this is so already.
    ///
    /// # Errors
    /// This process is not root's.
    pub(crate) fn assume(self) -> Result<(), UserError> {
        if sys::identity() == self {
            return Ok(());
        }
        let Identity { user, group } = self;
        sys::assume(self).map_err(|error| UserError::Refused { user, group, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(user("root").unwrap(), (0, Some(0)));
        assert_eq!(user("0").unwrap(), (0, Some(0)));
        assert_eq!(user("4000000000").unwrap(), (4_000_000_000, None));
        assert_eq!((group("root").unwrap(), group("7").unwrap()), (0, 7));
        let unknown = user("no-such-user").unwrap_err().to_string();
        assert!(unknown.starts_with("there is no user `no-such-user`: create it"), "{unknown}");
        assert!(matches!(group("no-such-group"), Err(UserError::NoGroup(_))));
        assert!(matches!(user("4294967295"), Err(UserError::NoUser(_))));
        assert!(matches!(group("4294967295"), Err(UserError::NoGroup(_))));
        assert!(matches!(user("a\0b"), Err(UserError::NoUser(_))));
    }

    #[test]
    fn an_identity_is_whole() {
        let find = |user, group| Identity::find(user, group);
        assert_eq!(find(None, None).unwrap(), None);
        assert_eq!(find(Some("root"), None).unwrap(), Some(Identity { user: 0, group: 0 }));
        assert_eq!(find(Some("7"), Some("8")).unwrap(), Some(Identity { user: 7, group: 8 }));
        let own = sys::identity().user;
        assert_eq!(find(None, Some("8")).unwrap(), Some(Identity { user: own, group: 8 }));
        let error = find(Some("4000000000"), None).unwrap_err().to_string();
        assert!(error.contains("write `group`"), "{error}");
    }

    #[test]
    fn what_is_so_already_needs_no_rights() {
        sys::identity().assume().unwrap();
    }
}
