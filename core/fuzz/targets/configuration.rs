//! Any text as a configuration: it is one, or every error says where and what.
#![no_main]
#![allow(dead_code, unused_imports)]

use std::path::Path;

#[path = "../../../proxy-bin/src/config/mod.rs"]
mod config;

/// What the configuration's look around would need; texts are not looked around for.
mod users {
    use std::io::{Error, Result};

    pub(crate) fn user(name: &str) -> Result<()> {
        Err(Error::other(name.to_owned()))
    }

    pub(crate) fn group(name: &str) -> Result<()> {
        user(name)
    }
}

mod supervise {
    use std::io::{Error, Result};
    use std::path::{Path, PathBuf};

    pub(crate) fn find_program(name: &str, _: &Path) -> Result<PathBuf> {
        Err(Error::other(name.to_owned()))
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(errors) = config::parse(text, Path::new("/x/forebay.toml")) {
        assert!(!errors.is_empty());
        for error in errors {
            let error = error.to_string();
            assert!(error.starts_with("/x/forebay.toml") && !error.contains('\n'), "{error}");
        }
    }
});
