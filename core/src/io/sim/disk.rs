//! How the simulated kernel makes and writes files, and hands over descriptors.
//!
//! Owns the failures of the disk. Must not know sockets.

use super::super::{Errno, Fd, Outgoing, Passed, PassedFile};
use super::descriptors::{Descriptors, Object};
use super::files::{FileSystem, Inode, SimFile, Timestamp};
use super::{Faults, Random};
use std::rc::Rc;

/// What a receive brings besides bytes, as in recvmsg(2).
pub(super) fn accept(files: &[SimFile], descriptors: &mut Descriptors) -> Passed {
    match files {
        [] => Passed::Nothing,
        [SimFile { inode, readable }] => {
            let fd = descriptors.open(Object::File(Rc::clone(inode)));
            Passed::File(PassedFile { fd, stat: inode.stat(), readable: *readable })
        }
        _ => Passed::Broken,
    }
}

pub(super) fn create(
    files: &mut FileSystem,
    descriptors: &mut Descriptors,
    random: &mut Random,
    faults: &Faults,
    now: Timestamp,
) -> Result<Fd, Errno> {
    fail(random, faults)?;
    files.create(now).map(|inode| descriptors.open(Object::File(inode)))
}

pub(super) fn write(
    files: &mut FileSystem,
    inode: &Inode,
    offset: u64,
    out: &mut Outgoing,
    random: &mut Random,
    faults: &Faults,
    now: Timestamp,
) -> Result<usize, Errno> {
    fail(random, faults)?;
    let bytes = out.slices().concat();
    let most = random.maybe_part(faults.short_write, bytes.len());
    let result = files.write(inode, offset, &bytes[..most], now);
    out.advance(result.unwrap_or(0));
    result
}

fn fail(random: &mut Random, faults: &Faults) -> Result<(), Errno> {
    match random.chance(faults.disk) {
        true if random.chance(500) => Err(Errno(libc::EIO)),
        true => Err(Errno(libc::ENOSPC)),
        false => Ok(()),
    }
}
