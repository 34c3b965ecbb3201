//! Command lines that were written for gunicorn.

use crate::support::{Edge, PATIENCE, Program};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;

fn start(arguments: &[&str], variable: &str) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker-bin"));
    Program::spawn(command.args(arguments).env("GUNICORN_CMD_ARGS", variable))
}

fn tcp(line: &str) -> TcpStream {
    TcpStream::connect(line.strip_prefix("listening on http://").expect(line)).unwrap()
}

fn ask(mut stream: impl Read + Write, fields: &str) -> String {
    let request = format!("GET /a?b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn lines_of(path: &std::path::Path, count: usize) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count && text.ends_with('\n') {
            return lines;
        }
        assert!(Instant::now() < until, "{count} lines: {text}");
        std::thread::yield_now();
    }
}

#[test]
fn several_addresses_are_listened_on_and_logged() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, log) = (folder.path().join("socket"), folder.path().join("access"));
    let (unix, access) = (format!("unix:{}", socket.display()), log.to_str().unwrap());
    let arguments = ["-b", "127.0.0.1:0", "-b", &unix, "--access-logfile", access, "echo"];
    let mut program = start(&arguments, "--bind 127.0.0.1:0");
    let line = program.line();
    assert_eq!(program.line(), format!("listening on {unix}"), "flags are the whole answer");
    assert!(ask(tcp(&line), "User-Agent: test\r\n").contains("\"target\":\"/a?b\""));
    assert!(ask(UnixStream::connect(&socket).unwrap(), "").contains("\"target\":\"/a?b\""));
    let lines = lines_of(&log, 2);
    let all = lines.join("\n");
    let of_tcp = lines.iter().find(|line| line.starts_with("127.0.0.1 - - [")).expect(&all);
    assert!(of_tcp.contains("] \"GET /a?b HTTP/1.1\" 200 "), "{of_tcp}");
    assert!(of_tcp.ends_with(" \"-\" \"test\""), "{of_tcp}");
    assert!(lines.iter().any(|line| line.starts_with("- - - [")), "{all}");
    // As logrotate does it.
    fs::rename(&log, folder.path().join("old")).unwrap();
    program.signal("USR1");
    lines_of_new(&log, || drop(ask(tcp(&line), "")));
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
    assert!(!socket.exists());
}

#[test]
fn if_one_address_is_taken_nothing_is_left_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let unix = format!("unix:{}", folder.path().join("socket").display());
    let (code, log) = start(&["-b", &unix, "-b", &address, "hello"], "").end();
    assert!(code == Some(3) && log.contains(&address), "{code:?}: {log}");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

/// Asks until the new file has a line.
fn lines_of_new(path: &std::path::Path, ask: impl Fn()) {
    let until = Instant::now() + PATIENCE;
    while fs::read_to_string(path).unwrap_or_default().is_empty() {
        assert!(Instant::now() < until, "no new log");
        ask();
    }
}

#[test]
fn what_has_no_meaning_is_named_once_and_what_is_unknown_is_refused() {
    let edge = Edge::new();
    let address = edge.address();
    let arguments = ["--edge", &address, "-k", "gthread", "--access-logfile", "-", "probe"];
    let program = start(&arguments, "--preload --keep-alive 5 -w 2");
    let slots = [edge.slot(), edge.slot()];
    program.signal("TERM");
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log}");
    for name in ["--worker-class: ", "--preload: ", "--keep-alive: ", "--access-logfile: the edge"]
    {
        assert_eq!(log.matches(name).count(), 1, "{name}: {log}");
    }
    assert!(log.contains("--timeout bounds each of them"), "unlike that of gunicorn: {log}");
    drop(slots);
    for (arguments, reason) in [
        (&["--wrokers", "2", "probe"][..], "did you mean --workers?"),
        (&["-k", "gevent", "probe"], "--worker-class gevent is not possible here"),
        (&["--daemon", "probe"], "--daemon is not possible here"),
        (&["--edge", "unix:x", "--log-level", "loud", "probe"], "none of debug"),
    ] {
        let (code, log) = start(arguments, "").end();
        assert_eq!(code, Some(2), "{arguments:?}: {log}");
        assert!(log.contains(reason) && log.lines().count() == 1, "{arguments:?}: {log}");
    }
    let (code, log) = start(&["probe"], "--bind 'a").end();
    assert!(code == Some(2) && log.contains("GUNICORN_CMD_ARGS: a quotation mark"), "{log}");
}

