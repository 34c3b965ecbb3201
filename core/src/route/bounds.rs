//! How much one client address may ask of a route.
//!
//! Owns the order of the checks. Must not know what the answer to a refusal is.

use crate::io::Time;
use crate::per_address::{Concurrency, Pass, Permit, Rate};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The bounds of one route, with what has been counted for them.
#[derive(Default)]
pub(crate) struct Bounds {
    pub(crate) rate: Option<Arc<Rate>>,
    pub(crate) concurrent: Option<(Arc<Concurrency>, usize)>,
}

/// A bound that a request is beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// Too many within a time; it may come again after so long.
    Rate(Duration),
    /// Too many at the same time.
    Concurrent,
}

impl Bounds {
    /// Lets a request of this address in. The permit, if there is one, is to be kept until it has
    /// been answered.
    pub(crate) fn enter(&self, address: IpAddr, now: Time) -> Result<Option<Permit>, Beyond> {
        let permit = match &self.concurrent {
            Some((table, most)) => Some(table.enter(address, *most).ok_or(Beyond::Concurrent)?),
            None => None,
        };
        // Last: what is refused otherwise does not count.
        match self.rate.as_ref().map(|rate| rate.pass(address, now)) {
            Some(Pass::After(wait)) => Err(Beyond::Rate(wait)),
            _ => Ok(permit),
        }
    }
}
