//! The load, on core 1: wrk with 64 connections, or our own clients for large contents.
//!
//! Owns command lines and results. Must not know servers.

use crate::Failure;
use crate::measure::CLIENT_CORE;
use crate::peers::find_program;
use crate::process::Component;
use crate::scenario::Scenario;
use crate::transfer::CLIENTS;
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

/// What [`run`] does, for headings.
pub(crate) fn description(scenario: Scenario) -> String {
    match scenario.transfer() {
        None => "wrk -t1 -c64".into(),
        Some(_) => format!("{CLIENTS} clients at 10 MB/s"),
    }
}

/// Loads the server at `port` for about so many seconds; `dir` is for scratch files.
pub(crate) fn run(
    scenario: Scenario,
    port: u16,
    seconds: u32,
    dir: &Path,
) -> Result<Load, Failure> {
    match scenario.transfer() {
        None => {
            wrk(&format!("http://127.0.0.1:{port}{path}", path = scenario.path()), seconds, dir)
        }
        Some(transfer) => {
            let mut clients = Command::new(std::env::current_exe()?);
            let count = transfer.count(seconds).to_string();
            clients.args(["--clients-of", &port.to_string(), "--count", &count, scenario.name()]);
            finish(Component::start("the clients", CLIENT_CORE, &clients, dir.join("clients.log"))?)
        }
    }
}

/// What the process of our own clients does.
pub(crate) fn run_clients(scenario: Scenario, port: u16, count: usize) -> Result<(), Failure> {
    let transfer = scenario.transfer().ok_or("only for uploads and downloads")?;
    let load = transfer.run(port, count)?;
    let micros = |ms: f64| (ms * 1e3) as u64;
    println!(
        "result {} {} {} {} {}",
        load.requests,
        micros(load.seconds * 1e3),
        load.errors,
        micros(load.p50_ms),
        micros(load.p99_ms)
    );
    Ok(())
}

fn wrk(url: &str, seconds: u32, dir: &Path) -> Result<Load, Failure> {
    let script = dir.join("result.lua");
    std::fs::write(&script, SCRIPT)?;
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c64", &format!("-d{seconds}s"), "-s"]).arg(&script).arg(url);
    finish(Component::start("wrk", CLIENT_CORE, &wrk, dir.join("wrk.log"))?)
}

fn finish(mut load: Component) -> Result<Load, Failure> {
    load.wait()?;
    let output = load.output();
    parse(&output).ok_or_else(|| format!("the load printed no result: {output}").into())
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
