//! The edge of Forebay: an HTTP/1.1 server on io_uring that takes every client, slow ones too,
//! reads each request whole, and answers it with a file, by a handler in this process, or by
//! handing it to one of the worker processes that dial in.
//!
//! It does not speak TLS, HTTP/2 or WebSocket, is no client of other HTTP servers, reads no
//! configuration file (`proxy-bin` does) and runs no processes. It needs Linux 6.1 or later with
//! io_uring allowed; [`probe`] says whether it is.
//!
//! ```text
//!  clients     ┌─────────────────────────────────────────────────────────────┐
//!  ───TCP─────►│ reactor, one per core: ring, connections, timers, files     │
//!              │   ├─ Files     from memory, or by sendfile(2)               │
//!              │   ├─ Handler   code of this process                         │
//!              │   └─ Pool      one queue, shared by all reactors            │
//!              └────────────────────▲────────────────────────────────────────┘
//!                                   │ Unix socket: a worker dials in;
//!                                   │ one connection = one slot = one request at a time
//! ```
//!
//! # What always holds
//!
//! - A worker gets the first byte of a request only after the edge has the last one.
//! - A worker waits for a slow client only when `response_memory` is full.
//! - A reactor never blocks: not on a cold file, a full pipe or the log.
//! - Bytes of clients are not passed on: requests are parsed strictly and written anew.
//! - What the kernel may still touch is not freed, and no descriptor in use is closed.
//! - Every buffer, queue and wait has a bound: [`Limits`], [`Pool`]. Only what a [`Handler`] does
//!   before it returns has none: it holds up its reactor.
//! - A request that may have been started is not run twice, unless its method is idempotent.
//! - Files stay beneath their root; the kernel sees to it (openat2(2), `RESOLVE_BENEATH`).
//! - Time and randomness are arguments: everything above the ring also runs on a simulated kernel.
//!
//! # A whole program
//!
//! ```no_run
//! use forebay::{Files, Pool, Reply, Request, Response, Server};
//! use std::{env, error::Error, io, thread};
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
//!     let server = Server::builder()
//!         .listen(address)
//!         .route("/assets/", Files::new("examples"))
//!         .route("/healthz", |_: Request, reply: Reply| reply.send(Response::text("ok\n")))
//!         .route("/", Pool::at("examples/run/embed.sock"))
//!         .build()?;
//!     let (handle, on_enter) = (server.handle(), server.handle());
//!     thread::spawn(move || {
//!         if io::stdin().read_line(&mut String::new()).is_ok_and(|bytes| bytes > 0) {
//!             on_enter.stop();
//!         }
//!     });
//!     println!("listening on http://{}", server.addresses()[0]);
//!     server.run()?;
//!     println!("{:#?}", handle.stats());
//!     Ok(())
//! }
//! ```
//!
//! Signals are the program's own affair: call [`Handle::stop`] to drain, [`Handle::stop_now`] to
//! end at once, [`Handle::reload`] to answer otherwise from now on. A handler that takes longer
//! than a millisecond answers from another thread: see [`Handler`].

mod access_log;
#[cfg(test)]
mod allocations;
#[cfg(any(test, feature = "bench"))]
#[doc(hidden)]
pub mod bench;
mod conn;
mod files;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod growth;
mod handler;
pub mod http;
mod io;
mod limits;
mod per_address;
mod pool;
mod reactor;
mod route;
mod server;
mod stats;

// The public interface is `http`, and:
pub use access_log::AccessLog;
pub use files::{FileRule, Files, Symlinks};
pub use handler::{Handler, Reply, Request, Response, ResponseError};
pub use io::{SetupError, probe};
pub use limits::Limits;
pub use route::{Network, NetworkError, Redirect};
pub use server::{
    BuildError, Builder, Handle, Pool, RunError, Server, SocketAccess, SocketError, Target,
    UnixSocket,
};
pub use stats::{PoolStats, Stats};
