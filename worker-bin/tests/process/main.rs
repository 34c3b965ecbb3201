//! The real binary, as a process.
#![allow(clippy::unwrap_used)]

mod edge;
mod listen;
mod support;
mod threads;
