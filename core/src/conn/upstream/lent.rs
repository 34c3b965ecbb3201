//! Content that the worker writes into a file of ours.
//!
//! Owns what of it is in the stream: where the file begins, and how much is in it. Must not know
//! when a file is offered.

use super::{Progress, State, Upstream};
use crate::conn::loan::Receipt;
use crate::conn::relay::Relay;
use crate::conn::world::World;
use crate::http::slot::TAKEN;
use std::ops::Range;

impl Upstream {
    /// So many bytes of content are due, and the worker could write them into a file of ours.
    pub(crate) fn due_to_file(&self) -> Option<u64> {
        match self.state {
            State::Length(left) if self.takes_file => Some(left),
            _ => None,
        }
    }

    /// A receive ends with the message that has brought a descriptor (unix(7)). Its only byte says
    /// that the worker has taken the file that was offered; what is before is content.
    pub(super) fn on_taken(
        &mut self,
        mut buf: Vec<u8>,
        relay: &mut Relay,
        wanted: bool,
        w: &mut World,
    ) -> Progress {
        let is_offered = relay.loan().is_some_and(|loan| loan.is_offered());
        if !is_offered || buf.pop() != Some(TAKEN) {
            self.keep(buf);
            return Progress::Bad("a descriptor within content");
        }
        let content = 0..buf.len();
        let before = self.on_content(buf, content, Vec::new(), relay, wanted, w);
        match (before, &self.state) {
            (Progress::More, &State::Length(left)) => {
                relay.loan().expect("it is offered").on_taken(left);
                self.state = State::Lent(left, Receipt::default());
                Progress::More
            }
            _ => Progress::Bad("a spool file is taken for nothing"),
        }
    }

    /// Without what the worker says about a file of ours. What is in the file goes before what
    /// follows.
    pub(super) fn read_receipt(
        &mut self,
        buf: &[u8],
        range: Range<usize>,
        relay: &mut Relay,
        wanted: bool,
    ) -> Result<Range<usize>, &'static str> {
        let State::Lent(left, receipt) = &mut self.state else { return Ok(range) };
        let (len, bytes) = receipt.read(&buf[range.clone()])?;
        if let Some(bytes) = bytes {
            let left = left.checked_sub(bytes).ok_or("more is in the file than was promised")?;
            if !relay.loan().is_some_and(|loan| loan.is_put_within(bytes)) {
                return Err("less is in the file than was there before");
            }
            self.state = if left == 0 { State::Whole } else { State::Length(left) };
            relay.on_returned(bytes, wanted);
        }
        Ok(range.start + len..range.end)
    }
}
