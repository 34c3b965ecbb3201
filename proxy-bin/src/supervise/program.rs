//! Where the program of a worker command is.
//!
//! Owns the search order. Must not start anything.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why a program is not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// A path that leads to no program.
    #[error("no program at \"{}\": build it or correct the path", .0.display())]
    Path(PathBuf),
    /// A file that nobody may run.
    #[error("\"{}\" is not executable: chmod +x it", .0.display())]
    NotExecutable(PathBuf),
    /// A bare name.
    #[error(
        "no program `{name}` beside proxy-bin (in {}) nor on PATH ({path}): build or install it, \
         or write its path",
        .beside.display()
    )]
    Name { name: String, beside: PathBuf, path: String },
}

/// A name is looked up beside this executable, then on `PATH`; a path is relative to `directory`.
///
/// # Errors
/// No executable file there; the message names the places.
pub(crate) fn find_program(name: &str, directory: &Path) -> Result<PathBuf, ProgramError> {
    let beside = env::current_exe()
        .ok()
        .and_then(|executable| executable.parent().map(Path::to_owned))
        .unwrap_or_default();
    find_in(name, directory, &beside, &env::var_os("PATH").unwrap_or_default())
}

fn find_in(
    name: &str,
    directory: &Path,
    beside: &Path,
    path: &OsStr,
) -> Result<PathBuf, ProgramError> {
    if name.contains('/') {
        let program = directory.join(name);
        return match program.is_file() {
            true if is_program(&program) => Ok(program),
            true => Err(ProgramError::NotExecutable(program)),
            false => Err(ProgramError::Path(program)),
        };
    }
    let places = std::iter::once(beside.to_owned()).chain(env::split_paths(path));
    let places = places.filter(|place| place.is_absolute());
    let files: Vec<_> =
        places.map(|place| place.join(name)).filter(|file| file.is_file()).collect();
    let missing = || ProgramError::Name {
        name: name.to_owned(),
        beside: beside.to_owned(),
        path: path.to_string_lossy().into_owned(),
    };
    match files.iter().find(|file| is_program(file)) {
        Some(program) => Ok(program.clone()),
        None => Err(files.into_iter().next().map_or_else(missing, ProgramError::NotExecutable)),
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_first_then_on_path() {
        let (beside, on_path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let program = |directory: &Path, mode| {
            let program = directory.join("w");
            std::fs::write(&program, "").unwrap();
            std::fs::set_permissions(&program, PermissionsExt::from_mode(mode)).unwrap();
            program
        };
        let find = || find_in("w", Path::new("/"), beside.path(), on_path.path().as_os_str());
        let error = find().unwrap_err().to_string();
        assert!(error.contains(&beside.path().display().to_string()), "{error}");
        assert!(error.contains(&on_path.path().display().to_string()), "{error}");
        let not_executable = program(beside.path(), 0o644);
        let error = find().unwrap_err().to_string();
        let expected = format!("\"{}\" is not executable: chmod +x it", not_executable.display());
        assert_eq!(error, expected);
        let second = program(on_path.path(), 0o755);
        assert_eq!(find().unwrap(), second);
        let first = program(beside.path(), 0o644);
        assert_eq!(find().unwrap(), second, "not executable");
        std::fs::set_permissions(&first, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(find().unwrap(), first);
    }

    #[test]
    fn a_path_is_relative_to_the_configuration() {
        let found = find_in("bin/sh", Path::new("/"), Path::new("/nowhere"), OsStr::new(""));
        assert_eq!(found.unwrap(), Path::new("/bin/sh"));
        let error = find_in("./none", Path::new("/x"), Path::new("/"), OsStr::new("")).unwrap_err();
        assert!(error.to_string().starts_with("no program at \"/x/./none\""), "{error}");
        let error = find_in("etc/passwd", Path::new("/"), Path::new("/"), OsStr::new(""));
        assert!(matches!(error, Err(ProgramError::NotExecutable(_))));
    }
}
