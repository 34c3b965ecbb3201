//! Files are served with validators, beneath their root, as they are now.

use forebay_tests::{Client, PATIENCE, Response, Site, SiteBuilder, pattern, sha256, wait_until};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn a_file_is_whole_and_described() {
    let site = site().start();
    let mut client = site.client();
    let response = client.get("/static/a.txt");
    assert_eq!((response.status, response.text()), (200, "a file"));
    assert_eq!(response.field("Content-Length"), Some("6"));
    assert_eq!(media_type(&response), "text/plain");
    for name in ["ETag", "Last-Modified", "Date"] {
        assert!(response.field(name).is_some(), "{name} in {:?}", response.fields);
    }
    assert_eq!(media_type(&client.get("/static/style.css")), "text/css");
    assert_eq!(client.get("/static/empty").field("Content-Length"), Some("0"));
}

#[test]
fn head_is_get_without_content() {
    let site = site().start();
    let mut client = site.client();
    let got = client.get("/static/a.txt");
    client.send("HEAD /static/a.txt HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.read_response_to_head();
    let without_date = |response: &Response| {
        response.fields.iter().filter(|(name, _)| name != "Date").cloned().collect::<Vec<_>>()
    };
    assert_eq!(head.status, 200);
    assert_eq!(without_date(&head), without_date(&got));
    assert_eq!(client.get("/static/a.txt").status, 200, "no content followed the head");
}

#[test]
fn a_client_that_has_the_file_is_told_so() {
    let site = site().start();
    let mut client = site.client();
    let got = client.get("/static/a.txt");
    let (tag, date) = (got.field("ETag").unwrap(), got.field("Last-Modified").unwrap());
    for (condition, status) in [
        (format!("If-None-Match: {tag}"), 304),
        (format!("If-None-Match: \"other\", {tag}"), 304),
        (format!("If-None-Match: W/{}", tag.trim_start_matches("W/")), 304),
        ("If-None-Match: *".into(), 304),
        ("If-None-Match: \"other\"".into(), 200),
        (format!("If-Modified-Since: {date}"), 304),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT".into(), 200),
        ("If-Modified-Since: yesterday".into(), 200),
        // RFC 9110 §13.2.2: the tag decides, if there is one.
        (format!("If-None-Match: \"other\"\r\nIf-Modified-Since: {date}"), 200),
    ] {
        let response = get_with(&mut client, "/static/a.txt", &condition);
        assert_eq!(response.status, status, "{condition}");
        assert_eq!(response.field("ETag"), Some(tag), "{condition}");
    }
}

#[test]
fn what_is_not_there_is_404() {
    let site = site().start();
    symlink("/etc/passwd", site.path("static/absolute")).unwrap();
    symlink("../secret.txt", site.path("static/upwards")).unwrap();
    let mut client = site.client();
    for target in [
        "/static/none",
        "/static/a.txt/",
        "/static/a.txt/b",
        "/static/folder/none",
        "/static/bare/",
        "/static/.hidden",
        "/static/absolute",
        "/static/upwards",
        "/static/folder%2Findex.html",
        "/staticks",
        "/none",
    ] {
        assert_eq!(client.get(target).status, 404, "{target}");
    }
}

#[test]
fn nothing_outside_of_the_root_is_served() {
    let site = site().start();
    for target in [
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/.%2e/secret.txt",
        "/static/..%2fsecret.txt",
        "/static/..%5csecret.txt",
        "/static/folder/../../secret.txt",
        "/static//../secret.txt",
        "/static/./../secret.txt",
        "/static/%00/../secret.txt",
        "/static/..;/secret.txt",
        "/../secret.txt",
        "/static/%252e%252e/secret.txt",
    ] {
        let response = site.client().get(target);
        assert!([400, 404].contains(&response.status), "{target}: {}", response.status);
        assert!(!response.text().contains("secret content"), "{target}");
    }
}

#[test]
fn dot_segments_within_the_root_are_resolved() {
    let site = site().start();
    let mut client = site.client();
    for target in
        ["/static/folder/../a.txt", "/static/./a.txt", "/static/%61.txt", "/static/a.txt?q"]
    {
        assert_eq!(client.get(target).text(), "a file", "{target}");
    }
}

#[test]
fn a_folder_is_its_index() {
    let site = site().start();
    let mut client = site.client();
    let response = client.get("/static/folder/");
    assert_eq!((response.status, response.text()), (200, "the index"));
    assert_eq!(media_type(&response), "text/html");
    let redirect = client.get("/static/folder?a=b");
    assert_eq!(redirect.status, 301);
    assert_eq!(redirect.field("Location"), Some("/static/folder/?a=b"));
}

#[test]
fn files_can_only_be_read() {
    let site = site().start();
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        // Content that nobody reads ends the connection.
        let mut client = site.client();
        let request =
            format!("{method} /static/a.txt HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nab");
        let response = client.exchange(request);
        assert_eq!(response.status, 405, "{method}");
        let allowed = response.field("Allow").unwrap_or_default();
        assert!(allowed.contains("GET") && allowed.contains("HEAD"), "{allowed:?}");
    }
    assert_eq!(site.client().get("/static/a.txt").text(), "a file");
}

