//! One operation inside the simulated kernel, from submission to completion.
//!
//! Owns what an operation carries. Must not know how it is performed.

use super::super::{Done, Errno, Fd, Op, Passed, Token};
use super::descriptors::DescriptorKind;
use std::collections::VecDeque;
use std::mem;

pub(super) struct Operation {
    pub(super) token: Token,
    /// The descriptors that it uses.
    pub(super) fds: [Option<Fd>; 2],
    pub(super) stage: Stage,
    pub(super) cancelled: bool,
    /// What it owns until it is released, the files above all; buffers move on to `done`.
    pub(super) op: Op,
    pub(super) done: Option<Done>,
    /// What a multishot operation has to deliver, in order.
    pub(super) shots: VecDeque<Done>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Submitted; what is submitted after a cancellation is not cancelled.
    Queued,
    /// It will be tried, in this turn or a later one.
    Pending,
    /// It is in a list of waiters.
    Waiting,
    /// Performed; its last completion has not been delivered.
    Ended,
}

impl Operation {
    pub(super) fn new(token: Token, op: Op) -> Operation {
        Operation {
            token,
            fds: descriptors(&op),
            stage: Stage::Queued,
            cancelled: false,
            op,
            done: None,
            shots: VecDeque::new(),
        }
    }
}

pub(super) fn name(op: &Op) -> &'static str {
    match op {
        Op::Accept { .. } => "Accept",
        Op::AcceptNow { .. } => "AcceptNow",
        Op::Recv { .. } => "Recv",
        Op::Fill { .. } => "Fill",
        Op::FillWithFile { .. } => "FillWithFile",
        Op::Send { .. } => "Send",
        Op::SendIfSilent { .. } => "SendIfSilent",
        Op::SendFile { .. } => "SendFile",
        Op::AwaitHangUp { .. } => "AwaitHangUp",
        Op::AwaitInput { .. } => "AwaitInput",
        Op::PeerEnd(_) => "PeerEnd",
        Op::OpenFile { .. } => "OpenFile",
        Op::StatFile { .. } => "StatFile",
        Op::OpenDirectory { .. } => "OpenDirectory",
        Op::ReadFile { .. } => "ReadFile",
        Op::CreateFile { .. } => "CreateFile",
        Op::WriteFile { .. } => "WriteFile",
        Op::StatOpen { .. } => "StatOpen",
        Op::Shutdown { .. } => "Shutdown",
        Op::Close { .. } => "Close",
        Op::Cancel { .. } => "Cancel",
        Op::EndRecv { .. } => "EndRecv",
    }
}

/// The descriptors that an operation uses while it is in flight.
pub(super) fn descriptors(op: &Op) -> [Option<Fd>; 2] {
    match op {
        Op::Accept { listener: fd } | Op::AcceptNow { listener: fd } => [Some(*fd), None],
        Op::Recv { fd, .. }
        | Op::Fill { fd, .. }
        | Op::FillWithFile { fd, .. }
        | Op::AwaitHangUp { fd }
        | Op::AwaitInput { fd } => [Some(*fd), None],
        Op::PeerEnd(end) => [Some(end.socket), None],
        Op::Send { fd, out, .. } | Op::SendIfSilent { fd, out } => {
            [Some(*fd), out.file_due().map(|file| file.fd())]
        }
        Op::SendFile { fd, file, .. } => [Some(*fd), Some(file.fd())],
        Op::OpenFile { root: file, .. } | Op::StatFile { root: file, .. } => {
            [Some(file.fd()), None]
        }
        Op::ReadFile { file, .. } | Op::WriteFile { file, .. } | Op::StatOpen { file } => {
            [Some(file.fd()), None]
        }
        Op::CreateFile { .. } | Op::OpenDirectory { .. } => [None, None],
        Op::Shutdown { .. } | Op::Close { .. } | Op::Cancel { .. } | Op::EndRecv { .. } => {
            [None, None]
        }
    }
}

/// The socket that an operation sends on.
pub(super) fn sends_on(op: &Op) -> Option<Fd> {
    match op {
        Op::Send { fd, .. } | Op::SendIfSilent { fd, .. } | Op::SendFile { fd, .. } => Some(*fd),
        _ => None,
    }
}

/// What each of [`descriptors`] must stand for; `None` is anything.
pub(super) fn expected(op: &Op) -> [Option<DescriptorKind>; 2] {
    use DescriptorKind::{File, Listener, Stream};
    match op {
        Op::Accept { .. } | Op::AcceptNow { .. } => [Some(Listener), None],
        Op::Recv { .. } | Op::Fill { .. } | Op::FillWithFile { .. } | Op::PeerEnd(_) => {
            [Some(Stream), None]
        }
        Op::Send { .. } | Op::SendIfSilent { .. } => [Some(Stream), Some(File)],
        Op::SendFile { .. } => [Some(Stream), Some(File)],
        Op::OpenFile { .. }
        | Op::StatFile { .. }
        | Op::ReadFile { .. }
        | Op::WriteFile { .. }
        | Op::StatOpen { .. } => [Some(File), None],
        Op::CreateFile { .. } | Op::OpenDirectory { .. } => [None, None],
        Op::AwaitHangUp { .. }
        | Op::AwaitInput { .. }
        | Op::Shutdown { .. }
        | Op::Close { .. }
        | Op::Cancel { .. }
        | Op::EndRecv { .. } => [None, None],
    }
}

/// The failure of an operation; takes what it owns.
pub(super) fn failure(op: &mut Op, errno: Errno) -> Done {
    match op {
        Op::Accept { .. } | Op::AcceptNow { .. } => {
            Done::Accept { result: Err(errno), armed: false }
        }
        Op::Recv { .. } => Done::Recv { result: Err(errno), armed: false },
        Op::Fill { buf, .. } => Done::Fill { buf: mem::take(buf), result: Err(errno) },
        Op::FillWithFile { buf, .. } => {
            let (buf, passed) = (mem::take(buf), Passed::Nothing);
            Done::FillWithFile { buf, passed, result: Err(errno) }
        }
        Op::Send { out, .. } | Op::SendIfSilent { out, .. } => {
            Done::Send { out: mem::take(out), result: Err(errno) }
        }
        Op::SendFile { file, .. } => Done::SendFile { _file: file.clone(), result: Err(errno) },
        Op::AwaitHangUp { .. } | Op::AwaitInput { .. } => Done::Awaited,
        Op::PeerEnd(end) => Done::PeerEnd { result: end.given_up(errno) },
        Op::OpenFile { .. } | Op::OpenDirectory { .. } => Done::OpenFile { result: Err(errno) },
        Op::StatFile { .. } => Done::StatFile { result: Err(errno) },
        Op::ReadFile { buf, .. } => Done::ReadFile { buf: mem::take(buf), result: Err(errno) },
        Op::CreateFile { .. } => Done::CreateFile { result: Err(errno) },
        Op::WriteFile { out, .. } => Done::WriteFile { out: mem::take(out), result: Err(errno) },
        Op::StatOpen { .. } => Done::StatOpen { result: Err(errno) },
        Op::Shutdown { .. } | Op::Close { .. } | Op::Cancel { .. } | Op::EndRecv { .. } => {
            unreachable!("these have no answer")
        }
    }
}
