//! What a distribution installs is whole: units that systemd understands, a profile for containers
//! that lets both programs live, and a Debian package that starts nothing.
#![allow(clippy::unwrap_used)] // Helpers of tests may, as tests do.

use forebay_tests::worker_bin;
use forebay_tests::{Client, PATIENCE, Process, TERM, is_full, is_required, proxy_bin, skip, tool};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const UNITS: [&str; 2] = ["forebay-edge.service", "forebay-worker@.service"];

#[test]
fn systemd_understands_the_units() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let root = tempfile::tempdir().unwrap();
    let units = root.path().join("usr/lib/systemd/system");
    let programs = root.path().join("usr/bin");
    for folder in [&units, &programs, &root.path().join("bin")] {
        fs::create_dir_all(folder).unwrap();
    }
    for program in [proxy_bin(), worker_bin()] {
        fs::hard_link(program, programs.join(program.file_name().unwrap()))
            .or_else(|_| fs::copy(program, programs.join(program.file_name().unwrap())).map(drop))
            .unwrap();
    }
    fs::copy("/bin/kill", root.path().join("bin/kill")).unwrap();
    for target in ["sysinit", "basic", "shutdown", "multi-user", "network-online"] {
        let name = format!("{target}.target");
        fs::copy(Path::new("/usr/lib/systemd/system").join(&name), units.join(&name)).unwrap();
    }
    for unit in UNITS {
        fs::copy(package(unit), units.join(unit)).unwrap();
    }
    let mut verify = analyze.command();
    verify.args(["verify", "--man=no"]).arg(format!("--root={}", root.path().display()));
    verify.args(["forebay-edge.service", "forebay-worker@shop.service"]);
    let output = verify.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", error(&output));
}

#[test]
fn the_units_are_sandboxed() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    for unit in UNITS {
        let mut security = analyze.command();
        // Tenths: 2.0 of 10 where 10 is a service without any sandbox.
        security.args(["security", "--offline=true", "--no-pager", "--threshold=20"]);
        let output = security.arg(package(unit)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_installed_configuration_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(package("forebay.toml")).unwrap();
    let here = |path: &str| directory.path().join(path).display().to_string();
    for (folder, name) in [("/var/log/forebay", "log"), ("/run/forebay", "run")] {
        assert!(text.contains(folder));
        fs::create_dir(here(name)).unwrap();
    }
    let text = text.replace("/var/log/forebay", &here("log")).replace("/run/forebay", &here("run"));
    let file = directory.path().join("forebay.toml");
    fs::write(&file, text).unwrap();
    let check = Command::new(proxy_bin()).args(["check", "--config"]).arg(&file).output().unwrap();
    assert!(check.status.success() && check.stderr.is_empty(), "{}", error(&check));
}

#[test]
fn the_seccomp_profile_allows_what_both_programs_call() {
    let allowed = allowed_calls();
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(allowed.contains(call), "{call}");
    }
    for call in ["mount", "ptrace", "bpf", "reboot", "init_module", "keyctl", "kexec_load"] {
        assert!(!allowed.contains(call), "{call}");
    }
    for call in ["unshare", "setns", "userfaultfd"] {
        assert!(!allowed.contains(call), "{call}: makes namespaces, or helps to attack the kernel");
    }
    let Some(strace) = tool("strace") else { return };
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let mut command = strace.command();
    command.args(["--follow-forks", "--output"]).arg(&trace).arg(proxy_bin());
    let mut process = Process::start(command.args(["demo", "--listen", "127.0.0.1:0"]));
    let address = process.listening(1, PATIENCE * 6)[0];
    let mut client = Client::connect(address);
    for path in ["/", "/hello", "/static/large.txt", "/demo/state", "/bytes/1000000"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    for child in forebay_tests::children(process.pid()) {
        forebay_tests::send_signal(child, TERM);
    }
    process.wait_exit(PATIENCE * 6);
    let trace = fs::read_to_string(trace).unwrap();
    let called: BTreeSet<_> = trace.lines().filter_map(called).collect();
    assert!(called.contains("io_uring_enter") && called.contains("execve"), "{called:?}");
    let refused: Vec<_> = called.into_iter().filter(|call| !allowed.contains(*call)).collect();
    assert_eq!(refused, [""; 0], "not in the profile");
}

#[test]
fn everything_that_the_package_has_is_there() {
    let mut metadata = metadata();
    let (assets, kept) = (metadata["assets"].take(), metadata["conf-files"].take());
    let assets = assets.as_array().unwrap();
    assert!(assets.len() > 10);
    for asset in assets {
        let source = asset[0].as_str().unwrap();
        let is_built = source.contains("target/");
        assert!(is_built || root().join("proxy-bin").join(source).is_file(), "{source}");
    }
    let installed = |path: &str| assets.iter().any(|asset| asset[1] == path);
    for path in ["usr/bin/", "usr/lib/systemd/system/", "usr/share/man/man1/", "etc/forebay/"] {
        assert!(installed(path), "{path}");
    }
    let is_kept = |path: &str| kept.as_array().unwrap().iter().any(|kept| kept == path);
    for path in ["/etc/forebay/forebay.toml", "/etc/logrotate.d/forebay"] {
        assert!(is_kept(path), "{path}");
    }
    assert!(installed("etc/logrotate.d/forebay"));
    let (rotation, log) = (package("logrotate"), "/var/log/forebay/access.log");
    assert!(fs::read_to_string(rotation).unwrap().starts_with(log));
    assert!(fs::read_to_string(package("forebay.toml")).unwrap().contains(log));
    for script in ["postinst", "prerm"] {
        let text = fs::read_to_string(package("scripts").join(script)).unwrap();
        for word in ["systemctl start", "systemctl enable", "restart"] {
            assert!(!text.contains(word), "{script} has {word}");
        }
    }
}

/// Takes minutes, with `FOREBAY_FULL=1` only.
#[test]
fn the_debian_package_installs_all_and_starts_nothing() {
    if !is_full() {
        return skip("it builds a package: FOREBAY_FULL=1");
    }
    if !["dpkg", "dpkg-deb", "systemd-sysusers"].iter().all(|name| tool(name).is_some()) {
        return;
    }
    let Some(cargo_deb) = cargo_deb() else { return };
    let folder = tempfile::tempdir().unwrap();
    let package = build_package(&cargo_deb, folder.path());
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("var/lib/dpkg/info")).unwrap();
    fs::create_dir_all(root.path().join("etc")).unwrap();
    fs::write(root.path().join("var/lib/dpkg/status"), "").unwrap();
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", root.path().display()));
    dpkg.args(["--force-not-root", "--force-script-chrootless", "--force-depends", "-i"]);
    let output = dpkg.arg(&package).output().unwrap();
    assert!(output.status.success(), "{}", error(&output));
    for file in [
        "usr/bin/proxy-bin",
        "usr/bin/worker-bin",
        "usr/lib/systemd/system/forebay-edge.service",
        "usr/lib/systemd/system/forebay-worker@.service",
        "usr/share/man/man1/proxy-bin-run.1.gz",
        "usr/share/man/man1/worker-bin.1.gz",
        "usr/share/bash-completion/completions/proxy-bin",
        "usr/share/zsh/vendor-completions/_worker-bin",
        "usr/share/fish/vendor_completions.d/proxy-bin.fish",
        "usr/share/doc/forebay/examples/forebay.toml",
        "usr/share/forebay/seccomp.json",
        "etc/forebay/forebay.toml",
        "etc/forebay/workers/README",
        "etc/logrotate.d/forebay",
    ] {
        assert!(root.path().join(file).is_file(), "{file} is not installed");
    }
    let version = Command::new(root.path().join("usr/bin/proxy-bin")).arg("--version").output();
    assert!(version.unwrap().status.success());
    let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(users.contains("forebay:"), "{users}");
    let enabled = root.path().join("etc/systemd/system");
    assert!(!enabled.exists(), "something has been enabled");
}

