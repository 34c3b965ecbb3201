//! The load: wrk on core 1, 64 connections.
//!
//! Owns wrk's command line and result. Must not know servers.

use crate::Failure;
use crate::measure::CLIENT_CORE;
use crate::peers::find_program;
use crate::process::Component;
use std::path::Path;
use std::process::Command;

/// What one run of wrk has seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Of connecting, reading, writing, time-outs, and answers other than 2xx and 3xx.
    pub(crate) errors: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// # Errors
/// A program is missing; with the way to get it.
pub(crate) fn check_tools() -> Result<(), Failure> {
    for (program, package) in [("wrk", "wrk"), ("taskset", "util-linux")] {
        if find_program(program).is_none() {
            return Err(format!("{program} is missing: apt-get install {package}").into());
        }
    }
    Ok(())
}

/// Loads `url`; `dir` is for scratch files.
pub(crate) fn run(url: &str, seconds: u32, dir: &Path) -> Result<Load, Failure> {
    let script = dir.join("result.lua");
    std::fs::write(&script, SCRIPT)?;
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c64", &format!("-d{seconds}s"), "-s"]).arg(&script).arg(url);
    let mut wrk = Component::start("wrk", CLIENT_CORE, &wrk, dir.join("wrk.log"))?;
    wrk.wait()?;
    let output = wrk.output();
    parse(&output).ok_or_else(|| format!("wrk printed no result: {output}").into())
}

fn parse(output: &str) -> Option<Load> {
    let line = output.lines().find_map(|line| line.strip_prefix("result "))?;
    let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let &[requests, micros, errors, p50, p99] = numbers.as_slice() else { return None };
    let ms = |micros: u64| micros as f64 / 1e3;
    let seconds = micros as f64 / 1e6;
    Some(Load { requests, seconds, errors, p50_ms: ms(p50), p99_ms: ms(p99) })
}

const SCRIPT: &str = r#"
done = function(summary, latency)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.timeout + e.status
  io.write(string.format("result %d %d %d %d %d\n", summary.requests, summary.duration, errors,
    latency:percentile(50), latency:percentile(99)))
end
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_among_other_lines() {
        let output = "Running 1s test\nresult 1000 2000000 3 400 5000\n";
        let load = Load { requests: 1000, seconds: 2.0, errors: 3, p50_ms: 0.4, p99_ms: 5.0 };
        assert_eq!(parse(output), Some(load));
        assert_eq!(parse("result 1 2"), None);
    }
}
