//! A directory of 100,000 names on a disk: whoever asks for them delays nobody else.

use forebay_tests::{Load, PATIENCE, Site};
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

const ENTRIES: usize = 100_000;
/// A file of ext4 has at most 65,000 names.
const FILES: usize = 4;
const ASKED: usize = 3_000;

#[test]
fn cold_names_delay_nobody() {
    let site = Site::builder().server("reactors = 1").file("site/hot", "hot");
    fill(&site.path("site/many")).unwrap();
    let site = site.files("/", "site").start();
    let mut curious = site.client();
    forget_names();
    let load = Load::start(site.address(), "GET /hot HTTP/1.1\r\nHost: test\r\n\r\n", 2);
    for turn in 0..ASKED {
        // An order that looks random; every third name does not exist.
        let number = turn * 7_919 % ENTRIES;
        let (name, status) = match turn % 3 {
            0 => (format!("/many/missing-{number}"), 404),
            _ => (format!("/many/{number}"), 200),
        };
        let response = curious.get(&name);
        assert_eq!(response.status, status, "{name}");
        if status == 200 {
            assert_eq!(response.text(), (number % FILES).to_string());
        }
    }
    let report = load.stop();
    report.assert_all_answered();
    let slowest = report.percentile(100.0);
    assert!(slowest < PATIENCE.min(Duration::from_secs(2)), "somebody waited {slowest:?}");
}

/// The files themselves are elsewhere, so that the directory has nothing but names.
fn fill(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for file in 0..FILES {
        fs::write(directory.with_extension(file.to_string()), file.to_string())?;
    }
    for number in 0..ENTRIES {
        let file = directory.with_extension((number % FILES).to_string());
        fs::hard_link(file, directory.join(number.to_string()))?;
    }
    Ok(())
}

/// So that the kernel has to read them from the disk; only root can.
fn forget_names() {
    let dropped = fs::write("/proc/sys/vm/drop_caches", "2");
    if let Err(error) = dropped {
        eprintln!("the names are still in memory: {error}");
    }
}
