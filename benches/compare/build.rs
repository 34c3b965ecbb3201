//! Our own binaries, as they are released.
//!
//! Owns the call of cargo. Must not know what the binaries do.

use crate::Failure;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds proxy-bin and worker-bin; the directory that they are in.
pub(crate) fn release_binaries() -> Result<PathBuf, Failure> {
    let this = std::env::current_exe()?;
    let target = this.ancestors().nth(2).ok_or("this program is in no target directory")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    eprintln!("building proxy-bin and worker-bin");
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "-p", "proxy-bin", "-p", "worker-bin"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(workspace())
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !status.success() {
        return Err("our binaries do not build; see above".into());
    }
    Ok(target.join("release"))
}

/// What was built, as git names it.
pub(crate) fn commit() -> String {
    let arguments = ["describe", "--always", "--dirty", "--abbrev=10"];
    let output = Command::new("git").args(arguments).current_dir(workspace()).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".into(),
    }
}

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
