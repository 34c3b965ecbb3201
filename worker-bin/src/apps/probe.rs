//! `probe`: behaves, and misbehaves, as its path says.
//!
//! Owns behaviour that load and fault tests need. Must not be served to strangers.

use super::{echo, hello};
use crate::app::Request;
use crate::arbiter::process;
use crate::response::Response;
use crate::signals::exit_now;
use bytes::Bytes;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

/// `/hello`, `/bytes/N`, `/bytes/N/PIECE`, `/length`, `/sleep/MS`, `/spin/MS`, `/status/CODE`,
/// `/headers/N`, `/drip/N/MS`, `/exit`, `/fork/MS`, `/keep/MS`, `/stray/HOW`, `/pid`, `/once/ID`,
/// `/once/ID/MS`, `/echo`; anything else is 404.
pub(super) fn probe(request: &Request) -> Response {
    let mut segments = request.path().trim_start_matches('/').split('/');
    let (name, one, two) = (segments.next().unwrap_or_default(), segments.next(), segments.next());
    if segments.next().is_some() {
        return unknown();
    }
    match (name, one, two) {
        ("hello", None, None) => hello::hello(),
        ("echo", None, None) => echo::echo(request),
        ("length", None, None) => length(request),
        ("pid", None, None) => Response::text(std::process::id().to_string()),
        ("exit", None, None) => exit_now(1),
        ("stray", Some(how), None) => stray(how),
        ("once", Some(id), None) => logged_once(id),
        ("once", Some(id), Some(milliseconds)) => match number(milliseconds) {
            Some(milliseconds) => {
                let response = logged_once(id);
                std::thread::sleep(Duration::from_millis(milliseconds));
                response
            }
            None => bad("that is no number"),
        },
        (_, Some(one), two) => match (number(one), two.map(number)) {
            (Some(one), None) => with_number(name, one),
            (Some(one), Some(Some(two))) if name == "drip" => drip(one, two),
            (Some(one), Some(Some(two))) if name == "bytes" => bytes(one, two),
            (None, _) | (_, Some(None)) => bad("that is no number"),
            _ => unknown(),
        },
        _ => unknown(),
    }
}

fn with_number(name: &str, number: u64) -> Response {
    match name {
        "bytes" => bytes(number, PATTERN_BYTES as u64),
        "sleep" => {
            std::thread::sleep(Duration::from_millis(number));
            Response::text(format!("slept {number} ms\n"))
        }
        "spin" => {
            spin(Duration::from_millis(number));
            Response::text(format!("spun {number} ms\n"))
        }
        "status" => match u16::try_from(number) {
            Ok(status @ 200..=599) => {
                Response::text(format!("status {status}\n")).with_status(status)
            }
            _ => bad("statuses are 200 to 599"),
        },
        "headers" => headers(number),
        "fork" => fork(process::fork, Duration::from_millis(number)),
        "keep" => fork(process::fork_raw, Duration::from_millis(number)),
        _ => unknown(),
    }
}

/// A pattern of 64 characters, over and over. Of more than a piece the same slice is sent again.
fn bytes(count: u64, piece: u64) -> Response {
    static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
        let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
        alphabet.repeat(PATTERN_BYTES / alphabet.len()).into()
    });
    if count > MOST_BYTES {
        return bad("at most 1 GiB");
    }
    if piece == 0 || piece > PATTERN_BYTES as u64 || !piece.is_multiple_of(64) {
        return bad("pieces are multiples of 64, at most 1 MiB");
    }
    let slice = move |len: u64| PATTERN.slice(..len.min(piece) as usize);
    let response = if count <= piece {
        Response::new(slice(count))
    } else {
        let pieces = (0..count).step_by(piece as usize).map(move |at| Ok(slice(count - at)));
        Response::stream(pieces).with_field("Content-Length", count.to_string())
    };
    response.with_field("Content-Type", "application/octet-stream")
}

