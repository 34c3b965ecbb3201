//! From a description to what reactors need, with everything that can fail.
//!
//! Owns the checks, the opening of roots and the binding of new pools' sockets. What it has made is
//! gone when it is dropped, so a plan that is not carried out leaves nothing.

use super::bound_pool::{BoundPool, LeavingPool};
use super::builder::{Builder, Kind, Route, Target};
use super::error::{BuildError, SocketError};
use super::pool::Pool;
use super::random;
use super::spool_dir;
use super::unix_socket::{SocketAccess, UnixSocket};
use crate::access_log::AccessLog;
use crate::files::Files;
use crate::handler::{EndsElsewhere, Remains};
use crate::http;
use crate::limits::Limits;
use crate::per_address::{Concurrency, Rate};
use crate::reactor::{OpenFiles, OpenRoot, Shared};
use crate::route::{Action, Bounds, Policy, Routed, RoutedPool, SharedPool};
use bytes::Bytes;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// How requests are to be answered.
pub(super) struct Plan {
    pub(super) policy: Arc<Policy>,
    pub(super) limits: Arc<Limits>,
    pub(super) spool_dir: CString,
    /// For each reactor, the files routes that the policy's numbers refer to.
    pub(super) file_routes: Vec<Vec<OpenFiles>>,
    /// No root has this id or a larger one.
    pub(super) next_root: u32,
    pub(super) pools: Vec<PlannedPool>,
    pub(super) bounds: BoundsByRoute,
    pub(super) log: Option<AccessLog>,
}

/// What has been counted of single clients, by a route's host and path as written.
pub(super) type BoundsByRoute = HashMap<(Option<String>, String), Arc<Bounds>>;

/// A pool that routes lead to, and how it is to be.
pub(super) struct PlannedPool {
    pub(super) bound: BoundPool,
    pub(super) settings: Pool,
    /// Its socket is: a new pool's, or in the place of one whose file somebody has removed.
    pub(super) is_new: bool,
}

/// What there is already.
pub(super) struct Known<'a> {
    pub(super) pools: &'a [BoundPool],
    pub(super) leaving: &'a [LeavingPool],
    pub(super) bounds: &'a BoundsByRoute,
    /// No root has this id or a larger one.
    pub(super) next_root: u32,
    pub(super) shared: &'a Arc<Shared>,
    /// Where handlers and fixed content end.
    pub(super) remains: &'a Sender<Remains>,
}

impl Plan {
    pub(super) fn new(builder: Builder, known: &Known<'_>) -> Result<Plan, BuildError> {
        let Builder { routes, limits, spool_dir, trusted_proxies, log, .. } = builder;
        limits.validate().map_err(|why| BuildError::Limits(why.into()))?;
        let spool_dir = spool_dir.unwrap_or_else(|| Builder::SPOOL_DIR.into());
        let spool_dir = spool_dir::check(&spool_dir)?;
        let count = known.shared.mailboxes.len();
        let mut policy = Policy { trusted_proxies, ..Policy::default() };
        let mut plan = Planner { known, files: Vec::new(), pools: Vec::new() };
        let mut all_bounds = BoundsByRoute::new();
        for Route { host, path, target } in routes {
            let meaning = meaning(&path)?;
            if let Some(host) = host.as_deref().filter(|host| !http::is_host(host)) {
                return Err(BuildError::RouteHost(host.into()));
            }
            let place = (host, path);
            let bounds = bounds(&target, known.bounds.get(&place))?;
            if let Some(bounds) = &bounds {
                all_bounds.insert(place.clone(), Arc::clone(bounds));
            }
            let (host, path) = place;
            let action = plan.action(target)?;
            let routed = Routed { action, bounds };
            if policy.routes.add(host.as_deref(), meaning, routed).is_err() {
                let host = host.unwrap_or_default();
                return Err(BuildError::DuplicateRoute(format!("{host}{path}")));
            }
        }
        let file_routes = (0..count).map(|_| plan.open_files()).collect::<Result<_, _>>()?;
        let next_root = plan.next_root();
        let (pools, bounds) = (plan.pools, all_bounds);
        adjust_sockets(&pools)?;
        let (policy, limits) = (Arc::new(policy), Arc::new(limits));
        Ok(Plan { policy, limits, spool_dir, file_routes, next_root, pools, bounds, log })
    }
}

