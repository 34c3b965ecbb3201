//! A seeded kernel in memory: the second implementation of [`Backend`](super::Backend).
//!
//! Owns the virtual clock, the randomness and everything that a reactor can reach through the
//! seam: sockets, files, descriptors. One [`SimKernel`] serves any number of reactors in one
//! thread; the test (or bench) holds the other ends of the connections, each a [`Peer`]. Must
//! not know anything above the seam.
//!
//! The same seed and the same calls give the same completions in the same order. With
//! [`Faults`], the kernel does rarely seen but legal things. It panics, naming the descriptor,
//! when a reactor breaks a rule of the seam: closing under an operation in flight, using a
//! descriptor that is not open, two sends on one socket, a transit buffer kept over a turn.
//!
//! ```text
//! loop: turn every reactor while !is_idle(); then let the peers act;
//!       when nobody has anything to do: advance_to(next_deadline())
//! ```

mod attempt;
mod backend;
mod descriptors;
mod disk;
#[cfg(test)]
mod echo;
mod faults;
mod files;
mod operation;
mod peer;
mod pipe;
mod random;
mod ring;
mod stream;
mod transfer;
mod transit;

pub(crate) use backend::{BackendId, SimBackend};
pub(crate) use descriptors::DescriptorKind;
#[cfg(test)]
pub(crate) use echo::for_seeds;
pub(crate) use faults::Faults;
pub(crate) use files::SimFile;
pub(crate) use peer::Peer;
pub(crate) use random::Random;
pub(crate) use stream::StreamKind;
pub(crate) use transit::TransitSize;

use super::{Errno, Fd, Time, Wait, Wake};
use descriptors::{Descriptors, Object};
use files::{FileSystem, Timestamp};
use ring::{Ring, Waiter};
use slab::Slab;
use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use stream::Stream;

/// The simulated kernel; clones are the same kernel.
#[derive(Clone)]
pub(crate) struct SimKernel(Rc<RefCell<Kernel>>);

impl SimKernel {
    /// A kernel without any file or socket.
    pub(crate) fn new(seed: u64, faults: Faults) -> SimKernel {
        SimKernel(Rc::new(RefCell::new(Kernel {
            now: START,
            random: Random::new(seed),
            faults,
            capacity: CAPACITY,
            process: 1_000,
            descriptors: Descriptors::default(),
            listeners: Slab::new(),
            streams: Slab::new(),
            files: FileSystem::new(timestamp(START)),
            rings: Vec::new(),
        })))
    }

    /// From now on everything is decided by this.
    pub(crate) fn set_random(&self, random: Random) {
        self.kernel_mut().random = random;
    }

    /// A reactor's view, with [`TransitSize::USUAL`] buffers; [`TransitSize::SCARCE`] if the
    /// kernel has faults.
    pub(crate) fn backend(&self) -> SimBackend {
        let faultless = self.kernel().faults == Faults::none();
        self.backend_with(if faultless { TransitSize::USUAL } else { TransitSize::SCARCE })
    }

    /// A reactor's view with such transit buffers.
    pub(crate) fn backend_with(&self, transit: TransitSize) -> SimBackend {
        SimBackend::new(self, transit)
    }

    /// The monotonic clock.
    pub(crate) fn now(&self) -> Time {
        self.kernel().now
    }

    /// Moves both clocks on.
    pub(crate) fn advance(&self, by: Duration) {
        let mut kernel = self.kernel_mut();
        kernel.now = kernel.now.after(by);
    }

    /// Moves both clocks on to this moment of the monotonic one, unless it has passed.
    pub(crate) fn advance_to(&self, moment: Time) {
        let mut kernel = self.kernel_mut();
        kernel.now = kernel.now.max(moment);
    }

