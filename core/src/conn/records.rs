//! What the access log will say about the requests of a connection.
//!
//! Owns when a record learns something, and when it is written. Must not know the form of a line.

use super::client::Client;
use super::relay::Relay;
use super::world::World;
use crate::access_log::Record;

impl Client {
    /// A request has come. Its answer will be behind everything that is queued.
    pub(super) fn note(&mut self, mut record: Record) {
        record.begins_behind(self.queued());
        self.record = Some(record);
    }

    /// What is queued now is not its answer yet.
    pub(super) fn note_interim(&mut self) {
        let queued = self.queued();
        if let Some(record) = &mut self.record {
            record.begins_behind(queued);
        }
    }

    /// A part of its response may have been queued.
    pub(super) fn note_relay(&mut self, relay: &Relay) {
        if let Some(record) = &mut self.record {
            record.set_exchange(relay.dispatched_at, relay.responded_at);
            if record.has_response() {
                record.passes(relay.status, relay.content_bytes, relay.around_bytes);
            }
        }
    }

    /// All of its answer has been queued.
    pub(super) fn note_answer(&mut self, status: u16, content: u64) {
        if let Some(mut record) = self.record.take() {
            record.answered(status, content, self.queued());
            self.unsent_records.push(record);
        }
    }

    /// Nothing more is sent of what has been answered.
    pub(super) fn log_answers(&mut self, w: &mut World) {
        let accepted = self.delivery.bytes_accepted();
        for mut record in self.unsent_records.drain(..) {
            record.ends_with(accepted);
            w.log(record);
        }
    }

    /// Bytes that it has sent or will send, as far as is known now.
    fn queued(&self) -> u64 {
        self.delivery.bytes_accepted() + self.output.unsent()
    }
}
