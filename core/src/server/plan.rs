//! From a description to what reactors need, with everything that can fail.
//!
//! Owns the checks, the opening of roots and the binding of new pools' sockets. What it has made is
//! gone when it is dropped, so a plan that is not carried out leaves nothing.

use super::builder::{Builder, Kind, Route, Target, check};
use super::control::BoundPool;
use super::error::BuildError;
use super::pool::Pool;
use super::spool_dir;
use super::unix_socket::{SocketAccess, UnixSocket};
use crate::access_log::AccessLog;
use crate::files::Files;
use crate::http;
use crate::limits::Limits;
use crate::reactor::{OpenRoot, Shared};
use crate::route::{Action, Policy, RoutedPool, SharedPool};
use std::ffi::CString;
use std::fs::File;
use std::sync::Arc;

/// How requests are to be answered.
pub(super) struct Plan {
    pub(super) policy: Arc<Policy>,
    pub(super) limits: Arc<Limits>,
    pub(super) spool_dir: CString,
    /// For each reactor, the roots that the policy's numbers refer to.
    pub(super) roots: Vec<Vec<OpenRoot>>,
    pub(super) pools: Vec<PlannedPool>,
    pub(super) log: Option<AccessLog>,
}

/// A pool that routes lead to, and how it is to be.
pub(super) struct PlannedPool {
    pub(super) bound: BoundPool,
    pub(super) settings: Pool,
    pub(super) is_new: bool,
}

/// What there is already.
pub(super) struct Known<'a> {
    pub(super) pools: &'a [BoundPool],
    /// No root has this id or a larger one.
    pub(super) next_root: u32,
    pub(super) shared: &'a Arc<Shared>,
}

impl Plan {
    pub(super) fn new(builder: Builder, known: &Known<'_>) -> Result<Plan, BuildError> {
        let Builder { routes, limits, spool_dir, trusted_proxies, log, .. } = builder;
        check(&limits)?;
        let spool_dir = spool_dir::check(spool_dir)?;
        let count = known.shared.mailboxes.len();
        let mut policy = Policy { trusted_proxies, ..Policy::default() };
        let mut plan = Planner { known, files: Vec::new(), pools: Vec::new() };
        for Route { host, path, target } in routes {
            let is_clean = http::clean_target(&path).is_ok_and(|clean| clean == path);
            if !path.starts_with('/') || path.contains(['?', '#']) || !is_clean {
                return Err(BuildError::RoutePath(path));
            }
            let action = plan.action(target)?;
            if policy.routes.add(host.as_deref(), &path, action).is_err() {
                let host = host.unwrap_or_default();
                return Err(BuildError::DuplicateRoute(format!("{host}{path}")));
            }
        }
        let roots = (0..count).map(|_| plan.open_roots()).collect::<Result<_, _>>()?;
        let pools = plan.pools;
        adjust_sockets(&pools)?;
        let (policy, limits) = (Arc::new(policy), Arc::new(limits));
        Ok(Plan { policy, limits, spool_dir, roots, pools, log })
    }
}

struct Planner<'a> {
    known: &'a Known<'a>,
    files: Vec<Files>,
    pools: Vec<PlannedPool>,
}

impl Planner<'_> {
    fn action(&mut self, target: Target) -> Result<Action, BuildError> {
        Ok(match target.0 {
            Kind::Files(files) => {
                check_files(&files)?;
                self.files.push(files);
                Action::Files(self.files.len() - 1)
            }
            Kind::Pool(pool) => Action::Pool(self.pool(pool)?),
            Kind::Handler(handler) => Action::Handler(handler),
            Kind::Fixed(response) => Action::Fixed(Arc::new(response)),
            Kind::Redirect(redirect) => {
                if !http::is_field_value(redirect.template().as_bytes()) {
                    return Err(BuildError::Location(redirect.template().into()));
                }
                Action::Redirect(Arc::new(redirect))
            }
        })
    }

    /// The first route's settings count.
    fn pool(&mut self, settings: Pool) -> Result<Arc<RoutedPool>, BuildError> {
        let is_same = |bound: &BoundPool| bound.routed.shared().socket() == settings.socket;
        if let Some(planned) = self.pools.iter().find(|planned| is_same(&planned.bound)) {
            return Ok(Arc::clone(&planned.bound.routed));
        }
        let existing = self.known.pools.iter().find(|bound| is_same(bound)).cloned();
        let is_new = existing.is_none();
        let bound = match existing {
            Some(bound) => bound,
            None => self.bind(&settings)?,
        };
        let routed = Arc::clone(&bound.routed);
        self.pools.push(PlannedPool { bound, settings, is_new });
        Ok(routed)
    }

    fn bind(&self, settings: &Pool) -> Result<BoundPool, BuildError> {
        let Pool { socket, limits, access, allowed } = settings;
        let bound = UnixSocket::bind(socket, access)?;
        let pool = SharedPool::new(socket, *limits, allowed.clone());
        // Messages have pools, and pools must not keep messages.
        let shared = Arc::downgrade(self.known.shared);
        let routed = RoutedPool::new(pool, move |pool| {
            if let Some(shared) = shared.upgrade() {
                shared.on_unused(&pool);
            }
        });
        Ok(BoundPool { routed, socket: Arc::new(bound), access: *access })
    }

    fn open_roots(&self) -> Result<Vec<OpenRoot>, BuildError> {
        let open = |(number, files): (usize, &Files)| {
            let failed = |error| BuildError::Root { directory: files.directory.clone(), error };
            let directory = File::open(&files.directory).map_err(failed)?.into();
            let id = self.known.next_root + number as u32;
            Ok(OpenRoot { id, directory, files: files.clone() })
        };
        self.files.iter().enumerate().map(open).collect()
    }
}

fn check_files(files: &Files) -> Result<(), BuildError> {
    let directory = files.directory.clone();
    if let Err(why) = files.validate() {
        return Err(BuildError::Files { directory, why });
    }
    match std::fs::read_dir(&directory) {
        Ok(_) => Ok(()),
        Err(error) => Err(BuildError::Root { directory, error }),
    }
}

/// Gives the sockets of pools that stay their new mode and owner: all of them, or none.
fn adjust_sockets(pools: &[PlannedPool]) -> Result<(), BuildError> {
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
