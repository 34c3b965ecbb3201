//! Heads are begun, begun anew and refused as PEP 3333 says ("The start_response() Callable").

use forebay_tests::{Client, Response, Site, python};

fn get(site: &Site, path: &str) -> Response {
    site.client().get(path)
}

#[test]
fn what_the_application_says_arrives() {
    let Some(python) = python() else { return };
    let site = python.site("heads:application", &[]);
    let raw = |path: &str| {
        let mut client = site.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
        String::from_utf8_lossy(&client.read_to_end()).into_owned()
    };
    let plain = get(&site, "/plain");
    assert_eq!((plain.status, plain.text()), (200, "content"));
    assert_eq!(plain.field("content-length"), Some("7"));
    assert!(raw("/custom-reason").starts_with("HTTP/1.1 299 Custom Reason\r\n"));
    assert!(raw("/no-reason").starts_with("HTTP/1.1 200 OK\r\n"));
    let mut client = site.client();
    client.send("GET /latin-1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let bytes = client.read_to_end();
    let has = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    assert!(has(b"X-Name: caf\xe9\r\n"), "{}", String::from_utf8_lossy(&bytes));
    let repeated = get(&site, "/repeated");
    let cookies =
        repeated.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    assert_eq!(cookies.map(|(_, value)| &value[..]).collect::<Vec<_>>(), ["a=1", "b=2"]);
    let text = raw("/hop-by-hop");
    assert!(!text.contains("Keep-Alive: 5"), "{text}");
    assert_eq!(get(&site, "/reserved").text(), "content");
    assert_eq!(get(&site, "/mutated").field("x-a"), Some("1"));
    // More than PEP 3333 asks for: other servers take it.
    for path in ["/items", "/tuple", "/lists", "/generator"] {
        let response = get(&site, path);
        assert_eq!((response.status, response.text()), (200, "content"), "{path}");
        assert_eq!(response.field("content-type"), Some("text/plain"), "{path}");
    }
}

/// "It is a fatal error to call start_response without the exc_info argument if start_response
/// has already been called within the current invocation of the application."
#[test]
fn it_is_called_once() {
    let Some(python) = python() else { return };
    let site = python.site("heads:application", &[]);
    assert_eq!(get(&site, "/twice").text(), "refused");
}

/// "If exc_info is supplied, and no HTTP headers have been output yet, start_response should
/// replace the currently-stored HTTP response headers"; "if the HTTP headers have already been
/// sent, start_response must raise an error, and should re-raise using the exc_info tuple."
#[test]
fn an_error_page_replaces_the_head_while_it_can() {
    let Some(python) = python() else { return };
    let site = python.site("heads:application", &[]);
    let replaced = get(&site, "/replaced");
    assert_eq!((replaced.status, replaced.text()), (500, "error page"));
    assert_eq!((replaced.field("x-first"), replaced.field("x-second")), (None, Some("2")));
    let late = get(&site, "/raised-again");
    assert_eq!((late.status, late.text()), (200, "sent, then 'after'"));
}

#[test]
fn what_is_no_head_is_the_applications_error() {
    let Some(python) = python() else { return };
    let site = python.site("heads:application", &[]);
    let (worker, address) = python.bound("heads:application");
    for path in ["/status-low", "/status-high", "/status-text", "/status-number"] {
        assert_eq!(get(&site, path).status, 500, "{path}");
        assert_eq!(Client::connect(address).get(path).status, 500, "{path}");
    }
    assert!(worker.stderr().contains("GET /status-high: the application has failed"));
    assert!(worker.stderr().contains("ValueError: a status is"), "{}", worker.stderr());
    for (path, error) in [
        ("/status-bytes", "TypeError"),
        ("/status-injected", "ValueError"),
        ("/name-injected", "ValueError"),
        ("/value-injected", "ValueError"),
        ("/value-number", "TypeError"),
        ("/value-bytes", "TypeError"),
        ("/length-text", "ValueError"),
        ("/beyond-latin-1", "ValueError"),
        ("/no-tuples", "TypeError"),
        ("/no-list", "TypeError"),
        ("/failing-generator", "ValueError"),
        ("/three", "TypeError"),
        ("/number", "TypeError"),
    ] {
        let response = get(&site, path);
        assert_eq!((response.status, response.text()), (200, error), "{path}");
    }
    let said = get(&site, "/value-said");
    assert!(said.text().ends_with(r"; not ('X-A', 'b\r\nc')"), "{}", said.text());
    assert_eq!(site.worker_pids().len(), 1);
    assert!(!site.stderr().contains("has exited"), "{}", site.stderr());
}

#[test]
fn a_response_that_has_ended_cannot_be_written_to() {
    let Some(python) = python() else { return };
    let site = python.site("heads:application", &[]);
    let mut client = site.client();
    assert_eq!(client.get("/kept").text(), "kept");
    assert_eq!(client.get("/kept").text(), "refused");
}
