//! From the configuration to the edge: the one place that builds a `forebay::Server`.
//!
//! Owns the translation. Must not know signals or workers.

use crate::config::{self, At, Config};
use crate::users::{self, Identity, UserError};
use forebay::{Pool, Redirect, SocketAccess, Target};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;

pub(crate) use forebay::{
    AccessLog, Builder, Handle, Reply, Request, Response, RunError as ServeError, Server,
    UnixSocket,
};

/// Why there is no edge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EdgeError {
    /// What the edge says itself.
    #[error(transparent)]
    Build(#[from] forebay::BuildError),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] forebay::SocketError),
    /// The log's file.
    #[error("cannot open the access log \"{}\": {error}", .path.display())]
    AccessLog { path: PathBuf, error: io::Error },
    /// The owner of a socket, or a worker's.
    #[error(transparent)]
    User(#[from] UserError),
    /// The spool's directory, of a user who is not the one that started it.
    #[error(
        "spool_dir \"{}\": user {user} cannot make files there: {error}: choose another directory, \
         or give it to that user", .directory.display()
    )]
    SpoolDir { directory: PathBuf, user: String, error: io::Error },
    /// An answer that the edge does not send.
    #[error("route \"{path}\": {error}")]
    Response { path: String, error: forebay::ResponseError },
}

/// The edge of this configuration, with the log that has been opened for it.
///
/// # Errors
/// Something is not as the configuration says. Nothing has been bound or changed.
pub(crate) fn describe(config: &Config, log: Option<AccessLog>) -> Result<Builder, EdgeError> {
    let mut builder = Server::builder().reactors(config.reactors).limits(config.limits.clone());
    for address in &config.listen {
        builder = builder.listen(address);
    }
    if let Some(directory) = &config.spool_dir {
        builder = builder.spool_dir(&directory.value);
    }
    builder = builder.trusted_proxies(config.trusted_proxies.iter().copied());
    if let Some(log) = log {
        builder = builder.access_log(log);
    }
    let identity = identity(config)?;
    let mut pools = HashMap::new();
    for written in &config.pools {
        pools.insert(written.name.value.as_str(), pool(written, identity)?);
    }
    for route in &config.routes {
        let target = bounded(target(route, &pools)?, route);
        builder = match &route.host {
            Some(host) => builder.route_for_host(host, &route.path, target),
            None => builder.route(&route.path, target),
        };
    }
    Ok(builder)
}

/// Whose process the edge is to be, if that is said.
///
/// # Errors
/// No such user.
pub(crate) fn identity(config: &Config) -> Result<Option<Identity>, UserError> {
    let name = |name: &Option<At<String>>| name.as_ref().map(|name| name.value.clone());
    Identity::find(name(&config.user).as_deref(), name(&config.group).as_deref())
}

/// Becomes `identity`, who is to make spool files and to read what is served, too.
///
/// # Errors
/// This process is not root's, or the directory of the spool is not for that user.
pub(crate) fn assume(identity: Identity, config: &Config) -> Result<(), EdgeError> {
    identity.assume()?;
    let name = config.user.as_ref().map(|name| name.value.clone());
    let user = name.unwrap_or_else(|| identity.user.to_string());
    for root in config.routes.iter().flat_map(config::Route::roots) {
        // What is beneath it is looked up through it.
        if let Err(error) = root.value.join(".").metadata() {
            let root = root.value.display();
            tracing::warn!(
                "files \"{root}\": user {user} cannot look there: {error}: every request will get \
                 403; let that user in, in all folders on the way"
            );
        }
    }
    let directory = config.spool_dir.as_ref().map(|written| written.value.clone());
    let directory = directory.unwrap_or_else(|| Builder::SPOOL_DIR.into());
    let Err(error) = tempfile::tempfile_in(&directory) else { return Ok(()) };
    Err(EdgeError::SpoolDir { directory, user, error })
}

/// Makes the control socket: for our user, and root. `None`: it is the `old` one, which is there.
///
/// # Errors
/// It cannot be made, or another server has it.
pub(crate) fn control(
    path: &Path,
    identity: Option<Identity>,
    old: Option<&UnixSocket>,
) -> Result<Option<UnixSocket>, EdgeError> {
    let access = SocketAccess {
        mode: Some(0o600),
        user: identity.map(|identity| identity.user),
        group: identity.map(|identity| identity.group),
    };
    Ok(match old {
        Some(old) => old.restored(&access)?,
        None => Some(UnixSocket::bind(path, &access)?),
    })
}

/// Opens the access log.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn open_log(config: &Config) -> Result<Option<AccessLog>, EdgeError> {
    let failed = |path: &Path, error| EdgeError::AccessLog { path: path.to_path_buf(), error };
    match &config.access_log {
        config::AccessLog::Off => Ok(None),
        config::AccessLog::Stdout => {
            AccessLog::stdout().map(Some).map_err(|error| failed("-".as_ref(), error))
        }
        config::AccessLog::File(path) => {
            AccessLog::file(&path.value).map(Some).map_err(|error| failed(&path.value, error))
        }
    }
}

/// Workers are started as `identity`, so the socket is theirs, too, unless it is said whose.
fn pool(written: &config::Pool, identity: Option<Identity>) -> Result<Pool, UserError> {
    let user = match &written.user {
        Some(name) => Some(users::user(&name.value)?.0),
        None => identity.map(|identity| identity.user),
    };
    let group = match &written.group {
        Some(name) => Some(users::group(&name.value)?),
        None => identity.map(|identity| identity.group),
    };
    let mut pool = written.settings.clone().owner(user, group);
    if let Some(names) = &written.allowed_users {
        let numbers = names.iter().map(|name| Ok(users::user(&name.value)?.0));
        pool = pool.allowed_uids(numbers.collect::<Result<Vec<_>, UserError>>()?);
    }
    Ok(pool)
}

/// With what is said about single clients.
fn bounded(mut target: Target, route: &config::Route) -> Target {
    if let Some((requests, per)) = route.rate {
        target = target.rate(requests, per);
    }
    if let Some(requests) = route.burst {
        target = target.burst(requests);
    }
    if let Some(requests) = route.concurrent {
        target = target.concurrent(requests);
    }
    target
}

fn target(route: &config::Route, pools: &HashMap<&str, Pool>) -> Result<Target, EdgeError> {
    match &route.target {
        config::Target::Files { files, .. } => Ok((**files).clone().into()),
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
