//! From the configuration to the edge: the one place that builds a `forebay::Server`.
//!
//! Owns the translation. Must not know signals or workers.

use crate::config::{self, Config};
use forebay::{AccessLog, Files, Pool, Redirect, Response};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;

pub(crate) use forebay::{Handle, RunError as ServeError, Server};

/// Why there is no edge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EdgeError {
    /// What the edge says itself.
    #[error(transparent)]
    Build(#[from] forebay::BuildError),
    /// The log's file.
    #[error("cannot open the access log \"{}\": {error}", .path.display())]
    AccessLog { path: PathBuf, error: io::Error },
    /// An answer that the edge does not send.
    #[error("route \"{path}\": {error}")]
    Response { path: String, error: forebay::ResponseError },
}

/// Binds the listeners and the sockets of the pools, and opens what is served.
///
/// # Errors
/// One of these is not possible.
pub(crate) fn build(config: &Config) -> Result<Server, EdgeError> {
    let mut builder = Server::builder().reactors(config.reactors).limits(config.limits.clone());
    for address in &config.listen {
        builder = builder.listen(address);
    }
    if let Some(directory) = &config.spool_dir {
        builder = builder.spool_dir(directory);
    }
    if let Some(log) = access_log(&config.access_log)? {
        builder = builder.access_log(log);
    }
    let pools: HashMap<&str, Pool> =
        config.pools.iter().map(|written| (written.name.value.as_str(), pool(written))).collect();
    for route in &config.routes {
        let target = target(route, &pools)?;
        builder = match &route.host {
            Some(host) => builder.route_for_host(host, &route.path, target),
            None => builder.route(&route.path, target),
        };
    }
    Ok(builder.build()?)
}

fn access_log(written: &config::AccessLog) -> Result<Option<AccessLog>, EdgeError> {
    let failed = |path: &Path, error| EdgeError::AccessLog { path: path.to_path_buf(), error };
    match written {
        config::AccessLog::Off => Ok(None),
        config::AccessLog::Stdout => {
            AccessLog::stdout().map(Some).map_err(|error| failed("-".as_ref(), error))
        }
        config::AccessLog::File(path) => {
            AccessLog::file(&path.value).map(Some).map_err(|error| failed(&path.value, error))
        }
    }
}

fn pool(written: &config::Pool) -> Pool {
    let mut pool = Pool::at(&written.socket.value);
    if let Some(queue) = written.queue {
        pool = pool.queue(queue);
    }
    if let Some(timeout) = written.queue_timeout {
        pool = pool.queue_timeout(timeout);
    }
    if let Some(deadline) = written.deadline {
        pool = pool.deadline(deadline);
    }
    if let Some(grace) = written.boot_grace {
        pool = pool.boot_grace(grace);
    }
    pool
}

fn target(
    route: &config::Route,
    pools: &HashMap<&str, Pool>,
) -> Result<forebay::Target, EdgeError> {
    match &route.target {
        config::Target::Files { root, index, cache_control } => {
            let mut files = Files::new(&root.value);
            if let Some(index) = index {
                files = files.index(index);
            }
            if let Some(value) = cache_control {
                files = files.cache_control(value);
            }
            Ok(files.into())
        }
        config::Target::Pool(name) => {
            let pool = pools.get(name.as_str()).expect("the configuration knows all its pools");
            Ok(pool.clone().into())
        }
        config::Target::Redirect { to, status } => Ok(Redirect::to(to).status(*status).into()),
        config::Target::Respond { status, content, content_type } => Response::new(content.clone())
            .with_status(*status)
            .and_then(|response| response.with_field("Content-Type", content_type))
            .map(Into::into)
            .map_err(|error| EdgeError::Response { path: route.path.clone(), error }),
    }
}
