//! A linter for HTTP finds nothing bad in what files are answered with.
//!
//! Not asked is about several parts at once: the linter wants a Content-Range in the head, where
//! RFC 9110 §15.3.7.2 forbids it.
//!
//! httplint (from PyPI) is installed into a virtual environment in the target directory, once.

use forebay_tests::{Site, is_required, proxy_bin, skip, tool};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

const VERSION: &str = "2026.10.4";

#[test]
fn answers_with_files_have_nothing_bad() {
    let Some(linter) = linter() else { return };
    let site = site();
    let tag = site.client().get("/s/page.html").field("ETag").unwrap().to_owned();
    let answers = [
        ("GET /s/", "", 200),
        ("GET /s/page.html", "", 200),
        ("GET /s/script.3f9a2b1c.js", "", 200),
        ("GET /s/script.3f9a2b1c.js", "Accept-Encoding: gzip", 200),
        ("GET /s/image.png", "", 200),
        ("GET /s/unknown", "", 200),
        ("GET /s/empty.txt", "", 200),
        ("GET /s/page.html", "Range: bytes=0-9", 206),
        ("GET /s/page.html", "Range: bytes=9999-", 416),
        ("GET /s/page.html", &format!("If-None-Match: {tag}"), 304),
        ("GET /s/page.html", "If-Match: \"other\"", 412),
        ("GET /s/folder", "", 301),
        ("GET /s/none", "", 404),
        ("DELETE /s/page.html", "", 405),
        ("OPTIONS /s/page.html", "", 204),
    ];
    for (request, field, status) in answers {
        let mut client = site.client();
        let field = if field.is_empty() { String::new() } else { format!("{field}\r\n") };
        client
            .send(format!("{request} HTTP/1.1\r\nHost: test\r\n{field}Connection: close\r\n\r\n"));
        let response = client.read_to_end();
        assert!(response.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{request}");
        let notes = lint(&linter, &response);
        assert!(notes.contains("* ["), "{request}: the linter has read nothing: {notes}");
        // Its own start takes time, which it takes for that of the server's clock.
        let is_bad = |note: &str| note.contains("[BAD]") && !note.contains("server's clock is");
        assert!(!notes.lines().any(is_bad), "{request} {field}{notes}");
    }
}

fn site() -> Site {
    let page = format!("<!DOCTYPE html><title>A page</title>{}", "<p>text".repeat(100));
    let site = Site::builder()
        .file("s/index.html", &page)
        .file("s/page.html", &page)
        .file("s/folder/index.html", &page)
        .file("s/script.3f9a2b1c.js", "let a = 1;")
        // gzip of nothing.
        .file("s/script.3f9a2b1c.js.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0")
        .file("s/image.png", b"\x89PNG\r\n\x1a\n")
        .file("s/unknown", "?")
        .file("s/empty.txt", "")
        .route(
            "path = \"/s/\"\nfiles = \"s\"\nprecompressed = true\nimmutable = true\n\
             cache_control = \"max-age=60\"\nfields = { X-Content-Type-Options = \"nosniff\" }",
        );
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    for entry in std::fs::read_dir(site.path("s")).expect("an installed program runs and reads") {
        let path = entry.expect("an installed program runs and reads").path();
        if path.is_file() {
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .expect("an installed program runs and reads");
            file.set_modified(yesterday).expect("an installed program runs and reads");
        }
    }
    site.start()
}

/// What the linter says of a response.
fn lint(linter: &Path, response: &[u8]) -> String {
    let mut child = Command::new(linter)
        .arg("--now")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("an installed program runs and reads");
    child
        .stdin
        .take()
        .expect("an installed program runs and reads")
        .write_all(response)
        .expect("an installed program runs and reads");
    let output = child.wait_with_output().expect("an installed program runs and reads");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("an installed program runs and reads")
}

/// The linter's program, if it is there or can be had.
fn linter() -> Option<PathBuf> {
    let python = tool("python3")?;
    let target =
        proxy_bin().ancestors().nth(2).expect("an installed program runs and reads").to_owned();
    let home = target.join(format!("httplint-{VERSION}"));
    let linter = home.join("bin/httplint");
    if linter.is_file() {
        return Some(linter);
    }
    let package = format!("httplint=={VERSION}");
    let venv = python
        .command()
        .args(["-m", "venv"])
        .arg(&home)
        .output()
        .expect("an installed program runs and reads");
    let pip = Command::new(home.join("bin/pip")).args(["install", "--quiet", &package]).output();
    if linter.is_file() {
        return Some(linter);
    }
    let why = format!("{package} cannot be installed: {venv:?} {pip:?}");
    assert!(!is_required(), "{why}, and FOREBAY_REQUIRE=all forbids to skip");
    skip(&why);
    None
}
