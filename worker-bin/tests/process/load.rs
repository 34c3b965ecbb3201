//! An edge under load: every slot is always busy, and nothing may be lost.

use crate::support::{Edge, Slot};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// What was seen so far.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    answered: AtomicU64,
    pids: Mutex<BTreeSet<u32>>,
    /// Slots that ended without a goodbye.
    lost: Mutex<Vec<String>>,
}

/// Requests on all slots, until dropped.
pub(crate) struct Load {
    seen: Arc<Seen>,
    acceptor: Option<JoinHandle<()>>,
    address: String,
}

impl Load {
    /// Takes over the edge.
    pub(crate) fn start(edge: Edge) -> Load {
        let (seen, address) = (Arc::new(Seen::default()), edge.address());
        let shared = Arc::clone(&seen);
        let acceptor = std::thread::spawn(move || {
            loop {
                let slot = edge.try_slot();
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                // A worker may be told to stop before it has said anything.
                let Some(slot) = slot else { continue };
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || keep_busy(slot, &shared));
            }
        });
        Load { seen, acceptor: Some(acceptor), address }
    }

    /// Until this many more requests are answered.
    pub(crate) fn wait_for(&self, requests: u64) {
        let target = self.seen.answered.load(Ordering::SeqCst) + requests;
        self.wait_until(|seen| seen.answered.load(Ordering::SeqCst) >= target);
    }

    /// Until this many different processes have answered.
    pub(crate) fn wait_for_pids(&self, count: usize) {
        self.wait_until(|seen| seen.pids.lock().unwrap().len() >= count);
    }

    pub(crate) fn pids(&self) -> BTreeSet<u32> {
        self.seen.pids.lock().unwrap().clone()
    }

    /// No slot has ended without a goodbye.
    pub(crate) fn assert_nothing_lost(&self) {
        assert_eq!(*self.seen.lost.lock().unwrap(), Vec::<String>::new());
    }

    fn wait_until(&self, is_reached: impl Fn(&Seen) -> bool) {
        let until = Instant::now() + crate::support::PATIENCE;
        while !is_reached(&self.seen) {
            assert!(Instant::now() < until, "the load does not get there");
            std::thread::yield_now();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::SeqCst);
        let path = self.address.trim_start_matches("unix:");
        // Wakes the acceptor up.
        let _ = std::os::unix::net::UnixStream::connect(path);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn keep_busy(mut slot: Slot, seen: &Seen) {
    while !seen.stop.load(Ordering::SeqCst) {
        match ask(&mut slot) {
            Ok(Some(pid)) => {
                seen.pids.lock().unwrap().insert(pid);
                seen.answered.fetch_add(1, Ordering::SeqCst);
            }
            // A goodbye: the request that crossed with it was not begun.
            Ok(None) => return,
            Err(why) => return seen.lost.lock().unwrap().push(why),
        }
    }
}

fn ask(slot: &mut Slot) -> Result<Option<u32>, String> {
    // It fails after a goodbye, which is still to be read.
    let _ = slot.0.write_all(b"GET /pid HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut first = [0; 1];
    slot.0.read_exact(&mut first).map_err(|error| format!("no answer: {error}"))?;
    match &first {
        b"G" => Ok(None),
        _ => Ok(Some(slot.answer().parse().map_err(|_| "not a pid".to_owned())?)),
    }
}
