//! Messages that nobody can read are lost, and nothing else is.

use forebay_tests::{HUP, PATIENCE, Site, wait_until, worker_bin};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

#[test]
fn where_they_cannot_be_written_the_edge_goes_on() {
    goes_on(Site::builder().stderr("/dev/full").control().app("probe", 1).start());
}

#[test]
fn workers_may_write_what_is_lost() {
    // More than a pipe takes: it is read though it has no place.
    let program = format!("seq 50000 >&2 || exit 1\nexec '{}' probe\n", worker_bin().display());
    let site = Site::builder().stderr("/dev/full").control().raw_app().file("noisy.sh", program);
    goes_on(site.pool("workers = [\"sh\", \"noisy.sh\"]").start());
}

#[test]
fn who_does_not_read_them_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("stderr");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo(1) is part of every system");
    // Readable and writable, so it has both ends.
    let mut pipe = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let mut filling =
        OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    while filling.write(&[b'x'; 4096]).is_ok() {}
    goes_on(Site::builder().stderr(&fifo).control().app("probe", 1).start());
    pipe.read_exact(&mut [0; 4096]).expect("it is full still");
}

fn goes_on(site: Site) {
    assert_eq!(site.client().get("/exit").status, 502, "which is logged");
    wait_until("another worker", PATIENCE, || site.client().get("/hello").status == 200);
    site.signal(HUP);
    wait_until("the reload", PATIENCE, || site.status()["generation"] == 2);
    assert_eq!(site.client().get("/hello").status, 200);
    assert_eq!(site.stop().code(), Some(0));
}
