//! An application in Rust, served by pre-forked workers.
//!
//! Alone: `cargo run -p forebay-examples --example rust_app -- --bind 127.0.0.1:8000`. Behind an
//! edge: `--edge unix:SOCKET` instead, or as `workers` in the edge's configuration. `--help` lists
//! options, signals and exit codes.

use forebay_worker::{Request, Response};
use std::{process::ExitCode, thread, time::Duration};

fn main() -> ExitCode {
    forebay_worker::main(app)
}

/// Whole requests come in, one at a time in each process, so it may block.
fn app(request: Request) -> Response {
    match (request.method(), request.path()) {
        ("GET" | "HEAD", "/") => Response::text("Hello from Rust\n"),
        ("GET", "/slow") => {
            thread::sleep(Duration::from_secs(1));
            Response::text("That took a second.\n")
        }
        ("POST", "/length") => Response::text(format!("{} bytes\n", request.content().len())),
        _ => Response::text("There are GET /, GET /slow and POST /length.\n").with_status(404),
    }
}
