//! The codes with which the server and its processes end.
//!
//! Owns what they mean, as [`AFTER_HELP`](crate::AFTER_HELP) says it. Must not know who ends.

/// What was begun could not be done.
pub(crate) const FAILED: u8 = 1;
/// The command line or the settings are wrong.
pub(crate) const WRONG_SETTINGS: u8 = 2;
/// The server or the worker could not boot. Of a worker that ends a server that has never served.
pub(crate) const CANNOT_BOOT: u8 = 3;
/// The application could not be loaded; likewise.
pub(crate) const CANNOT_LOAD: u8 = 4;
