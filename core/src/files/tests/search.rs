//! Which file answers: roots, fallback, coded neighbours, and what is in a root's place.

use super::super::*;
use super::disk::{GET, Site, get_with};
use super::head_of;
use crate::io::{Done, Errno, Links, Op};
use std::fs::OpenOptions;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// As `get`, without the number of operations.
fn content(site: &mut Site, path: &str) -> (u16, Vec<u8>) {
    let (status, content, _) = site.get(path);
    (status, content)
}

#[test]
fn roots_are_searched_in_their_order() {
    let mut site = Site::new();
    for (name, text) in [("a/both", "a"), ("b/both", "b"), ("b/only", "b"), ("b/d/x", "x")] {
        site.disk.write(name, text.as_bytes());
    }
    site.set(Files::new("a").then("b"), &["a", "b"]);
    for _ in 0..2 {
        assert_eq!(content(&mut site, "both"), (200, b"a".into()));
        assert_eq!(content(&mut site, "only"), (200, b"b".into()));
        assert_eq!(content(&mut site, "d").0, 301, "a directory of the second");
        assert_eq!(content(&mut site, "none").0, 404);
    }
    site.disk.write("a/only", b"a");
    site.milliseconds += 1000;
    assert_eq!(content(&mut site, "only"), (200, b"a".into()));
    site.assert_no_leak();
}

#[test]
fn the_fallback_answers_for_what_is_not_found() {
    let mut site = Site::new();
    site.disk.write("a/x", b"x");
    site.disk.write("b/50%/app.html", b"app");
    site.set(Files::new("a").then("b").fallback("50%/app.html"), &["a", "b"]);
    for _ in 0..2 {
        for path in ["none", "d/e/", "", "x/y"] {
            assert_eq!(content(&mut site, path), (200, b"app".into()), "{path}");
        }
        assert_eq!(content(&mut site, "x"), (200, b"x".into()));
        let (reply, _) = site.ask("none", get_with(&[("Range", "bytes=0-0")]));
        assert!(head_of(&reply).contains("Content-Type: text/html"));
    }
    std::fs::remove_file(site.disk.path("b/50%/app.html")).unwrap();
    std::fs::create_dir(site.disk.path("b/50%/app.html")).unwrap();
    site.milliseconds += 1000;
    assert_eq!(content(&mut site, "none").0, 404, "a directory is no fallback");
}

#[test]
fn the_fallback_answers_for_what_is_no_name_of_a_file() {
    let refused =
        ["a%2Fb", "a//b", "a%5Cb", ".github/x", ".env", "../secret", "..%2fsecret", "a%00b", "%zz"];
    let mut site = Site::new();
    std::fs::write(site.disk.path("../secret"), b"secret").unwrap();
    for (name, text) in [("a/.env", "secret"), ("b/.env", "secret"), ("b/app.html", "app")] {
        site.disk.write(name, text.as_bytes());
    }
    site.set(Files::new("a").then("b").fallback("app.html"), &["a", "b"]);
    assert_eq!(content(&mut site, "none"), (200, b"app".into()));
    for path in refused.into_iter().chain(refused) {
        assert_eq!(site.get(path), (200, b"app".into(), 0), "{path}: and nothing is asked");
    }
    site.milliseconds += 1000;
    for path in refused {
        assert!(site.get(path).2 <= 3, "{path}: only the fallback is looked for again");
        assert_eq!(content(&mut site, path), (200, b"app".into()), "{path}");
    }
    std::fs::remove_file(site.disk.path("b/app.html")).unwrap();
    site.milliseconds += 1000;
    assert_eq!(content(&mut site, ".env").0, 404);
    site.set(Files::new("a").then("b"), &["a", "b"]);
    for path in refused.into_iter().chain(refused) {
        assert_eq!((site.get(path).0, site.get(path).2), (404, 0), "{path}: without fallback");
    }
    site.assert_no_leak();
}

