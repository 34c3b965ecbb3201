//! Measures Forebay beside others, in turns, and reports CPU time per request.
//!
//! Owns the command line and the order of runs. Must not know how any server is configured.

mod application;
mod arrivals;
mod backend;
mod bare;
mod beside;
mod build;
mod case;
mod cold;
mod exchange;
mod fetch;
mod front;
mod idle;
mod lines;
mod load;
mod measure;
mod memory;
mod mixed;
mod overload;
mod plot;
mod process;
mod proxied;
mod reload;
mod report;
mod run;
mod scaling;
mod server;
mod slow;
mod statics;
mod transfer;
mod wsgi;

use case::Case;
use clap::Parser;
use report::Report;
use server::Server;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Measures Forebay beside other servers: they on core 0, load and applications on core 1.
///
/// Servers take turns, so that the machine's drift hits all alike; every answer is verified before
/// it is timed. Markdown goes to standard output, all samples to CASE.json, a plot
/// to CASE.svg.
#[derive(Parser)]
#[command(name = "compare")]
struct Options {
    /// What to measure: names of cases, or how they begin [default: all]
    cases: Vec<String>,

    /// Says which cases there are, and who is compared
    #[arg(long)]
    list: bool,

    /// Whom to measure, where they take part at all [default: all that are installed]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    servers: Vec<String>,

    /// A case of each kind, its first three servers, one short round: shows that everything works,
    /// under two minutes; the figures are rough
    #[arg(long)]
    quick: bool,

    /// How often each server gets its turn [default: 7]
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,

    /// Length of each timed run [default: 3]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,

    /// Measure proxy-bin and worker-bin of this directory instead of building them
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,

    /// Where CASE.json and CASE.svg go [default: target/compare]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Serves as the peers' application on this socket
    #[arg(long, value_name = "SOCKET", hide = true)]
    backend: Option<PathBuf>,

    /// Serves the slots of the edge at this socket as the peers' application does
    #[arg(long, value_name = "SOCKET", hide = true)]
    dial_in: Option<PathBuf>,

    /// Answers with this file whatever is asked
    #[arg(long, value_name = "FILE", hide = true, requires = "port")]
    bare: Option<PathBuf>,

    /// Once for each connection
    #[arg(long, hide = true)]
    closes: bool,

    /// Carries bytes to the application at this socket, and back
    #[arg(long, value_name = "SOCKET", hide = true, requires = "port")]
    relay: Option<PathBuf>,

    /// Where it listens
    #[arg(long, value_name = "PORT", hide = true)]
    port: Option<u16>,
}

/// Of each case: ours, and some that are started in other ways.
const QUICK_SERVERS: usize = 3;

/// What any step can fail with: one line that says what to do.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options {
        Options { backend: Some(socket), .. } => backend::listen(socket).map_err(Failure::from),
        Options { dial_in: Some(socket), .. } => backend::dial_in(socket).map_err(Failure::from),
        Options { bare: Some(file), port: Some(port), closes, .. } => {
            bare::responder::listen(*port, file, *closes).map_err(Failure::from)
        }
        Options { relay: Some(socket), port: Some(port), .. } => {
            bare::relay::listen(*port, socket).map_err(Failure::from)
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
    let cases = Case::select(&options.cases, options.quick)?;
    check_names(&options.servers)?;
    if options.list {
        list(&cases);
        return Ok(());
    }
    let (rounds, seconds) = if options.quick { (1, 1.0) } else { (7, 3.0) };
    let rounds = options.rounds.unwrap_or(rounds).max(1);
    let time = Duration::try_from_secs_f64(options.seconds.unwrap_or(seconds))?;
    measure::check_cores()?;
    process::check_tools()?;
    let files = run::Files::new(&cases)?;
    let binaries = match &options.binaries {
        Some(binaries) => std::path::absolute(binaries)?,
        None => build::release_binaries()?,
    };
    let output = match &options.output {
        Some(output) => output.clone(),
        None => binaries.parent().unwrap_or(&binaries).join("compare"),
    };
    measure::take_client_core()?;
    files.age();
    let mut reports = Vec::new();
    for case in cases {
        let mut servers = available(case, &options.servers);
        if options.quick {
            servers.truncate(QUICK_SERVERS);
        }
        let report = measure_all(case, &servers, (rounds, time), &files, &binaries)?;
        println!("{}", report.markdown());
        eprintln!("all samples and a plot: {}", report.write(&output)?.display());
        reports.push(report);
    }
    if let Some(picture) = scaling::draw(&reports, &output)? {
        eprintln!("a plot of how it scales: {}", picture.display());
    }
    Ok(())
}

fn measure_all(
    case: &'static Case,
    servers: &[Server],
    (rounds, time): (u32, Duration),
    files: &run::Files,
    binaries: &Path,
) -> Result<Report, Failure> {
    let mut report = Report::new(case, time, servers);
    let (began, count) = (Instant::now(), servers.len() as u32 * rounds);
    for turn in 0..count {
        // Another one begins each time: the first pays for what is cold for all, such as memory
        // that a virtual machine's host has taken back.
        let turn_of = turn as usize + turn as usize / servers.len();
        let server = servers[turn_of % servers.len()];
        let sample = run::once(server, case, time, files, binaries)
            .map_err(|error| format!("{}, {}: {error}", case.name, server.name))?;
        let left = began.elapsed() / (turn + 1) * (count - turn - 1);
        eprintln!(
            "{} {}/{count} {:<18} {:.3} {}, {:.1} requests/s; {} s left",
            case.name,
            turn + 1,
            server.name,
            sample.figure,
            case.figure(),
            sample.requests_per_second,
            left.as_secs(),
        );
        report.add(server, sample);
    }
    Ok(report)
}

/// # Errors
/// Nobody is called so.
fn check_names(wanted: &[String]) -> Result<(), Failure> {
    let mut names: Vec<&str> =
        Case::all().flat_map(|case| case.servers).map(|server| server.name).collect();
    names.sort_unstable();
    names.dedup();
    match wanted.iter().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(format!("no server {name}; there are {}", names.join(", ")).into()),
        None => Ok(()),
    }
}

fn list(cases: &[&Case]) {
    for case in cases {
        let servers: Vec<&str> = case.servers.iter().map(|server| server.name).collect();
        println!("{:<18} {}\n{:<18} {}", case.name, case.what, "", servers.join(", "));
    }
}

/// The servers that are wanted and installed; says how to get the others.
fn available(case: &Case, wanted: &[String]) -> Vec<Server> {
    let is_wanted =
        |server: &Server| wanted.is_empty() || wanted.iter().any(|name| name == server.name);
    let (there, missing): (Vec<Server>, Vec<Server>) =
        case.servers.iter().filter(|server| is_wanted(server)).partition(|s| s.is_installed());
    for server in missing {
        eprintln!("{} is left out: not installed (try: {})", server.name, server.remedy());
    }
    there
}
