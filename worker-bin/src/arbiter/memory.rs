//! How much memory workers use, and whether the kernel has killed one for want of it.
//!
//! Owns the reading of /proc and of the control group's counters. Must not decide anything.

use super::events::Pid;
use std::fs;
use std::path::PathBuf;

/// Bytes of memory that a process has in use (proc_pid_statm(5), `resident`).
pub(crate) fn resident(pid: Pid) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * super::process::page_size())
}

/// The counter of kills for want of memory in our control group.
#[derive(Debug)]
pub(crate) struct OutOfMemory {
    file: Option<PathBuf>,
    seen: u64,
}

impl OutOfMemory {
    pub(crate) fn watch() -> OutOfMemory {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = counters(&groups).into_iter().find(|file| read(file).is_some());
        let seen = file.as_ref().and_then(read).unwrap_or(0);
        OutOfMemory { file, seen }
    }

    /// Whether the kernel has killed since the last look; none if it does not say.
    pub(crate) fn has_killed(&mut self) -> Option<bool> {
        let kills = self.file.as_ref().and_then(read)?;
        Some(std::mem::replace(&mut self.seen, kills) < kills)
    }
}

/// Where the counter may be: version 2 of control groups, then version 1 (cgroups(7)).
fn counters(groups: &str) -> Vec<PathBuf> {
    let of = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        if controllers.is_empty() {
            Some(PathBuf::from("/sys/fs/cgroup").join(path).join("memory.events"))
        } else if controllers.split(',').any(|controller| controller == "memory") {
            Some(PathBuf::from("/sys/fs/cgroup/memory").join(path).join("memory.oom_control"))
        } else {
            None
        }
    };
    groups.lines().filter_map(of).collect()
}

fn read(file: &PathBuf) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_uses_memory() {
        let own = resident(std::process::id().cast_signed()).unwrap();
        assert!((1 << 16..1 << 40).contains(&own), "{own}");
        assert_eq!(resident(-1), None);
    }

    #[test]
    fn both_versions_of_control_groups_are_known() {
        let groups = "5:devices:/\n4:cpu,memory:/a/b\n0::/c\n";
        let expected =
            ["/sys/fs/cgroup/memory/a/b/memory.oom_control", "/sys/fs/cgroup/c/memory.events"];
        assert_eq!(counters(groups), expected.map(PathBuf::from));
    }

    #[test]
    fn a_counter_that_grows_is_a_kill() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("memory.events");
        fs::write(&file, "low 0\noom 1\noom_kill 3\noom_group_kill 0\n").unwrap();
        let mut watch = OutOfMemory { file: Some(file.clone()), seen: 3 };
        assert_eq!(watch.has_killed(), Some(false));
        fs::write(&file, "oom_kill 4\n").unwrap();
        assert_eq!(watch.has_killed(), Some(true));
        assert_eq!(watch.has_killed(), Some(false));
        fs::remove_file(&file).unwrap();
        assert_eq!(watch.has_killed(), None);
    }
}
