//! RFC 9110 §7.6, §10.1, §17: what a client says is not taken for what others say.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forebay_tests::{PATIENCE, Site, Strict, wait_until};
use serde_json::Value;
use std::fs;

/// §7.6.1: fields named by `Connection` go, but not those that protect somebody.
#[test]
fn connection_removes_only_what_it_may_rfc_9110_7_6_1() {
    let edge = Strict::edge();
    let fields = "Connection: close, B, X-Forwarded-For, Host, Cookie, Authorization, \
                  Content-Length, Content-Type, X-Real-IP, X-Request-Id, Forebay-Peer\r\n\
                  B: c\r\nCookie: d\r\nAuthorization: e\r\nContent-Type: f/g\r\n";
    let seen = seen(&edge, fields);
    assert_eq!(values(&seen, "b"), Vec::<String>::new());
    for (name, value) in [
        ("host", "a"),
        ("cookie", "d"),
        ("authorization", "e"),
        ("content-type", "f/g"),
        ("content-length", "1"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(values(&seen, name), [value], "{name}");
    }
    assert_eq!(values(&seen, "x-request-id").len(), 1);
    assert_eq!(values(&seen, "connection"), Vec::<String>::new());
    edge.finish();
}

/// §17.10: names that CGI folds into others do not pass, so nothing can be spoofed through them.
#[test]
fn names_that_fold_into_others_do_not_pass_rfc_9110_17_10() {
    let edge = Strict::edge();
    let seen = seen(
        &edge,
        "X_Forwarded_For: evil\r\nX-Forwarded_For: evil\r\nX.Forwarded.For: evil\r\n\
         Content_Length: 999\r\nHost_: evil\r\nRemote_User: evil\r\nHTTP_HOST: evil\r\n\
         Script_Name: evil\r\nPath_Info: evil\r\nwsgi.input: evil\r\n_: evil\r\n",
    );
    assert!(!format!("{seen:?}").contains("evil"), "{seen:?}");
    assert_eq!(values(&seen, "content-length"), ["1"]);
    edge.finish();
}

/// RFC 7239 §8.1, and httpoxy: facts about the connection are the edge's own.
#[test]
fn facts_cannot_be_forged_rfc_7239_8_1() {
    let edge = Strict::edge();
    let seen = seen(
        &edge,
        "X-Forwarded-For: evil\r\nX-FORWARDED-FOR: evil\r\nX-Forwarded-Proto: evil\r\n\
         X-Forwarded-Host: evil\r\nX-Forwarded-Port: evil\r\nX-Forwarded-Prefix: evil\r\n\
         X-Forwarded-Server: evil\r\nForwarded: for=evil\r\nX-Real-IP: evil\r\n\
         X-Request-Id: evil\r\nX-Accel-Redirect: evil\r\nX-Accel-Internal: evil\r\n\
         Proxy: http://evil\r\nproxy: http://evil\r\nForebay-Peer: evil\r\n\
         Forebay-Deadline-Ms: 666\r\nForebay-Content-Fd: 0\r\nforebay-scheme: evil\r\n",
    );
    assert!(!format!("{seen:?}").contains("evil"), "{seen:?}");
    assert_eq!(values(&seen, "x-forwarded-for"), ["127.0.0.1"]);
    edge.finish();
}

/// §10.1.1: 100 only from who will read the content; 417 for what nobody knows.
#[test]
fn expectations_are_met_or_refused_rfc_9110_10_1_1() {
    let mut edge = Strict::on(Site::builder().limit("content_max = \"1KiB\""));
    let post = |version: &str, fields: &str| {
        format!("POST /once/bad HTTP/{version}\r\nHost: a\r\n{fields}\r\n\r\na")
    };
    for expectation in ["100-continu", "100-continue, x", "x", "200-ok", "\"100-continue\"", ""] {
        let fields = format!("Content-Length: 1\r\nExpect: {expectation}");
        edge.refuses(format_args!("{expectation:?}"), post("1.1", &fields), 417);
    }
    let twice = "Content-Length: 1\r\nExpect: 100-continue\r\nExpect: 100-continue";
    edge.refuses("two", post("1.1", twice), 417);
    let large = "Content-Length: 9999\r\nExpect: 100-continue";
    edge.refuses("too much content", post("1.1", large), 413);
    let framed = "Transfer-Encoding: gzip\r\nExpect: 100-continue";
    edge.refuses("an unknown coding", post("1.1", framed), 501);
    let good =
        post("1.0", "Content-Length: 1\r\nExpect: 100-continue").replace("/once/bad", "/echo");
    let response = edge.site().client().exchange(good);
    assert_eq!(response.status, 200, "HTTP/1.0 knows no interim responses");
    edge.finish();
}

/// §8.4: content is passed on as it came; what it would unpack to is nothing to us.
#[test]
fn compressed_content_is_not_unpacked_rfc_9110_8_4() {
    let edge = Strict::edge();
    // Ten bytes of head, then rubbish: nobody looks into it.
    let bomb = [b"\x1f\x8b\x08\0\0\0\0\0\0\x03".as_slice(), &[0xff; 500]].concat();
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    );
    let echo = edge.site().client().exchange([head.as_bytes(), &bomb].concat()).json();
    assert_eq!(STANDARD.decode(echo["content"].as_str().unwrap()).unwrap(), bomb);
    edge.finish();
}

