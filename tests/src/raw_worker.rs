//! A worker that says what the test says, whatever the protocol says.

use crate::client::Client;
use crate::site::Site;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// One slot of the pool `app` of a site made with [`SiteBuilder::raw_app`].
///
/// [`SiteBuilder::raw_app`]: crate::SiteBuilder::raw_app
pub struct RawWorker {
    stream: UnixStream,
    unread: Vec<u8>,
}

impl RawWorker {
    /// Dials in.
    ///
    /// # Panics
    /// When it does not become a slot.
    pub fn dial(site: &Site) -> RawWorker {
        let path = site.path("run/app.sock");
        let stream = UnixStream::connect(&path)
            .unwrap_or_else(|error| panic!("connect to {}: {error}", path.display()));
        stream.set_read_timeout(Some(Client::TIMEOUT)).expect("a timeout that is not zero");
        let mut worker = RawWorker { stream, unread: Vec::new() };
        worker.send(UPGRADE);
        let answer = worker.read_head();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        worker
    }

    /// Reads a request without content.
    ///
    /// # Panics
    /// When none comes.
    pub fn read_head(&mut self) -> String {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            let len = self.fill().expect("the edge speaks");
            assert!(len > 0, "the edge has ended the slot");
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        String::from_utf8(head).expect("the edge writes text")
    }

    /// Sends bytes. That the edge has ended the slot meanwhile is no error.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends bytes with a descriptor of this file (`SCM_RIGHTS`, unix(7)).
    ///
    /// # Panics
    /// When not all of them can be sent.
    pub fn send_with_file(&mut self, bytes: impl AsRef<[u8]>, file: &File) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut passed = SendAncillaryBuffer::new(&mut space);
        let (files, bytes) = ([file.as_fd()], bytes.as_ref());
        passed.push(SendAncillaryMessage::ScmRights(&files));
        let sent = sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut passed, SendFlags::NOSIGNAL);
        assert_eq!(sent, Ok(bytes.len()));
    }

    /// Says that we send no more.
    pub fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Waits until the edge ends the slot.
    ///
    /// # Panics
    /// When it sends something instead, or nothing.
    pub fn expect_end(&mut self) {
        match self.fill() {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Ok(_) => panic!("a request instead of the end: {}", self.unread.escape_ascii()),
            Err(error) => panic!("the slot does not end: {error}"),
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 16 << 10];
        let len = self.stream.read(&mut piece)?;
        self.unread.extend_from_slice(&piece[..len]);
        Ok(len)
    }
}

const UPGRADE: &str =
    "GET / HTTP/1.1\r\nHost: forebay\r\nConnection: Upgrade\r\nUpgrade: forebay-slot/1\r\n\r\n";