/// The package, built of the programs under test.
fn build_package(cargo_deb: &Path, folder: &Path) -> PathBuf {
    let target = proxy_bin().parent().unwrap().parent().unwrap();
    let path = format!("{}:{}", cargo_deb.display(), std::env::var("PATH").unwrap());
    let profile = if proxy_bin().parent().unwrap().ends_with("debug") { "dev" } else { "release" };
    let output = folder.join("forebay.deb");
    let mut build = Command::new(package("build"));
    build.arg("--output").arg(&output).env("PATH", path).env("PROFILE", profile);
    let built = build.env("CARGO_TARGET_DIR", target).output().unwrap();
    assert!(built.status.success(), "{}", error(&built));
    output
}

/// The folder of `cargo-deb`, which is installed below the target directory if it is nowhere.
fn cargo_deb() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    if let Some(folder) = folders.find(|folder| folder.join("cargo-deb").is_file()) {
        return Some(folder);
    }
    let tools = proxy_bin().parent().unwrap().parent().unwrap().join("tools");
    let mut install = Command::new(env!("CARGO"));
    install.args(["install", "--quiet", "--locked", "cargo-deb", "--root"]).arg(&tools);
    let output = install.output().unwrap();
    if !output.status.success() {
        assert!(!is_required(), "cargo-deb cannot be installed: {}", error(&output));
        skip("cargo-deb cannot be installed");
        return None;
    }
    Some(tools.join("bin"))
}

/// `[package.metadata.deb]`.
fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version=1"]).current_dir(root());
    let output = cargo.output().unwrap();
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array_mut().unwrap();
    let package = packages.iter_mut().find(|package| package["name"] == "proxy-bin").unwrap();
    package["metadata"]["deb"].take()
}

/// Those that are said to be unknown, too: who calls them has another way. `clone` makes no
/// namespaces.
fn allowed_calls() -> BTreeSet<String> {
    let profile = fs::read_to_string(package("seccomp.json")).unwrap();
    let profile: Value = serde_json::from_str(&profile).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let rules = profile["syscalls"].as_array().unwrap().iter();
    let names = rules.flat_map(|rule| {
        let names = rule["names"].as_array().unwrap();
        if *names == ["clone3"] {
            assert_eq!(
                (&rule["action"], &rule["errnoRet"]),
                (&"SCMP_ACT_ERRNO".into(), &38.into())
            );
        } else {
            assert_eq!(rule["action"], "SCMP_ACT_ALLOW");
        }
        let flags = serde_json::json!([{
            "index": 0, "value": 0x7e02_0000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ",
        }]);
        assert!(!names.contains(&"clone".into()) || rule["args"] == flags, "{rule}");
        names
    });
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// The system call of a line of strace's, `PID NAME(…`.
fn called(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(' ')?;
    let (name, _) = rest.trim_start().split_once('(')?;
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some(name)
}

fn package(name: &str) -> PathBuf {
    root().join("proxy-bin/package").join(name)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