#[test]
fn a_coded_neighbour_answers_if_the_client_prefers_it() {
    let mut site = Site::new();
    for (name, text) in [("a.css", "plain"), ("a.css.br", "br"), ("a.css.gz", "gz"), ("b.br", "b")]
    {
        site.disk.write(name, text.as_bytes());
    }
    site.disk.write("c.css", b"plain");
    std::fs::create_dir(site.disk.path("c.css.zst")).unwrap();
    site.set(Files::new("").precompressed(true), &[""]);
    for _ in 0..2 {
        for (accepted, text, coding) in [
            ("gzip, br, zstd", "br", Some("br")),
            ("gzip, br;q=0.5", "gz", Some("gzip")),
            ("zstd", "plain", None),
            ("br;q=0", "plain", None),
        ] {
            let (reply, _) = site.ask("a.css", get_with(&[("Accept-Encoding", accepted)]));
            let head = head_of(&reply);
            assert_eq!(site.content(&reply), text.as_bytes(), "{accepted}");
            let named = head.split_once("Content-Encoding: ").map(|(_, rest)| rest);
            let named = named.and_then(|rest| rest.split_once("\r\n")).map(|(name, _)| name);
            assert_eq!(named, coding, "{accepted}");
            assert!(head.contains("\r\nVary: Accept-Encoding\r\n"), "{head}");
            assert!(head.contains("Content-Type: text/css"), "{head}");
        }
        let any = || get_with(&[("Accept-Encoding", "*")]);
        assert_eq!(site.ask("b", any()).0.status, 404, "only a neighbour");
        assert_eq!(site.ask("c.css", any()).0.status, 200, "a directory is no neighbour");
        assert_eq!(content(&mut site, "a.css").1, b"plain");
    }
    assert_eq!(site.ask("a.css", get_with(&[("Accept-Encoding", "zstd, gzip")])).1, 0);
    std::fs::remove_file(site.disk.path("a.css.br")).unwrap();
    site.milliseconds += 1000;
    let (reply, _) = site.ask("a.css", get_with(&[("Accept-Encoding", "br")]));
    assert_eq!(site.content(&reply), b"plain");
    drop(reply);
    site.assert_no_leak();
}

#[test]
fn trouble_with_a_neighbour_is_no_trouble() {
    let mut site = Site::new();
    site.set(Files::new("").precompressed(true), &[""]);
    assert_eq!(content(&mut site, "small.txt").0, 200);
    let ask = get_with(&[("Accept-Encoding", "br")]);
    let Step::Do(Op::OpenFile { .. }, pending) = site.begin("small.txt", ask) else { panic!() };
    let failed = Done::OpenFile { result: Err(Errno(libc::EMFILE)) };
    let Step::Reply(reply) = site.resume(pending, failed) else { panic!() };
    assert_eq!((reply.status, site.content(&reply)), (200, b"hello".into()));
}

#[test]
fn another_directory_in_a_roots_place_is_seen_after_a_second() {
    let mut site = Site::new();
    for name in ["1/same", "1/old", "2/same", "2/new"] {
        site.disk.write(name, name.as_bytes());
    }
    symlink("1", site.disk.path("current")).unwrap();
    site.set(Files::new("current"), &["current"]);
    assert_eq!(content(&mut site, "same"), (200, b"1/same".into()));
    assert_eq!(content(&mut site, "new").0, 404);
    let Step::Do(begun, pending) = site.begin("old", GET) else { panic!() };
    symlink("2", site.disk.path("next")).unwrap();
    std::fs::rename(site.disk.path("next"), site.disk.path("current")).unwrap();
    site.milliseconds += 999;
    assert_eq!(content(&mut site, "same"), (200, b"1/same".into()));
    site.milliseconds += 1;
    assert_eq!(content(&mut site, "same"), (200, b"2/same".into()));
    assert_eq!(content(&mut site, "new"), (200, b"2/new".into()));
    assert_eq!(content(&mut site, "old").0, 404);
    let opened = site.disk.perform(begun);
    let step = site.resume(pending, opened);
    let (reply, _) = site.finish(step);
    assert_eq!(site.content(&reply), b"1/old", "who has begun in one tree ends in it");
    drop(reply);
    assert_eq!(content(&mut site, "old").0, 404, "and is not remembered");
    site.assert_no_leak();
}

