//! The real binary, as a process.
#![allow(clippy::unwrap_used)]

mod edge;
mod gunicorn;
mod listen;
mod load;
mod reload;
mod settings;
mod signals;
mod support;
mod threads;
mod watch;
