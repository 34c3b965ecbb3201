//! The examples in Python work in a browser, and their files come from the edge.
//!
//! Each is started as its README says, from its own configuration.

use forebay_tests::{Browser, PATIENCE, Python, Site, pattern, python, wait_until};
use std::fs;
use std::io::Write;
use std::process::Command;
use tempfile::NamedTempFile;

#[test]
fn flask() {
    let Some((python, mut browser)) = python().zip(Browser::start()) else { return };
    let site = python.example("flask").start();
    let picture = file(".png", PICTURE);
    browser.open(&site.url("/"));
    assert_eq!(browser.texts("#none"), ["Nobody has written anything yet."]);
    browser.follow("a[href='/register']");
    sign(&mut browser, "form > button");
    assert!(browser.url().ends_with("/log-in"), "{}", browser.url());
    sign(&mut browser, "main button");
    assert_eq!(browser.texts("#who"), ["ada"]);

    browser.follow("#write");
    browser.fill("[name=title]", "Zwölf Boxkämpfer");
    browser.fill("[name=text]", "<b>bold</b>");
    browser.choose_file("[name=picture]", picture.path());
    browser.follow("#save");
    assert_eq!(browser.texts("article h2"), ["Zwölf Boxkämpfer"]);
    assert_eq!(browser.texts("article p:last-child"), ["<b>bold</b>"]);
    assert_eq!(browser.evaluate("document.querySelector('article img').naturalWidth"), 1);

    browser.follow(".change");
    browser.fill("[name=title]", "Changed");
    browser.follow("#save");
    assert_eq!(browser.texts("article h2"), ["Changed"]);
    assert_eq!(browser.evaluate("document.querySelector('article img').naturalWidth"), 1);
    browser.follow(".change");
    // Asks whether that is meant.
    browser.follow("#delete");
    assert_eq!(browser.texts("#none").len(), 1);
    let left = fs::read_dir(site.path("pictures")).unwrap().count();
    assert_eq!(left, 0, "its picture is deleted, too");
    browser.follow("header button");
    assert_eq!(browser.texts("#who"), [""; 0]);
    assert_eq!(browser.faults(), [""; 0]);
    came_from_the_edge(&site, &["/static/style.css", "/pictures/"]);
}

#[test]
fn django() {
    let Some((python, mut browser)) = python().zip(Browser::start()) else { return };
    let site = prepared(python);
    let document = file(".txt", &pattern(500_000));
    browser.open(&site.url("/"));
    browser.fill("#id_username", "ada");
    browser.fill("#id_password", PASSWORD);
    browser.follow("#log-in");
    assert_eq!(browser.texts("#none"), ["Nothing yet."]);
    browser.follow("#upload");
    browser.fill("#id_title", "Pattern");
    browser.choose_file("#id_file", document.path());
    browser.follow("#save");
    assert_eq!(browser.texts(".document"), ["Pattern"]);
    let bytes = browser.evaluate(
        "fetch(document.querySelector('.document').href)
            .then(answer => answer.arrayBuffer()).then(bytes => bytes.byteLength)",
    );
    assert_eq!(bytes, 500_000);

    browser.follow("a[href='/admin/']");
    browser.follow("a[href='/admin/documents/document/add/']");
    browser.fill("#id_title", "By an administrator");
    browser.choose_file("#id_file", document.path());
    browser.follow("[name=_save]");
    assert_eq!(browser.texts("th.field-title"), ["By an administrator", "Pattern"]);
    browser.open(&site.url("/admin/auth/user/add/"));
    browser.fill("#id_username", "grace");
    browser.fill("#id_password1", PASSWORD);
    browser.fill("#id_password2", PASSWORD);
    browser.follow("[name=_save]");
    browser.open(&site.url("/admin/auth/user/"));
    assert_eq!(browser.texts("th.field-username"), ["ada", "grace"]);

    for left in [1, 0] {
        browser.open(&site.url("/"));
        browser.follow(".delete");
        browser.follow("#delete");
        assert_eq!(browser.texts(".document").len(), left);
    }
    browser.follow("#log-out");
    assert!(browser.url().ends_with("/log-in"), "{}", browser.url());
    assert_eq!(browser.faults(), [""; 0]);
    came_from_the_edge(&site, &["/static/documents/", "/static/admin/", "/media/"]);
}

#[test]
fn web_py() {
    let Some((python, mut browser)) = python().zip(Browser::start()) else { return };
    let site = python.example("webpy").start();
    browser.open(&site.url("/"));
    for name in ["Ada", "Grace"] {
        browser.fill("[name=name]", name);
        browser.fill("[name=text]", "<i>was here</i>");
        browser.follow("#write");
    }
    assert_eq!(browser.texts("h2"), ["Grace", "Ada"]);
    assert_eq!(browser.texts("article p"), ["<i>was here</i>", "<i>was here</i>"]);
    assert_eq!(browser.faults(), [""; 0]);
    came_from_the_edge(&site, &["/static/style.css"]);
}

/// With an administrator `ada`.
fn prepared(python: &Python) -> Site {
    let site = python.example("django");
    let mut prepare = Command::new(python.interpreter());
    prepare.args(["manage.py", "prepare", "--no-input"]).current_dir(site.path("."));
    prepare.env("DJANGO_SUPERUSER_USERNAME", "ada").env("DJANGO_SUPERUSER_PASSWORD", PASSWORD);
    prepare.env("DJANGO_SUPERUSER_EMAIL", "ada@example.com");
    let done = prepare.output().expect("the interpreter runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    site.start()
}

fn sign(browser: &mut Browser, button: &str) {
    browser.fill("[name=name]", "ada");
    browser.fill("[name=password]", PASSWORD);
    browser.follow(button);
}

fn file(suffix: &str, content: &[u8]) -> NamedTempFile {
    let file = tempfile::Builder::new().prefix("chosen-").suffix(suffix).tempfile();
    let mut file = file.expect("temporary files can be made");
    file.write_all(content).expect("there is room for it");
    file
}

/// Below each of these prefixes something was asked for, and a worker gave none of it (`ut`).
fn came_from_the_edge(site: &Site, prefixes: &[&str]) {
    let log = || fs::read_to_string(site.path("access.log")).unwrap_or_default();
    for prefix in prefixes {
        let request = format!("\"GET {prefix}");
        wait_until(&request, PATIENCE, || log().contains(&request));
        for line in log().lines().filter(|line| line.contains(&request)) {
            assert!(line.contains(" ut=-"), "not from the edge: {line}");
        }
    }
}

const PASSWORD: &str = "correct horse battery";

/// One pixel.
const PICTURE: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\n\
    IDATx\xdach\0\0\0\x82\0\x81\xdaE\x08;\0\0\0\0\
    IEND\xaeB`\x82";
