//! What READMEs and examples show is whole, right and the same everywhere.

use forebay_tests::proxy_bin;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

#[test]
fn the_example_configurations_are_right() {
    for folder in ["", "flask/", "django/", "webpy/"] {
        let output = check(&root().join(format!("examples/{folder}forebay.toml")));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "without warnings");
    }
}

#[test]
fn the_first_configuration_is_right() {
    let directory = tempfile::tempdir().unwrap();
    for folder in ["site", "run"] {
        fs::create_dir(directory.path().join(folder)).unwrap();
    }
    let file = directory.path().join("forebay.toml");
    let readme = read("README.md");
    let blocks = blocks(&readme, "```toml\n");
    let configuration = blocks.iter().find(|block| block.contains("[server]")).unwrap();
    fs::write(&file, configuration).unwrap();
    let output = check(&file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_key_of_the_help_is_in_the_example_and_in_the_reference() {
    let output = Command::new(proxy_bin()).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let (example, reference) = (read("examples/forebay.toml"), read("proxy-bin/README.md"));
    let keys = help.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(" = "));
    let keys: Vec<_> = keys.map(|(key, _)| key.trim_start_matches("# ")).collect();
    assert!(keys.len() > 20, "{keys:?}");
    for key in keys {
        // What not every machine has is written as a comment.
        let mut lines = example.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
        let is_there = lines.any(|line| line.starts_with(&format!("{key} = ")));
        assert!(is_there || key == "status", "{key} is not in examples/forebay.toml");
        assert!(reference.contains(&format!("\n| `{key}` |")), "{key} has no row in the reference");
    }
}

#[test]
fn embedding_is_shown_as_it_is_compiled() {
    let example = read("examples/embed.rs");
    let (_, program) = example.split_once("\n\n").unwrap();
    for readme in ["README.md", "core/README.md"] {
        assert!(read(readme).contains(program), "{readme} does not show examples/embed.rs");
    }
    let front = read("core/src/lib.rs");
    let front: Vec<_> = front
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    assert!(front.join("\n").contains(program), "core/src/lib.rs does not show examples/embed.rs");
}

#[test]
fn an_application_is_shown_as_it_is_compiled() {
    let front = read("worker-bin/src/lib.rs");
    let front: String = front
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .flat_map(|line| [line.strip_prefix(' ').unwrap_or(line), "\n"])
        .collect();
    let program = blocks(&front, "```no_run\n")[0];
    for readme in ["README.md", "worker-bin/README.md"] {
        assert!(read(readme).contains(program), "{readme} does not show what worker-bin does");
    }
}

fn check(file: &Path) -> Output {
    // Workers are looked up beside proxy-bin.
    assert!(forebay_tests::worker_bin().is_file());
    Command::new(proxy_bin())
        .args(["check", "--config"])
        .arg(file)
        .output()
        .expect("proxy-bin runs")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The contents of code blocks that begin with `fence`.
fn blocks<'t>(text: &'t str, fence: &str) -> Vec<&'t str> {
    text.split(fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}