impl PlannedPool {
    /// The plan is carried out.
    pub(super) fn adopt(self) -> BoundPool {
        let pool = self.bound.routed.shared();
        pool.core().set_limits(self.settings.limits);
        pool.set_allowed(self.settings.allowed);
        BoundPool { access: self.settings.access, ..self.bound }
    }
}

struct Planner<'a> {
    known: &'a Known<'a>,
    files: Vec<Files>,
    pools: Vec<PlannedPool>,
}

impl Planner<'_> {
    fn action(&mut self, target: Target) -> Result<Action, BuildError> {
        Ok(match target.kind {
            Kind::Files(files) => {
                check_files(&files)?;
                self.files.push(files);
                Action::Files(self.files.len() - 1)
            }
            Kind::Pool(pool) => Action::Pool(self.pool(pool)?),
            Kind::Handler(handler) => {
                Action::Handler(Arc::new(EndsElsewhere::new(handler, self.known.remains)))
            }
            Kind::Fixed(mut response) => {
                let content = EndsElsewhere::new(response.content, self.known.remains);
                response.content = Bytes::from_owner(content);
                Action::Fixed(Arc::new(response))
            }
            Kind::Redirect(redirect) => {
                if !http::is_field_value(redirect.template().as_bytes()) {
                    return Err(BuildError::Location(redirect.template().into()));
                }
                if !redirect.redirects() {
                    return Err(BuildError::RedirectStatus(redirect.code()));
                }
                Action::Redirect(Arc::new(redirect))
            }
        })
    }

    fn pool(&mut self, settings: Pool) -> Result<Arc<RoutedPool>, BuildError> {
        let is_same = |bound: &BoundPool| bound.routed.shared().socket() == settings.socket;
        if let Some(planned) = self.pools.iter().find(|planned| is_same(&planned.bound)) {
            if planned.settings != settings {
                return Err(BuildError::PoolSettings(settings.socket));
            }
            return Ok(Arc::clone(&planned.bound.routed));
        }
        let existing = self.known.pools.iter().find(|bound| is_same(bound)).cloned();
        let (bound, is_new) = match existing {
            None => (self.bind(&settings, self.left(&settings))?, true),
            Some(bound) => match bound.socket.restored(&settings.access)? {
                None => (bound, false),
                Some(socket) => {
                    (BoundPool { socket: Arc::new(socket), access: settings.access, ..bound }, true)
                }
            },
        };
        let routed = Arc::clone(&bound.routed);
        self.pools.push(PlannedPool { bound, settings, is_new });
        Ok(routed)
    }

    /// A pool that was removed, and that earlier requests still hold: so its workers are there.
    fn left(&self, settings: &Pool) -> Option<Arc<RoutedPool>> {
        let mut left = self.known.leaving.iter().filter_map(|leaving| leaving.routed.upgrade());
        left.find(|routed| routed.shared().socket() == settings.socket)
    }

    fn bind(
        &self,
        settings: &Pool,
        left: Option<Arc<RoutedPool>>,
    ) -> Result<BoundPool, BuildError> {
        let socket = Arc::new(UnixSocket::bind(&settings.socket, &settings.access)?);
        let routed = left.unwrap_or_else(|| self.routed(settings));
        Ok(BoundPool { routed, socket, access: settings.access })
    }

    fn routed(&self, settings: &Pool) -> Arc<RoutedPool> {
        let pool = SharedPool::new(&settings.socket, settings.limits, settings.allowed.clone());
        // Messages have pools, and pools must not keep messages.
        let shared = Arc::downgrade(self.known.shared);
        RoutedPool::new(pool, move |pool| {
            if let Some(shared) = shared.upgrade() {
                shared.on_unused(&pool);
            }
        })
    }

    fn open_files(&self) -> Result<Vec<OpenFiles>, BuildError> {
        let mut ids = self.known.next_root..;
        let open = |files: &Files| {
            let roots = files.directories.iter().zip(&mut ids);
            let roots = roots.map(|(directory, id)| open_root(id, directory));
            Ok(OpenFiles { files: files.clone(), roots: roots.collect::<Result<_, _>>()? })
        };
        self.files.iter().map(open).collect()
    }

    fn next_root(&self) -> u32 {
        let count: usize = self.files.iter().map(|files| files.directories.len()).sum();
        self.known.next_root + count as u32
    }
}