    /// The earliest moment until which any backend last asked to wait.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let kernel = self.kernel();
        let deadlines = kernel.rings.iter().filter_map(|ring| match ring.wait {
            Some(Wait::Until(moment)) => Some(moment),
            _ => None,
        });
        deadlines.min()
    }

    /// A turn of this backend would find something to do now: there is something to perform or
    /// deliver, it was woken, it asked not to wait, or its deadline has come.
    pub(crate) fn has_work(&self, backend: BackendId) -> bool {
        let kernel = self.kernel();
        kernel.rings[backend.0].has_work(kernel.now)
    }

    /// No backend has anything to do before the clock moves or a peer acts.
    pub(crate) fn is_idle(&self) -> bool {
        let kernel = self.kernel();
        !kernel.rings.iter().any(|ring| ring.has_work(kernel.now))
    }

    /// Every open descriptor, in order.
    pub(crate) fn open_descriptors(&self) -> Vec<(Fd, DescriptorKind)> {
        self.kernel().descriptors.list()
    }

    /// Transit buffers that are not in the backend's pool: lent to the reactor, or in completions
    /// to be delivered.
    pub(crate) fn transit_outstanding(&self, backend: BackendId) -> usize {
        self.kernel().rings[backend.0].outstanding.get()
    }

    /// As [`Backend::in_flight`](super::Backend::in_flight).
    pub(crate) fn in_flight(&self, backend: BackendId) -> usize {
        self.kernel().rings[backend.0].in_flight
    }

    /// A new descriptor of the root directory; to be closed like any other.
    pub(crate) fn root(&self) -> Fd {
        let mut kernel = self.kernel_mut();
        let root = kernel.files.root();
        kernel.descriptors.open(Object::File(root))
    }

    fn kernel(&self) -> std::cell::Ref<'_, Kernel> {
        self.0.borrow()
    }

    fn kernel_mut(&self) -> RefMut<'_, Kernel> {
        self.0.borrow_mut()
    }
}

struct Kernel {
    now: Time,
    random: Random,
    faults: Faults,
    /// Of either direction of a new connection.
    capacity: usize,
    /// The last one that has connected.
    process: u32,
    descriptors: Descriptors,
    listeners: Slab<Listener>,
    streams: Slab<Stream>,
    files: FileSystem,
    /// One for each backend, for ever.
    rings: Vec<Ring>,
}

impl Kernel {
    fn timestamp(&self) -> Timestamp {
        timestamp(self.now)
    }
}

struct Listener {
    kind: StreamKind,
    /// Connected, not accepted.
    backlog: VecDeque<usize>,
    waiters: Vec<Waiter>,
    /// Shut down: accepts nothing more.
    shut: bool,
}

/// Ends nothing, as no turn ever waits; it gives its backend work.
#[derive(Default)]
struct WakeFlag(AtomicBool);

impl WakeFlag {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Wake for WakeFlag {
    fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

fn timestamp(now: Time) -> Timestamp {
    let since = now.since(START);
    (UNIX_START + since.as_secs() as i64, since.subsec_nanos())
}

/// Not zero: nobody may take the clock's zero for a moment.
const START: Time = Time(1_000_000_000);
/// 2025-06-15 15:06:40 UTC.
const UNIX_START: i64 = 1_750_000_000;
/// Bytes; see [`SimKernel::set_capacity`].
const CAPACITY: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::super::Backend;
    use super::*;

    #[test]
    fn clock_moves_only_when_told() {
        let kernel = SimKernel::new(1, Faults::none());
        let mut backend = kernel.backend();
        let (start, date) = (backend.now(), backend.unix_seconds());
        assert_eq!(date, 1_750_000_000);
        kernel.advance(Duration::from_millis(1500));
        assert_eq!(backend.now().since(start), Duration::from_millis(1500));
        assert_eq!(backend.unix_seconds(), date + 1);
        kernel.advance_to(start);
        assert_eq!(backend.now().since(start), Duration::from_millis(1500));
    }

    #[test]
    fn deadlines_and_wakers_say_when_to_turn() {
        let kernel = SimKernel::new(1, Faults::none());
        let (mut one, mut two) = (kernel.backend(), kernel.backend());
        assert!(kernel.is_idle());
        assert_eq!(kernel.next_deadline(), None);
        let (soon, later) =
            (one.now().after(Duration::from_secs(1)), one.now().after(Duration::from_secs(2)));
        one.turn(Wait::Until(later), &mut Vec::new()).unwrap();
        two.turn(Wait::Until(soon), &mut Vec::new()).unwrap();
        assert!(kernel.is_idle());
        assert_eq!(kernel.next_deadline(), Some(soon));
        kernel.advance_to(soon);
        assert!(kernel.has_work(two.id()) && !kernel.has_work(one.id()));
        two.turn(Wait::Forever, &mut Vec::new()).unwrap();
        assert!(kernel.is_idle());
        one.waker().wake();
        assert!(kernel.has_work(one.id()) && !kernel.has_work(two.id()));
        one.turn(Wait::Poll, &mut Vec::new()).unwrap();
        assert!(kernel.has_work(one.id()), "it asked to be turned again");
        one.turn(Wait::Forever, &mut Vec::new()).unwrap();
        assert!(kernel.is_idle());
    }
}
