//! Tables and files of what was measured.
//!
//! Owns medians, ratios and their form. Must not measure.

use crate::Failure;
use crate::load;
use crate::peers::Server;
use crate::scenario::Scenario;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// One timed run of one server.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    /// The figure that counts: see [`Sample::counted`].
    pub(crate) cpu: f64,
    /// Seconds per unit that the server's processes were charged for.
    pub(crate) process_cpu: f64,
    /// Seconds per unit for which its core was busy.
    pub(crate) core_busy: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) errors: u64,
}

impl Sample {
    /// The larger figure: neither interrupts nor kernel threads can hide from both. Of transfers
    /// the processes': at their pace the core is hardly busy, and most of that with something else.
    pub(crate) fn counted(scenario: Scenario, process_cpu: f64, core_busy: f64) -> f64 {
        match scenario.transfer() {
            None => process_cpu.max(core_busy),
            Some(_) => process_cpu,
        }
    }
}

/// All samples of a scenario.
#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(skip)]
    of: Scenario,
    scenario: &'static str,
    unit: &'static str,
    seconds: u32,
    unix_seconds: u64,
    machine: Machine,
    servers: Vec<Samples>,
}

#[derive(Serialize)]
struct Machine {
    processor: String,
    kernel: String,
}

#[derive(Serialize)]
struct Samples {
    server: &'static str,
    version: String,
    samples: Vec<Sample>,
}

impl Report {
    pub(crate) fn new(scenario: Scenario, seconds: u32, servers: &[Server]) -> Report {
        let samples = |server: &Server| Samples {
            server: server.name(),
            version: server.version(),
            samples: Vec::new(),
        };
        Report {
            of: scenario,
            scenario: scenario.name(),
            unit: scenario.unit().0,
            seconds,
            unix_seconds: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            machine: Machine::this(),
            servers: servers.iter().map(samples).collect(),
        }
    }

    pub(crate) fn add(&mut self, server: Server, sample: Sample) {
        let mut servers = self.servers.iter_mut();
        if let Some(samples) = servers.find(|samples| samples.server == server.name()) {
            samples.samples.push(sample);
        }
    }

    /// A table and what it was measured on.
    pub(crate) fn markdown(&self) -> String {
        let rounds = self.servers.first().map_or(0, |s| s.samples.len());
        let mut text = format!(
            "### {}: {rounds} rounds of {} s, {}\n\n{}, Linux {}\n\n\
             | server | CPU s per {} {HEADER}",
            self.scenario,
            self.seconds,
            load::description(self.of),
            self.machine.processor,
            self.machine.kernel,
            self.unit
        );
        let is_nginx = |s: &&Samples| NGINX.iter().any(|nginx| s.server == nginx.name());
        let nginx = self.servers.iter().find(is_nginx);
        for server in &self.servers {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", server.row(nginx));
        }
        let mut versions: Vec<&str> = self.servers.iter().map(|s| s.version.as_str()).collect();
        versions.dedup();
        let _ = writeln!(text, "\n{}", versions.join("; "));
        let mut noisy = self.servers.iter().filter(|_| self.of.transfer().is_none());
        if let Some(noisy) = noisy.find(|server| server.is_noisy()) {
            let _ = writeln!(text, "\n{NOISY} ({})", noisy.server);
        }
        text
    }

    pub(crate) fn write_json(&self, path: &Path) -> Result<(), Failure> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        Ok(std::fs::write(path, serde_json::to_string_pretty(self)?)?)
    }
}

impl Samples {
    /// Core 0 was busy with more than the server and its interrupts.
    fn is_noisy(&self) -> bool {
        self.samples.iter().any(|s| s.core_busy > NOISE * s.process_cpu)
    }

    fn row(&self, nginx: Option<&Samples>) -> String {
        let of = |figure: fn(&Sample) -> f64| Spread::of(self.samples.iter().map(figure));
        let cpu = of(|s| s.cpu);
        // Round by round: what disturbs the machine for a while disturbs both.
        let ratio = nginx.map_or("–".into(), |nginx| {
            let pairs = self.samples.iter().zip(&nginx.samples);
            let ratio = Spread::of(pairs.map(|(ours, theirs)| ours.cpu / theirs.cpu));
            format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.least, ratio.most)
        });
        format!(
            "| {} | {:.3} ({:.3}–{:.3}) | {ratio} | {:.3} | {:.3} | {:.0} | {:.2} | {:.2} | {} |",
            self.server,
            cpu.median,
            cpu.least,
            cpu.most,
            of(|s| s.process_cpu).median,
            of(|s| s.core_busy).median,
            of(|s| s.requests_per_second).median,
            of(|s| s.p50_ms).median,
            of(|s| s.p99_ms).median,
            self.samples.iter().map(|s| s.errors).sum::<u64>(),
        )
    }
}

impl Machine {
    fn this() -> Machine {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
        Machine {
            processor: model.unwrap_or_else(|| std::env::consts::ARCH.into()),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// Median, minimum and maximum.
#[derive(Debug, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (values.first(), values.last()) else {
            return Spread { median: f64::NAN, least: f64::NAN, most: f64::NAN };
        };
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Spread { median: (low + high) / 2.0, least, most }
    }
}

/// Interrupts that no process is charged for come to a few per cent.
const NOISE: f64 = 1.15;

/// What others are compared to.
const NGINX: [Server; 2] = [Server::Nginx, Server::NginxGunicorn];

const NOISY: &str = "**Not a quiet machine:** in some run core 0 was busy with something else.";

const HEADER: &str = "\
| ratio to nginx | processes | core 0 | requests/s \
| p50 ms | p99 ms | errors |
|---|---|---|---|---|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(process_cpu: f64, core_busy: f64) -> Sample {
        let (requests_per_second, p50_ms, p99_ms) = (1e5, 0.5, 1.0);
        let cpu = Sample::counted(Scenario::Static1k, process_cpu, core_busy);
        Sample { cpu, process_cpu, core_busy, requests_per_second, p50_ms, p99_ms, errors: 0 }
    }

    #[test]
    fn medians_of_odd_and_even_counts() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(of(&[4.0, 1.0]), Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert!(of(&[]).median.is_nan());
    }

    #[test]
    fn of_transfers_the_processes_time_counts() {
        assert_eq!(Sample::counted(Scenario::Download, 1.0, 2.0), 1.0);
        assert_eq!(Sample::counted(Scenario::Static1k, 1.0, 2.0), 2.0);
    }

    #[test]
    fn the_larger_figure_counts_and_ratios_are_of_the_same_round() {
        let servers = [Server::Forebay, Server::Nginx];
        let mut report = Report::new(Scenario::Static1k, 5, &servers);
        for (ours, theirs) in [(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)] {
            report.add(Server::Forebay, sample(ours / 2.0, ours));
            report.add(Server::Nginx, sample(theirs, theirs / 2.0));
        }
        let table = report.markdown();
        assert!(table.contains("| forebay | 2.000 (1.000–3.000) | 0.50 (0.50–0.50) |"), "{table}");
        assert!(table.contains("| nginx | 4.000 (2.000–6.000) | 1.00 (1.00–1.00) |"), "{table}");
    }
}