fn open_root(id: u32, directory: &Path) -> Result<OpenRoot, BuildError> {
    let failed = |error| BuildError::Root { directory: directory.to_owned(), error };
    let open = || {
        // Not resolved further: a link in it may be made anew, to lead elsewhere.
        let path = CString::new(std::path::absolute(directory)?.into_os_string().into_vec())?;
        let open = File::open(directory)?;
        let metadata = open.metadata()?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(OpenRoot { id, path, directory: open.into(), identity })
    };
    open().map_err(failed)
}

/// What a route's path means.
fn meaning(path: &str) -> Result<Vec<u8>, BuildError> {
    let is_clean = http::clean_target(path).is_ok_and(|clean| clean == path);
    if !path.starts_with('/') || path.contains(['?', '#']) || !is_clean {
        return Err(BuildError::RoutePath(path.into()));
    }
    http::path_meaning(path).map_err(|_| BuildError::RoutePath(path.into()))
}

/// The bounds of a route, if it has any. What has been counted `before` still counts, unless
/// requests were counted at another rate.
fn bounds(
    target: &Target,
    before: Option<&Arc<Bounds>>,
) -> Result<Option<Arc<Bounds>>, BuildError> {
    let wrong = |what: &str| Err(BuildError::Limits(format!("{what} of a route: say 1 at least")));
    let Target { rate, burst, concurrent, .. } = *target;
    if rate.is_some_and(|(requests, per)| requests == 0 || per.is_zero()) {
        return wrong("rate");
    } else if burst == Some(0) || burst.is_some() && rate.is_none() {
        return wrong("burst, or rate,");
    } else if concurrent == Some(0) {
        return wrong("concurrent");
    }
    let rate = rate.map(|(requests, per)| {
        let (interval, burst) = (per / requests, burst.unwrap_or(requests));
        let old = before.and_then(|before| before.rate.clone());
        let old = old.filter(|old| old.is_of(interval, burst));
        old.unwrap_or_else(|| Arc::new(Rate::new(random(), interval, burst)))
    });
    let concurrent = concurrent.map(|most| {
        let old = before.and_then(|before| before.concurrent.clone());
        (old.map_or_else(|| Concurrency::new(random()), |(table, _)| table), most)
    });
    let has_some = rate.is_some() || concurrent.is_some();
    Ok(has_some.then(|| Arc::new(Bounds { rate, concurrent })))
}

fn check_files(files: &Files) -> Result<(), BuildError> {
    if let Err(why) = files.validate() {
        let directory = files.directories.first().cloned().unwrap_or_default();
        return Err(BuildError::Files { directory, why });
    }
    for directory in &files.directories {
        std::fs::read_dir(directory)
            .map_err(|error| BuildError::Root { directory: directory.clone(), error })?;
    }
    Ok(())
}

/// Gives the sockets of pools that stay their new mode and owner: all of them, or none.
fn adjust_sockets(pools: &[PlannedPool]) -> Result<(), SocketError> {
    let changed: Vec<(&UnixSocket, SocketAccess, SocketAccess)> = pools
        .iter()
        .filter(|planned| planned.bound.access != planned.settings.access)
        .map(|p| (&*p.bound.socket, p.bound.access, p.settings.access))
        .collect();
    for (done, (socket, _, new)) in changed.iter().enumerate() {
        if let Err(error) = socket.adjust(new) {
            for (socket, old, _) in &changed[..=done] {
                // It has been so before.
                let _ = socket.adjust(old);
            }
            return Err(error);
        }
    }
    Ok(())
}
