//! No spelling of a path leads out of a directory that is served, or to what lies hidden in it.
//!
//! All around the served directory lie files that nobody may get, and every way that is known to
//! have led to such files elsewhere is tried, in the target as a path and as a whole address.

use forebay_tests::{Client, Response, Site, SiteBuilder};
use std::os::unix::fs::symlink;

/// What is in every file that must not be served.
const BAIT: &str = "the bait";

/// Ways up, to be followed by a name beside the root. Each may come any number of times.
const UPWARDS: &[&str] = &[
    "../",
    "..//",
    ".././",
    "./../",
    "%2e%2e/",
    "%2E%2E/",
    "%2e./",
    ".%2e/",
    ".%2E/",
    "..%2f",
    "..%2F",
    "%2e%2e%2f",
    "%2e%2e%2F",
    "..%5c",
    "..%5C",
    "..\\",
    "%2e%2e\\",
    "%2e%2e%5c",
    "%252e%252e/",
    "%252e%252e%252f",
    "..%252f",
    "%25252e%25252e/",
    "..%c0%af",
    "..%c1%9c",
    "%c0%ae%c0%ae/",
    "%c0%ae%c0%ae%c0%af",
    "%e0%80%ae%e0%80%ae/",
    "%e0%80%ae%e0%80%ae%e0%80%af",
    "%f0%80%80%ae%f0%80%80%ae/",
    "%uff0e%uff0e/",
    "%u002e%u002e%u2215",
    "..%ef%bc%8f",
    "%ef%bc%8e%ef%bc%8e/",
    "..;/",
    "..;a=b/",
    "..%3b/",
    "..%00/",
    "..%0d/",
    "..%0a/",
    "..%0d%0a/",
    "..%09/",
    "..%20/",
    "..%2e/",
    "...//",
    "....//",
    "....\\/",
    "..../",
    ".../",
    "x/../../",
    "folder/../../",
    "folder/%2e%2e/%2e%2e/",
    "%2f../",
    "/../",
    "//../",
    "/%2e%2e/",
    "\\../",
    "%5c../",
    "%5C..%5c",
    "./%2e%2e/",
    ".//../",
    "..%01/",
    "..%7f/",
    "..%ff/",
    "..%80%af",
    "..%2f%2f",
    "..%u2215",
    "..%u2216",
    "%2e%2e%u2215",
    "..%bg%qf",
    "..%2",
    "..%",
];

/// Whole targets behind the route's prefix that name a file absolutely, by link, or by a name that
/// is hidden or no regular file's.
const OTHERS: &[&str] = &[
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "%2Fetc/passwd",
    "file:///etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd",
    "\\etc\\passwd",
    "%5cetc%5cpasswd",
    "/proc/self/environ",
    "link-up",
    "link-up-folder/bait",
    "link-absolute",
    "link-to-root/etc/passwd",
    "link-back/bait",
    "link-proc/environ",
    "link-chain",
    ".hidden",
    "%2ehidden",
    "folder/.hidden",
    "folder/%2Ehidden",
    ".hidden/",
    ".git/config",
    "%2egit/config",
    ".git%2fconfig",
    ".%67it/config",
    ".well-known/.hidden",
    "folder/.well-known/bait",
    ".well-known/../.hidden",
    ".htaccess",
    "fifo",
    "socket",
    "file.txt%00",
    "file.txt%00.png",
    ".hidden%00.txt",
    "file.txt/../.hidden",
    "file.txt/.",
    "file.txt/..%2f.hidden",
    "::$DATA",
    "file.txt::$DATA",
    ".hidden.",
    "%2e%68idden",
    "folder//.hidden",
    "folder%2f.hidden",
    "folder\\.hidden",
];

#[test]
fn no_way_up_leads_to_a_bait() {
    let site = site().start();
    let mut tried = 0;
    for up in UPWARDS {
        for (times, name) in
            [(1, "bait"), (2, "bait"), (3, "bait"), (8, "etc/passwd"), (1, "s-more/bait"), (1, "")]
        {
            for prefix in ["/s/", "/s", "/s/folder/", "/"] {
                expect_nothing(&site, &format!("{prefix}{}{name}", up.repeat(times)));
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn no_other_name_leads_to_a_bait() {
    assert!(UPWARDS.len() + OTHERS.len() >= 80);
    let site = site().start();
    for name in OTHERS {
        expect_nothing(&site, &format!("/s/{name}"));
        expect_nothing(&site, &format!("/s/{name}?x=/../bait"));
    }
}

#[test]
fn what_may_be_served_is_served() {
    let site = site().start();
    let mut client = site.client();
    for target in [
        "/s/file.txt",
        "/s/./file.txt",
        "/s/folder/../file.txt",
        "/s/%66ile.txt",
        "/s/folder/%2e%2e/file.txt",
        "/s/link-within",
        "/s/.well-known/file.txt",
        "/s/%2ewell-known/file.txt",
        "/s/..a/file.txt",
        "/s/100%25/file.txt",
        "/s/%252e%252e/file.txt",
    ] {
        let response = client.get(target);
        let is_hidden = target.contains("/..a/");
        assert_eq!(response.status, if is_hidden { 404 } else { 200 }, "{target}");
        assert_eq!(response.text() == "to be served", !is_hidden, "{target}");
    }
}

fn site() -> SiteBuilder {
    let mut site = Site::builder().files("/s/", "s");
    for name in [
        "s/file.txt",
        "s/.well-known/file.txt",
        "s/..a/file.txt",
        "s/100%/file.txt",
        "s/%2e%2e/file.txt",
    ] {
        site = site.file(name, "to be served");
    }
    for name in [
        "bait",
        "etc/passwd",
        "s-more/bait",
        "folder/bait",
        "s/.hidden",
        "s/.hidden.",
        "s/.htaccess",
        "s/.git/config",
        "s/folder/.hidden",
        "s/folder/.well-known/bait",
        "s/.well-known/.hidden",
        "s/folder/..\\bait",
    ] {
        site = site.file(name, BAIT);
    }
    for (name, leads_to) in [
        ("link-within", "folder/../file.txt"),
        ("link-up", "../bait"),
        ("link-up-folder", ".."),
        ("link-absolute", "/etc/passwd"),
        ("link-to-root", "/"),
        ("link-back", "../s/../folder"),
        ("link-proc", "/proc/self"),
        ("link-chain", "link-up"),
    ] {
        symlink(leads_to, site.path("s").join(name)).expect("a new folder is writable");
    }
    let fifo = std::process::Command::new("mkfifo")
        .arg(site.path("s/fifo"))
        .status()
        .expect("a new folder is writable");
    assert!(fifo.success());
    // Whoever keeps it open keeps the name; nobody has to listen.
    drop(
        std::os::unix::net::UnixListener::bind(site.path("s/socket"))
            .expect("a new folder is writable"),
    );
    site
}

/// Neither as a path nor in absolute form (RFC 9112 §3.2.2), and nobody hangs.
fn expect_nothing(site: &Site, target: &str) {
    let absolute = format!("http://test{target}");
    for target in [target, &absolute] {
        let mut client = site.client();
        let response = get(&mut client, target);
        let text = String::from_utf8_lossy(&response.content);
        assert!(!text.contains(BAIT) && !text.contains("root:"), "{target}: {text}");
        assert!([301, 400, 404].contains(&response.status), "{target}: {}", response.status);
    }
}

fn get(client: &mut Client, target: &str) -> Response {
    client.exchange(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
}
