//! Flask, Django and web.py run unchanged.

use forebay_tests::{PATIENCE, Site, pattern, python, wait_until};

fn site(application: &str) -> Option<Site> {
    let python = python()?;
    let builder = python.site_builder(application, &["-w", "2"]);
    let builder = builder.file("download.bin", pattern(300_000));
    Some(builder.path_variable("DOWNLOAD", "download.bin").start())
}

#[test]
fn three_lines_of_the_readme_are_an_application() {
    let Some(python) = python() else { return };
    let readme = include_str!("../../README.md");
    let rest = readme.split_once("```python\n").expect("the README has an application").1;
    let lines = rest.split("```").next().unwrap_or_default();
    assert_eq!(lines.lines().count(), 3);
    let site = python.site_builder("shop:app", &["-w", "2"]).file("shop.py", lines).start();
    assert_eq!(site.client().get("/").text(), "Hello from Flask\n");
}

#[test]
fn examples_are_imported_once() {
    let Some(python) = python() else { return };
    for name in ["flask", "django", "webpy"] {
        let site = python.example(name).start();
        assert_eq!(site.worker_pids().len(), 2, "{name}");
        assert!(!site.stderr().contains("the application has left"), "{}", site.stderr());
    }
}

fn pages_forms_and_errors(site: &Site) {
    let mut client = site.client();
    assert_eq!(client.get("/").text(), "Hello, world");
    assert_eq!(client.get("/?name=you").text(), "Hello, you");
    assert_eq!(client.get("/stream").text(), "0\n1\n2\n");
    assert_eq!(client.get("/nowhere").status, 404);
    assert_eq!(client.get("/boom").status, 500);
    // The edge passes on what its workers write.
    wait_until("the traceback", PATIENCE, || site.stderr().contains("as asked"));
    // In memory, and beyond `content_memory` in a file.
    for size in [10, 500_000] {
        let part =
            |name: &str| format!("--frontier\r\nContent-Disposition: form-data; name={name}");
        let mut form = format!("{}\r\n\r\nvalue\r\n", part("\"field\"")).into_bytes();
        let file = part("\"file\"; filename=\"a.bin\"");
        form.extend(format!("{file}\r\nContent-Type: a/b\r\n\r\n").into_bytes());
        form.extend(pattern(size));
        form.extend(b"\r\n--frontier--\r\n");
        let mut request = format!(
            "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\
             Content-Type: multipart/form-data; boundary=frontier\r\n\r\n",
            form.len()
        )
        .into_bytes();
        request.extend(form);
        let response = site.client().exchange(request);
        assert_eq!(response.status, 200, "{}", site.stderr());
        let answer = response.json();
        assert_eq!(answer["name"], "a.bin");
        assert_eq!(answer["field"], "value");
        assert_eq!(answer["bytes"], size);
    }
}

fn downloads(site: &Site) {
    let mut client = site.client();
    let response = client.get("/download");
    assert_eq!(response.field("content-length"), Some("300000"));
    assert!(response.content == pattern(300_000));
    client.send("HEAD /download HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = client.read_response_to_head();
    assert_eq!(response.field("content-length"), Some("300000"));
    assert_eq!(client.get("/").status, 200);
}

fn sessions(site: &Site) {
    let first = site.client().get("/count");
    assert_eq!(first.text(), "1");
    let cookie = first.field("set-cookie").and_then(|cookie| cookie.split(';').next());
    let cookie = cookie.expect("a session has a cookie");
    let request = format!("GET /count HTTP/1.1\r\nHost: test\r\nCookie: {cookie}\r\n\r\n");
    assert_eq!(site.client().exchange(request).text(), "2");
}

#[test]
fn flask() {
    let Some(site) = site("flask_site:app") else { return };
    pages_forms_and_errors(&site);
    downloads(&site);
    sessions(&site);
    let range = "GET /download HTTP/1.1\r\nHost: test\r\nRange: bytes=1000-1009\r\n\r\n";
    let response = site.client().exchange(range);
    assert_eq!(response.status, 206);
    assert!(response.content == pattern(300_000)[1000..1010]);
}

#[test]
fn a_flask_factory() {
    let Some(site) = site("flask_site:create(name='made')") else { return };
    assert_eq!(site.client().get("/").text(), "made");
}

#[test]
fn django() {
    let Some(site) = site("django_site") else { return };
    pages_forms_and_errors(&site);
    downloads(&site);
    sessions(&site);
}

#[test]
fn web_py() {
    let Some(site) = site("web_site:application") else { return };
    pages_forms_and_errors(&site);
}
