//! Descriptors that travel with bytes over Unix sockets (`SCM_RIGHTS`, unix(7), cmsg(3)).
//!
//! Owns the control messages. Must not know what the descriptors are for. Both calls never wait:
//! the ring is asked when to try. So no control message has to outlive a call, and nothing comes
//! in that was not asked for: receives of a ring may bring messages of other kinds.

#![allow(unsafe_code)]

use super::{Errno, Fd, Passed, PassedFile, sys};
use std::mem;

/// Room for control messages, aligned for their headers. A second descriptor fits, so that it is
/// seen; what does not fit is closed by the kernel, which says `MSG_CTRUNC`.
#[repr(align(8))]
struct Control([u8; 256]);

/// Sends the pieces with a descriptor.
pub(super) fn send(socket: Fd, pieces: [&[u8]; 3], file: Fd) -> Result<usize, Errno> {
    let mut parts = pieces.map(|piece| libc::iovec {
        iov_base: piece.as_ptr().cast_mut().cast(),
        iov_len: piece.len(),
    });
    let mut control = Control([0; 256]);
    let mut header = header(&mut parts, &mut control);
    // SAFETY: the header describes `control`, which has room for the one message that is written;
    // all of it outlives the call, which only reads.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(mem::size_of::<Fd>() as u32) as usize;
        let message = libc::CMSG_FIRSTHDR(&header);
        (*message).cmsg_level = libc::SOL_SOCKET;
        (*message).cmsg_type = libc::SCM_RIGHTS;
        (*message).cmsg_len = libc::CMSG_LEN(mem::size_of::<Fd>() as u32) as usize;
        libc::CMSG_DATA(message).cast::<Fd>().write_unaligned(file);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        sys::retried(|| libc::sendmsg(socket, &header, flags) as i64).map(|sent| sent as usize)
    }
}

/// Receives into the spare capacity of `buf`, with what comes along.
pub(super) fn receive(socket: Fd, buf: &mut Vec<u8>) -> Result<(usize, Passed), Errno> {
    let spare = buf.spare_capacity_mut();
    let mut parts = [libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: spare.len() }; 1];
    let mut control = Control([0; 256]);
    let mut header = header(&mut parts, &mut control);
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // Not by recvmsg(3), which is a cancellation point: in a process of several threads that costs
    // two locked instructions.
    // SAFETY: the header describes `control` and the spare capacity, which the call may write.
    let count = sys::retried(|| unsafe {
        libc::syscall(libc::SYS_recvmsg, socket, &raw mut header, flags)
    })?;
    // SAFETY: the kernel has written `count` bytes at the start of the spare capacity.
    unsafe { buf.set_len(buf.len() + count as usize) };
    Ok((count as usize, passed(&header)))
}

fn header(parts: &mut [libc::iovec], control: &mut Control) -> libc::msghdr {
    // SAFETY: the header consists of integers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = parts.as_mut_ptr();
    header.msg_iovlen = parts.len();
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    header
}

/// What a received header has brought.
fn passed(header: &libc::msghdr) -> Passed {
    let mut passed = Passed::Nothing;
    let mut broken = header.msg_flags & libc::MSG_CTRUNC != 0;
    for_each_descriptor(header, |fd| {
        broken |= passed != Passed::Nothing;
        match describe(fd) {
            Ok(file) if !broken => passed = Passed::File(file),
            _ => {
                sys::close(fd);
                broken = true;
            }
        }
    });
    match passed {
        Passed::File(file) if broken => {
            sys::close(file.fd);
            Passed::Broken
        }
        _ if broken => Passed::Broken,
        passed => passed,
    }
}

fn describe(fd: Fd) -> Result<PassedFile, Errno> {
    let stat = sys::fstat(fd)?;
    // SAFETY: F_GETFL passes no memory.
    let flags = sys::retried(|| i64::from(unsafe { libc::fcntl(fd, libc::F_GETFL) }))?;
    let flags = flags as libc::c_int;
    // One of O_PATH says read-only, too.
    let readable = matches!(flags & libc::O_ACCMODE, libc::O_RDONLY | libc::O_RDWR)
        && flags & libc::O_PATH == 0;
    Ok(PassedFile { fd, stat, readable })
}

fn for_each_descriptor(header: &libc::msghdr, mut each: impl FnMut(Fd)) {
    // SAFETY: the kernel has written whole messages, and says in the header how many bytes they
    // are; the macros stay within them.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(this) = message.as_ref() {
            if (this.cmsg_level, this.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let bytes = this.cmsg_len - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(message).cast::<Fd>();
                for n in 0..bytes / mem::size_of::<Fd>() {
                    each(data.add(n).read_unaligned());
                }
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As when this process may not have one descriptor more, recvmsg(2).
    #[test]
    fn a_descriptor_that_the_kernel_had_to_drop_is_missed() {
        let mut control = Control([0; 256]);
        let mut header = header(&mut [], &mut control);
        header.msg_controllen = 0;
        assert_eq!(passed(&header), Passed::Nothing);
        header.msg_flags = libc::MSG_CTRUNC;
        assert_eq!(passed(&header), Passed::Broken);
    }
}