/// All of gunicorn 23 and 27, each with a value if it takes one.
const FLAGS: &str = "--help -h --version -v --config=a.py -c a.py --bind=[::1]:80 -b [::1]:80
    --backlog=64 --workers=2 -w 2 --worker-class=sync -k gthread --threads=2
    --worker-connections=9 --max-requests=9 --max-requests-jitter=9 --timeout=9 -t 9
    --graceful-timeout=9 --keep-alive=9 --limit-request-line=9 --limit-request-fields=9
    --limit-request-field_size=9 --reload --reload-engine=poll --reload-extra-file=a --spew
    --check-config --print-config --preload --no-sendfile --reuse-port --chdir=/ --daemon -D
    --env=A=1 -e A=1 --pid=a -p a --worker-tmp-dir=/tmp --user=root -u 0 --group=0 -g 0
    --umask=022 -m 0o22 --initgroups --forwarded-allow-ips=* --access-logfile=-
    --disable-redirect-access-to-syslog --access-logformat=%(h)s --error-logfile=- --log-file=-
    --log-level=debug --capture-output --logger-class=a.B --log-config=a --log-config-json=a
    --log-syslog-to=udp://a --log-syslog --log-syslog-prefix=a --log-syslog-facility=user
    --enable-stdio-inheritance -R --statsd-host=a:1 --dogstatsd-tags=a --statsd-prefix=a
    --enable-backlog-metric --name=a -n a --pythonpath=a --paste=a --paster=a --proxy-protocol
    --proxy-protocol=v1 --proxy-allow-from=* --protocol=uwsgi --uwsgi-allow-from=* --keyfile=a
    --certfile=a --ssl-version=2 --cert-reqs=0 --ca-certs=a --suppress-ragged-eofs
    --do-handshake-on-connect --ciphers=a --http-protocols=h1,h2 --http2-cleartext=upgrade
    --http2-max-concurrent-streams=9 --http2-initial-window-size=9 --http2-max-frame-size=9
    --http2-max-header-list-size=9 --paste-global=a=b --permit-obsolete-folding
    --strip-header-spaces --permit-unconventional-http-method
    --permit-unconventional-http-version --casefold-http-method --forwarder-headers=A
    --header-map=dangerous --asgi-loop=auto --asgi-lifespan=auto
    --asgi-disconnect-grace-period=9 --websocket-max-message-size=9 --http-parser=auto
    --root-path=/a --dirty-app=a:b --dirty-workers=9 --dirty-timeout=9 --dirty-threads=9
    --dirty-graceful-timeout=9 --control-socket=a --control-socket-mode=384 --no-control-socket";

#[test]
fn no_flag_of_gunicorn_is_unknown() {
    let mut words = FLAGS.split_whitespace().peekable();
    while let Some(flag) = words.next() {
        let value = words.next_if(|word| !word.starts_with('-'));
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker-bin"));
        command.arg(flag).args(value).args(["--print-config", "probe"]);
        let output = command.output().unwrap();
        let (code, error) = (output.status.code(), String::from_utf8_lossy(&output.stderr));
        let reason = ["is not possible here: ", "is Python, and settings are TOML here: "];
        let is_refused = code == Some(2) && reason.iter().any(|reason| error.contains(reason));
        assert!(code == Some(0) || is_refused, "{flag}: {code:?}: {error}");
    }
}

#[test]
fn of_a_flag_that_is_given_twice_the_last_one_counts() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker-bin"));
    command.args(["-w", "2", "-b", ":1", "-b", ":2", "--workers=3", "--print-config", "probe"]);
    let output = command.env("GUNICORN_CMD_ARGS", "-t 4 -t 5").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for line in ["workers = 3  # flag", "timeout = 5  #", "bind = [\":1\", \":2\"]  # flag"] {
        assert!(text.contains(line), "{line} in {text}{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_log_has_a_level() {
    let edge = Edge::new();
    let address = edge.address();
    let arguments = ["--edge", &address, "--log-level", "warning", "--error-logfile", "-", "probe"];
    let program = start(&arguments, "--preload");
    let _slot = edge.slot();
    program.signal("TERM");
    let (_, log) = program.end();
    assert!(log.contains("warn --preload") && !log.contains(" info "), "{log}");
}

#[test]
fn the_help_has_groups_and_every_flag_a_place_in_the_reference() {
    let program = Program::start(&["--help"]);
    let mut help = String::new();
    let mut program = program;
    program.0.stdout.take().unwrap().read_to_string(&mut help).unwrap();
    assert_eq!(program.end().0, Some(0));
    for heading in ["Where requests come from:", "Workers:", "Times:", "Logs:", "Examples:"] {
        assert!(help.contains(heading), "{heading} in {help}");
    }
    let readme = include_str!("../../README.md");
    let words = help
        .split_whitespace()
        .map(|word| word.split([',', ';', ':', ']', '[', '`', '\'']).next().unwrap());
    for flag in words.filter(|word| word.starts_with("--") && word.len() > 2) {
        assert!(readme.contains(flag), "{flag} is not in the README");
    }
}
