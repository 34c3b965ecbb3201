//! Whose process it is, and who may be a worker.

use forebay_tests::{
    PATIENCE, Process, Site, children, is_root, skip, tool, wait_until, worker_bin,
};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

/// The user `nobody`, by number.
const NOBODY: u32 = 65_534;

#[test]
fn a_socket_has_the_mode_that_is_written() {
    let site = Site::builder().app("hello", 1).pool("mode = \"600\"").start();
    let mode = || fs::metadata(site.path("run/app.sock")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    site.set_config(&site.config().replace("\"600\"", "\"660\""));
    site.reload().unwrap();
    assert_eq!(mode(), 0o660);
    assert_eq!(site.client().get("/").status, 200);
}

#[test]
fn only_listed_users_may_be_workers() {
    let Some(python) = python_as_root() else { return };
    let site = Site::builder()
        .route("path = \"/\"\npool = \"app\"")
        .pool("socket = \"run/app.sock\"\nmode = \"666\"")
        .start();
    for folder in ["", "run"] {
        fs::set_permissions(site.path(folder), Permissions::from_mode(0o755)).unwrap();
    }
    let mut stranger = python.command();
    stranger.args(["-c", DIAL]).arg(site.path("run/app.sock"));
    let mut dial = || {
        let mut process = Process::start(&mut stranger);
        assert_eq!(process.wait_exit(PATIENCE).code(), Some(0), "{}", process.whole_stderr());
        wait_until("its output", PATIENCE, || process.stdout().ends_with('\n'));
        process.stdout()
    };
    assert_eq!(dial(), "refused\n");
    assert!(site.stderr().contains("may not be workers"), "{}", site.stderr());
    let allowed = site.config().replace("mode =", "allowed_users = [\"root\", 65534]\nmode =");
    site.set_config(&allowed);
    site.reload().unwrap();
    assert_eq!(dial(), "HTTP/1.1 101 Switching Protocols\n");
    site.set_config(&allowed.replace(", 65534", ""));
    site.reload().unwrap();
    assert_eq!(dial(), "refused\n");
}

/// Says how the edge answers a worker of the user `nobody`.
const DIAL: &str = "
import os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
edge = socket.socket(socket.AF_UNIX)
edge.connect(sys.argv[1])
try:
    edge.sendall(b'GET / HTTP/1.1\\r\\nHost: forebay\\r\\nConnection: Upgrade\\r\\n'
                 b'Upgrade: forebay-slot/1\\r\\n\\r\\n')
    answer = edge.recv(1000)
except (BrokenPipeError, ConnectionResetError):
    answer = b''
print(answer.decode().split('\\r\\n')[0] or 'refused')
";

#[test]
fn privileges_are_given_up_after_binding() {
    if !is_root() {
        return skip("only root can become another user");
    }
    if !is_open_to_all(worker_bin()) {
        return skip("others may not run the executables under test");
    }
    let site = Site::builder().server("user = \"nobody\"").files("/f/", "f").file("f/a", "a file");
    let site = site.app("hello", 1);
    fs::set_permissions(site.path(""), Permissions::from_mode(0o755)).unwrap();
    let site = site.start();
    for pid in [site.pid(), children(site.pid())[0], site.worker_pids()[0]] {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let ids = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().map(|id| id.parse().unwrap()).collect()
        };
        assert_eq!(ids("Uid:"), [NOBODY; 4], "{status}");
        assert!(!ids("Gid:").contains(&0) && !ids("Groups:").contains(&0), "{status}");
    }
    let threads = fs::read_dir(format!("/proc/{}/task", site.pid())).unwrap().flatten();
    assert!(threads.into_iter().all(|thread| thread.metadata().unwrap().uid() == NOBODY));
    assert_eq!(fs::metadata(site.path("run/app.sock")).unwrap().uid(), NOBODY);
    let mut client = site.client();
    assert_eq!(client.get("/").status, 200);
    site.set_config(&site.config().replace("/f/", "/g/"));
    site.reload().unwrap();
    assert_eq!(client.get("/g/a").text(), "a file");
    site.set_config(&site.config().replace("nobody", "root"));
    let said = site.reload().unwrap_err();
    assert!(said.contains("`user` in [server] has changed: that needs a restart"), "{said}");
    assert_eq!(site.stop().code(), Some(0));
}

#[test]
fn who_is_not_root_cannot_become_another_user() {
    if !is_root() {
        return skip("only root can start this as a user who is not root");
    }
    let proxy = forebay_tests::proxy_bin();
    if !is_open_to_all(proxy) {
        return skip("others may not run the executables under test");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let config = folder.path().join("f.toml");
    let text = "[server]\nlisten = [\"127.0.0.1:0\"]\naccess_log = \"off\"\nuser = \"root\"\n\
                [[route]]\npath = \"/\"\nrespond = {}\n";
    fs::write(&config, text).unwrap();
    let mut command = std::process::Command::new(proxy);
    command.args(["run", "--config"]).arg(&config).uid(NOBODY).gid(NOBODY).current_dir("/");
    let mut process = Process::start(&mut command);
    assert_eq!(process.wait_exit(PATIENCE).code(), Some(1));
    let said = process.whole_stderr();
    assert!(said.contains("cannot become user 0 and group 0"), "{said}");
    assert!(said.contains("start as root, or leave `user`"), "{said}");
}

fn python_as_root() -> Option<forebay_tests::Tool> {
    if !is_root() {
        skip("only root can start processes of other users");
        return None;
    }
    tool("python3")
}

/// Whether every user may look into all folders above.
fn is_open_to_all(path: &std::path::Path) -> bool {
    let is_open = |folder: &std::path::Path| {
        fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & 1 != 0)
    };
    path.ancestors().all(is_open)
}
