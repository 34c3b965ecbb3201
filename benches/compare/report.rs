//! Tables and files of what was measured.
//!
//! Owns medians, ratios and their form. Must not measure.

use crate::Failure;
use crate::case::{Case, Counted};
use crate::load::Load;
use crate::measure::Used;
use crate::plot::{self, Bar};
use crate::server::Server;
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One timed run of one server.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// The figure that counts: see [`Counted`].
    pub(crate) figure: f64,
    /// Seconds per unit that the server's processes were charged for.
    pub(crate) process_cpu: f64,
    /// Seconds per unit for which its core was busy.
    pub(crate) core_busy: f64,
    /// The same with the core of the load.
    pub(crate) both_cores: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) errors: u64,
    /// What only this case has, by name.
    pub(crate) more: Vec<(&'static str, f64)>,
}

impl Sample {
    pub(crate) fn new(case: &Case, load: &Load, used: &Used) -> Sample {
        let per_unit = |seconds: f64| seconds / (load.requests.max(1) as f64 * case.unit().1);
        let process_cpu = per_unit(used.processes);
        let core_busy = per_unit(used.server_core);
        let both_cores = per_unit(used.server_core + used.client_core);
        Sample {
            figure: match case.counted {
                Counted::Larger => process_cpu.max(core_busy),
                Counted::BothCores => both_cores,
                Counted::Processes | Counted::Figure { .. } => process_cpu,
            },
            process_cpu,
            core_busy,
            both_cores,
            requests_per_second: load.rate(),
            p50_ms: load.p50_ms,
            p99_ms: load.p99_ms,
            errors: load.errors,
            more: Vec::new(),
        }
    }

    /// This is the figure that counts.
    pub(crate) fn counting(mut self, figure: f64) -> Sample {
        self.figure = figure;
        self
    }

    pub(crate) fn with(mut self, name: &'static str, figure: f64) -> Sample {
        self.more.push((name, figure));
        self
    }

    /// What only this case has, or no number.
    pub(crate) fn more(&self, name: &str) -> f64 {
        self.more.iter().find(|(other, _)| *other == name).map_or(f64::NAN, |(_, figure)| *figure)
    }
}

/// All samples of a case.
#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(skip)]
    of: &'static Case,
    case: &'static str,
    figure: String,
    unit: &'static str,
    seconds: f64,
    unix_seconds: u64,
    machine: Machine,
    servers: Vec<Samples>,
}

#[derive(Serialize)]
struct Machine {
    processor: String,
    kernel: String,
    congestion_control: String,
}

#[derive(Serialize)]
struct Samples {
    server: &'static str,
    version: String,
    samples: Vec<Sample>,
}

impl Report {
    pub(crate) fn new(case: &'static Case, time: Duration, servers: &[Server]) -> Report {
        let samples = |server: &Server| Samples {
            server: server.name,
            version: server.version(),
            samples: Vec::new(),
        };
        Report {
            of: case,
            case: case.name,
            figure: case.figure(),
            unit: case.unit().0,
            seconds: time.as_secs_f64(),
            unix_seconds: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            machine: Machine::this(),
            servers: servers.iter().map(samples).collect(),
        }
    }

    pub(crate) fn case(&self) -> &'static Case {
        self.of
    }

    /// Of each server, by its name.
    pub(crate) fn medians(&self, figure: fn(&Sample) -> f64) -> Vec<(&'static str, f64)> {
        let median = |s: &Samples| (s.server, Spread::of(s.samples.iter().map(figure)).median);
        self.servers.iter().map(median).collect()
    }

    pub(crate) fn add(&mut self, server: Server, sample: Sample) {
        let mut servers = self.servers.iter_mut();
        if let Some(samples) = servers.find(|samples| samples.server == server.name) {
            samples.samples.push(sample);
        }
    }

    /// A table and what it was measured on.
    pub(crate) fn markdown(&self) -> String {
        let rounds = self.servers.first().map_or(0, |s| s.samples.len());
        let Machine { processor, kernel, congestion_control } = &self.machine;
        let counted = match self.of.counted {
            Counted::Larger => "the larger of processes and core 0",
            Counted::BothCores => "both cores",
            Counted::Processes => "processes",
            Counted::Figure { .. } => "the first figure; CPU s per 100k requests in the others",
        };
        let more =
            self.servers.first().and_then(|s| s.samples.first()).map_or(&[][..], |s| &s.more);
        let columns: String = more.iter().map(|(name, _)| format!(" {name} |")).collect();
        let mut text = format!(
            "### {}: {}\n\n{rounds} rounds of {} s; {processor}, Linux {kernel}, \
             {congestion_control}; what counts: {counted}\n\n\
             | server | {} {HEADER}{columns}\n|{}\n",
            self.case,
            self.of.what,
            self.seconds,
            self.figure,
            "---|".repeat(10 + more.len())
        );
        let ours = self.servers.iter().find(|samples| samples.server == OURS);
        for server in &self.servers {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", server.row(ours));
        }
        let mut versions: Vec<&str> = self.servers.iter().map(|s| s.version.as_str()).collect();
        versions.dedup();
        let _ = writeln!(text, "\n{}", versions.join("; "));
        let counts_core = matches!(self.of.counted, Counted::Larger | Counted::BothCores);
        let mut noisy = self.servers.iter().filter(|_| counts_core);
        if let Some(noisy) = noisy.find(|server| server.is_noisy()) {
            let _ = writeln!(text, "\n{NOISY} ({})", noisy.server);
        }
        text
    }

    /// `CASE.json` and `CASE.svg` in that directory; returns the path of the former.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn write(&self, dir: &Path) -> Result<PathBuf, Failure> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join(format!("{}.json", self.case));
        std::fs::write(&path, serde_json::to_string_pretty(self)?)?;
        std::fs::write(path.with_extension("svg"), self.svg())?;
        Ok(path)
    }

    fn svg(&self) -> String {
        let bar = |samples: &Samples| {
            let Spread { median, least, most } =
                Spread::of(samples.samples.iter().map(|sample| sample.figure));
            let name = samples.server;
            Bar { name, median, least, most, is_ours: name == OURS }
        };
        let bars: Vec<Bar<'_>> = self.servers.iter().map(bar).collect();
        let title = format!("{}: {}", self.case, self.of.what);
        let better = match self.of.counted {
            Counted::Figure { is_better, .. } => is_better,
            _ => "shorter",
        };
        plot::svg(&title, &format!("{}; {better} is better", self.figure), &bars)
    }
}

