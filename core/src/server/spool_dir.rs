//! The directory of the spool: whether it can be used.
//!
//! Owns one try. Must not know what is spooled.

use super::error::BuildError;
use std::ffi::CString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Makes a file without a name there, as the reactors will.
pub(super) fn check(directory: &Path) -> Result<CString, BuildError> {
    let failed = |error| BuildError::SpoolDir { directory: directory.to_owned(), error };
    let absolute = std::path::absolute(directory).map_err(failed)?;
    let path = CString::new(absolute.as_os_str().as_bytes()).map_err(|e| failed(e.into()))?;
    try_out(&absolute).map_err(failed)?;
    if crate::io::is_in_memory(&path) {
        tracing::warn!(
            directory = %absolute.display(),
            "spool_dir is in memory, which the spool is to spare: choose a directory on a disk"
        );
    }
    Ok(path)
}

fn try_out(directory: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let unnamed = options.clone().custom_flags(libc::O_TMPFILE).open(directory);
    match unnamed.map_err(|error| (error.raw_os_error(), error)) {
        Ok(_) => Ok(()),
        Err((Some(libc::EOPNOTSUPP | libc::EISDIR), _)) => {
            let named = directory.join(format!(".forebay-spool-{}", std::process::id()));
            options.create_new(true).open(&named)?;
            std::fs::remove_file(named)
        }
        Err((_, error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_must_be_there_and_stays_empty() {
        let directory = tempfile::tempdir().unwrap();
        check(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let missing = directory.path().join("missing");
        let error = check(&missing).unwrap_err().to_string();
        assert!(error.contains("missing") && error.contains("No such file"), "{error}");
        std::fs::write(&missing, "").unwrap();
        assert!(check(&missing).is_err());
    }
}
