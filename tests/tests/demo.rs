//! The demonstration site of the README is whole: its page, and all that the page links to.

use forebay_tests::{Client, PATIENCE, Process, TERM, proxy_bin};
use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn the_page_and_all_its_links_are_served() {
    let mut demo = demo();
    let mut client = Client::connect(demo.listening(1, PATIENCE)[0]);
    let page = client.get("/");
    assert_eq!(page.status, 200);
    assert!(page.field("Content-Type").is_some_and(|kind| kind.starts_with("text/html")));
    let links = links(page.text());
    assert!(links.len() > 1, "the page links to files and to the application: {links:?}");
    for link in links {
        let response = client.get(&link);
        // The page invites to kill a worker, too.
        assert_eq!(response.status, if link == "/exit" { 502 } else { 200 }, "{link}");
        assert!(!response.content.is_empty(), "{link}");
    }
    demo.signal(TERM);
    assert_eq!(demo.wait_exit(PATIENCE).code(), Some(0), "{}", demo.stderr());
}

#[test]
fn two_workers_serve_the_application() {
    let mut demo = demo();
    demo.listening(1, PATIENCE);
    let arbiters = forebay_tests::children(demo.pid());
    let workers: Vec<_> = arbiters.into_iter().flat_map(forebay_tests::children).collect();
    assert_eq!(workers.len(), 2);
}

fn demo() -> Process {
    Process::start(Command::new(proxy_bin()).args(["demo", "--listen", "127.0.0.1:0"]))
}

/// The values of `href` and `src` that stay on this site.
fn links(page: &str) -> BTreeSet<String> {
    let values =
        ["href=\"", "src=\""].into_iter().flat_map(|attribute| page.split(attribute).skip(1));
    let links = values.filter_map(|rest| rest.split('"').next());
    let own = links.filter(|link| !link.contains(':') && !link.starts_with(['#', '?']));
    let absolute = own.map(|link| format!("/{}", link.trim_start_matches('/')));
    absolute.collect()
}