impl Samples {
    /// Core 0 was busy with more than the server and its interrupts.
    fn is_noisy(&self) -> bool {
        let others = |s: &Sample| (s.core_busy - s.process_cpu) * s.requests_per_second / 1e5;
        self.samples.iter().any(|sample| others(sample) > NOISE)
    }

    fn row(&self, ours: Option<&Samples>) -> String {
        let of = |figure: fn(&Sample) -> f64| Spread::of(self.samples.iter().map(figure));
        let figure = of(|s| s.figure);
        // Round by round: what disturbs the machine for a while disturbs both.
        let ratio = ours.map_or("–".into(), |ours| {
            let pairs = ours.samples.iter().zip(&self.samples);
            let ratio = Spread::of(pairs.map(|(ours, theirs)| ours.figure / theirs.figure));
            format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.least, ratio.most)
        });
        let mut row = format!(
            "| {} | {:.3} ({:.3}–{:.3}) | {ratio} | {:.3} | {:.3} | {:.3} | {:.0} | {:.2} | {:.2} \
             | {} |",
            self.server,
            figure.median,
            figure.least,
            figure.most,
            of(|s| s.process_cpu).median,
            of(|s| s.core_busy).median,
            of(|s| s.both_cores).median,
            of(|s| s.requests_per_second).median,
            of(|s| s.p50_ms).median,
            of(|s| s.p99_ms).median,
            self.samples.iter().map(|s| s.errors).sum::<u64>(),
        );
        for index in 0..self.samples.first().map_or(0, |sample| sample.more.len()) {
            let figure = Spread::of(self.samples.iter().map(|sample| sample.more[index].1));
            let _ = write!(row, " {:.2} ({:.2}–{:.2}) |", figure.median, figure.least, figure.most);
        }
        row
    }
}

impl Machine {
    fn this() -> Machine {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
        let congestion_control = read("/proc/sys/net/ipv4/tcp_congestion_control");
        Machine {
            processor: model.unwrap_or_else(|| std::env::consts::ARCH.into()),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            congestion_control: congestion_control.trim().to_owned(),
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

/// Of a core: interrupts that no process is charged for come to a few per cent.
const NOISE: f64 = 0.15;

const NOISY: &str = "**Not a quiet machine:** in some run core 0 was busy with something else.";

/// Who is compared with all others.
const OURS: &str = "forebay";

const HEADER: &str = "| forebay ÷ it | processes | core 0 | both cores | requests/s | p50 ms \
    | p99 ms | errors |";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{FOREBAY, NGINX};

    fn case(name: &str) -> &'static Case {
        Case::all().find(|case| case.name == name).unwrap()
    }

    /// A hundred thousand requests in a second.
    fn sample(case: &Case, processes: f64, server_core: f64, client_core: f64) -> Sample {
        let load = Load { requests: 100_000, seconds: 1.0, ..Load::default() };
        Sample::new(case, &load, &Used { processes, server_core, client_core })
    }

    #[test]
    fn medians_of_odd_and_even_counts() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(of(&[4.0, 1.0]), Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert!(of(&[]).median.is_nan());
    }

    #[test]
    fn what_counts_depends_on_the_case() {
        assert_eq!(sample(case("static-1k"), 1.0, 2.0, 4.0).figure, 2.0);
        assert_eq!(sample(case("static-1k"), 2.0, 1.0, 4.0).figure, 2.0);
        assert_eq!(sample(case("static-10m"), 2.0, 1.0, 4.0).figure, 5.0);
        let gigabytes = 100_000.0 * 0.1;
        assert_eq!(sample(case("download"), 2.0, 3.0, 4.0).figure, 2.0 / gigabytes);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let case = case("static-1k");
        let mut report = Report::new(case, Duration::from_secs(5), &[FOREBAY, NGINX]);
        for (ours, theirs) in [(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)] {
            report.add(FOREBAY, sample(case, ours, 0.0, 0.0).with("more", 7.0));
            report.add(NGINX, sample(case, theirs, 0.0, 0.0).with("more", 8.0));
        }
        let table = report.markdown();
        assert!(table.contains("| forebay | 2.000 (1.000–3.000) | 1.00 (1.00–1.00) |"), "{table}");
        assert!(table.contains("| nginx | 4.000 (2.000–6.000) | 0.50 (0.50–0.50) |"), "{table}");
        assert!(table.contains("| errors | more |\n|---|"), "{table}");
        assert!(table.contains("| 0 | 7.00 (7.00–7.00) |"), "{table}");
    }
}