#[test]
fn sizes_around_every_buffer_arrive_whole() {
    let sizes = [1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 131_072, 262_145, 1_000_000];
    let mut builder = site();
    for size in sizes {
        builder = builder.file(&format!("static/{size}"), pattern(size));
    }
    let site = builder.start();
    let mut client = site.client();
    // Twice: first from the file, then perhaps from memory.
    for size in sizes.into_iter().chain(sizes) {
        let response = client.get(&format!("/static/{size}"));
        assert_eq!(sha256(&response.content), sha256(&pattern(size)), "{size} bytes");
    }
}

#[test]
fn a_slow_reader_gets_a_large_file_whole() {
    let content = pattern(10_000_000);
    let site = site().file("static/large", &content).start();
    let mut slow = Client::connect_narrow(site.address());
    slow.send("GET /static/large HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = slow.read_head().unwrap();
    assert_eq!(head.field("Content-Length"), Some("10000000"));
    // Others are served while it reads.
    let begun = slow.read_exactly(1000).unwrap();
    assert_eq!(site.client().get("/static/large").content.len(), content.len());
    let rest = slow.read_exactly(content.len() - begun.len()).unwrap();
    assert_eq!(sha256(&[begun, rest].concat()), sha256(&content));
}

#[test]
fn a_change_is_seen() {
    let site = site().start();
    let mut client = site.client();
    let before = client.get("/static/a.txt");
    fs::write(site.path("new"), "another").unwrap();
    fs::rename(site.path("new"), site.path("static/a.txt")).unwrap();
    wait_until("the new content", PATIENCE, || client.get("/static/a.txt").text() == "another");
    let condition = format!("If-None-Match: {}", before.field("ETag").unwrap());
    assert_eq!(get_with(&mut client, "/static/a.txt", &condition).status, 200);

    fs::remove_file(site.path("static/a.txt")).unwrap();
    wait_until("it is gone", PATIENCE, || client.get("/static/a.txt").status == 404);
    fs::write(site.path("static/a.txt"), "again").unwrap();
    wait_until("it is back", PATIENCE, || client.get("/static/a.txt").status == 200);
}

fn site() -> SiteBuilder {
    Site::builder()
        .files("/static/", "static")
        .file("static/a.txt", "a file")
        .file("static/empty", "")
        .file("static/style.css", "p {}")
        .file("static/bare/file", "no index here")
        .file("static/.hidden", "hidden")
        .file("static/folder/index.html", "the index")
        .file("secret.txt", "secret content")
}

fn get_with(client: &mut Client, target: &str, field: &str) -> Response {
    client.exchange(format!("GET {target} HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n"))
}

fn media_type(response: &Response) -> &str {
    response.field("Content-Type").unwrap_or_default().split(';').next().unwrap_or_default()
}
