//! Whose process it is, and who may be a worker.

use forebay_tests::{
    PATIENCE, Process, Site, TERM, as_user, children, is_alive, is_root, proxy_bin, skip,
    wait_until, worker_bin,
};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

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
    if !is_root() {
        return skip("only root can dial in as another user");
    }
    let site = Site::builder()
        .route("path = \"/\"\npool = \"app\"")
        .pool("socket = \"run/app.sock\"\nmode = \"666\"")
        .start();
    for folder in ["", "run"] {
        fs::set_permissions(site.path(folder), Permissions::from_mode(0o755)).unwrap();
    }
    let dial = || as_user(NOBODY, || dial_in(&site.path("run/app.sock")));
    assert_eq!(dial(), "refused");
    wait_until("it is told", PATIENCE, || {
        site.stderr().contains("may not be workers: add it to the pool's `allowed_users`")
    });
    if is_open_to_all(worker_bin()) {
        let mut worker = Command::new(worker_bin());
        let edge = format!("unix:{}", site.path("run/app.sock").display());
        worker.args(["--edge", &edge, "hello"]).uid(NOBODY).gid(NOBODY).current_dir("/");
        let worker = Process::start(&mut worker);
        let told = || worker.stderr().contains("perhaps this user is not in `allowed_users`");
        wait_until("the worker tells it", PATIENCE, told);
    }
    let allowed = site.config().replace("mode =", "allowed_users = [\"root\", 65534]\nmode =");
    site.set_config(&allowed);
    site.reload().unwrap();
    assert_eq!(dial(), "HTTP/1.1 101 Switching Protocols");
    site.set_config(&allowed.replace(", 65534", ""));
    site.reload().unwrap();
    assert_eq!(dial(), "refused");
}

/// How the edge answers a worker.
fn dial_in(socket: &Path) -> String {
    let mut edge = UnixStream::connect(socket).expect("everybody may connect");
    // The edge may have closed it already.
    let _ = edge.write_all(
        b"GET / HTTP/1.1\r\nHost: forebay\r\nConnection: Upgrade\r\n\
          Upgrade: forebay-slot/1\r\n\r\n",
    );
    let mut answer = [0; 200];
    let len = edge.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..len]).lines().next().unwrap_or("refused").to_owned()
}

