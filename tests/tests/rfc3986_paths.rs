//! RFC 3986 §5.2.4, §6.2.2 and RFC 9110 §17.3: no spelling of a path leads to another file.

use forebay_tests::{Site, SiteBuilder, Strict};
use std::fs;
use std::os::unix::fs::symlink;

const SECRET: &str = "a secret";

/// Files that are served, and around them files that are not.
fn site() -> SiteBuilder {
    Site::builder()
        .files("/static/", "root")
        .file("root/a.txt", "a file")
        .file("root/sub/b.txt", "another")
        .file("root/.well-known/acme", "known")
        .file("root/.git/config", SECRET)
        .file("root/.env", SECRET)
        .file("root/sub/.hidden", SECRET)
        .file("root/..data", SECRET)
        .file("secret.txt", SECRET)
        .file("root-other/secret.txt", SECRET)
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// §5.2.4: above the root there is nothing, and who asks for it errs or attacks.
#[test]
fn paths_above_the_root_are_refused_rfc_3986_5_2_4() {
    let mut edge = Strict::on(site());
    for target in [
        "/..",
        "/../once/bad",
        "/static/../../secret.txt",
        "/static/sub/../../../secret.txt",
        "/./../once/bad",
        "/%2e%2e/once/bad",
        "/%2E./once/bad",
        "/.%2e/once/bad",
        "/static/%2e%2e/%2e%2e/secret.txt",
        "/static/..%2e/../../../secret.txt",
        "http://a/../once/bad",
    ] {
        edge.refuses(target, get(target), 400);
    }
    edge.finish();
}

/// §2.1: `%` is followed by two hexadecimal digits.
#[test]
fn percent_encodings_are_whole_rfc_3986_2_1() {
    let mut edge = Strict::on(site());
    for target in ["/%", "/once/%", "/once/%4", "/once/%4g", "/once/%zz", "/%%41", "/once/%u0041"] {
        edge.refuses(target, get(target), 400);
    }
    edge.finish();
}

/// RFC 9110 §17.3: decoded once, and nothing of what it then means to a file system is left.
#[test]
fn no_spelling_leads_out_of_the_root_rfc_9110_17_3() {
    let edge = Strict::on(site());
    symlink("../secret.txt", edge.site().path("root/upwards")).unwrap();
    symlink("/etc/passwd", edge.site().path("root/absolute")).unwrap();
    symlink("..", edge.site().path("root/parent")).unwrap();
    symlink("/proc/self/root", edge.site().path("root/magic")).unwrap();
    let mut client = edge.site().client();
    for target in [
        "/static/..%2fsecret.txt",
        "/static/..%2Fsecret.txt",
        "/static/%2e%2e%2fsecret.txt",
        "/static/%252e%252e/secret.txt",
        "/static/%252e%252e%252fsecret.txt",
        "/static/..%5csecret.txt",
        "/static/..\\secret.txt",
        "/static/sub%5c..%5c..%5csecret.txt",
        "/static/..;/secret.txt",
        "/static/..;a=b/secret.txt",
        "/static/.../secret.txt",
        "/static/%c0%ae%c0%ae/secret.txt",
        "/static/%c0%ae%c0%ae%c0%afsecret.txt",
        "/static/%e0%80%ae%e0%80%ae/secret.txt",
        "/static/%uff0e%uff0e/secret.txt",
        "/static/..%00/secret.txt",
        "/static/a.txt%00",
        "/static/a.txt%00.html",
        "/static/%00",
        "/static/a.txt%0a",
        "/static/%2fetc/passwd",
        "/static//etc/passwd",
        "/static///etc/passwd",
        "/static/./%2fetc/passwd",
        "/static/upwards",
        "/static/absolute",
        "/static/parent/secret.txt",
        "/static/magic/etc/passwd",
        "/static/sub//b.txt",
        "/static/sub%2fb.txt",
        "/static/A.TXT",
        "/static/a.txt~",
        "/static/a.txt.",
        "/static/a.txt%20",
        "/static/a.txt::$DATA",
    ] {
        let status = client.get(target).status;
        let is_refused = matches!(status, 400 | 404);
        assert!(is_refused, "{target}: {status}");
        if status == 400 {
            client = edge.site().client();
        }
    }
    for target in ["/static/a.txt", "/static/%61.txt", "/static/sub/../a.txt", "/static/./a.txt"] {
        assert_eq!(client.get(target).text(), "a file", "{target}");
    }
    edge.finish();
}

/// A prefix ends where a segment ends, and what begins with a dot is nobody's business.
#[test]
fn neighbours_and_dotfiles_are_not_served_rfc_9110_17_3() {
    let edge = Strict::on(site());
    let mut client = edge.site().client();
    for target in [
        "/static",
        "/static../secret.txt",
        "/static-other/secret.txt",
        "/staticsecret.txt",
        "/static%2fa.txt",
        "/static/.git/config",
        "/static/.git/",
        "/static/.env",
        "/static/%2eenv",
        "/static/%2Egit/config",
        "/static/sub/.hidden",
        "/static/..data",
        "/static/.well-known/../.env",
        "/static/sub/.well-known/x",
    ] {
        let response = client.get(target);
        assert_ne!(response.status, 200, "{target}");
        assert!(!response.text().contains(SECRET), "{target}");
    }
    assert_eq!(client.get("/static/.well-known/acme").text(), "known");
    edge.finish();
}

/// RFC 9110 §17.3: what an application may understand by a path is what its route is chosen by.
#[test]
fn no_spelling_leads_past_a_route_rfc_9110_17_3() {
    let closed = "respond = { status = 403 }";
    let edge = Strict::on(
        site()
            .file("root/@/b c.txt", "a file")
            .route(&format!("path = \"/admin/\"\n{closed}"))
            .route(&format!("path = \"/@x/\"\n{closed}"))
            .route(&format!("path = \"/a%3Fb/\"\n{closed}"))
            .route(&format!("path = \"/%FF/\"\n{closed}"))
            .route(&format!("host = \"h\"\npath = \"/of-host/\"\n{closed}"))
            .route("path = \"/api/login\"\nrate = \"1/h\"\nrespond = {}"),
    );
    let mut client = edge.site().client();
    for target in [
        "/admin/users",
        "/admin%2Fusers",
        "/admin%2fusers",
        "//admin/users",
        "/%2Fadmin/users",
        "/.%2Fadmin/users",
        "/admin%2F.%2Fusers",
        "/x/..//admin/users",
        "/%61dmin%2F",
        "http://a//admin%2Fusers?x",
        "/@x/",
        "/%40x/",
        "/%40x%2Fy",
        "/a%3Fb/",
        "/a%3fb%2F",
        "/%ff/x",
    ] {
        assert_eq!(client.exchange(get(target)).status, 403, "{target}");
    }
    let of_host = get("/of-host%2Fx").replace("Host: a", "Host: h");
    assert_eq!(client.exchange(of_host).status, 403);
    for target in ["/of-host%2Fx", "/admin%252Fusers", "/admin", "/%2540x/"] {
        assert_ne!(client.get(target).status, 403, "{target}");
    }
    for (target, status) in [("/api/login", 200), ("/api%2Flogin", 429), ("//api/login/%20", 429)] {
        assert_eq!(client.get(target).status, status, "{target}");
    }
    assert_eq!(client.get("/static/%40/b%20c.txt").text(), "a file");
    for target in ["/admin%2F..%2Fx", "/x/..%2Fadmin/users", "/x%2F../admin/", "/%2F..%2Fadmin/"] {
        assert_eq!(edge.site().client().get(target).status, 400, "{target}");
    }
    edge.finish();
}

/// Only regular files: a FIFO would hang whoever opens it, a socket or device is no content.
#[test]
fn only_regular_files_are_served_rfc_9110_17_3() {
    let edge = Strict::on(site());
    let fifo = edge.site().path("root/fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo(1) is part of every system");
    let _socket = std::os::unix::net::UnixListener::bind(edge.site().path("root/sock")).unwrap();
    let mut client = edge.site().client();
    for target in ["/static/fifo", "/static/sock", "/static/sub"] {
        assert!(matches!(client.get(target).status, 404 | 301), "{target}");
    }
    assert_eq!(client.get("/static/a.txt").text(), "a file");
    edge.finish();
}

/// RFC 9110 §8.6: a file that becomes shorter ends the connection before the promised end. What
/// the socket holds already is the kernel's: it shows zeros there, truncate(2).
#[test]
fn a_file_cut_short_cuts_its_answer_short_rfc_9110_8_6() {
    let large = vec![b'x'; 16 << 20];
    let edge = Strict::on(site().file("root/large", &large));
    let mut client = edge.site().client();
    client.send(get("/static/large"));
    let head = client.read_head().unwrap();
    assert_eq!(head.field("Content-Length"), Some(large.len().to_string().as_str()));
    fs::OpenOptions::new()
        .write(true)
        .open(edge.site().path("root/large"))
        .and_then(|file| file.set_len(1 << 20))
        .unwrap();
    let mut received = 0;
    while let Ok(piece) = client.read_exactly(1 << 16) {
        received += piece.len();
    }
    assert!(received < large.len(), "all of it has come");
    edge.finish();
}
