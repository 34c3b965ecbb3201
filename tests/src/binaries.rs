//! Builds the executables under test and says where they are.

use serde_json::Value;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The edge's executable, built from the sources as they are.
pub fn proxy_bin() -> &'static Path {
    &binaries().proxy
}

/// The worker's executable, built likewise; in the same folder as the edge's.
pub fn worker_bin() -> &'static Path {
    &binaries().worker
}

/// The target directory of the test that runs, and its profile.
pub(crate) fn target() -> (PathBuf, String) {
    let test = env::current_exe().expect("a running test has an executable");
    let folder = profile_folder(&test);
    let target = folder.parent().expect("the profile's folder is in the target directory");
    (target.to_owned(), profile_name(folder).to_owned())
}

/// The executable of a program in `examples`, built likewise.
///
/// # Panics
/// When it does not build.
pub fn example(name: &str) -> PathBuf {
    let output = cargo_build(&["-p", "forebay-examples", "--example", name]);
    executable(&output, name)
}

struct Binaries {
    proxy: PathBuf,
    worker: PathBuf,
}

fn binaries() -> &'static Binaries {
    static BINARIES: OnceLock<Binaries> = OnceLock::new();
    // Other test processes that build meanwhile wait at Cargo's own lock.
    BINARIES.get_or_init(build)
}

fn build() -> Binaries {
    let messages = cargo_build(&["-p", "proxy-bin", "-p", "worker-bin", "--bins"]);
    Binaries {
        proxy: executable(&messages, "proxy-bin"),
        worker: executable(&messages, "worker-bin"),
    }
}

/// What Cargo says of what it has built.
fn cargo_build(what: &[&str]) -> String {
    let test = env::current_exe().expect("a running test has an executable");
    let profile = profile_folder(&test);
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet"])
        .args(what)
        .args(["--message-format", "json-render-diagnostics", "--profile"])
        .arg(profile_name(profile))
        .arg("--target-dir")
        .arg(profile.parent().expect("the profile's folder is in the target directory"))
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().expect("Cargo, which built this test, runs");
    assert!(
        output.status.success(),
        "what is to be tested does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `…/target/debug` of `…/target/debug/deps/curl-0123456789abcdef`.
fn profile_folder(test: &Path) -> &Path {
    test.ancestors().nth(2).expect("tests are built below the target directory")
}

/// The profile `dev` has the folder `debug`; the others are named like theirs.
fn profile_name(folder: &Path) -> &str {
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    }
}

/// Finds the path that Cargo reports for an executable.
fn executable(messages: &str, name: &str) -> PathBuf {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .unwrap_or_else(|| panic!("Cargo built no executable called {name}"))
}
