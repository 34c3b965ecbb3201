//! Content that a worker writes into a file of the edge's.
//!
//! Owns what it says about that. Must not know what the content is.

use super::Worker;
use crate::http::slot::{OFFER, RECALL};
use crate::io::sim::Peer;
use crate::reactor::simulation::Edge;
use crate::reactor::simulation::oracle::Oracle;

impl Worker {
    /// Goes on with a file, or begins to, or ends that. `sent`: bytes of the answer that are where
    /// they belong. False: there is nothing to do with files.
    pub(super) fn heeds(
        &mut self,
        bytes: &[u8],
        sent: &mut usize,
        edge: &Edge,
        oracle: &mut Oracle,
    ) -> bool {
        let peer = self.peer.as_ref().expect("connected");
        let room = self.capacity.saturating_sub(peer.unread());
        let Some((file, written)) = &mut self.loan else {
            if *sent == bytes.len() || room == 0 || peer.peek().is_empty() {
                return false;
            }
            let said = peer.receive_at_most(1);
            let (offered, is_wanted) = (peer.take_files(), self.random.chance(800));
            if let ([OFFER], [file], true) = (&said[..], &offered[..], is_wanted) {
                // Nothing: the edge has ended the slot.
                if peer.send_with(b"(", vec![file.clone()]) == 1 {
                    self.loan = Some((file.clone(), 0));
                    oracle.loans += 1;
                }
            }
            return true;
        };
        let is_recalled = peer.peek().first() == Some(&RECALL);
        let is_tired = self.random.chance(50);
        if is_recalled || is_tired || *sent == bytes.len() {
            if room < RECEIPT_MOST {
                return false;
            }
            if is_recalled && self.random.chance(500) {
                peer.receive_at_most(1);
            }
            let receipt = format!("{written}\n");
            match peer.send(receipt.as_bytes()) {
                // The edge has ended the slot, behind a recall perhaps.
                0 => drop(peer.receive()),
                count => assert_eq!(count, receipt.len()),
            }
            self.loan = None;
            return true;
        }
        let most = self.random.within(1..=bytes.len() - *sent);
        let count = edge.kernel.write_to(file, *written, &bytes[*sent..*sent + most]).unwrap_or(0);
        (*sent, *written) = (*sent + count, *written + count as u64);
        true
    }
}

/// What has been said of files, and comes too late.
pub(super) fn ignore(peer: &Peer) {
    while matches!(peer.peek().first(), Some(&(OFFER | RECALL))) {
        peer.receive_at_most(1);
        peer.take_files();
    }
}

const RECEIPT_MOST: usize = 21;
