//! The demonstration site of the README is whole: its page, all that the page links to, and what
//! its buttons do.

use forebay_tests::wait_until;
use forebay_tests::{Browser, Client, HUP, PATIENCE, Process, Response, TERM, children, proxy_bin};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

#[test]
fn the_page_and_all_its_links_are_served() {
    let mut demo = Demo::start("127.0.0.1:0");
    let mut client = demo.client();
    let page = client.get("/");
    assert_eq!(page.status, 200);
    assert!(page.field("Content-Type").is_some_and(|kind| kind.starts_with("text/html")));
    assert_eq!(page.field("Content-Security-Policy"), Some("default-src 'self'"));
    let links = links(page.text());
    assert!(links.len() > 1, "the page links to files and to the application: {links:?}");
    for link in links {
        let response = client.get(&link);
        assert_eq!(response.status, 200, "{link}");
        assert!(!response.content.is_empty(), "{link}");
    }
    demo.process.signal(TERM);
    assert_eq!(demo.process.wait_exit(PATIENCE).code(), Some(0), "{}", demo.process.stderr());
}

#[test]
fn it_ends_with_its_terminal() {
    let mut demo = Demo::start("127.0.0.1:0");
    demo.process.signal(HUP);
    assert_eq!(demo.process.wait_exit(PATIENCE).code(), Some(0), "{}", demo.process.stderr());
}

#[test]
fn two_workers_serve_the_application() {
    assert_eq!(Demo::start("127.0.0.1:0").worker_pids().len(), 2);
}

#[test]
fn a_killed_worker_is_replaced() {
    let demo = Demo::start("127.0.0.1:0");
    let before = demo.worker_pids();
    let killed = demo.press("kill");
    assert_eq!(killed.status, 200, "{}", killed.text());
    let killed = json(&killed)["killed"].as_u64().unwrap();
    assert!(before.iter().any(|pid| u64::from(*pid) == killed), "{killed} is none of {before:?}");
    demo.wait_for("a new worker", |state| {
        let workers = &state["workers"];
        let is_there = |worker: &Value| worker["pid"] == killed;
        let pids = workers["workers"].as_array().unwrap();
        workers["restarts"] == 1 && pids.len() == 2 && !pids.iter().any(is_there)
    });
    assert_eq!(demo.client().get("/hello").status, 200);
}

#[test]
fn slow_requests_keep_workers_and_slow_clients_do_not() {
    let demo = Demo::start("127.0.0.1:0");
    assert_eq!(demo.press("drip").status, 200);
    let busy = |state: &Value| state["edge"]["pools"][0]["busy"].as_u64().unwrap();
    demo.wait_for("50 connections", |state| {
        state["edge"]["connections"]["open"].as_u64().unwrap() > 50
    });
    assert_eq!(demo.press("drip").status, 409, "50 are enough");
    for _ in 0..3 {
        assert_eq!(demo.press("slow").status, 200);
    }
    demo.wait_for("two busy workers", |state| busy(state) == 2);
    demo.wait_for("everybody answered", |state| {
        let visitors = &state["visitors"];
        assert_eq!((&visitors["refused"], &visitors["lost"]), (&Value::from(0), &Value::from(0)));
        visitors["answered"] == 53 && busy(state) == 0
    });
}

#[test]
fn a_crowd_fills_the_queue_and_nobody_is_lost() {
    let demo = Demo::start("127.0.0.1:0");
    assert_eq!(demo.press("crowd").status, 200);
    demo.wait_for("refusals", |state| state["visitors"]["refused"].as_u64().unwrap() > 0);
    demo.wait_for("the end of the crowd", |state| state["visitors"]["crowd"] == 0);
    let visitors = demo.state()["visitors"].take();
    assert_eq!(visitors["lost"], 0, "{visitors}");
    assert!(visitors["answered"].as_u64().unwrap() > 0, "{visitors}");
}

#[test]
fn only_the_page_presses_buttons() {
    let demo = Demo::start("127.0.0.1:0");
    let local = format!("{}", demo.address);
    let field = "X-Forebay-Demo: 1\r\n";
    let cases = [
        ("POST", local.as_str(), field, 200),
        ("POST", "localhost:8080", field, 200),
        ("POST", local.as_str(), "", 403),
        ("POST", "evil.example", field, 403),
        ("GET", local.as_str(), field, 403),
    ];
    for (method, host, field, status) in cases {
        let head = format!("{method} /demo/slow HTTP/1.1\r\nHost: {host}\r\n{field}");
        let response = demo.client().exchange(format!("{head}Content-Length: 0\r\n\r\n"));
        assert_eq!(response.status, status, "{method} {host} {field}");
    }
}

