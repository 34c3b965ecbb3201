//! What is too large for memory goes through files without a name, and workers wait for nobody.

use forebay_tests::{
    Client, Failure, PATIENCE, Site, is_required, is_root, limit_file_size, pattern, sha256, tool,
    wait_until,
};
use std::fs;
use std::path::Path;
use std::process::Command;

const POST: &str = "POST /echo HTTP/1.1\r\nHost: test\r\n";

fn upload(client: &mut Client, content: &[u8]) -> Result<forebay_tests::Response, Failure> {
    client.try_send(format!("{POST}Content-Length: {}\r\n\r\n", content.len()))?;
    client.try_send(content)?;
    client.try_response(false)
}

#[test]
fn large_content_reaches_the_application_unharmed() {
    let site = Site::builder().limit("content_max = \"64MiB\"").app("probe", 2).start();
    let mut client = site.client();
    for len in [65_536, 65_537, 1_000_000, 10 << 20, 33 << 20] {
        let content = pattern(len);
        let checksum = sha256(&content);
        let response = upload(&mut client, &content).unwrap();
        assert_eq!(response.status, 200, "{len} bytes");
        assert!(response.text().contains(&checksum), "{len} bytes with a length");
        client.send(format!("{POST}Transfer-Encoding: chunked\r\n\r\n"));
        for chunk in content.chunks(100_000) {
            client.send(format!("{:x}\r\n", chunk.len()));
            client.send(chunk);
            client.send("\r\n");
        }
        client.send("0\r\n\r\n");
        assert!(client.read_response().text().contains(&checksum), "{len} bytes in chunks");
    }
}

#[test]
fn a_worker_is_free_while_a_slow_client_reads() {
    const LEN: usize = 100_000_000;
    let site = Site::with_app("probe", 1);
    let mut slow = Client::connect_narrow(site.address());
    slow.send(format!("GET /bytes/{LEN} HTTP/1.1\r\nHost: test\r\n\r\n"));
    // Nothing is read, so without the spool the only worker would be busy for ever.
    assert_eq!(site.client().get("/hello").status, 200);
    let head = slow.read_head().unwrap();
    assert_eq!(head.field("Content-Length"), Some("100000000"));
    let piece = slow.read_exactly(64_000).unwrap();
    for _ in 1..LEN / piece.len() {
        assert!(slow.read_exactly(piece.len()).unwrap() == piece);
    }
    let rest = LEN % piece.len();
    assert!(slow.read_exactly(rest).unwrap() == piece[..rest]);
    assert_eq!(slow.get("/hello").status, 200, "the connection is kept");
}

#[test]
fn a_client_that_is_slow_and_fast_in_turns_gets_every_byte_once() {
    const PIECES: usize = 12;
    let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    let piece = alphabet.repeat(5_000_000 / alphabet.len());
    let get = format!("GET /bytes/{}/99968 HTTP/1.1\r\nHost: test\r\n\r\n", PIECES * piece.len());
    let site = Site::with_app("probe", 1);
    let mut client = Client::connect_narrow(site.address());
    for _ in 0..3 {
        client.send(&get);
        client.read_head().unwrap();
        for number in 0..PIECES {
            // While nothing is read the worker goes on, until another request has its turn.
            if number % 5 == 0 {
                assert_eq!(site.client().get("/hello").status, 200);
            }
            assert!(client.read_exactly(piece.len()).unwrap() == piece, "piece {number}");
        }
    }
    assert_eq!(spool_files(&site), 0);
}

#[test]
fn no_descriptor_remains_whoever_leaves() {
    let limits = "response_memory = \"64KiB\"\nsend_timeout = \"5s\"";
    let site = Site::builder().limit(limits).app("probe", 4).start();
    let content = pattern(300_000);
    let round = |number: usize| {
        let mut client = site.client();
        match number % 5 {
            0 => assert_eq!(upload(&mut client, &content).unwrap().status, 200),
            1 => {
                client.send(format!("{POST}Content-Length: 300000\r\n\r\n"));
                client.send(&content[..number % content.len()]);
                client.reset();
            }
            2 => {
                // Leaves while its request waits or runs.
                client.send(format!("{POST}Content-Length: 300000\r\n\r\n"));
                client.send(&content);
                client.reset();
            }
            3 => {
                client.send("GET /bytes/3000000 HTTP/1.1\r\nHost: test\r\n\r\n");
                client.read_exactly(1 + number % 100_000).unwrap();
                client.reset();
            }
            _ => assert_eq!(client.get("/bytes/1000000").content.len(), 1_000_000),
        }
    };
    // So many that each reactor has had some, and has opened what it needs.
    (0..40).for_each(round);
    let is_settled = || site.client().get("/hello").status == 200;
    wait_until("the first requests are over", PATIENCE, is_settled);
    let before = site.descriptors();
    (0..1000).for_each(round);
    // One of a connection may have been open before, and one of a file may be a moment longer.
    wait_until("all descriptors are closed", PATIENCE, || {
        site.descriptors() <= before && spool_files(&site) == 0
    });
}

