//! One client address may ask so much of a route, and no more.

use forebay_tests::{Client, Response, Site};

/// RFC 6585 §4.
#[test]
fn beyond_the_rate_is_429() {
    let site = behind_a_proxy("rate = \"2/h\"");
    let mut client = site.client();
    assert_eq!(ask(&mut client, "192.0.2.1").status, 200);
    assert_eq!(ask(&mut site.client(), "192.0.2.1").status, 200);
    let refused = ask(&mut client, "192.0.2.1");
    assert_eq!(refused.status, 429);
    let seconds: u64 = refused.field("Retry-After").unwrap().parse().unwrap();
    assert!((1_000..=1_800).contains(&seconds), "{seconds}");
    assert!(!refused.closes());
    // Neither others nor other routes are concerned.
    assert_eq!(ask(&mut client, "192.0.2.2").status, 200);
    assert_eq!(client.get("/free").status, 200);
}

#[test]
fn a_reload_forgets_only_what_was_counted_at_another_rate() {
    let site = behind_a_proxy("rate = \"2/h\"");
    let mut client = site.client();
    let mut status = || ask(&mut client, "192.0.2.1").status;
    assert_eq!([status(), status(), status()], [200, 200, 429]);
    site.reload().unwrap();
    assert_eq!(status(), 429);
    site.set_config(&site.config().replace("2/h", "3/h"));
    site.reload().unwrap();
    assert_eq!(status(), 200);
}

#[test]
fn a_burst_may_come_at_once() {
    let site = behind_a_proxy("rate = \"1/h\"\nburst = 5");
    let mut client = site.client();
    let statuses: Vec<_> = (0..7).map(|_| ask(&mut client, "2001:db8::1").status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429]);
    assert_eq!(ask(&mut client, "2001:db8::ffff").status, 429, "the same /64");
    assert_eq!(ask(&mut client, "2001:db8:0:1::1").status, 200);
}

#[test]
fn beyond_the_concurrent_requests_is_429() {
    let site = behind_a_proxy("concurrent = 1");
    let mut busy = site.client();
    // It is being received from now on, at the latest when the next line has been answered.
    busy.send(
        "POST /bound HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n\
               X-Forwarded-For: 192.0.2.1\r\nContent-Length: 2\r\n\r\n",
    );
    assert_eq!(busy.read_response().status, 100);
    let mut other = site.client();
    assert_eq!(ask(&mut other, "192.0.2.1").status, 429);
    assert_eq!(ask(&mut other, "192.0.2.2").status, 200);
    assert_eq!(busy.exchange("hi").status, 200);
    // Its answer has arrived here before the edge knows that it was sent.
    let passes = || ask(&mut site.client(), "192.0.2.1").status == 200;
    forebay_tests::wait_until("there is room again", forebay_tests::PATIENCE, passes);
}

/// Who connects is a trusted proxy, and `/bound` has these bounds.
fn behind_a_proxy(bounds: &str) -> Site {
    Site::builder()
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .app("hello", 1)
        .route(&format!("path = \"/bound\"\npool = \"app\"\n{bounds}"))
        .start()
}

fn ask(client: &mut Client, address: &str) -> Response {
    client.exchange(format!(
        "GET /bound HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {address}\r\n\r\n"
    ))
}
