//! Measures Forebay beside nginx, gunicorn and h2o, in turns, and reports CPU time per request.
//!
//! Owns the command line and the order of runs. Must not know how any server is configured.

mod backend;
mod build;
mod fetch;
mod load;
mod measure;
mod peers;
mod process;
mod report;
mod run;
mod scenario;
mod transfer;

use clap::Parser;
use peers::Server;
use report::Report;
use scenario::Scenario;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Measures Forebay beside nginx and h2o: servers on core 0, load and applications on core 1.
///
/// Servers take turns, so that the machine's drift hits all alike; every answer is verified before
/// it is timed. Markdown goes to standard output, all samples to target/compare/SCENARIO.json.
#[derive(Parser)]
#[command(name = "compare")]
struct Options {
    /// What to measure [default: all]
    scenarios: Vec<Scenario>,

    /// Two short rounds: shows that everything works, under two minutes; the figures are rough
    #[arg(long)]
    quick: bool,

    /// How often each server gets its turn [default: 5]
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,

    /// Length of each timed run [default: 5]
    #[arg(long, value_name = "S")]
    seconds: Option<u32>,

    /// Measure proxy-bin and worker-bin of this directory instead of building them
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,

    /// Is the clients of the server at this port
    #[arg(long, value_name = "PORT", hide = true, requires = "count")]
    clients_of: Option<u16>,

    /// How many requests each client makes
    #[arg(long, value_name = "N", hide = true)]
    count: Option<usize>,

    /// Serves as the peers' application on this socket
    #[arg(long, value_name = "SOCKET", hide = true)]
    backend: Option<PathBuf>,

    /// Serves the slots of the edge at this socket as the peers' application does
    #[arg(long, value_name = "SOCKET", hide = true)]
    dial_in: Option<PathBuf>,
}

/// What any step can fail with: one line that says what to do.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options {
        Options { backend: Some(socket), .. } => backend::listen(socket).map_err(Failure::from),
        Options { dial_in: Some(socket), .. } => backend::dial_in(socket).map_err(Failure::from),
        Options { clients_of: Some(port), count: Some(count), scenarios, .. } => {
            let mut scenarios = scenarios.iter();
            scenarios.try_for_each(|&scenario| load::run_clients(scenario, *port, *count))
        }
        _ => compare(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<(), Failure> {
    let (rounds, seconds) = if options.quick { (2, 1) } else { (5, 5) };
    let rounds = options.rounds.unwrap_or(rounds).max(1);
    let seconds = options.seconds.unwrap_or(seconds).max(1);
    measure::check_cores()?;
    load::check_tools()?;
    let files = run::Files::new()?;
    let binaries = match &options.binaries {
        Some(binaries) => std::path::absolute(binaries)?,
        None => build::release_binaries()?,
    };
    files.age();
    let scenarios = match options.scenarios.as_slice() {
        [] => Scenario::ALL,
        some => some,
    };
    for &scenario in scenarios {
        let servers = available(scenario);
        let mut report = Report::new(scenario, seconds, &servers);
        for round in 0..rounds {
            for turn in 0..servers.len() {
                // Another one begins each time: the first pays for what is cold for all, such as
                // memory that a virtual machine's host has taken back.
                let server = servers[(turn + round as usize) % servers.len()];
                let sample = run::once(server, scenario, seconds, &files, &binaries)
                    .map_err(|error| format!("{}, {}: {error}", scenario.name(), server.name()))?;
                eprintln!(
                    "{} {}/{rounds} {:<16} {:.3} CPU s per {}, {:.1} requests/s",
                    scenario.name(),
                    round + 1,
                    server.name(),
                    sample.cpu,
                    scenario.unit().0,
                    sample.requests_per_second,
                );
                report.add(server, sample);
            }
        }
        println!("{}", report.markdown());
        let path = output(&binaries).join(format!("{}.json", scenario.name()));
        report.write_json(&path)?;
        eprintln!("all samples: {}", path.display());
    }
    Ok(())
}

/// The servers that are installed; says how to get the others.
fn available(scenario: Scenario) -> Vec<Server> {
    let (there, missing): (Vec<Server>, Vec<Server>) =
        Server::of(scenario).iter().copied().partition(|server| server.is_installed());
    for server in missing {
        eprintln!("{} is left out: not installed (try: {})", server.name(), server.remedy());
    }
    there
}

/// `target/compare`, beside `target/release`.
fn output(binaries: &Path) -> PathBuf {
    binaries.parent().unwrap_or(binaries).join("compare")
}