/// How much content there is, read piece by piece.
fn length(request: &Request) -> Response {
    let (mut reader, mut piece, mut length) = (request.body().reader(), vec![0; READ_BYTES], 0);
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Response::text(length.to_string()),
            Ok(count) => length += count,
            Err(error) => return failed(format!("cannot read the content: {error}\n")),
        }
    }
}

/// Burns CPU, not only time: a sleeping process would give up its core.
fn spin(duration: Duration) {
    let until = Instant::now() + duration;
    let mut state = 1u64;
    while Instant::now() < until {
        for _ in 0..1000 {
            state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005) + 1);
        }
    }
}

fn headers(count: u64) -> Response {
    if count > MOST_HEADERS {
        return bad("at most 100000 fields");
    }
    (1..=count).fold(Response::text("ok\n"), |response, number| {
        response.with_field(format!("X-Probe-{number}"), number.to_string())
    })
}

fn drip(chunks: u64, milliseconds: u64) -> Response {
    let pause = Duration::from_millis(milliseconds);
    let pieces = (1..=chunks).map(move |number| {
        if number > 1 {
            std::thread::sleep(pause);
        }
        Ok(Bytes::from(format!("chunk {number}\n")))
    });
    Response::stream(pieces).with_field("Content-Type", "text/plain; charset=utf-8")
}

/// The child outlives this process, if it must. It holds nothing of its connections, unless it is
/// one that nobody could tell of that.
fn fork(
    fork: impl FnOnce() -> io::Result<Option<crate::arbiter::Pid>>,
    duration: Duration,
) -> Response {
    static CHILDREN: Mutex<Vec<crate::arbiter::Pid>> = Mutex::new(Vec::new());
    match fork() {
        Ok(None) => {
            process::sleep(duration);
            exit_now(0);
        }
        Ok(Some(pid)) => {
            if let Ok(mut children) = CHILDREN.lock() {
                children.retain(|&child| !process::has_ended(child));
                children.push(pid);
            }
            Response::text(pid.to_string())
        }
        Err(error) => failed(format!("cannot fork: {error}\n")),
    }
}

/// The child comes back as well. This process waits for its end, and answers how that was.
fn stray(how: &str) -> Response {
    let ends: fn() -> Response = match how {
        "return" => || Response::text("from the child\n"),
        "stream" => || Response::stream([Ok(Bytes::from_static(b"from the child\n"))].into_iter()),
        "panic" => || panic!("in the child"),
        _ => return unknown(),
    };
    match process::fork() {
        Ok(None) => ends(),
        Ok(Some(child)) => Response::text(format!("{:?}", process::end_of(child))),
        Err(error) => failed(format!("cannot fork: {error}\n")),
    }
}

fn logged_once(id: &str) -> Response {
    once(id, std::env::var_os("PROBE_LOG").as_deref().map(Path::new))
}

/// One line per execution: whoever counts them sees a request that ran twice.
fn once(id: &str, log: Option<&Path>) -> Response {
    let Some(log) = log else {
        return failed("PROBE_LOG is not set: name a file in it, to be appended to\n".into());
    };
    match append(log, id) {
        Ok(()) => Response::text(id.to_owned()),
        Err(error) => failed(format!("cannot append to {}: {error}\n", log.display())),
    }
}

