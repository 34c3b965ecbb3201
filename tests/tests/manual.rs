//! Help, manual pages and completions of both programs are whole, and a person at a terminal is
//! told more than a pipe.

use forebay_tests::{PATIENCE, Process, Site, TERM, proxy_bin, tool, worker_bin};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const PROXY_PAGES: &[&str] = &[
    "proxy-bin.1",
    "proxy-bin-check.1",
    "proxy-bin-completions.1",
    "proxy-bin-demo.1",
    "proxy-bin-man.1",
    "proxy-bin-run.1",
    "proxy-bin-status.1",
];
const WORKER_PAGES: &[&str] =
    &["worker-bin.1", "worker-bin-completions.1", "worker-bin-man.1", "worker-bin-status.1"];

#[test]
fn every_command_has_a_manual_page_that_man_understands() {
    let Some(man) = tool("man") else { return };
    for (program, pages) in [(proxy_bin(), PROXY_PAGES), (worker_bin(), WORKER_PAGES)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        assert_eq!(text(program, &["man", "--directory", path]), "");
        for page in pages {
            let file = directory.path().join(page);
            let mut command = man.command();
            command.args(["--warnings=all", "-l"]).arg(&file).env("MANWIDTH", "100");
            let output = command.env("LC_ALL", "C.UTF-8").output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{page}");
            let shown = String::from_utf8_lossy(&output.stdout);
            assert!(shown.contains("NAME") && shown.contains("SYNOPSIS"), "{page}: {shown}");
        }
        let main = std::fs::read_to_string(directory.path().join(pages[0])).unwrap();
        assert_eq!(text(program, &["man"]), main);
    }
}

#[test]
fn tables_and_examples_keep_their_lines_in_manual_pages() {
    let Some(man) = tool("man") else { return };
    for (program, page, lines) in [
        (proxy_bin(), "proxy-bin-run.1", ["[server]", "head_fields = 100", "[[route]]"]),
        (worker_bin(), "worker-bin.1", ["Signals", "TTIN/TTOU  one worker more", "Exit codes:"]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        text(program, &["man", "--directory", directory.path().to_str().unwrap()]);
        let mut command = man.command();
        command.arg("-l").arg(directory.path().join(page)).env("MANWIDTH", "80");
        let output = command.env("LC_ALL", "C.UTF-8").output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        for line in lines {
            let is_there = shown.lines().any(|shown| shown.trim_start().starts_with(line));
            assert!(is_there, "{page}: no line {line:?} in {shown}");
        }
    }
}

#[test]
fn a_directory_for_manual_pages_must_exist() {
    for program in [proxy_bin(), worker_bin()] {
        let output = run(program, &["man", "--directory", "/nowhere/at/all"]);
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}

#[test]
fn completions_are_scripts_of_their_shell() {
    for program in [proxy_bin(), worker_bin()] {
        let name = program.file_name().unwrap().to_str().unwrap();
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let script = text(program, &["completions", shell]);
            assert!(script.contains(name) && script.contains("status"), "{shell}: {script}");
        }
    }
}

#[test]
fn bash_completes_commands_and_flags() {
    let Some(bash) = tool("bash") else { return };
    let complete = |program: &Path, words: &str, last: usize| {
        let script = text(program, &["completions", "bash"]);
        let name = program.file_name().unwrap().to_str().unwrap();
        let function = format!("_{}", name.replace('-', "__"));
        let test = format!(
            "{script}\nCOMP_WORDS=({name} {words}); COMP_CWORD={last}\n\
             {function} {name} \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"\n\
             echo \"${{COMPREPLY[@]}}\"\n"
        );
        String::from_utf8(bash.run(&["-c", &test])).unwrap()
    };
    assert_eq!(complete(proxy_bin(), "sta", 1), "status\n");
    assert_eq!(complete(proxy_bin(), "status --js", 2), "--json\n");
    assert_eq!(complete(proxy_bin(), "completions z", 2), "zsh\n");
    assert_eq!(complete(worker_bin(), "--graceful", 1), "--graceful-timeout\n");
    // Flags of gunicorn without a meaning are known, and offered to nobody.
    assert_eq!(complete(worker_bin(), "--worker", 1), "--workers\n");
}

#[test]
fn help_ends_with_examples_and_misspelt_words_get_suggestions() {
    let commands: &[&[&str]] = &[&[], &["run"], &["check"], &["status"], &["demo"]];
    for command in commands {
        let help = text(proxy_bin(), &[command, &["--help"][..]].concat());
        let (_, examples) = help.rsplit_once("Examples:\n").expect("there are examples");
        assert!(examples.starts_with("  proxy-bin "), "{command:?}: {examples}");
    }
    for (wrong, meant) in [("chekc", "check"), ("demmo", "demo")] {
        let output = run(proxy_bin(), &[wrong]);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(&format!("'{meant}'")), "{error}");
    }
    let output = run(proxy_bin(), &["run", "--confg", "x"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("--config"), "{error}");
}

#[test]
fn a_terminal_gets_a_banner_and_a_pipe_plain_lines() {
    let site = Site::builder().files("/", "site").start();
    assert_eq!(site.stdout(), format!("listening on http://{}\n", site.address()));
    let Some(script) = tool("script") else { return };
    for (no_color, is_coloured) in [(false, true), (true, false)] {
        let mut command = script.command();
        let serve = format!("{} demo --listen 127.0.0.1:0", proxy_bin().display());
        command.args(["--quiet", "--flush", "--return", "--command", &serve, "/dev/null"]);
        command.env_remove("NO_COLOR");
        if no_color {
            command.env("NO_COLOR", "1");
        }
        let mut process = Process::start(&mut command);
        let is_shown = |process: &Process| process.stdout().contains("Ctrl-C ends at once");
        forebay_tests::wait_until("a banner", PATIENCE, || is_shown(&process));
        let shown = process.stdout();
        assert!(shown.contains("Forebay") && shown.contains("listening on "), "{shown}");
        assert_eq!(shown.contains("\x1b["), is_coloured, "{shown:?}");
        for child in forebay_tests::children(process.pid()) {
            forebay_tests::send_signal(child, TERM);
        }
        process.wait_exit(PATIENCE);
    }
}

#[test]
fn whoever_started_it_is_told_that_it_serves_and_that_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let proxy = (proxy_bin(), &["demo", "--listen", "127.0.0.1:0"][..]);
    let worker = (worker_bin(), &["--bind", "127.0.0.1:0", "-w", "2", "hello"][..]);
    for (program, arguments) in [proxy, worker] {
        tells(program, arguments, &path, &socket);
    }
}

fn tells(program: &Path, arguments: &[&str], path: &Path, socket: &UnixDatagram) {
    let mut command = Command::new(program);
    let mut process = Process::start(command.args(arguments).env("NOTIFY_SOCKET", path));
    let told = || {
        let mut message = [0; 64];
        let length = socket.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    process.listening(1, PATIENCE);
    process.signal(TERM);
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(process.wait_exit(PATIENCE).code(), Some(0));
}

fn text(program: &Path, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it is for people")
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().expect("it was just built")
}