/// §17: what clients say cannot add lines to the log, nor control the terminal that shows it.
#[test]
fn logs_cannot_be_forged_rfc_9110_17() {
    let edge = Strict::on(Site::builder().server("access_log = \"access.log\""));
    let log = || fs::read(edge.site().path("access.log")).unwrap_or_default();
    for (target, fields) in [
        ("/hello?\"\\", "User-Agent: \" 200 1 \"\\\r\nReferer: \u{e9}\"\t\"\r\n"),
        ("/hello?%0d%0a127.0.0.1", "User-Agent: %0d%0a\r\n"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(edge.site().client().exchange(request).status, 200);
    }
    for refused in ["\x1b[2J / HTTP/1.1\r\n\r\n", "GET /\x1b[0m\"\0\u{e9} HTTP/1.1\r\n\r\n"] {
        assert_eq!(edge.site().client().exchange(refused).status, 400);
    }
    wait_until("four lines", PATIENCE, || lines(&log()).len() == 4);
    for line in lines(&log()) {
        assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)), "{}", line.escape_ascii());
        assert_eq!(quotes(&line), 6, "{}", line.escape_ascii());
    }
    edge.finish();
}

fn lines(log: &[u8]) -> Vec<Vec<u8>> {
    log.split_inclusive(|byte| *byte == b'\n').map(|line| line.trim_ascii_end().to_vec()).collect()
}

/// Quotes that are not escaped.
fn quotes(line: &[u8]) -> usize {
    let text = String::from_utf8_lossy(line).replace("\\\\", "").replace("\\\"", "");
    text.matches('"').count()
}

/// §17: our own answers show nothing that a browser could take for a script.
#[test]
fn answers_of_our_own_repeat_nothing_rfc_9110_15() {
    let edge = Strict::on(Site::builder().files("/static/", "root"));
    for request in [
        "GET /static/<script>alert(1)</script> HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /<script> HTTP/1.1\r\nHost: a\r\n<script>: a\r\n\r\n",
        "<script> / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: <script>\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: <script>\r\n\r\n",
    ] {
        let response = edge.site().client().exchange(request);
        assert!(response.status >= 400, "{request}: {}", response.status);
        assert!(!response.text().contains("script"), "{request}: {}", response.text());
        let media_type = response.field("Content-Type").unwrap_or_default();
        assert!(media_type.starts_with("text/plain"), "{media_type}");
    }
    edge.finish();
}

/// §17, §15.4: a path that begins with `//` is no other host.
#[test]
fn redirects_stay_on_their_host_rfc_9110_15_4() {
    let site = Site::builder()
        .files("/", "root")
        .file("root/evil.example/index.html", "here")
        .route("path = \"/moved/\"\nredirect = \"/{target}?moved\"");
    let site = site.start();
    let mut client = site.client();
    for target in [
        "/evil.example",
        "//evil.example",
        "///evil.example",
        "//evil.example/../x",
        "/moved/../..//evil.example",
        "/moved//evil.example",
    ] {
        let response = client.get(target);
        let location = response.field("Location").unwrap_or("/");
        let is_local = location.starts_with('/') && !location.starts_with("//");
        assert!(is_local, "{target} leads to {location}");
        if response.status == 400 {
            client = site.client();
        }
    }
}

fn seen(edge: &Strict, fields: &str) -> Vec<(String, String)> {
    let request = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n{fields}\r\nx");
    let echo = edge.site().client().exchange(request).json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fields = echo["fields"].as_array().expect("a list");
    fields.iter().map(|field| (text(&field[0]).to_lowercase(), text(&field[1]))).collect()
}

fn values(fields: &[(String, String)], name: &str) -> Vec<String> {
    fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.clone()).collect()
}
