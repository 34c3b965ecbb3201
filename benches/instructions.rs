//! How many instructions do a whole GET and a whole proxied request cost the edge, and which
//! function has grown since they were recorded?
//!
//! The real reactor on the simulated kernel, under `valgrind --tool=callgrind`, which counts the
//! same on every run, however busy the machine is. Figures hold for one toolchain, C library and
//! processor, whose features those two look at, so they are recorded for each.
//!
//! ```text
//! cargo bench -p forebay-benches --bench instructions              # show
//! cargo bench -p forebay-benches --bench instructions -- check     # fail if 3 % worse
//! cargo bench -p forebay-benches --bench instructions -- record    # these are the new figures
//! ```

use forebay::bench::SimulatedEdge;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

type Failure = Box<dyn Error>;

/// By platform: see [`platform`].
type Records = BTreeMap<String, Record>;

/// By scenario.
type Record = BTreeMap<String, Cost>;

/// Of one request.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Cost {
    instructions: u64,
    /// By name: those of the function itself, for whatever has at least 1 %.
    functions: BTreeMap<String, u64>,
}

const SCENARIOS: [(&str, &[u8]); 2] = [
    ("GET of a file", b"GET /1k.txt HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n"),
    (
        "GET through a worker",
        b"GET /app/hello HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n",
    ),
];

/// Requests of the two runs whose difference is divided by that of their numbers.
const FEW: u64 = 200;
const MANY: u64 = 1200;

/// Percent.
const TOLERANCE: u64 = 3;

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["run", scenario, count] => run(scenario, count),
        [] => show(),
        ["check"] => check(),
        ["record"] => record(),
        _ => Err("what to do is one of: check, record, or nothing to show the figures".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What callgrind looks at.
fn run(scenario: &str, count: &str) -> Result<(), Failure> {
    let (_, request) = SCENARIOS[scenario.parse::<usize>()?];
    let mut edge = SimulatedEdge::new(&[("1k.txt", &[b'x'; 1024])]);
    for _ in 0..count.parse()? {
        assert!(edge.exchange(request).starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    Ok(())
}

fn show() -> Result<(), Failure> {
    if env::args().any(|word| word == "--test") || !env::args().any(|word| word == "--bench") {
        // As a test: that it works without valgrind, too.
        return (0..SCENARIOS.len()).try_for_each(|scenario| run(&scenario.to_string(), "2"));
    }
    for (scenario, cost) in measure()? {
        println!("{scenario}: {} instructions", cost.instructions);
        let mut functions: Vec<_> = cost.functions.iter().collect();
        functions.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        functions.iter().take(10).for_each(|(name, count)| println!("    {count:>6}  {name}"));
    }
    Ok(())
}

fn record() -> Result<(), Failure> {
    let mut records = recorded()?;
    records.insert(platform()?, measure()?);
    fs::write(file(), serde_json::to_string_pretty(&records)? + "\n")?;
    println!("recorded in {}", file().display());
    Ok(())
}

fn check() -> Result<(), Failure> {
    let (platform, records) = (platform()?, recorded()?);
    let now = measure()?;
    let Some(before) = records.get(&platform) else {
        println!("nothing is recorded for {platform}; to compare the next time: record");
        return Ok(());
    };
    let mut worse = Vec::new();
    for (scenario, cost) in &now {
        let old = before.get(scenario).ok_or(format!("{scenario} is not recorded: record it"))?;
        println!("{scenario}: {} instructions, recorded {}", cost.instructions, old.instructions);
        if cost.instructions * 100 > old.instructions * (100 + TOLERANCE) {
            let grown = grown_most(old, cost);
            worse.push(format!("{scenario} is more than {TOLERANCE} % worse, most of it {grown}"));
        }
    }
    match worse.is_empty() {
        true => Ok(()),
        false => Err(format!("{}\nif it is worth that: record", worse.join("\n")).into()),
    }
}

fn grown_most(old: &Cost, new: &Cost) -> String {
    let before = |name: &String| old.functions.get(name).copied().unwrap_or_default();
    let growth =
        |(name, &count): (&String, &u64)| (count.saturating_sub(before(name)), name.clone());
    match new.functions.iter().map(growth).max() {
        Some((count, name)) => format!("in {name}: {count} more"),
        None => "in many small functions".into(),
    }
}

fn measure() -> Result<Record, Failure> {
    let measure = |(index, (name, _)): (usize, &(&str, &[u8]))| {
        let (few, many) = (callgrind(index, FEW)?, callgrind(index, MANY)?);
        let one = |many: u64, few: u64| many.saturating_sub(few) / (MANY - FEW);
        let before = |name: &String| few.functions.get(name).copied().unwrap_or_default();
        let instructions = one(many.instructions, few.instructions);
        let functions =
            many.functions.iter().map(|(name, &count)| (name.clone(), one(count, before(name))));
        let functions = functions.filter(|&(_, count)| count * 100 >= instructions).collect();
        Ok((name.to_string(), Cost { instructions, functions }))
    };
    SCENARIOS.iter().enumerate().map(measure).collect()
}

/// Everything from the start of the process to its end.
fn callgrind(scenario: usize, count: u64) -> Result<Cost, Failure> {
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(env::current_exe()?).args(["run", &scenario.to_string(), &count.to_string()]);
    output(command)?;
    let mut command = Command::new("callgrind_annotate");
    command.args(["--threshold=99.9", "--show-percs=no", "--auto=no"]).arg(&out);
    parse(&output(command)?).ok_or_else(|| "callgrind_annotate says no totals".into())
}

/// Of callgrind_annotate: lines of a count, and `PROGRAM TOTALS` or `file:function [object]`.
fn parse(text: &str) -> Option<Cost> {
    let (mut total, mut functions) = (None, BTreeMap::new());
    for line in text.lines() {
        let Some((count, rest)) = line.trim_start().split_once(' ') else { continue };
        let Ok(count) = count.replace(',', "").parse::<u64>() else { continue };
        let what = rest.trim_start();
        if what.starts_with("PROGRAM TOTALS") {
            total = Some(count);
        } else if let Some((_, function)) = what.split_once(':') {
            let function = function.split(" [").next().unwrap_or(function);
            *functions.entry(without_hash(function).to_string()).or_default() += count;
        }
    }
    total.map(|instructions| Cost { instructions, functions })
}

/// A Rust symbol without what makes it unique.
fn without_hash(symbol: &str) -> &str {
    match symbol.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 => name,
        _ => symbol,
    }
}

fn output(mut command: Command) -> Result<String, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{program} is missing: install valgrind"),
        _ => format!("{program}: {error}"),
    })?;
    if !output.status.success() {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What figures hold for: compiler, C library, processor.
fn platform() -> Result<String, Failure> {
    let mut rustc = Command::new("rustc");
    rustc.arg("--version");
    let mut library = Command::new("getconf");
    library.arg("GNU_LIBC_VERSION");
    let (rustc, library) = (output(rustc)?, output(library)?);
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or(env::consts::ARCH, |(_, name)| name.trim());
    Ok(format!("{}, {}, {model}", rustc.trim(), library.trim()))
}

fn recorded() -> Result<Records, Failure> {
    match fs::read_to_string(file()) {
        Ok(text) => Ok(serde_json::from_str(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Records::new()),
        Err(error) => Err(error.into()),
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json")
}
