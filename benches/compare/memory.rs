//! Memory as the kernel counts it: of a server's processes, and its own.
//!
//! Owns /proc. Must not know what runs.

use crate::Failure;
use crate::measure;
use std::fs;

/// Bytes at one moment, or for one connection.
pub(crate) struct Memory {
    /// Proportional set size of the server's processes, page cache left out
    /// (proc_pid_smaps_rollup(5)).
    pub(crate) processes: f64,
    /// Of the whole kernel: whoever it is for.
    pub(crate) kernel: f64,
}

impl Memory {
    /// Of the process group that this process leads, and of the kernel.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(crate) fn of(leader: u32) -> Result<Memory, Failure> {
        let processes = measure::tree(leader).into_iter().filter_map(private_bytes).sum();
        Ok(Memory { processes, kernel: kernel_bytes()? })
    }

    /// What each of so many has added.
    pub(crate) fn per(&self, count: usize, before: &Memory) -> Memory {
        let each = |after: f64, before: f64| (after - before) / count as f64;
        Memory {
            processes: each(self.processes, before.processes),
            kernel: each(self.kernel, before.kernel),
        }
    }
}

/// Bytes of objects that the kernel uses (slabinfo(5), which it shows only to root). It keeps what
/// has been freed for the next, so its pages say less; without better they count.
///
/// # Errors
/// Neither file can be read.
pub(crate) fn kernel_bytes() -> Result<f64, Failure> {
    match fs::read_to_string("/proc/slabinfo") {
        Ok(text) => Ok(in_use(&text)),
        Err(_) => kilobytes(&fs::read_to_string("/proc/meminfo")?, "Slab:")
            .map(|kilobytes| kilobytes * 1024.0)
            .ok_or_else(|| "/proc/meminfo does not say how large `Slab` is".into()),
    }
}

fn in_use(slabinfo: &str) -> f64 {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().skip(1).map(|word| word.parse::<f64>().ok());
        let (used, _, size) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(used * size)
    };
    slabinfo.lines().filter_map(line).sum()
}

fn private_bytes(process: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let of = |name| kilobytes(&text, name);
    Some((of("Pss_Anon:")? + of("Pss_Shmem:")?) * 1024.0)
}

fn kilobytes(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_in_use_are_summed() {
        let text = "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize>\n\
            TCP  3 13 2368 13 8 : tunables 0 0 0\nfilp 10 42 192 21 1 : tunables 0 0 0\n";
        assert_eq!(in_use(text), 3.0 * 2368.0 + 10.0 * 192.0);
    }

    #[test]
    fn this_process_has_memory() {
        let before = Memory::of(std::process::id()).unwrap();
        assert!(before.processes > 0.0 && before.kernel > 0.0);
        let kept = vec![1_u8; 16 << 20];
        let grown = Memory::of(std::process::id()).unwrap().per(1, &before);
        assert!(grown.processes > 8e6, "{} for {} bytes", grown.processes, kept.len());
    }
}
