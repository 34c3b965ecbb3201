//! A directory as a web site: compressed neighbours, fingerprinted names, rules for caching.
//!
//! `cargo run -p forebay-examples --example static_site -- examples/site` in the repository, then
//! open <http://127.0.0.1:8080/>. A second argument is the address. Ctrl-C ends it.

use forebay::{FileRule, Files, Server, Symlinks};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| "examples/site".into());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let files = Files::new(directory)
        // NAME.br, NAME.zst and NAME.gz answer for NAME to clients that prefer them.
        .precompressed(true)
        // app.3f9a2b1c.js may be kept forever, all else is asked for again.
        .immutable(true)
        .cache_control("no-cache")
        .rule(FileRule::matching("*.html").field("X-Frame-Options", "DENY"))
        .field("X-Content-Type-Options", "nosniff")
        .symlinks(Symlinks::Deny);
    let server = Server::builder().listen(address).route("/", files).build()?;
    println!("listening on http://{}", server.addresses()[0]);
    server.run()?;
    Ok(())
}
