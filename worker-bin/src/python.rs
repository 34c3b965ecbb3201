//! Which Python interpreter an application belongs to.
//!
//! Owns the places to look at, in their order. Must not know what it will run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The interpreter: the one that is wanted, else that of the virtual environment in use, else one
/// beside this program, else `python3` on the PATH. A relative path is below `directory`.
/// `environment` is the virtual one that is in use, if that is not empty.
pub(crate) fn find(
    wanted: Option<&Path>,
    directory: &Path,
    environment: Option<&OsStr>,
) -> PathBuf {
    let environment = environment.filter(|path| !path.is_empty()).map(Path::new);
    let program = std::env::current_exe().ok();
    search(wanted, directory, environment, program.as_deref())
}

fn search(
    wanted: Option<&Path>,
    directory: &Path,
    environment: Option<&Path>,
    program: Option<&Path>,
) -> PathBuf {
    if let Some(wanted) = wanted {
        // A mere name is looked up on the PATH.
        let is_name = wanted.components().count() == 1;
        return if is_name { wanted.into() } else { directory.join(wanted) };
    }
    let in_use = environment.map(|environment| directory.join(environment).join("bin/python"));
    let beside = program.map(|program| program.with_file_name("python"));
    let found = in_use.into_iter().chain(beside).find(|path| path.exists());
    found.unwrap_or_else(|| "python3".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_interpreter_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for name in ["venv/bin", "usr/bin"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let (venv, program) = (at("venv"), at("usr/bin/worker-bin"));
        let find = |wanted: Option<&str>| {
            search(wanted.map(Path::new), folder.path(), Some(&venv), Some(&program))
        };
        assert_eq!(find(None), Path::new("python3"));
        std::fs::write(at("usr/bin/python"), "").unwrap();
        assert_eq!(find(None), at("usr/bin/python"));
        std::fs::write(at("venv/bin/python"), "").unwrap();
        assert_eq!(find(None), at("venv/bin/python"));
        assert_eq!(find(Some("python3.13")), Path::new("python3.13"));
        assert_eq!(find(Some("other/bin/python")), at("other/bin/python"));
    }
}