#[test]
fn where_strangers_may_come_there_are_no_buttons() {
    let demo = Demo::start("0.0.0.0:0");
    assert_eq!(demo.state()["may_act"], false);
    for button in ["kill", "slow", "drip", "crowd"] {
        // The route of the files is what is left.
        assert_eq!(demo.press(button).status, 405, "{button}");
    }
    for path in ["/sleep/1000", "/exit", "/bytes/10"] {
        assert_eq!(demo.client().get(path).status, 404, "{path}");
    }
    assert_eq!(demo.client().get("/hello").status, 200);
}

#[test]
fn in_a_browser_it_lives_and_its_buttons_show_what_happens() {
    let Some(mut browser) = Browser::start() else { return };
    let demo = Demo::start("127.0.0.1:0");
    browser.open(&format!("http://{}/", demo.address));
    let mut shows = |what: &str, script: &str| {
        wait_until(what, PATIENCE * 3, || browser.evaluate(script) == true);
    };
    let idle = "[...document.querySelectorAll('#workers li')].filter(w => w.className == 'idle')";
    shows("two workers", &format!("{idle}.length == 2"));
    for line in ["rate", "queued", "open", "file", "hello"] {
        let points = format!("document.querySelector('#{line}-line polyline')?.points.length > 2");
        shows(line, &points);
    }
    let story =
        |word: &str| format!("document.querySelector('#story').innerText.includes('{word}')");
    for (button, word) in
        [("slow", "is busy"), ("drip", "drip"), ("crowd", "sheds"), ("kill", "new worker")]
    {
        browser.click(&format!("[data-act='/demo/{button}']"));
        let told = story(word);
        wait_until(button, PATIENCE * 3, || browser.evaluate(&told) == true);
    }
    // Nothing of the page comes from elsewhere, or is missing.
    let origin = format!("http://{}/", demo.address);
    assert!(
        browser.answers().keys().all(|url| url.starts_with(&origin)),
        "{:?}",
        browser.answers()
    );
    assert!(browser.answers().len() >= 4, "{:?}", browser.answers());
    assert_eq!(browser.faults(), [""; 0]);
}

#[test]
fn it_fits_narrow_windows_and_dark_rooms() {
    let Some(mut browser) = Browser::start() else { return };
    let demo = Demo::start("127.0.0.1:0");
    let mut papers = BTreeSet::new();
    for scheme in ["light", "dark"] {
        browser.look_like(320, scheme);
        browser.open(&format!("http://{}/", demo.address));
        let overflow =
            browser.evaluate("document.documentElement.scrollWidth - document.body.clientWidth");
        assert_eq!(overflow, 0, "{scheme}");
        let paper = browser.evaluate("getComputedStyle(document.body).backgroundColor");
        let ink = browser.evaluate("getComputedStyle(document.body).color");
        assert_ne!(paper, ink);
        papers.insert(paper.to_string());
    }
    assert_eq!(papers.len(), 2, "{papers:?}");
    assert_eq!(browser.faults(), [""; 0]);
}

struct Demo {
    process: Process,
    address: SocketAddr,
}

impl Demo {
    fn start(listen: &str) -> Demo {
        let mut process =
            Process::start(Command::new(proxy_bin()).args(["demo", "--listen", listen]));
        let mut address = process.listening(1, PATIENCE)[0];
        address.set_ip([127, 0, 0, 1].into());
        Demo { process, address }
    }

    fn client(&self) -> Client {
        Client::connect(self.address)
    }

    fn worker_pids(&self) -> Vec<u32> {
        children(self.process.pid()).into_iter().flat_map(children).collect()
    }

    fn press(&self, button: &str) -> Response {
        self.client().exchange(format!(
            "POST /demo/{button} HTTP/1.1\r\nHost: {}\r\nX-Forebay-Demo: 1\r\n\
             Content-Length: 0\r\n\r\n",
            self.address
        ))
    }

    fn state(&self) -> Value {
        json(&self.client().get("/demo/state"))
    }

    fn wait_for(&self, what: &str, mut condition: impl FnMut(&Value) -> bool) {
        wait_until(what, PATIENCE * 3, || condition(&self.state()));
    }
}

fn json(response: &Response) -> Value {
    serde_json::from_str(response.text()).expect("the desk answers in JSON")
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
