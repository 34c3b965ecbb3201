//! What cannot start says why, and what to do, in one line, and does not end with 0.

use forebay_tests::{PATIENCE, Process, Site, SiteBuilder, proxy_bin, worker_bin};
use std::net::TcpListener;
use std::process::Command;

#[test]
fn a_taken_port() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    assert_fails(hello().server(&format!("listen = [\"{address}\"]")), &[&address, "in use"]);
}

#[test]
fn a_port_taken_by_another_edge() {
    let other = Site::with_app("hello", 1);
    let address = other.address().to_string();
    assert_fails(hello().server(&format!("listen = [\"{address}\"]")), &[&address, "in use"]);
    assert_eq!(other.client().get("/").status, 200, "the other is not disturbed");
}

#[test]
fn a_root_that_is_not_there() {
    let site = Site::builder().route("path = \"/\"\nfiles = \"nowhere\"");
    assert_fails(site, &["nowhere", "create it"]);
}

#[test]
fn a_root_that_is_a_file() {
    let site = Site::builder().file("file", "").route("path = \"/\"\nfiles = \"file\"");
    assert_fails(site, &["file", "directory"]);
}

#[test]
fn a_spool_directory_that_is_a_file() {
    let site = Site::builder().files("/", "site").server("spool_dir = \"forebay.toml\"");
    assert_fails(site, &["forebay.toml:4: spool_dir", "is not a directory"]);
}

#[test]
fn a_socket_of_two_pools() {
    let second = "[pool.second]\nsocket = \"run/../run/app.sock\"\n";
    let route = "path = \"/second\"\npool = \"second\"";
    let site = with_socket("run/app.sock").route(route).config(second);
    assert_fails(site, &["forebay.toml:", "[pool.second] is also that of [pool.app]"]);
}

#[test]
fn a_socket_path_that_is_too_long() {
    let path = format!("run/{}.sock", "x".repeat(120));
    assert_fails(with_socket(&path), &[&path, "shorter"]);
}

#[test]
fn a_socket_in_a_place_that_cannot_be_written() {
    // Below a regular file: nobody can write there, not even root.
    let site = with_socket("file/app.sock").file("file", "");
    assert_fails(site, &["file", "is not a directory"]);
}

#[test]
fn a_socket_that_another_edge_serves() {
    let other = Site::with_app("hello", 1);
    let path = other.path("run/app.sock").display().to_string();
    assert_fails(with_socket(&path), &[&path]);
    assert_eq!(other.client().get("/").status, 200, "the other is not disturbed");
}

#[test]
fn a_socket_at_the_path_of_a_file() {
    let control = Site::builder().files("/", "site").server("control = \"notes.txt\"");
    let itself = Site::builder().files("/", "site").server("control = \"forebay.toml\"");
    let pool = with_socket("notes.txt");
    for (site, name) in [(pool, "notes.txt"), (control, "notes.txt"), (itself, "forebay.toml")] {
        let (dir, mut process) = site.file("notes.txt", "worth [server]").launch();
        assert_eq!(process.wait_exit(PATIENCE).code(), Some(1));
        assert_one_line(&process, &["forebay.toml:", name, "is not a socket", "another path"]);
        let text = std::fs::read_to_string(dir.path().join(name)).expect("it is still there");
        assert!(text.contains("[server]"), "{text}");
    }
}

#[test]
fn an_application_that_does_not_exist() {
    let (_dir, mut process) = Site::builder().app("helo", 2).launch();
    assert_ne!(process.wait_exit(PATIENCE).code(), Some(0));
    let errors = process.whole_stderr();
    assert!(errors.contains("helo") && errors.contains("hello"), "{errors}");
    assert!(errors.lines().count() <= 5 && !errors.contains("panicked"), "{errors}");
    assert!(!process.stdout().contains("listening"), "it did not serve");
}

#[test]
fn a_worker_program_that_does_not_exist() {
    let workers = "workers = [\"no-such-worker\", \"hello\"]";
    assert_fails(with_socket("run/app.sock").pool(workers), &["no-such-worker"]);
}

#[test]
fn a_pool_that_is_not_described() {
    assert_fails(Site::builder().route("path = \"/\"\npool = \"app\""), &["app", "pool"]);
}

