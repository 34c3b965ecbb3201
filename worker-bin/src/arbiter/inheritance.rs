//! What a process that is started by exec(2) gets from its arbiter.
//!
//! Owns the passing of descriptors by number. Must not know how the process is started, nor who it
//! becomes.

use super::process;
use super::words::Words;
use crate::liveness::{Table, WorkerRow};
use crate::options::Options;
use crate::private::Private;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// What a worker needs from its arbiter.
#[derive(Debug)]
pub(crate) struct Station {
    /// The arbiter's process id.
    pub(crate) arbiter: u32,
    /// From 0, unique among the living.
    pub(crate) number: usize,
    pub(crate) row: WorkerRow,
    pub(crate) words: Words,
}

/// As it is written down for the process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Inheritance {
    arbiter: u32,
    generation: u64,
    slots: usize,
    words: RawFd,
    table: RawFd,
    listeners: Vec<RawFd>,
    /// All settings.
    pub(crate) options: Options,
}

impl Inheritance {
    /// Of workers of this generation.
    pub(super) fn new(
        arbiter: u32,
        generation: u64,
        table: &Table,
        words: &Words,
        listeners: &[BorrowedFd<'_>],
        options: Options,
    ) -> Inheritance {
        Inheritance {
            arbiter,
            generation,
            slots: table.slots(),
            words: words.as_fd().as_raw_fd(),
            table: table.as_fd().as_raw_fd(),
            listeners: listeners.iter().map(|fd| fd.as_raw_fd()).collect(),
            options,
        }
    }

    /// Whatever this process executes next has its descriptors.
    pub(super) fn keep_on_exec(&self) -> io::Result<()> {
        let listeners = self.listeners.iter().copied();
        [self.words, self.table].into_iter().chain(listeners).try_for_each(process::keep_on_exec)
    }

    /// Takes it over. Children that an application forks do not get what workers accept from.
    pub(crate) fn adopt(&self) -> io::Result<Inherited> {
        let words = process::inherited(self.words)?;
        let table = Table::adopt(process::inherited(self.table)?, self.slots)?;
        let listeners = self.listeners.iter();
        let listeners = listeners.map(|&fd| Private::make(|| process::inherited(fd)));
        let listeners = listeners.collect::<io::Result<_>>()?;
        let (arbiter, generation) = (self.arbiter, self.generation);
        Ok(Inherited { arbiter, generation, words, table, listeners })
    }
}

/// As it is in the process.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) arbiter: u32,
    generation: u64,
    words: OwnedFd,
    table: Table,
    listeners: Vec<Private<OwnedFd>>,
}

impl Inherited {
    /// For the worker with this number, with copies of the listeners.
    pub(crate) fn station(&self, number: usize) -> io::Result<(Station, Vec<OwnedFd>)> {
        if number >= self.table.rows() {
            return Err(io::Error::other("the arbiter's table has no such row"));
        }
        let row = self.table.row(number, self.generation);
        let station = Station { arbiter: self.arbiter, number, row, words: self.words()? };
        let listeners = self.listeners.iter().map(|listener| listener.try_clone());
        Ok((station, listeners.collect::<io::Result<_>>()?))
    }

    /// Another descriptor for what is told to the arbiter.
    pub(crate) fn words(&self) -> io::Result<Words> {
        Ok(Words::new(self.words.try_clone()?))
    }

    /// Processes that are forked from now on have what workers accept from.
    pub(crate) fn expose(&self) {
        self.listeners.iter().for_each(Private::expose);
    }

    /// They do not, as at first.
    pub(crate) fn hide(&self) {
        self.listeners.iter().for_each(Private::hide);
    }
}