#[test]
fn privileges_are_given_up_after_binding() {
    if !is_root() {
        return skip("only root can become another user");
    }
    if !is_open_to_all(worker_bin()) {
        return skip("others may not run the executables under test");
    }
    let site = Site::builder().server("user = \"nobody\"\ncontrol = \"run/control.sock\"");
    let site = site.files("/f/", "f").file("f/a", "a file").app("hello", 1);
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
    for socket in ["run/app.sock", "run/control.sock"] {
        assert_eq!(fs::metadata(site.path(socket)).unwrap().uid(), NOBODY, "{socket}");
    }
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
fn a_spool_directory_must_be_for_the_user_who_serves() {
    if !is_root() {
        return skip("only root can become another user");
    }
    if !is_open_to_all(worker_bin()) {
        return skip("others may not run the executables under test");
    }
    let site = Site::builder().server("user = \"nobody\"\nspool_dir = \"run/spool\"");
    let (folder, mut process) = site.file("run/spool/a", "").files("/", "f").launch();
    assert_eq!(process.wait_exit(PATIENCE).code(), Some(1));
    let said = process.whole_stderr();
    let spool = folder.path().join("run/spool");
    let what = format!("spool_dir \"{}\": user nobody cannot make files", spool.display());
    assert!(said.contains(&what) && said.contains("give it to that user"), "{said}");
}

#[test]
fn roots_that_the_user_cannot_reach_are_named() {
    if !is_root() {
        return skip("only root can become another user");
    }
    let site = Site::builder().server("user = \"nobody\"\nspool_dir = \"/tmp\"");
    let site = site.files("/a", "closed").files("/b", "open").file("open/b", "b");
    for (folder, mode) in [("", 0o755), ("closed", 0o700), ("open", 0o755)] {
        fs::set_permissions(site.path(folder), Permissions::from_mode(mode)).unwrap();
    }
    let site = site.start();
    let said = site.stderr();
    let closed = site.path("closed").display().to_string();
    let closed = format!("files \"{closed}\": user nobody cannot look there");
    assert!(said.contains(&closed) && said.matches("cannot look there").count() == 1, "{said}");
    assert_eq!(site.client().get("/b/b").text(), "b");
}

/// `worker-bin` that becomes `nobody`, with these flags.
fn worker(flags: &[&str]) -> Process {
    let mut command = Command::new(worker_bin());
    let own = ["--bind", "127.0.0.1:0", "--user", "nobody"];
    Process::start(command.args(own).args(flags).arg("hello").current_dir("/"))
}

#[test]
fn what_a_worker_makes_as_root_belongs_to_its_user() {
    if !is_root() || !is_open_to_all(worker_bin()) {
        return skip("only root can become another user, and others must reach the executables");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (log, access, control) = (path("log"), path("access"), path("control"));
    let address = format!("unix:{control}");
    let flags = ["--log-file", &log, "--access-logfile", &access, "--control", &address];
    let mut process = worker(&flags);
    process.listening(1, PATIENCE);
    for (name, mode) in [(&log, 0o644), (&access, 0o644), (&control, 0o600)] {
        let found = fs::metadata(name).unwrap();
        let (owner, permissions) = (found.uid(), found.permissions().mode() & 0o777);
        assert_eq!((owner, permissions), (NOBODY, mode), "{name}");
    }
    let status = as_user(NOBODY, || UnixStream::connect(&control).is_ok());
    assert!(status, "its user may ask");
}

/// It cannot be removed from a directory of root's.
#[test]
fn a_pid_file_that_stays_names_nobody() {
    if !is_root() || !is_open_to_all(worker_bin()) {
        return skip("only root can become another user, and others must reach the executables");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let file = folder.path().join("pid");
    let mut process = worker(&["--pid", file.to_str().unwrap()]);
    process.listening(1, PATIENCE);
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", process.pid()));
    process.signal(TERM);
    assert_eq!(process.wait_exit(PATIENCE).code(), Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
}

/// As when an edge has started this command because its configuration has changed.
#[test]
fn what_a_changed_command_can_never_take_over_ends_it() {
    let dir = tempfile::tempdir().expect("there is room");
    let taken = dir.path().join("pid");
    fs::write(&taken, std::process::id().to_string()).unwrap();
    let start = |flags: &[&str]| {
        let mut command = Command::new(worker_bin());
        command.args(["--bind", "127.0.0.1:0", "--pid"]).arg(&taken).args(flags).arg("hello");
        Process::start(command.env("FOREBAY_SUPERVISED", "1"))
    };
    let mut failing = vec![(&["--control", "unix:/nowhere/control"][..], "/nowhere")];
    if is_root() {
        failing.push((&["--user", "nobody"], "name a directory that it may write"));
    }
    for (flags, says) in failing {
        let mut worker = start(flags);
        assert_eq!(worker.wait_exit(PATIENCE).code(), Some(3), "{}", worker.stderr());
        assert!(worker.stderr().contains(says), "{}", worker.stderr());
    }
    let mut worker = start(&[]);
    worker.listening(1, PATIENCE);
    assert!(worker.stderr().contains("waiting for that"));
    fs::write(&taken, "").unwrap();
    wait_until("it is taken over", PATIENCE, || {
        fs::read_to_string(&taken).is_ok_and(|pid| pid == format!("{}\n", worker.pid()))
    });
}

#[test]
fn root_follows_no_link_to_a_log_for_another_user() {
    if !is_root() || !is_open_to_all(worker_bin()) {
        return skip("only root can become another user, and others must reach the executables");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let path = |name: &str| folder.path().join(name);
    let precious = path("precious");
    fs::write(&precious, "precious").unwrap();
    fs::create_dir(path("private")).unwrap();
    symlink(&precious, path("link")).unwrap();
    symlink(path("private"), path("folder")).unwrap();
    fs::hard_link(&precious, path("name")).unwrap();
    for name in ["link", "folder/log", "name"] {
        for flag in ["--log-file", "--access-logfile"] {
            let mut process = worker(&[flag, path(name).to_str().unwrap()]);
            assert_eq!(process.wait_exit(PATIENCE).code(), Some(3), "{flag} {name}");
            let said = process.whole_stderr();
            assert!(said.contains("cannot open the log ") && said.contains("--user"), "{said}");
        }
    }
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    assert_eq!(fs::metadata(&precious).unwrap().uid(), 0);
    assert!(!path("private/log").exists());
    std::os::unix::fs::chown(&precious, Some(NOBODY), None).unwrap();
    worker(&["--log-file", path("link").to_str().unwrap()]).listening(1, PATIENCE);
}

#[test]
fn who_is_not_root_cannot_become_another_user() {
    if !is_root() {
        return skip("only root can start this as a user who is not root");
    }
    let proxy = proxy_bin();
    if !is_open_to_all(proxy) {
        return skip("others may not run the executables under test");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let config = folder.path().join("f.toml");
    let text = "[server]\nlisten = [\"127.0.0.1:0\"]\naccess_log = \"off\"\nuser = \"root\"\n\
                [[route]]\npath = \"/\"\nrespond = {}\n";
    fs::write(&config, text).unwrap();
    let mut command = Command::new(proxy);
    command.args(["run", "--config"]).arg(&config).uid(NOBODY).gid(NOBODY).current_dir("/");
    let mut process = Process::start(&mut command);
    assert_eq!(process.wait_exit(PATIENCE).code(), Some(1));
    let said = process.whole_stderr();
    assert!(said.contains("cannot become user 0 and group 0"), "{said}");
    assert!(said.contains("start as root, or leave `user`"), "{said}");
}

#[test]
fn nothing_is_announced_before_the_rings_are_there() {
    let proxy = proxy_bin();
    if !is_root() || !is_open_to_all(proxy) {
        return skip("only root can become another user, and others must reach the executables");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let config = folder.path().join("f.toml");
    let text = "[server]\nlisten = [\"127.0.0.1:0\"]\naccess_log = \"off\"\nreactors = 2\n\
                [[route]]\npath = \"/\"\nrespond = {}\n";
    fs::write(&config, text).unwrap();
    // Enough to look whether rings can be had, and for no ring.
    let mut command = Command::new("prlimit");
    command.arg("--memlock=65536:65536").arg(proxy).args(["run", "--config"]).arg(&config);
    let process = Process::start(command.uid(NOBODY).gid(NOBODY).current_dir("/"));
    let is_listening = || process.stdout().contains("listening on");
    wait_until("a decision", PATIENCE, || is_listening() || !is_alive(process.pid()));
    if is_alive(process.pid()) {
        return skip("this kernel does not count the memory of rings");
    }
    assert!(!is_listening(), "{}", process.stdout());
    assert!(process.stderr().contains("RLIMIT_MEMLOCK"), "{}", process.stderr());
}

/// Whether every user may look into all folders above.
fn is_open_to_all(path: &Path) -> bool {
    let is_open = |folder: &Path| {
        fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & 1 != 0)
    };
    path.ancestors().all(is_open)
}
