//! Messages to a reactor, from other reactors and from any thread.
//!
//! Owns the queue and whether its reactor sleeps. Must not know what messages mean.

use super::change::Change;
use crate::handler::{Deliver, Response};
use crate::io::{Token, Wake};
use crate::pool::Assignment;
use crate::route::SharedPool;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a reactor can be told.
pub(crate) enum Message {
    /// A queued request of this reactor has got a slot of `pool`.
    Assigned { pool: Arc<SharedPool>, assignment: Assignment },
    /// Nobody uses this slot any more; its warden, this reactor, closes it.
    CloseSlot { warden: Token },
    /// A handler has answered; `None`: it gave up its right to.
    Reply { client: Token, response: Option<Response> },
    /// Requests that come from now on are answered otherwise.
    Change(Box<Change>),
    /// Nobody can send requests to this pool any more.
    Unused(Arc<SharedPool>),
    /// Another reactor has seen that; this one will at the end of its turn.
    MemoryIsScarce,
    /// The process has no descriptors left: files kept open for later requests are to be closed.
    DescriptorsAreScarce,
    /// Take no new connections, finish what has begun, then end.
    Drain,
    /// End without waiting for anybody.
    Stop,
    /// No reactor has clients any more: close the slots and end.
    End,
    /// Another reactor has failed: end, whatever is open.
    Abandon,
}

/// One reactor's mailbox.
#[derive(Default)]
pub(crate) struct Mailbox {
    queue: Mutex<Vec<Message>>,
    /// The reactor has ended. Written with the queue locked.
    closed: AtomicBool,
    /// There may be messages.
    filled: AtomicBool,
    /// The reactor waits, or is about to, and must be woken.
    asleep: AtomicBool,
    /// As long as there is a reactor to wake: it is a descriptor.
    waker: Mutex<Option<Arc<dyn Wake>>>,
}

impl Mailbox {
    /// From now on messages wake their reactor.
    pub(crate) fn connect(&self, waker: Arc<dyn Wake>) {
        let earlier = locked(&self.waker).replace(waker);
        assert!(earlier.is_none(), "a mailbox belongs to one reactor");
    }

    pub(crate) fn post(&self, message: Message) {
        let mut queue = locked(&self.queue);
        if self.closed.load(Ordering::Relaxed) {
            // Unlocked first: what a message holds may post another one when it goes.
            return drop((queue, message));
        }
        queue.push(message);
        drop(queue);
        self.filled.store(true, Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Some(waker) = &*locked(&self.waker)
        {
            waker.wake();
        }
    }

    /// Nobody will take messages any more: those that are here are dropped, and all to come.
    pub(crate) fn close(&self) {
        let mut queue = locked(&self.queue);
        self.closed.store(true, Ordering::Relaxed);
        let left = std::mem::take(&mut *queue);
        drop(queue);
        drop(left);
        *locked(&self.waker) = None;
    }

    /// There is nothing to take.
    pub(crate) fn is_empty(&self) -> bool {
        !self.filled.load(Ordering::SeqCst)
    }

    /// Moves all messages to the end of `into`, which should have room already.
    pub(crate) fn take(&self, into: &mut Vec<Message>) {
        if self.filled.swap(false, Ordering::SeqCst) {
            into.append(&mut locked(&self.queue));
        }
    }

    /// The reactor is about to wait. False: there are messages, it must not.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let may = self.is_empty();
        if !may {
            self.asleep.store(false, Ordering::SeqCst);
        }
        may
    }

    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Deliver for Mailbox {
    fn deliver(&self, client: Token, response: Option<Response>) {
        self.post(Message::Reply { client, response });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn nothing_is_kept_for_who_has_ended() {
        let (mailbox, kept) = (Mailbox::default(), Arc::new(()));
        let reply = || {
            let content = bytes::Bytes::from_owner(Kept(Arc::clone(&kept)));
            Message::Reply { client: Token::NOBODY, response: Some(Response::new(content)) }
        };
        mailbox.post(reply());
        assert_eq!(Arc::strong_count(&kept), 2);
        mailbox.close();
        mailbox.post(reply());
        assert_eq!(Arc::strong_count(&kept), 1);
    }

    struct Kept(#[allow(dead_code)] Arc<()>);

    impl AsRef<[u8]> for Kept {
        fn as_ref(&self) -> &[u8] {
            b"x"
        }
    }

    #[derive(Default)]
    struct Bell(AtomicUsize);
    impl Wake for Bell {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn wakes_once_and_only_a_sleeper() {
        let (mailbox, bell) = (Mailbox::default(), Arc::new(Bell::default()));
        mailbox.connect(bell.clone());
        mailbox.post(Message::Drain);
        assert_eq!(bell.0.load(Ordering::SeqCst), 0, "the reactor is awake");
        assert!(!mailbox.fall_asleep(), "there is a message");
        let mut messages = Vec::new();
        mailbox.take(&mut messages);
        assert_eq!(messages.len(), 1);
        assert!(mailbox.fall_asleep());
        mailbox.post(Message::Drain);
        mailbox.post(Message::Stop);
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
        mailbox.close();
        assert_eq!(Arc::strong_count(&bell), 1, "a closed mailbox wakes nobody");
    }
}
