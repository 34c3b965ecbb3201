//! Which file answers, and with which fields, is as the route says.

use forebay_tests::{Client, Response, Site};
use std::os::unix::fs::symlink;

#[test]
fn a_neighbour_answers_if_the_client_prefers_its_coding() {
    let site = Site::builder()
        .file("s/a.css", "plain")
        .file("s/a.css.br", "as br")
        .file("s/a.css.zst", "as zstd")
        .file("s/a.css.gz", "as gzip")
        .file("s/b.js", "only plain")
        .route("path = \"/s/\"\nfiles = \"s\"\nprecompressed = true")
        .route("path = \"/plain/\"\nfiles = \"s\"")
        .start();
    let mut client = site.client();
    for (accepted, coding) in [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip;q=1, br;q=0.5, zstd;q=0.9", "gzip"),
        ("zstd, br;q=0.9", "zstd"),
        ("*", "br"),
    ] {
        let field = format!("Accept-Encoding: {accepted}");
        let response = get(&mut client, "/s/a.css", &field);
        assert_eq!(response.text(), format!("as {coding}"), "{accepted}");
        assert_eq!(response.field("Content-Encoding"), Some(coding));
        assert_eq!(response.field("Content-Type"), Some("text/css; charset=utf-8"));
        assert_eq!(response.field("Vary"), Some("Accept-Encoding"));
        let tag = response.field("ETag").unwrap();
        let again = get(&mut client, "/s/a.css", &format!("{field}\r\nIf-None-Match: {tag}"));
        assert_eq!((again.status, again.field("Vary")), (304, Some("Accept-Encoding")));
        let plain = get(&mut client, "/s/a.css", &format!("If-None-Match: {tag}"));
        assert_eq!((plain.status, plain.text()), (200, "plain"), "validators are its own");
        let part = get(&mut client, "/s/a.css", &format!("{field}\r\nRange: bytes=0-1"));
        assert_eq!((part.status, part.text()), (206, "as"));
        assert_eq!(part.field("Content-Encoding"), Some(coding));
    }
    for (target, accepted) in [
        ("/s/a.css", "identity"),
        ("/s/a.css", "br;q=0"),
        ("/s/b.js", "br"),
        ("/plain/a.css", "br"),
    ] {
        let response = get(&mut client, target, &format!("Accept-Encoding: {accepted}"));
        assert!(response.text().ends_with("plain"), "{target} {accepted}");
        assert_eq!(response.field("Content-Encoding"), None);
        assert_eq!(response.field("Vary").is_some(), target.starts_with("/s/"));
    }
}

#[test]
fn fields_are_the_routes_and_the_rules() {
    let site = Site::builder()
        .file("s/index.html", "")
        .file("s/app.3f9a2b1c.js", "")
        .file("s/data.bin", "")
        .route(
            "path = \"/\"\nfiles = \"s\"\nimmutable = true\ncache_control = \"max-age=60\"\n\
             fields = { X-Content-Type-Options = \"nosniff\" }\n\
             rules = [{ match = \"*.html\", cache_control = \"no-cache\" },\n\
             { match = \"*.bin\",\
             fields = { Content-Type = \"x/y\", X-Content-Type-Options = \"z\" } }]",
        )
        .start();
    let mut client = site.client();
    for (target, cache_control, options) in [
        ("/", "no-cache", "nosniff"),
        ("/app.3f9a2b1c.js", "public, max-age=31536000, immutable", "nosniff"),
        ("/data.bin", "max-age=60", "z"),
    ] {
        let response = client.get(target);
        assert_eq!(response.field("Cache-Control"), Some(cache_control), "{target}");
        let said: Vec<_> = fields(&response, "X-Content-Type-Options");
        assert_eq!(said, [options], "{target}");
    }
    assert_eq!(fields(&client.get("/data.bin"), "Content-Type"), ["x/y"]);
    let script = client.get("/app.3f9a2b1c.js");
    assert_eq!(script.field("Content-Type"), Some("text/javascript; charset=utf-8"));
}

#[test]
fn several_directories_and_a_fallback() {
    let site = Site::builder()
        .file("secret", "secret")
        .file("first/.github/x", "secret")
        .file("first/both", "first")
        .file("second/both", "second")
        .file("second/only", "second")
        .file("second/app.html", "the application")
        .route("path = \"/\"\nfiles = [\"first\", \"second\"]\nfallback = \"app.html\"")
        .start();
    let mut client = site.client();
    for (target, content) in [
        ("/both", "first"),
        ("/only", "second"),
        ("/", "the application"),
        ("/users/7", "the application"),
        ("/users/", "the application"),
        // Nothing that any file is served for.
        ("/a%2Fb", "the application"),
        ("/a//b", "the application"),
        ("/a%5Cb", "the application"),
        ("/.github/x", "the application"),
        ("/%2fsecret", "the application"),
    ] {
        let response = client.get(target);
        assert_eq!((response.status, response.text()), (200, content), "{target}");
    }
    for target in ["/..%2fsecret", "/%2e%2e%2fsecret"] {
        assert_eq!(site.client().get(target).status, 400, "{target}");
    }
}

#[test]
fn links_are_followed_within_the_directory_or_not_at_all() {
    let site = Site::builder()
        .file("s/real/file", "within")
        .file("outside", "outside")
        .route("path = \"/follow/\"\nfiles = \"s\"")
        .route("path = \"/deny/\"\nfiles = \"link\"\nsymlinks = \"deny\"");
    symlink("real/file", site.path("s/link")).unwrap();
    symlink("real", site.path("s/dir")).unwrap();
    symlink("../outside", site.path("s/out")).unwrap();
    symlink(site.path("s/real/file"), site.path("s/absolute")).unwrap();
    symlink("loop", site.path("s/loop")).unwrap();
    symlink("s", site.path("link")).unwrap();
    let site = site.start();
    let mut client = site.client();
    for (name, follow, deny) in [
        ("real/file", 200, 200),
        ("link", 200, 404),
        ("dir/file", 200, 404),
        ("out", 404, 404),
        ("absolute", 404, 404),
        ("loop", 404, 404),
    ] {
        assert_eq!(client.get(&format!("/follow/{name}")).status, follow, "{name}");
        assert_eq!(client.get(&format!("/deny/{name}")).status, deny, "{name}");
    }
}

fn get(client: &mut Client, target: &str, field: &str) -> Response {
    client.exchange(format!("GET {target} HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n"))
}

fn fields<'r>(response: &'r Response, name: &str) -> Vec<&'r str> {
    let of_name = response.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    of_name.map(|(_, value)| value.as_str()).collect()
}
