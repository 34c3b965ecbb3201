//! A change of policy while requests are served.
//!
//! Owns the order in which a reactor takes over a new policy. Everything that could fail has been
//! done before, in another thread.

use super::{Phase, Reactor, Source};
use crate::access_log::AccessLog;
use crate::files::{Files, FilesRoute, Identity, Root};
use crate::io::{Backend, Graveyard, SharedFile};
use crate::limits::Limits;
use crate::route::{Policy, SharedPool};
use std::ffi::CString;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

/// How one reactor answers from now on: whole, not as a difference, but for its listeners.
pub(crate) struct Change {
    pub(crate) policy: Arc<Policy>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) log: Option<AccessLog>,
    /// Where spool files are made.
    pub(crate) spool_dir: CString,
    /// What the policy's numbers refer to.
    pub(crate) file_routes: Vec<OpenFiles>,
    /// Roots of earlier policies have smaller ids.
    pub(crate) first_root: u32,
    /// Where workers of new pools dial in.
    pub(crate) sources: Vec<Source>,
    /// Pools whose workers cannot dial in any more.
    pub(crate) removed: Vec<Arc<SharedPool>>,
}

/// A files route for one reactor, its directories open.
pub(crate) struct OpenFiles {
    pub(crate) files: Files,
    pub(crate) roots: Vec<OpenRoot>,
}

/// A directory, open for one reactor.
pub(crate) struct OpenRoot {
    pub(crate) id: u32,
    /// Absolute.
    pub(crate) path: CString,
    pub(crate) directory: OwnedFd,
    pub(crate) identity: Identity,
}

impl OpenFiles {
    /// The same in the reactor whose graveyard this is.
    pub(crate) fn into_route(self, graveyard: &Graveyard) -> FilesRoute {
        let root = |OpenRoot { id, path, directory, identity }| {
            let directory = SharedFile::new(directory.into_raw_fd(), graveyard);
            Root::new(id, Rc::from(path), directory, identity)
        };
        FilesRoute::new(self.files, self.roots.into_iter().map(root).collect())
    }
}

impl<B: Backend> Reactor<B> {
    /// Requests whose head has been read go on as they began.
    pub(super) fn on_change(&mut self, change: Change) {
        let graveyard = &self.graveyard;
        let routes =
            change.file_routes.into_iter().map(|route| route.into_route(graveyard)).collect();
        self.world.policy = change.policy;
        self.world.set_limits(change.limits);
        self.world.log = change.log;
        self.world.spool.set_directory(&change.spool_dir);
        self.world.file_routes = routes;
        self.world.files.forget_roots_before(change.first_root);
        for pool in &change.removed {
            self.stop_listening_for(pool);
        }
        if !matches!(self.phase, Phase::Ending | Phase::Ended) {
            change.sources.into_iter().for_each(|source| self.listen(source));
        }
    }

    /// The last request that this pool could get has ended: so do its workers' connections.
    pub(super) fn on_unused(&mut self, pool: &Arc<SharedPool>) {
        self.stop_listening_for(pool);
        pool.core().retire();
        for token in self.slots.tokens() {
            if let Some(slot) = self.slots.get_mut(token)
                && Arc::ptr_eq(slot.pool(), pool)
            {
                slot.on_end(&mut self.world);
                self.settle_slot(token);
            }
        }
    }
}
