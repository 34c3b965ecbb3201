//! A file with the arbiter's process id, as init scripts and log rotation want it.
//!
//! Owns the file for as long as the server runs.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Removed when dropped, if it still is ours.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    content: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidFileError {
    #[error("{0} names the running process {1}: stop that first, or use another file")]
    Running(PathBuf, u32),
    #[error("cannot write {0}: {1}; name a file in a directory that exists and is writable")]
    Io(PathBuf, io::Error),
}

impl PidFile {
    /// Names this process in `path`, unless that names another one that lives.
    pub(crate) fn create(path: &Path) -> Result<PidFile, PidFileError> {
        let failed = |error| PidFileError::Io(path.into(), error);
        let path = std::path::absolute(path).map_err(failed)?;
        if let Some(pid) = running(&path) {
            return Err(PidFileError::Running(path, pid));
        }
        let content = format!("{}\n", std::process::id());
        // Renamed into place, so that nobody reads half a number.
        let mut new = path.clone().into_os_string();
        new.push(format!(".{}", std::process::id()));
        let write = || {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&new)?;
            file.write_all(content.as_bytes())?;
            fs::rename(&new, &path)
        };
        match write() {
            Ok(()) => Ok(PidFile { path, content }),
            Err(error) => {
                let _ = fs::remove_file(&new);
                Err(failed(error))
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if fs::read_to_string(&self.path).is_ok_and(|content| content == self.content) {
            // After giving up privileges it may have to stay; then it names nobody.
            let _ = fs::remove_file(&self.path).or_else(|_| fs::write(&self.path, ""));
        }
    }
}

/// The other living process that this file names.
fn running(path: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let lives = pid != 0 && Path::new("/proc").join(pid.to_string()).exists();
    (lives && pid != std::process::id()).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_keeps_its_file_and_a_dead_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        fs::write(&path, "1\n").unwrap();
        let error = PidFile::create(&path).unwrap_err().to_string();
        assert!(error.contains("process 1"), "{error}");
        for stale in ["4194999\n", "nonsense", ""] {
            fs::write(&path, stale).unwrap();
            let file = PidFile::create(&path).unwrap();
            let content = fs::read_to_string(&path).unwrap();
            assert_eq!(content, format!("{}\n", std::process::id()));
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_file_that_others_have_taken_over_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let file = PidFile::create(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_directory_that_does_not_exist_is_an_error() {
        let error = PidFile::create(Path::new("/nowhere/at/all/pid")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all/pid"), "{error}");
    }
}
