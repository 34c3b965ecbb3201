//! The simulated descriptor table.
//!
//! Owns which numbers are open, what they stand for, and how many operations in flight use them
//! (invariant: nothing is closed under an operation). Must not know what operations do.

use super::super::Fd;
use super::files::Inode;
use std::rc::Rc;

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DescriptorKind {
    Listener,
    Stream,
    File,
}

/// A descriptor's object: an index into the kernel's tables, or a file.
#[derive(Debug)]
pub(super) enum Object {
    Listener(usize),
    Stream(usize),
    File(Rc<Inode>),
}

impl Object {
    pub(super) fn kind(&self) -> DescriptorKind {
        match self {
            Object::Listener(_) => DescriptorKind::Listener,
            Object::Stream(_) => DescriptorKind::Stream,
            Object::File(_) => DescriptorKind::File,
        }
    }
}

#[derive(Debug)]
struct Descriptor {
    object: Object,
    /// Operations whose completion has not been delivered.
    in_flight: u32,
    /// One of them is a send.
    sending: bool,
    /// `Close` has been submitted.
    closing: bool,
}

#[derive(Default)]
pub(super) struct Descriptors {
    entries: Vec<Option<Descriptor>>,
    /// Used again at once, last in first out: whoever keeps a stale number meets a stranger.
    free: Vec<usize>,
}

impl Descriptors {
    pub(super) fn open(&mut self, object: Object) -> Fd {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        let descriptor = Descriptor { object, in_flight: 0, sending: false, closing: false };
        self.entries[index] = Some(descriptor);
        index as Fd + FIRST
    }

    /// What `fd` stands for; a panic if it is not open.
    pub(super) fn object(&self, fd: Fd) -> &Object {
        let entry = self.entries.get((fd - FIRST) as usize);
        match entry.and_then(Option::as_ref) {
            Some(descriptor) => &descriptor.object,
            None => panic!("simulator: descriptor {fd} is not open"),
        }
    }

    /// An operation on `fd` is being submitted.
    pub(super) fn begin(&mut self, fd: Fd, what: &str) {
        self.usable(fd, what).in_flight += 1;
    }

    /// The one send of `fd` begins.
    pub(super) fn begin_send(&mut self, fd: Fd, what: &str) {
        let descriptor = self.usable(fd, what);
        assert!(
            !std::mem::replace(&mut descriptor.sending, true),
            "simulator: {what} on descriptor {fd}, on which another send is in flight"
        );
    }

    /// The completion of an operation on `fd` is being delivered.
    pub(super) fn end(&mut self, fd: Fd) {
        self.open_one(fd).in_flight -= 1;
    }

    pub(super) fn end_send(&mut self, fd: Fd) {
        self.open_one(fd).sending = false;
    }

    /// `Close` is being submitted.
    pub(super) fn begin_close(&mut self, fd: Fd) {
        let descriptor = self.usable(fd, "Close");
        assert!(
            descriptor.in_flight == 0,
            "simulator: Close of descriptor {fd} ({:?}) with {} operations in flight",
            descriptor.object.kind(),
            descriptor.in_flight,
        );
        descriptor.closing = true;
    }

    /// `Close` is being performed.
    pub(super) fn close(&mut self, fd: Fd) -> Object {
        let index = (fd - FIRST) as usize;
        self.free.push(index);
        self.entries[index].take().expect("Close was checked when submitted").object
    }

    /// A panic unless something may still be done on `fd`.
    pub(super) fn check_usable(&mut self, fd: Fd, what: &str) {
        self.usable(fd, what);
    }

    pub(super) fn list(&self) -> Vec<(Fd, DescriptorKind)> {
        let open = self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let descriptor = entry.as_ref()?;
            Some((index as Fd + FIRST, descriptor.object.kind()))
        });
        open.collect()
    }

    fn usable(&mut self, fd: Fd, what: &str) -> &mut Descriptor {
        let entry = self.entries.get_mut((fd - FIRST) as usize);
        match entry.and_then(Option::as_mut) {
            Some(descriptor) if !descriptor.closing => descriptor,
            Some(_) => panic!("simulator: {what} on descriptor {fd}, which is being closed"),
            None => panic!("simulator: {what} on descriptor {fd}, which is not open"),
        }
    }

    fn open_one(&mut self, fd: Fd) -> &mut Descriptor {
        let descriptor = self.entries[(fd - FIRST) as usize].as_mut();
        descriptor.expect("nothing is closed under an operation")
    }
}

/// The lowest number; below are standard input, output and error.
const FIRST: Fd = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again() {
        let mut descriptors = Descriptors::default();
        let fd = descriptors.open(Object::Stream(1));
        descriptors.begin_close(fd);
        descriptors.close(fd);
        assert_eq!(descriptors.open(Object::Stream(2)), fd);
        assert_eq!(descriptors.list(), [(fd, DescriptorKind::Stream)]);
    }

    #[test]
    #[should_panic(expected = "Shutdown on descriptor 3, which is not open")]
    fn stale_numbers_are_noticed() {
        let mut descriptors = Descriptors::default();
        let fd = descriptors.open(Object::Stream(1));
        descriptors.begin_close(fd);
        descriptors.close(fd);
        descriptors.check_usable(fd, "Shutdown");
    }
}