#[test]
fn bad_configurations_name_file_and_line() {
    for (line, words) in [
        ("[servr]", ["servr", "server"]),
        ("[limits]\ncontent_maximum = \"1MiB\"", ["content_maximum", "content_max"]),
        ("[limits]\ncontent_max = \"1 parsec\"", ["content_max", "1 parsec"]),
        ("[limits]\nsend_timeout = \"soon\"", ["send_timeout", "soon"]),
        ("[limits]\nhead_fields = 1000", ["head_fields", "256"]),
        ("[server]\nlisten = [\"localhost\"]", ["listen", "localhost"]),
        ("[[route]]\npath = \"x\"\nfiles = \".\"", ["path", "/"]),
        ("[[route]]\npath = \"/\"", ["files", "pool"]),
        ("[pool.app]\nsocket = 1", ["socket", "string"]),
        ("[server", ["unclosed", "`]`"]),
    ] {
        for verb in ["check", "run"] {
            let config = format!("# a comment, so that it is not the first line\n{line}\n");
            let (code, errors) = run_on(verb, &config);
            assert_ne!(code, Some(0), "{verb}: {line}");
            assert!(errors.contains("forebay.toml"), "{verb}: {line}: {errors}");
            assert!(names_line(&errors), "{verb}: {line}: {errors}");
            for word in words {
                assert!(errors.contains(word), "{verb}: {line}: no {word:?} in {errors}");
            }
        }
    }
}

#[test]
fn a_good_configuration_passes_the_check() {
    let config = "[server]\nlisten = [\"127.0.0.1:0\"]\n[[route]]\npath = \"/\"\nfiles = \".\"\n";
    assert_eq!(run_on("check", config), (Some(0), String::new()));
}

#[test]
fn a_configuration_that_is_not_there() {
    let mut command = Command::new(proxy_bin());
    let mut process = Process::start(command.args(["run", "--config", "/nowhere/forebay.toml"]));
    assert_ne!(process.wait_exit(PATIENCE).code(), Some(0));
    assert_one_line(&process, &["/nowhere/forebay.toml", "No such file"]);
}

#[test]
fn workers_name_what_they_do_not_know() {
    for (arguments, words) in [
        (["--bind", "127.0.0.1:0", "helo"], ["helo", "hello"]),
        (["--bind", "run/app.sock", "hello"], ["run/app.sock", "unix:PATH"]),
        (["--edge", "/no/scheme", "hello"], ["/no/scheme", "unix:"]),
    ] {
        let mut process = Process::start(Command::new(worker_bin()).args(arguments));
        assert_ne!(process.wait_exit(PATIENCE).code(), Some(0), "{arguments:?}");
        let errors = process.whole_stderr();
        assert!(words.iter().all(|word| errors.contains(word)), "{arguments:?}: {errors}");
    }
}

#[test]
fn printed_settings_are_looked_at_as_by_a_start() {
    for (variables, code, says) in [
        (&[][..], 0, ""),
        (&[("FOREBAY_WORKERS", "0")], 2, "FOREBAY_WORKERS: workers = 0 is not possible"),
        (&[("FOREBAY_USER", "no-such-user")], 3, "FOREBAY_USER: there is no user"),
    ] {
        let mut command = Command::new(worker_bin());
        command.arg("--print-config").envs(variables.iter().copied());
        let mut process = Process::start(&mut command);
        assert_eq!(process.wait_exit(PATIENCE).code(), Some(code), "{variables:?}");
        let errors = process.whole_stderr();
        assert!(errors.contains(says) && errors.is_empty() == says.is_empty(), "{errors}");
        assert!(process.stdout().contains("threads = 1  # default"), "{}", process.stdout());
    }
}

#[test]
fn misspelt_variables_are_named() {
    let mut command = Command::new(worker_bin());
    command.args(["--bind", "127.0.0.1:0", "hello"]).env("FOREBAY_WORKER", "4");
    let mut process = Process::start(&mut command);
    process.listening(1, PATIENCE);
    let line = "there is no setting FOREBAY_WORKER, did you mean FOREBAY_WORKERS?";
    assert!(process.stderr().contains(line), "{}", process.stderr());
}

fn hello() -> SiteBuilder {
    Site::builder().app("hello", 1)
}

fn with_socket(path: &str) -> SiteBuilder {
    Site::builder().route("path = \"/\"\npool = \"app\"").pool(&format!("socket = \"{path}\""))
}

fn assert_fails(site: SiteBuilder, words: &[&str]) {
    let (_dir, mut process) = site.launch();
    assert_ne!(process.wait_exit(PATIENCE).code(), Some(0));
    assert_one_line(&process, words);
    assert!(!process.stdout().contains("listening"), "it did not serve");
}

fn assert_one_line(process: &Process, words: &[&str]) {
    let errors = process.whole_stderr();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    for word in words {
        assert!(errors.contains(word), "no {word:?} in {errors}");
    }
}

/// Whether an error is said to be below the comment.
fn names_line(errors: &str) -> bool {
    (2..=4).any(|line| {
        errors.contains(&format!("forebay.toml:{line}")) || errors.contains(&format!("line {line}"))
    })
}

/// Exit code and standard error of `proxy-bin VERB` with this configuration.
fn run_on(verb: &str, config: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("temporary folders can be made");
    let path = dir.path().join("forebay.toml");
    std::fs::write(&path, config).expect("a new folder is writable");
    let mut command = Command::new(proxy_bin());
    let mut process = Process::start(command.args([verb, "--config"]).arg(&path));
    let code = process.wait_exit(PATIENCE).code();
    (code, process.whole_stderr())
}
