//! The content of a request is read in every way that files are (PEP 3333, "Input and Error
//! Streams"), from memory and from a file alike.

use forebay_tests::{pattern, python, sha256};

#[test]
fn calls_mix() {
    let Some(python) = python() else { return };
    // Beyond `content_memory` it comes as a file.
    let builder = python.site_builder("reading:application", &[]).limit("content_memory = 4");
    for site in [python.site("reading:application", &[]), builder.start()] {
        let ask = |content: &str, calls: &str| {
            let calls = calls.replace(' ', "%20");
            let length = content.len();
            let request = format!(
                "POST /?{calls} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{content}"
            );
            site.client().exchange(request).text().to_owned()
        };
        for (content, calls, expected) in [
            ("abcdef", "read", "[b'abcdef']"),
            ("abcdef", "read;read", "[b'abcdef', b'']"),
            ("abcdef", "read 2;read", "[b'ab', b'cdef']"),
            ("abcdef", "read 0;read -1;read 5", "[b'', b'abcdef', b'']"),
            ("abcdef", "read None", "[b'abcdef']"),
            ("abcdef", "read 99;read 99", "[b'abcdef', b'']"),
            ("a\nb\nc\n", "readline;readline;readline;readline", r"[b'a\n', b'b\n', b'c\n', b'']"),
            ("a\nb", "readline;readline;readline", r"[b'a\n', b'b', b'']"),
            ("abc\nd", "readline 2;readline 2;readline 2", r"[b'ab', b'c\n', b'd']"),
            ("abc\nd", "readline 0;readline -1;read", r"[b'', b'abc\n', b'd']"),
            ("a\nb\nc", "readlines", r"[[b'a\n', b'b\n', b'c']]"),
            ("a\nb\nc", "readlines 3;readlines 0", r"[[b'a\n', b'b\n'], [b'c']]"),
            ("a\nb\nc", "readlines None", r"[[b'a\n', b'b\n', b'c']]"),
            ("a\n\nb", "list;list", r"[[b'a\n', b'\n', b'b'], []]"),
            ("a\nb\nc", "next;read 1;readline;list", r"[b'a\n', b'b', b'\n', [b'c']]"),
            ("abcdef", "read 1;io", "[b'a', b'bcdef']"),
            ("a\r\nbc", "text;read", r"[['a\n', 'bc'], b'']"),
            ("abc", "text itself;read", "['abc', b'']"),
            ("", "read;readline;readlines;list", "[b'', b'', [], []]"),
        ] {
            assert_eq!(ask(content, calls), expected, "{content:?}: {calls}");
        }
    }
}

#[test]
fn large_content_arrives_whole() {
    let Some(python) = python() else { return };
    let site = python.site("reading:hashed", &[]);
    let content = pattern(3_000_001);
    let mut client = site.client();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3000001\r\n\r\n");
        assert_eq!(client.exchange(&content).text(), sha256(&content));
    }
    let (_worker, address) = python.bound("reading:hashed");
    let mut client = forebay_tests::Client::connect(address);
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3000001\r\n\r\n");
    assert_eq!(client.exchange(&content).text(), sha256(&content));
}

#[test]
fn long_lines_are_found_in_files() {
    let Some(python) = python() else { return };
    let site = python.site("reading:application", &[]);
    let line = format!("{}\n", "x".repeat(50_000));
    let content = line.repeat(3);
    let request = format!(
        "POST /?readline;read%2050000;readline;readline HTTP/1.1\r\nHost: test\r\n\
         Content-Length: {}\r\n\r\n{content}",
        content.len()
    );
    let text = site.client().exchange(request).text().to_owned();
    let x = "x".repeat(50_000);
    assert!(text == format!(r"[b'{x}\n', b'{x}', b'\n', b'{x}\n']"), "{} bytes", text.len());
}
