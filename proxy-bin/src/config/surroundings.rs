//! What must exist around a configuration before it can be carried out.
//!
//! Owns the look at the file system. Must not change anything there.

use super::error::{At, ConfigError, Problems};
use super::{AccessLog, Config, Pool, Route};
use crate::supervise::find_program;
use crate::users;
use forebay::Builder;
use std::collections::HashMap;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Looks for roots, directories and programs that `config` needs.
///
/// # Errors
/// All that are missing, in the order of `file`.
pub(crate) fn check(config: &Config, file: &Path) -> Result<(), Vec<ConfigError>> {
    let mut problems = Problems::new(file);
    for root in config.routes.iter().flat_map(Route::roots) {
        if let Err(what) = look_into_directory(&root.value) {
            let root_text = root.value.display();
            problems.add(root.line, format!("files: directory \"{root_text}\" {what}"));
        }
    }
    if let AccessLog::File(path) = &config.access_log {
        check_parent(&mut problems, "access_log", path);
    }
    check_spool_dir(&mut problems, config.spool_dir.as_ref(), Builder::SPOOL_DIR.as_ref());
    if let Some(control) = &config.control {
        check_socket(&mut problems, "control", control);
    }
    check_user(&mut problems, config.user.as_ref());
    check_group(&mut problems, config.group.as_ref());
    for Pool { name, socket, workers, user, group, allowed_users, .. } in &config.pools {
        check_group(&mut problems, group.as_ref());
        let allowed = allowed_users.iter().flatten();
        user.iter().chain(allowed).for_each(|user| check_user(&mut problems, Some(user)));
        check_socket(&mut problems, "socket", socket);
        let Some(program) = workers.as_ref().and_then(|argv| argv.first()) else { continue };
        if let Err(error) = find_program(&program.value, &config.directory) {
            problems.add(program.line, format!("workers of [pool.{}]: {error}", name.value));
        }
    }
    check_distinct(&mut problems, config);
    problems.none_or(())
}

/// Different paths may lead to one place, by symbolic links or `..`.
fn check_distinct(problems: &mut Problems, config: &Config) {
    let pools =
        config.pools.iter().map(|pool| (format!("[pool.{}]", pool.name.value), &pool.socket));
    let control = config.control.iter().map(|control| ("`control`".to_owned(), control));
    let mut seen: HashMap<PathBuf, String> = HashMap::new();
    for (owner, socket) in control.chain(pools) {
        let Some(place) = place(&socket.value) else { continue };
        if let Some(other) = seen.insert(place, owner.clone()) {
            let path = socket.value.display();
            let what = format!("socket \"{path}\" of {owner} is also that of {other}");
            problems.add(socket.line, format!("{what}: give each its own"));
        }
    }
}

/// Where a file will be made. `None`: nowhere.
fn place(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

fn check_spool_dir(problems: &mut Problems, written: Option<&At<PathBuf>>, default: &Path) {
    let (directory, line, hint) = match written {
        Some(At { value, line }) => (value.as_path(), *line, ""),
        None => (default, 0, ", or name another one as `spool_dir` in [server]"),
    };
    if let Err(what) = look_at_directory(directory) {
        problems.add(line, format!("spool_dir \"{}\" {what}{hint}", directory.display()));
    }
}

fn check_parent(problems: &mut Problems, key: &str, path: &At<PathBuf>) {
    let parent = path.value.parent().unwrap_or(&path.value);
    if let Err(what) = look_at_directory(parent) {
        let (path_text, parent) = (path.value.display(), parent.display());
        problems.add(path.line, format!("{key} \"{path_text}\": directory \"{parent}\" {what}"));
    } else if path.value.is_dir() {
        let what = format!("{key} \"{}\" is a directory: name a file in it", path.value.display());
        problems.add(path.line, what);
    }
}

fn check_socket(problems: &mut Problems, key: &str, path: &At<PathBuf>) {
    let is_file = |found: Metadata| !found.is_dir() && !found.file_type().is_socket();
    if path.value.symlink_metadata().is_ok_and(is_file) {
        let path_text = path.value.display();
        let what = "exists and is not a socket: remove it, or use another path";
        problems.add(path.line, format!("{key} \"{path_text}\" {what}"));
    } else {
        check_parent(problems, key, path);
    }
}

fn check_user(problems: &mut Problems, user: Option<&At<String>>) {
    if let Some(At { value, line }) = user
        && let Err(error) = users::user(value)
    {
        problems.add(*line, error.to_string());
    }
}

fn check_group(problems: &mut Problems, group: Option<&At<String>>) {
    if let Some(At { value, line }) = group
        && let Err(error) = users::group(value)
    {
        problems.add(*line, error.to_string());
    }
}

fn look_at_directory(directory: &Path) -> Result<(), String> {
    match directory.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err("is not a directory: name one".to_owned()),
        Err(error) => Err(cannot_be_opened(&error)),
    }
}

/// Likewise, and whether this user may see what is in it.
fn look_into_directory(directory: &Path) -> Result<(), String> {
    look_at_directory(directory)?;
    directory.read_dir().map(drop).map_err(|error| cannot_be_opened(&error))
}

fn cannot_be_opened(error: &io::Error) -> String {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied => "give this user the right to read it",
        _ => "create it or correct the path",
    };
    format!("cannot be opened: {error}: {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_directory_must_be_there_even_if_none_is_named() {
        let look = |written: Option<&At<PathBuf>>, default: &str| {
            let mut problems = Problems::new("f.toml".as_ref());
            check_spool_dir(&mut problems, written, default.as_ref());
            problems.sorted().iter().map(ToString::to_string).collect::<String>()
        };
        assert_eq!(look(None, "/"), "");
        let error = look(None, "/nowhere");
        assert!(error.starts_with("f.toml: spool_dir \"/nowhere\" cannot be opened"), "{error}");
        assert!(error.ends_with("or name another one as `spool_dir` in [server]"), "{error}");
        let written = At { value: "/nowhere".into(), line: 3 };
        let error = look(Some(&written), "/");
        assert!(error.starts_with("f.toml:3: ") && error.ends_with("correct the path"), "{error}");
    }
}
