//! What is measured: what clients ask for, of whom, and what a right answer is.
//!
//! Owns the list of cases. Must not know how servers are configured, nor how a load is made.

use crate::arrivals::Arrivals;
use crate::cold;
use crate::exchange::Exchange;
use crate::server::Server;
use crate::slow::Slow;
use crate::transfer::Transfer;
use crate::{
    Failure, idle, mixed, overload, proxied, reload, scaling, slow, statics, transfer, wsgi,
};

/// Something that every server does in turn.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// For headings.
    pub(crate) what: &'static str,
    pub(crate) site: Site,
    pub(crate) doing: Doing,
    pub(crate) counted: Counted,
    pub(crate) servers: &'static [Server],
    /// Whether `--quick` includes it.
    pub(crate) is_quick: bool,
}

/// What the server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    Files,
    /// An application, the cheapest possible, that is not measured: it has the load's core.
    Proxied,
    /// An application that is a part of the server: its CPU time counts, and it shares the core.
    Whole {
        /// The application of those who run Python, beside `app.py`.
        module: &'static str,
        /// Processes of the application.
        workers: &'static str,
    },
}

/// What its clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Doing {
    Exchange(Exchange),
    /// [`Exchange`] beside clients of files that are not in memory.
    Cold(Exchange),
    Slow(Slow),
    /// A load beside connections that wait for their next request.
    Idle,
    Transfer(Transfer),
    /// More than the application can answer.
    Overload(Arrivals),
    /// Some take far longer than others.
    Mixed(Arrivals),
    /// While the server is told to reload.
    Reload(Arrivals),
    /// [`Exchange`], and what its connections cost in memory.
    Scaling(Exchange),
}

impl Doing {
    /// Requests come whether or not the server has room for them.
    pub(crate) fn has_schedule(&self) -> bool {
        matches!(self, Doing::Overload(_) | Doing::Mixed(_) | Doing::Reload(_))
    }

    /// That this program and a server need each, if those are many.
    pub(crate) fn descriptors(&self) -> usize {
        match self {
            Doing::Idle => 12_000,
            Doing::Scaling(exchange) => exchange.connections + 1_000,
            _ => 0,
        }
    }

    /// More than there will be.
    pub(crate) fn most_connections(&self) -> usize {
        self.descriptors().max(12_000)
    }
}

/// The figure that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// The larger of what the server's processes were charged for, and what its core was busy:
    /// neither interrupts nor kernel threads can hide from both.
    Larger,
    /// Of large contents the kernel sends a part on the client's core.
    BothCores,
    /// At a low pace cores are hardly busy, and most of that with something else.
    Processes,
    /// Not CPU time, but what the case says.
    Figure { name: &'static str, is_better: &'static str },
}

impl Case {
    pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
        [
            statics::CASES,
            cold::CASES,
            proxied::CASES,
            wsgi::CASES,
            slow::CASES,
            idle::CASES,
            transfer::CASES,
            overload::CASES,
            mixed::CASES,
            reload::CASES,
            scaling::CASES,
        ]
        .into_iter()
        .flatten()
    }

    /// Those of these names, or else whose names begin so; all of no name.
    ///
    /// # Errors
    /// There is none; with all names.
    pub(crate) fn select(names: &[String], quick: bool) -> Result<Vec<&'static Case>, Failure> {
        if names.is_empty() {
            return Ok(Case::all().filter(|case| !quick || case.is_quick).collect());
        }
        let mut selected = Vec::new();
        for name in names {
            let exact = Case::all().filter(|case| case.name == name);
            let begin = Case::all().filter(|case| case.name.starts_with(name.as_str()));
            let before = selected.len();
            selected.extend(exact);
            if selected.len() == before {
                selected.extend(begin);
            }
            if selected.len() == before {
                let all: Vec<&str> = Case::all().map(|case| case.name).collect();
                return Err(format!("no case {name}; there are {}", all.join(", ")).into());
            }
        }
        Ok(selected)
    }

    /// What CPU time is counted by: its name, and how much of it one request is.
    pub(crate) fn unit(&self) -> (&'static str, f64) {
        match self.doing {
            Doing::Transfer(transfer) => ("GB", transfer.bytes() as f64 / 1e9),
            _ => ("100k requests", 1e-5),
        }
    }

    /// The name of the figure that counts.
    pub(crate) fn figure(&self) -> String {
        match self.counted {
            Counted::Figure { name, .. } => name.to_owned(),
            _ => format!("CPU s per {}", self.unit().0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_found_by_name_or_beginning() {
        let names = |wanted: &str| {
            let cases = Case::select(&[wanted.to_owned()], false).unwrap();
            cases.into_iter().map(|case| case.name).collect::<Vec<_>>()
        };
        assert_eq!(names("static-1k"), ["static-1k"]);
        assert!(names("static").len() > 5);
        assert!(Case::select(&["statics".into()], false).is_err());
        let quick = Case::select(&[], true).unwrap().len();
        assert!(0 < quick && quick < Case::select(&[], false).unwrap().len());
    }

    #[test]
    fn every_case_has_a_name_of_its_own_and_somebody_to_compare() {
        let mut names: Vec<&str> = Case::all().map(|case| case.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for case in Case::all() {
            assert!(case.servers[0].is_ours(), "{}", case.name);
            assert!(case.servers.iter().any(|server| !server.is_ours()), "{}", case.name);
        }
    }
}
