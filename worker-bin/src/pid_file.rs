//! A file with the arbiter's process id, as init scripts and log rotation want it.
//!
//! Owns the file for as long as the server runs.

use crate::identity::Identity;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
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
    #[error("{0} exists and is not a pid file: remove it, or use another file")]
    SomethingElse(PathBuf),
    #[error("cannot write {0}: {1}; name a file in a directory that exists and is writable")]
    Io(PathBuf, io::Error),
}

impl PidFile {
    /// Names this process in `path`, unless that names another one that lives, or is a file which
    /// somebody may need. It is of `identity`, which will have to empty it.
    pub(crate) fn create(path: &Path, identity: &Identity) -> Result<PidFile, PidFileError> {
        let failed = |error| PidFileError::Io(path.into(), error);
        let path = std::path::absolute(path).map_err(failed)?;
        if let Some(pid) = named(&path)?.filter(|pid| is_another(*pid)) {
            return Err(PidFileError::Running(path, pid));
        }
        let content = format!("{}\n", std::process::id());
        // Renamed into place, so that nobody reads half a number.
        let mut new = path.clone().into_os_string();
        new.push(format!(".{}", std::process::id()));
        let write = || {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&new)?;
            file.write_all(content.as_bytes())?;
            // Who may not give it away cannot become anybody either, and that will be said.
            let _ = identity.own(file.as_fd());
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

/// The process that this file names, if it exists. An empty one names nobody.
fn named(path: &Path) -> Result<Option<u32>, PidFileError> {
    let failed = |error| PidFileError::Io(path.into(), error);
    match path.metadata() {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(PidFileError::SomethingElse(path.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut content));
    read.map_err(failed)?;
    match str::from_utf8(&content).map(str::trim) {
        Ok("") => Ok(None),
        Ok(text) => text.parse().map(Some).map_err(|_| PidFileError::SomethingElse(path.into())),
        Err(_) => Err(PidFileError::SomethingElse(path.into())),
    }
}

/// Whether it lives, and is not this one.
fn is_another(pid: u32) -> bool {
    let lives = pid != 0 && Path::new("/proc").join(pid.to_string()).exists();
    lives && pid != std::process::id()
}

/// Bytes of which a process id needs only a few.
const MOST: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn create(path: &Path) -> Result<PidFile, PidFileError> {
        PidFile::create(path, &Identity::find(None, None).unwrap())
    }

    #[test]
    fn a_living_process_keeps_its_file_and_a_dead_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        fs::write(&path, "1\n").unwrap();
        let error = create(&path).unwrap_err().to_string();
        assert!(error.contains("process 1"), "{error}");
        for stale in ["4194999\n", ""] {
            fs::write(&path, stale).unwrap();
            let file = create(&path).unwrap();
            let content = fs::read_to_string(&path).unwrap();
            assert_eq!(content, format!("{}\n", std::process::id()));
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_file_of_another_kind_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.py");
        for content in [&b"import flask\n"[..], b"\xFF", b"1 2"] {
            fs::write(&path, content).unwrap();
            let error = create(&path).unwrap_err().to_string();
            assert!(error.contains("app.py") && error.contains("another file"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        let error = create(directory.path()).unwrap_err();
        assert!(matches!(error, PidFileError::SomethingElse(_)), "{error}");
    }

    #[test]
    fn a_file_that_others_have_taken_over_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let file = create(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_directory_that_does_not_exist_is_an_error() {
        let error = create(Path::new("/nowhere/at/all/pid")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all/pid"), "{error}");
    }
}
