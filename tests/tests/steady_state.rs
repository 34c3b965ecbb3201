//! Under load there are no errors and the memory of the edge does not grow.

use forebay_tests::{Load, PATIENCE, Site, resident_bytes, wait_until};

#[test]
fn memory_does_not_grow_on_a_file() {
    under_load("/static/1k");
}

#[test]
fn memory_does_not_grow_on_an_application() {
    under_load("/hello");
}

fn under_load(target: &str) {
    let site = Site::builder()
        .files("/static/", "static")
        .file("static/1k", [b'x'; 1024])
        .app("hello", 2)
        .start();
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    let load = Load::start(site.address(), request, 16);
    let after = |answers| {
        wait_until("answers", PATIENCE, || load.answered() >= answers);
        resident_bytes(site.pid())
    };
    let warm = after(3_000);
    let later = after(12_000);
    load.stop().assert_all_answered();
    let grown = later.saturating_sub(warm);
    println!("{target}: {warm} bytes after warm-up, {grown} more after 9,000 answers");
    assert!(grown < 1 << 20, "{grown} bytes in 9,000 answers");
}
