//! CPU time as the kernel counts it: of a server's processes, and of its whole core.
//!
//! Owns /proc. Must not know what runs.

use crate::Failure;
use std::collections::HashSet;
use std::fs;
use std::ops::Sub;

const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
/// The same as taskset(1) lists them.
pub(crate) const SERVER_CORES: &str = "0";
pub(crate) const CLIENT_CORES: &str = "1";
/// Of servers with two threads: the load shares the second.
pub(crate) const ALL_CORES: &str = "0,1";

/// /proc counts in units of 1/USER_HZ s; 100 on every architecture that has io_uring users.
const USER_HZ: f64 = 100.0;

/// # Errors
/// This process may not use both cores.
pub(crate) fn check_cores() -> Result<(), Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let allowed = list.map(cores_of).unwrap_or_default();
    if allowed.contains(&SERVER_CORE) && allowed.contains(&CLIENT_CORE) {
        return Ok(());
    }
    Err("cores 0 and 1 are needed, one for servers and one for the load: run without taskset, \
         on a machine with at least two"
        .into())
}

/// This process, all its threads to come, and their load stay off the servers' core.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn take_client_core() -> Result<(), Failure> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: CLIENT_CORE }) {
        return Ok(());
    }
    Err(format!("cannot stay on core {CLIENT_CORE}").into())
}

/// Seconds of user and system time of a process group and all descendants of its leader, those
/// that have ended included. The kernel's io_uring workers are threads of their process.
fn cpu_seconds(leader: u32) -> f64 {
    let processes = processes();
    let tree = tree_of(leader, &processes);
    let ticks: u64 = processes.iter().filter(|p| tree.contains(&p.id)).map(|p| p.ticks).sum();
    ticks as f64 / USER_HZ
}

/// The processes of a group and all descendants of its leader.
pub(crate) fn tree(leader: u32) -> HashSet<u32> {
    tree_of(leader, &processes())
}

fn processes() -> Vec<Process> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|id| parse(id, &fs::read_to_string(format!("/proc/{id}/stat")).ok()?))
        .collect()
}

/// CPU seconds between two moments, or since whenever.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// Charged to the server's processes.
    pub(crate) processes: f64,
    pub(crate) server_core: f64,
    pub(crate) client_core: f64,
}

impl Used {
    /// By these process groups, and by both cores, so far.
    pub(crate) fn so_far(leaders: impl Iterator<Item = u32>) -> Used {
        Used {
            processes: leaders.map(cpu_seconds).sum(),
            server_core: core_busy_seconds(SERVER_CORE),
            client_core: core_busy_seconds(CLIENT_CORE),
        }
    }
}

impl Sub for Used {
    type Output = Used;

    fn sub(self, before: Used) -> Used {
        Used {
            processes: self.processes - before.processes,
            server_core: self.server_core - before.server_core,
            client_core: self.client_core - before.client_core,
        }
    }
}

/// Seconds for which a core has been busy: interrupts too, which no process is charged for.
fn core_busy_seconds(core: usize) -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(name.as_str())).unwrap_or_default();
    busy(line) as f64 / USER_HZ
}

struct Process {
    id: u32,
    parent: u32,
    group: u32,
    ticks: u64,
}

/// proc_pid_stat(5); the command's name, in parentheses, may hold anything.
fn parse(id: u32, stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let (parent, group) = (number(1)? as u32, number(2)? as u32);
    // utime, stime, and the same of children waited for.
    let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    Some(Process { id, parent, group, ticks })
}

fn tree_of(leader: u32, processes: &[Process]) -> HashSet<u32> {
    let mut tree = HashSet::from([leader]);
    loop {
        let before = tree.len();
        let belongs = |p: &&Process| p.group == leader || tree.contains(&p.parent);
        let members: Vec<u32> = processes.iter().filter(belongs).map(|p| p.id).collect();
        tree.extend(members);
        if tree.len() == before {
            return tree;
        }
    }
}

/// proc_stat(5): user nice system idle iowait irq softirq steal.
fn busy(line: &str) -> u64 {
    let fields = line.split_whitespace().map(|field| field.parse::<u64>().unwrap_or(0));
    fields.take(7).enumerate().filter(|(index, _)| !matches!(index, 3 | 4)).map(|(_, n)| n).sum()
}

/// `0-3,5` as numbers.
fn cores_of(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.trim().parse().ok()?..=to.trim().parse::<usize>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_a_group_and_its_descendants() {
        let stat = |id: u32, parent: u32, group: u32| {
            let line = format!("{id} (a) b) S {parent} {group} 0 0 0 0 0 0 0 0 1 2 3 4 0 0");
            parse(id, &line).unwrap()
        };
        let processes = [stat(7, 5, 7), stat(8, 7, 8), stat(9, 8, 9), stat(6, 1, 7), stat(5, 1, 5)];
        assert_eq!(tree_of(7, &processes), HashSet::from([7, 8, 9, 6]));
        assert_eq!(processes[0].ticks, 10);
    }

    #[test]
    fn idle_and_stolen_time_is_not_busy() {
        assert_eq!(busy("1 2 4 1000 1000 8 16 1000 0 0"), 31);
    }

    #[test]
    fn cores_are_listed() {
        assert_eq!(cores_of("\t0-2,5\n"), [0, 1, 2, 5]);
    }

    #[test]
    fn this_process_has_used_time() {
        // The machine may be busy with others: however long it takes until we have had a tick.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while cpu_seconds(std::process::id()) == 0.0 {
            assert!(std::time::Instant::now() < until, "no time has been counted");
        }
        assert!(core_busy_seconds(0) > 0.0);
    }
}
