//! What is served changes when its files do, while clients are being served.

use forebay_tests::{Client, Failure, PATIENCE, Site, pattern, sha256, wait_until};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PAGES: usize = 40;

#[test]
fn a_release_is_switched_under_load_without_404() {
    let site = Site::builder();
    write_release(&site.path("releases/0"), 0);
    symlink("releases/0", site.path("current")).unwrap();
    let site = site.route("path = \"/\"\nfiles = \"current\"").start();
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..4 {
            let (site, is_over, answered) = (&site, &is_over, &answered);
            scope.spawn(move || {
                let mut newest = 0;
                for turn in client.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    // A connection may be another reactor's, which may have switched later.
                    let mut connection = site.client();
                    for page in 0..PAGES {
                        let response = connection.get(&format!("/{}", (page * 7 + turn) % PAGES));
                        assert_eq!(response.status, 200, "of release {newest} or later");
                        newest = release_of(&response.content).max(newest);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for release in 1..=4 {
            let before = answered.load(Ordering::Relaxed);
            wait_until("some answers", PATIENCE, || {
                answered.load(Ordering::Relaxed) > before + 3 * PAGES
            });
            write_release(&site.path(&format!("releases/{release}")), release);
            symlink(format!("releases/{release}"), site.path("next")).unwrap();
            fs::rename(site.path("next"), site.path("current")).unwrap();
            // At once: whoever still looks into the old one finds nothing there.
            fs::remove_dir_all(site.path(&format!("releases/{}", release - 1))).unwrap();
            let is_new = || {
                let response = site.client().get("/1");
                response.status == 200 && release_of(&response.content) == release
            };
            wait_until("the new release", PATIENCE, is_new);
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn who_has_begun_in_the_old_release_ends_in_it() {
    let size = 10_000_000;
    let site = Site::builder().file("1/large", pattern(size)).file("1/small", "old");
    let site = site.file("2/large", "new").file("2/small", "new");
    symlink("1", site.path("current")).unwrap();
    let site = site.route("path = \"/\"\nfiles = \"current\"").start();
    let mut slow = Client::connect_narrow(site.address());
    slow.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(slow.read_head().unwrap().status, 200);
    symlink("2", site.path("next")).unwrap();
    fs::rename(site.path("next"), site.path("current")).unwrap();
    fs::remove_dir_all(site.path("1")).unwrap();
    wait_until("the new file", PATIENCE, || site.client().get("/small").text() == "new");
    let content = slow.read_exactly(size).unwrap();
    assert_eq!(sha256(&content), sha256(&pattern(size)));
    assert_eq!(slow.get("/large").text(), "new");
}

#[test]
fn every_change_is_seen_within_a_second() {
    let site = Site::builder().file("s/small", "1").file("s/large", pattern(100_000));
    let site = site.files("/s/", "s").start();
    let mut client = site.client();
    for name in ["small", "large"] {
        let path = site.path("s").join(name);
        let mut expect = |what: &str, content: Option<&[u8]>| {
            let changed = Instant::now();
            // Each reactor has a memory of its own, but this connection is one's.
            wait_until(what, PATIENCE, || {
                let response = client.get(&format!("/s/{name}"));
                match content {
                    Some(content) => response.content == content,
                    None => response.status == 404,
                }
            });
            // A second, and what a busy machine adds.
            assert!(changed.elapsed() < Duration::from_secs(6), "{what} of {name}");
        };
        fs::write(&path, "written in place").unwrap();
        expect("a change", Some(b"written in place"));
        fs::write(site.path("new"), "replaced").unwrap();
        fs::rename(site.path("new"), &path).unwrap();
        expect("a replacement", Some(b"replaced"));
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(3).unwrap();
        expect("a truncation", Some(b"rep"));
        fs::remove_file(&path).unwrap();
        expect("the end", None);
        fs::write(&path, pattern(200_000)).unwrap();
        expect("a new file", Some(&pattern(200_000)));
    }
}

#[test]
fn a_file_truncated_while_it_is_sent_ends_that_connection_and_nothing_else() {
    let size = 50_000_000;
    let site = Site::builder().file("s/large", pattern(size)).file("s/small", "small");
    let site = site.server("reactors = 1").files("/s/", "s").start();
    let mut other = site.client();
    assert_eq!(other.get("/s/small").status, 200);
    let mut slow = Client::connect_narrow(site.address());
    slow.send("GET /s/large HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(slow.read_head().unwrap().field("Content-Length"), Some("50000000"));
    let file = fs::OpenOptions::new().write(true).open(site.path("s/large")).unwrap();
    file.set_len(1000).unwrap();
    let end = slow.read_exactly(size);
    assert!(matches!(end, Err(Failure::Truncated | Failure::Reset)), "{:?}", end.map(|c| c.len()));
    assert_eq!(other.get("/s/small").text(), "small", "on the same connection as before");
    wait_until("the file's new size", PATIENCE, || {
        other.send("HEAD /s/large HTTP/1.1\r\nHost: test\r\n\r\n");
        other.read_response_to_head().field("Content-Length") == Some("1000")
    });
    assert_eq!(other.get("/s/large").content, pattern(size)[..1000]);
}

fn write_release(directory: &Path, release: usize) {
    fs::create_dir_all(directory).expect("a folder of the test is writable");
    for page in 0..PAGES {
        // Some are kept in memory, some open.
        let size = if page % 4 == 0 { 100_000 } else { 100 };
        let content = [format!("{release}\n").as_bytes(), &pattern(size)].concat();
        fs::write(directory.join(page.to_string()), content)
            .expect("a folder of the test is writable");
    }
}

fn release_of(content: &[u8]) -> usize {
    let line =
        content.split(|&byte| byte == b'\n').next().expect("a folder of the test is writable");
    std::str::from_utf8(line)
        .expect("a folder of the test is writable")
        .parse()
        .expect("a folder of the test is writable")
}
