//! RFC 9110 §14: requests for ranges, sensible or not, never cost more than the file.

use forebay_tests::{Client, Response, Site};

const FILE: &str = "0123456789";

/// §14.2, §17.15: "many small ranges, or overlapping": no more than the whole comes of them.
#[test]
fn range_bombs_get_no_more_than_the_file_rfc_9110_17_15() {
    let site = Site::builder().files("/static/", "root").file("root/a.txt", FILE).start();
    let mut client = site.client();
    for range in [
        "0-,".repeat(1_000) + "0-",
        (0..500).map(|i| format!("{i}-{i}")).collect::<Vec<_>>().join(","),
        "0-9,".repeat(1_300) + "0-9",
        "-1,".repeat(1_300) + "-1",
        "0-0,2-2,4-4,6-6,8-8,1-1,3-3,5-5,7-7,9-9,0-1,2-3,4-5,6-7,8-9,0-2,3-5".into(),
    ] {
        let response = ranged(&mut client, &format!("bytes={range}"));
        let text = response.text();
        let start = &range[..range.len().min(40)];
        match response.status {
            200 => assert_eq!(text, FILE, "{start}"),
            206 | 416 => assert!(text.len() <= FILE.len(), "{start}: {} bytes", text.len()),
            other => panic!("{start}: {other}"),
        }
    }
}

/// §14.1.1, §14.2: numbers beyond all files, and what is no range at all.
#[test]
fn numbers_do_not_overflow_rfc_9110_14_1_1() {
    let site = Site::builder().files("/static/", "root").file("root/a.txt", FILE).start();
    let mut client = site.client();
    for range in [
        "bytes=0-18446744073709551615",
        "bytes=0-18446744073709551616",
        "bytes=0-99999999999999999999999",
        "bytes=18446744073709551615-",
        "bytes=18446744073709551616-",
        "bytes=9223372036854775807-9223372036854775808",
        "bytes=-18446744073709551615",
        "bytes=-18446744073709551616",
        "bytes=-9223372036854775808",
        "bytes=-0",
        "bytes=5-4",
        "bytes=0--1",
        "bytes=--1",
        "bytes=-",
        "bytes=",
        "bytes",
        "bytes=a-b",
        "bytes=0x1-2",
        "bytes=+1-2",
        "bytes=1 - 2",
        "lines=1-2",
        "=0-1",
        ",",
        "",
    ] {
        let response = ranged(&mut client, range);
        let content = response.text();
        match response.status {
            200 => assert_eq!(content, FILE, "{range:?}"),
            206 => assert!(FILE.contains(content) && !content.is_empty(), "{range:?}: {content}"),
            416 => assert!(!content.contains(FILE), "{range:?}: {content}"),
            other => panic!("{range:?}: {other}"),
        }
    }
}

fn ranged(client: &mut Client, range: &str) -> Response {
    let request = format!("GET /static/a.txt HTTP/1.1\r\nHost: a\r\nRange: {range}\r\n\r\n");
    client.exchange(request)
}