/// In one write with O_APPEND, so that lines of several workers do not mix.
fn append(log: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(log)?;
    file.write_all(format!("{line}\n").as_bytes())
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn unknown() -> Response {
    Response::text(
        "no such probe; there are /hello /bytes/N /bytes/N/PIECE /length /sleep/MS /spin/MS \
         /status/CODE /headers/N /drip/N/MS /exit /fork/MS /keep/MS /stray/HOW /pid /once/ID \
         /once/ID/MS /echo\n",
    )
    .with_status(404)
}

fn bad(reason: &str) -> Response {
    Response::text(format!("{reason}\n")).with_status(400)
}

fn failed(reason: String) -> Response {
    Response::text(reason).with_status(500)
}

const PATTERN_BYTES: usize = 1 << 20;
const READ_BYTES: usize = 64 << 10;
const MOST_BYTES: u64 = 1 << 30;
const MOST_HEADERS: u64 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::Body;

    fn ask(path: &str) -> Response {
        probe(&Request::new("GET", path))
    }

    fn content(response: Response) -> Vec<u8> {
        match response.into_body() {
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::File { .. } => panic!("no probe answers with a file"),
            Body::Stream(pieces) => pieces.flat_map(|piece| piece.unwrap()).collect(),
        }
    }

    #[test]
    fn hello_pid_and_echo() {
        assert_eq!(content(ask("/hello?x=y")), b"Hello, world!");
        assert_eq!(content(ask("/pid")), std::process::id().to_string().into_bytes());
        assert_eq!(ask("/echo").field("content-type"), Some("application/json"));
    }

    #[test]
    fn bytes_have_one_pattern_at_any_size() {
        for count in [0, 1, 65, PATTERN_BYTES, PATTERN_BYTES + 1, 3 * PATTERN_BYTES] {
            let bytes = content(ask(&format!("/bytes/{count}")));
            assert_eq!(bytes.len(), count);
            assert!(bytes.iter().enumerate().all(|(i, &byte)| byte == bytes[i % 64]));
        }
        let large = ask("/bytes/1048577");
        assert_eq!(large.field("content-length"), Some("1048577"));
        assert_eq!(ask("/bytes/1073741825").status(), 400);
        let Body::Stream(pieces) = ask("/bytes/300/128").into_body() else { panic!() };
        assert_eq!(pieces.map(|piece| piece.unwrap().len()).collect::<Vec<_>>(), [128, 128, 44]);
        for path in ["/bytes/300/0", "/bytes/300/100", "/bytes/300/2097152"] {
            assert_eq!(ask(path).status(), 400, "{path}");
        }
    }

    #[test]
    fn content_is_measured() {
        let request = Request::new("POST", "/length").with_content(vec![1; 3 * READ_BYTES + 5]);
        assert_eq!(content(probe(&request)), (3 * READ_BYTES + 5).to_string().as_bytes());
        assert_eq!(content(ask("/length")), b"0");
    }

    #[test]
    fn statuses_and_headers() {
        assert_eq!(ask("/status/418").status(), 418);
        assert_eq!(ask("/status/100").status(), 400);
        assert_eq!(ask("/status/99999999999999999999").status(), 400);
        let response = ask("/headers/3");
        let fields = response.fields().filter(|(name, _)| name.starts_with("X-Probe-"));
        assert_eq!(
            fields.collect::<Vec<_>>(),
            [("X-Probe-1", "1"), ("X-Probe-2", "2"), ("X-Probe-3", "3")]
        );
    }

    #[test]
    fn time_passes() {
        for path in ["/sleep/20", "/spin/20"] {
            let start = Instant::now();
            assert_eq!(ask(path).status(), 200);
            assert!(start.elapsed() >= Duration::from_millis(20), "{path}");
        }
    }

    #[test]
    fn drips_come_apart() {
        let start = Instant::now();
        assert_eq!(content(ask("/drip/3/10")), b"chunk 1\nchunk 2\nchunk 3\n");
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(content(ask("/drip/0/10")), b"");
    }

    #[test]
    fn once_appends_a_line_per_execution() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        assert_eq!(content(once("a", Some(&log))), b"a");
        assert_eq!(once("b", Some(&log)).status(), 200);
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "a\nb\n");
        assert_eq!(once("a", None).status(), 500);
        assert_eq!(once("a", Some(directory.path())).status(), 500);
    }

    #[test]
    fn unknown_paths_are_404_and_bad_numbers_400() {
        for path in ["/", "/nothing", "/hello/1", "/bytes", "/drip/1", "/sleep/1/2/3", "/a/1"] {
            assert_eq!(ask(path).status(), 404, "{path}");
        }
        for path in ["/bytes/x", "/sleep/-1", "/drip/1/x", "/once/1/x", "/bytes/"] {
            assert_eq!(ask(path).status(), 400, "{path}");
        }
    }
}
