//! How the simulated kernel performs operations on files, and hands over descriptors.
//!
//! Owns the failures of the disk. Must not know sockets.

use super::super::{Done, Errno, Fd, Op, Outgoing, Passed, PassedFile, Stat};
use super::attempt::inode;
use super::descriptors::{Descriptors, Object};
use super::files::{self, FileSystem, Inode, SimFile, Timestamp};
use super::{Faults, Kernel, Random};
use std::ffi::CStr;
use std::mem;
use std::rc::Rc;

impl Kernel {
    /// Files let nobody wait.
    pub(super) fn perform_on_file(&mut self, ring: usize, index: usize) -> Done {
        let now = self.timestamp();
        let Kernel { rings, descriptors, random, faults, files, .. } = self;
        match &mut rings[ring].operations[index].op {
            Op::OpenFile { root, path, .. } => {
                let found = look_up(descriptors, root.fd(), path);
                let opened = |(inode, stat)| (descriptors.open(Object::File(inode)), stat);
                Done::OpenFile { result: found.map(opened) }
            }
            Op::StatFile { root, path, .. } => {
                let found = look_up(descriptors, root.fd(), path);
                Done::StatFile { result: found.map(|(_, stat)| stat) }
            }
            Op::OpenDirectory { path } => {
                let found = files.directory_at(path.to_bytes());
                let opened = |inode: Rc<Inode>| {
                    let stat = inode.stat();
                    (descriptors.open(Object::File(inode)), stat)
                };
                Done::OpenFile { result: found.map(opened) }
            }
            Op::ReadFile { file, buf, offset } => {
                let inode = inode(descriptors, file.fd());
                let spare = buf.capacity() - buf.len();
                let most = random.maybe_part(faults.short_receive, spare);
                let result = inode.read(*offset, most, |bytes| {
                    buf.extend_from_slice(bytes);
                    bytes.len()
                });
                Done::ReadFile { buf: mem::take(buf), result }
            }
            Op::CreateFile { .. } => {
                Done::CreateFile { result: create(files, descriptors, random, faults, now) }
            }
            Op::WriteFile { file, out, offset } => {
                let inode = inode(descriptors, file.fd());
                let result = write(files, inode, *offset, out, random, faults, now);
                Done::WriteFile { out: mem::take(out), result }
            }
            Op::StatOpen { file } => {
                Done::StatOpen { result: Ok(inode(descriptors, file.fd()).stat()) }
            }
            op => unreachable!("{op:?} is not for files, or was performed when submitted"),
        }
    }
}

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

fn create(
    files: &mut FileSystem,
    descriptors: &mut Descriptors,
    random: &mut Random,
    faults: &Faults,
    now: Timestamp,
) -> Result<Fd, Errno> {
    fail(random, faults)?;
    files.create(now).map(|inode| descriptors.open(Object::File(inode)))
}

fn write(
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

fn look_up(descriptors: &Descriptors, root: Fd, path: &CStr) -> Result<(Rc<Inode>, Stat), Errno> {
    let inode = files::resolve(inode(descriptors, root), path.to_bytes())?;
    let stat = inode.stat();
    Ok((inode, stat))
}
