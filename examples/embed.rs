//! An edge server inside another program: files, a handler, and an application's workers.
//!
//! `cargo run -p forebay-examples --example embed` in the repository, then open
//! <http://127.0.0.1:8080/healthz> or <http://127.0.0.1:8080/assets/embed.rs>, this file.
//! Everything else is for workers: start some from a second terminal with
//! `cargo run -p forebay-examples --example rust_app -- --edge unix:examples/run/embed.sock`.
//! Enter drains and ends; Ctrl-C ends at once.

use forebay::{Files, Pool, Reply, Request, Response, Server};
use std::{env, error::Error, io, thread};

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let server = Server::builder()
        .listen(address)
        .route("/assets/", Files::new("examples"))
        .route("/healthz", |_: Request, reply: Reply| reply.send(Response::text("ok\n")))
        .route("/", Pool::at("examples/run/embed.sock"))
        .build()?;
    let (handle, on_enter) = (server.handle(), server.handle());
    thread::spawn(move || {
        if io::stdin().read_line(&mut String::new()).is_ok_and(|bytes| bytes > 0) {
            on_enter.stop();
        }
    });
    println!("listening on http://{}", server.addresses()[0]);
    server.run()?;
    println!("{:#?}", handle.stats());
    Ok(())
}
