//! A small file that everybody asks for, while others read what only the disk has.
//!
//! Owns the cold files: a GiB, thrown out of the page cache before the run and after each answer.
//! Must not know configurations.

use crate::Failure;
use crate::beside::Beside;
use crate::case::{Case, Counted, Doing, Site};
use crate::exchange::Exchange;
use crate::load::{Clients, Crowd, Expected, Load};
use crate::run::Stack;
use crate::server::{FOREBAY, H2O, LIGHTTPD, NGINX, NGINX_NO_SENDFILE, Place};
use rustix::fs::{Advice, fadvise, statfs};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[Case {
    name: "static-cold",
    what: "a file of 1 KiB, beside 8 clients who read cold files of 1 MiB",
    site: Site::Files,
    doing: Doing::Cold(Exchange::of("/1k.txt")),
    counted: Counted::Larger,
    servers: &[FOREBAY, NGINX, NGINX_NO_SENDFILE, H2O, LIGHTTPD],
    is_quick: false,
}];

/// First by itself, then beside the others, whose load is the second.
///
/// # Errors
/// No room for the files, or a wrong answer.
pub(crate) fn measure(
    exchange: &Exchange,
    stack: &Stack,
    place: &Place<'_>,
    time: Duration,
) -> Result<(Beside, Load), Failure> {
    let root = place.root.to_owned();
    (0..COUNT).for_each(|index| drop_from_cache(&file(&root, index)));
    let (used_up, dropped) = mpsc::channel::<usize>();
    let dropper = thread::spawn(move || {
        dropped.into_iter().for_each(|index| drop_from_cache(&file(&root, index)));
    });
    let mut hot = Crowd::connect(place.port, vec![exchange.clients(place)?])?;
    hot.run(time / 2)?;
    let alone = hot.run(time)?.remove(0);
    drop(hot);
    let answered = move |index| used_up.send(index).unwrap_or_default();
    let both = vec![exchange.clients(place)?, clients(Box::new(answered))];
    let mut crowd = Crowd::connect(place.port, both)?;
    let before = stack.used();
    let loads = crowd.run(time)?;
    let used = stack.used() - before;
    drop(crowd);
    let _ = dropper.join();
    exchange.clients(place)?;
    Ok((Beside { load: loads[0], used, alone }, loads[1]))
}

fn clients(answered: Box<dyn Fn(usize)>) -> Clients {
    let request =
        |index| format!("GET /{DIRECTORY}/{index}.txt HTTP/1.1\r\nHost: localhost\r\n\r\n");
    Clients {
        requests: (0..COUNT).map(|index| request(index).into_bytes()).collect(),
        expected: Expected { status: 200, length: SIZE },
        connections: 8,
        pipelined: 1,
        closes: false,
        answered: Some(answered),
    }
}

/// Once for all servers; on the disk before anybody reads them.
///
/// # Errors
/// No room, or a file system that is in memory.
pub(crate) fn write_files(root: &Path) -> Result<(), Failure> {
    if statfs(root)?.f_type == TMPFS {
        let root = root.display();
        return Err(format!("{root} is in memory: set TMPDIR to a directory on a disk").into());
    }
    std::fs::create_dir(root.join(DIRECTORY))?;
    let content = vec![b'c'; SIZE];
    for index in 0..COUNT {
        let mut file = File::create(file(root, index))?;
        file.write_all(&content)?;
        file.sync_data()?;
    }
    Ok(())
}

fn file(root: &Path, index: usize) -> PathBuf {
    root.join(format!("{DIRECTORY}/{index}.txt"))
}

/// Clean pages that nobody maps.
fn drop_from_cache(path: &Path) {
    if let Ok(file) = File::open(path) {
        let _ = fadvise(file, 0, None, Advice::DontNeed);
    }
}

/// tmpfs(5)
const TMPFS: i64 = 0x0102_1994;
const DIRECTORY: &str = "cold";
const COUNT: usize = 1024;
const SIZE: usize = 1 << 20;