/// Open files without a name.
fn spool_files(site: &Site) -> usize {
    let folder = format!("/proc/{}/fd", site.pid());
    let links = fs::read_dir(folder)
        .expect("the edge runs")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().ends_with("(deleted)")).count()
}

#[test]
fn a_directory_that_is_gone_costs_requests_until_it_is_back() {
    let builder = Site::builder().server("spool_dir = \"spool\"").app("probe", 1);
    let site = builder.file("spool/removed", "").start();
    fs::remove_dir_all(site.path("spool")).unwrap();
    let content = pattern(1_000_000);
    for _ in 0..3 {
        refused(&site, &content);
        assert_eq!(upload(&mut site.client(), &content[..1000]).unwrap().status, 200);
    }
    assert_eq!(site.client().get("/bytes/3000000").content.len(), 3_000_000);
    fs::create_dir(site.path("spool")).unwrap();
    assert_eq!(upload(&mut site.client(), &content).unwrap().status, 200);
    assert_eq!(fs::read_dir(site.path("spool")).unwrap().count(), 0, "files have no names");
}

#[test]
fn a_changed_directory_is_the_one_that_is_used() {
    let builder = Site::builder().server("spool_dir = \"spool\"").app("probe", 1);
    let site = builder.file("spool/old", "").file("other/new", "").start();
    let content = pattern(1_000_000);
    assert_eq!(upload(&mut site.client(), &content).unwrap().status, 200);
    site.set_config(&site.config().replace("\"spool\"", "\"other\""));
    site.reload().unwrap();
    fs::remove_dir_all(site.path("spool")).unwrap();
    assert_eq!(upload(&mut site.client(), &content).unwrap().status, 200);
    fs::remove_dir_all(site.path("other")).unwrap();
    refused(&site, &content);
}

/// Exactly this request, in a way that the client can read.
fn refused(site: &Site, content: &[u8]) {
    let mut client = site.client();
    client.send(format!("{POST}Content-Length: {}\r\n\r\n", content.len()));
    client.send(content);
    let response = client.read_response();
    assert_eq!((response.status, response.field("Retry-After")), (503, Some("1")));
    assert!(response.closes());
}

#[test]
fn a_directory_that_cannot_be_used_is_said_at_the_start() {
    let site = Site::builder().server("spool_dir = \"missing\"").files("/", "site");
    let (_dir, mut process) = site.launch();
    assert!(!process.wait_exit(PATIENCE).success());
    let said = process.whole_stderr();
    assert!(said.contains("forebay.toml:4: spool_dir") && said.contains("missing"), "{said}");
}

#[test]
fn a_full_disk_is_survived() {
    let Some(disk) = SmallDisk::mount() else { return };
    let spool = format!("spool_dir = {:?}", disk.path());
    let site = Site::builder().server(&spool).app("probe", 1).start();
    let content = pattern(3_000_000);
    refused(&site, &content);
    assert_eq!(upload(&mut site.client(), &content[..500_000]).unwrap().status, 200);
    // Beyond the disk the worker waits for its client.
    let mut slow = Client::connect_narrow(site.address());
    slow.send("GET /bytes/20000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    let slow = slow.read_response();
    assert_eq!(slow.content.len(), 20_000_000);
    assert!(slow.content.chunks(64).all(|piece| piece == &slow.content[..64]));
    wait_until("the space is free again", PATIENCE, || {
        upload(&mut site.client(), &content[..900_000]).is_ok_and(|response| response.status == 200)
    });
}

#[test]
fn a_worker_that_may_not_write_large_files_sends_instead() {
    let site = Site::with_app("probe", 1);
    let pid = || site.client().get("/pid").text().to_owned();
    let worker = pid();
    limit_file_size(worker.parse().unwrap(), 1_000_000);
    let mut slow = Client::connect_narrow(site.address());
    slow.send("GET /bytes/20000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(pid(), worker, "it waits for nobody, and lives");
    let slow = slow.read_response();
    assert_eq!(slow.content.len(), 20_000_000);
    assert!(slow.content.chunks(64).all(|piece| piece == &slow.content[..64]));
    assert_eq!(pid(), worker);
}

/// A file system of one megabyte.
struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, having said why: only root may mount.
    fn mount() -> Option<SmallDisk> {
        let mount = tool("mount")?;
        let directory = tempfile::tempdir().expect("temporary folders can be made");
        let arguments = ["-t", "tmpfs", "-o", "size=1m", "forebay-test"];
        let output = mount.command().args(arguments).arg(directory.path()).output().ok()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let must = is_required() && is_root();
            assert!(!must, "root cannot mount, and FOREBAY_REQUIRE=all forbids to skip: {why}");
            forebay_tests::skip(&format!("no file system can be mounted: {why}"));
            return None;
        }
        Some(SmallDisk { directory })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: who still has a file open there does not matter.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