#[test]
fn what_goes_with_the_old_directory_is_looked_for_in_the_new_one_at_once() {
    let mut site = Site::new();
    site.disk.write("1/page", b"1");
    site.disk.write("2/page", b"2");
    symlink("1", site.disk.path("current")).unwrap();
    site.set(Files::new("current"), &["current"]);
    assert_eq!(content(&mut site, "none").0, 404);
    site.milliseconds += 500;
    symlink("2", site.disk.path("next")).unwrap();
    std::fs::rename(site.disk.path("next"), site.disk.path("current")).unwrap();
    std::fs::remove_dir_all(site.disk.path("1")).unwrap();
    assert_eq!(content(&mut site, "page"), (200, b"2".into()));
    std::fs::remove_file(site.disk.path("current")).unwrap();
    site.milliseconds += 1000;
    assert_eq!(content(&mut site, "page"), (200, b"2".into()), "better than nothing");
}

#[test]
fn tags_of_small_files_follow_the_content_whatever_the_times_are() {
    let mut site = Site::new();
    let built = UNIX_EPOCH + Duration::from_secs(1);
    for (name, content) in [("1/a", b"old"), ("2/a", b"new"), ("1/b", b"eql"), ("2/b", b"eql")] {
        site.disk.write(name, content);
        // The same time in both releases, another one for a file that is the same.
        let time = if name == "2/b" { SystemTime::now() } else { built };
        let file = OpenOptions::new().write(true).open(site.disk.path(name)).unwrap();
        file.set_modified(time).unwrap();
    }
    let tag = |site: &mut Site, name, ask| {
        let head = head_of(&site.ask(name, ask).0);
        head.split_once("ETag: ").unwrap().1.split_once("\r\n").unwrap().0.to_owned()
    };
    let tags: Vec<String> = ["1/a", "2/a", "1/b", "2/b"]
        .into_iter()
        .map(|name| {
            let first = tag(&mut site, name, GET);
            for passed in [0, 1000] {
                site.milliseconds += passed;
                let head = Ask { method: "HEAD".into(), ..GET };
                for ask in
                    [head, get_with(&[("Range", "bytes=0-0")]), get_with(&[("If-None-Match", "*")])]
                {
                    assert_eq!(tag(&mut site, name, ask), first);
                }
            }
            site.cache.clear();
            assert_eq!(tag(&mut site, name, GET), first, "read again");
            first
        })
        .collect();
    assert_ne!(tags[0], tags[1]);
    assert_eq!(tags[2], tags[3]);
}

#[test]
fn a_slow_disk_is_not_asked_again_and_again() {
    let mut site = Site::new();
    site.milliseconds += 5000;
    let mut step = site.begin("small.txt", GET);
    for operations in 0.. {
        match step {
            Step::Reply(reply) => {
                assert_eq!((reply.status, operations), (200, 4), "root, open, read, stat");
                break;
            }
            Step::Do(op, pending) => {
                let done = site.disk.perform(op);
                site.milliseconds += 5000;
                step = site.resume(pending, done);
            }
        }
    }
}

#[test]
fn links_are_denied_on_request() {
    for (symlinks, expected) in [(Symlinks::Beneath, Links::Beneath), (Symlinks::Deny, Links::Deny)]
    {
        let mut site = Site::new();
        site.set(Files::new("").symlinks(symlinks), &[""]);
        let Step::Do(Op::OpenFile { links, .. }, _) = site.begin("x", GET) else { panic!() };
        assert_eq!(links, expected);
    }
}
