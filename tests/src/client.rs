//! A client that sends any bytes and reads responses strictly.

use crate::response::{Framing, Response, parse_chunk_size};
use socket2::{Domain, Socket, Type};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// One connection to a server.
pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens there.
    Refused,
    /// The server ended the connection before the first byte of a response.
    Closed,
    /// The server ended the connection inside a response.
    Truncated,
    /// The connection was reset.
    Reset,
    /// Nothing came within [`Client::TIMEOUT`].
    TimedOut,
    /// What came is not HTTP/1.1, or something else is wrong.
    Other(String),
}

impl Client {
    /// How long one read or write may take.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// Connects.
    ///
    /// # Panics
    /// When nobody accepts.
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap_or_else(|e| panic!("connect to {address}: {e}"))
    }

    /// Connects.
    ///
    /// # Errors
    /// When nobody accepts.
    pub fn try_connect(address: SocketAddr) -> Result<Client, Failure> {
        Ok(Client::new(TcpStream::connect_timeout(&address, Client::TIMEOUT)?)?)
    }

    /// Connects with the smallest receive buffer that the kernel allows, for reading slowly.
    ///
    /// # Panics
    /// When nobody accepts.
    pub fn connect_narrow(address: SocketAddr) -> Client {
        let connect = || -> io::Result<Client> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_recv_buffer_size(1)?;
            socket.connect(&address.into())?;
            Client::new(socket.into())
        };
        connect().unwrap_or_else(|e| panic!("connect to {address}: {e}"))
    }

    fn new(stream: TcpStream) -> io::Result<Client> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Client::TIMEOUT))?;
        stream.set_write_timeout(Some(Client::TIMEOUT))?;
        Ok(Client { stream, unread: Vec::new() })
    }

    /// Our own address, as the server sees it.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When the server does not take them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap_or_else(|e| panic!("send: {e}"));
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the server does not take them.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        Ok(self.stream.write_all(bytes.as_ref())?)
    }

    /// Says that we send no more.
    pub fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Goes away at once, with a reset instead of an end.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// A second handle of the same connection for sending from another thread.
    pub fn sender(&self) -> TcpStream {
        self.stream.try_clone().expect("descriptors can be duplicated")
    }

    /// Reads one response, perhaps an interim one.
    ///
    /// # Panics
    /// When there is none.
    pub fn read_response(&mut self) -> Response {
        self.try_response(false).unwrap_or_else(|e| panic!("no response: {e}"))
    }

    /// Reads the response to a HEAD request.
    ///
    /// # Panics
    /// When there is none.
    pub fn read_response_to_head(&mut self) -> Response {
        self.try_response(true).unwrap_or_else(|e| panic!("no response: {e}"))
    }

    /// Sends a request and reads the response.
    ///
    /// # Panics
    /// When either fails.
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request);
        self.read_response()
    }

    /// GET of a target.
    ///
    /// # Panics
    /// When there is no response.
    pub fn get(&mut self, target: &str) -> Response {
        self.exchange(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    /// Reads what follows until the server ends the connection.
    ///
    /// # Panics
    /// When it is reset, or is not ended.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill().unwrap_or_else(|e| panic!("no orderly end: {e}")) > 0 {}
        std::mem::take(&mut self.unread)
    }

    /// Reads a response.
    ///
    /// # Errors
    /// When there is no whole one.
    pub fn try_response(&mut self, to_head: bool) -> Result<Response, Failure> {
        let mut response = self.read_head()?;
        match response.framing(to_head).map_err(Failure::Other)? {
            Framing::Length(len) => response.content = self.read_exactly(len)?,
            Framing::Chunked => response.content = self.read_chunked()?,
            Framing::UntilClose => {
                while self.fill()? > 0 {}
                response.content = std::mem::take(&mut self.unread);
            }
        }
        Ok(response)
    }

    /// Reads a response's head only; what follows is left for the other methods.
    ///
    /// # Errors
    /// When there is no whole one.
    pub fn read_head(&mut self) -> Result<Response, Failure> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if self.fill()? == 0 {
                let is_empty = self.unread.is_empty();
                return Err(if is_empty { Failure::Closed } else { Failure::Truncated });
            }
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        Response::parse_head(&head[..end]).map_err(Failure::Other)
    }

    /// Reads the next chunk of a chunked response; empty at the end.
    ///
    /// # Errors
    /// When there is no whole one.
    pub fn read_chunk(&mut self) -> Result<Vec<u8>, Failure> {
        let line = self.read_line()?;
        let len = parse_chunk_size(&line).map_err(Failure::Other)?;
        let chunk = self.read_exactly(len)?;
        match self.read_line()?.as_slice() {
            b"" => Ok(chunk),
            other => Err(Failure::Other(format!("after a chunk: {other:?}"))),
        }
    }

    /// Reads exactly so many bytes.
    ///
    /// # Errors
    /// When the connection ends before.
    pub fn read_exactly(&mut self, len: usize) -> Result<Vec<u8>, Failure> {
        while self.unread.len() < len {
            if self.fill()? == 0 {
                return Err(Failure::Truncated);
            }
        }
        Ok(self.unread.drain(..len).collect())
    }

    fn read_chunked(&mut self) -> Result<Vec<u8>, Failure> {
        let mut content = Vec::new();
        loop {
            match self.read_chunk()? {
                chunk if chunk.is_empty() => return Ok(content),
                chunk => content.extend(chunk),
            }
        }
    }

    fn read_line(&mut self) -> Result<Vec<u8>, Failure> {
        let end = loop {
            if let Some(end) = self.unread.windows(2).position(|w| w == b"\r\n") {
                break end;
            }
            if self.fill()? == 0 {
                return Err(Failure::Truncated);
            }
        };
        let mut line: Vec<u8> = self.unread.drain(..end + 2).collect();
        line.truncate(end);
        Ok(line)
    }

    /// Receives once; 0 is the end.
    fn fill(&mut self) -> Result<usize, Failure> {
        let mut piece = [0; 64 << 10];
        let len = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.unread.extend_from_slice(&piece[..len]);
        Ok(len)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            ErrorKind::ConnectionRefused => Failure::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Failure::Reset,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::TimedOut,
            _ => Failure::Other(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused => f.write_str("connection refused"),
            Failure::Closed => f.write_str("closed before a response"),
            Failure::Truncated => f.write_str("closed inside a response"),
            Failure::Reset => f.write_str("connection reset"),
            Failure::TimedOut => f.write_str("timed out"),
            Failure::Other(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A connection to a server that says this and closes.
    fn client_of(said: &'static str) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || listener.accept().unwrap().0.write_all(said.as_bytes()).unwrap());
        Client::connect(address)
    }

    #[test]
    fn responses_are_told_apart() {
        let mut client = client_of(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab\
             HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nc\r\nA\r\n0123456789\r\n\
             0\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.0 200 OK\r\n\r\nthe rest",
        );
        let summary = |response: Response| (response.status, response.text().to_owned());
        assert_eq!(summary(client.read_response()), (100, String::new()));
        assert_eq!(summary(client.read_response()), (200, "ab".into()));
        assert_eq!(summary(client.read_response()), (200, "c0123456789".into()));
        assert_eq!(summary(client.read_response()), (304, String::new()));
        assert_eq!(summary(client.read_response_to_head()), (200, String::new()));
        assert_eq!(summary(client.read_response()), (200, "the rest".into()));
        assert_eq!(client.try_response(false), Err(Failure::Closed));
    }

    #[test]
    fn what_is_not_whole_is_an_error() {
        for said in [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        ] {
            assert_eq!(client_of(said).try_response(false), Err(Failure::Truncated), "{said}");
        }
    }

    #[test]
    fn ambiguous_framing_is_an_error() {
        let said = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(client_of(said).try_response(false), Err(Failure::Other(_))));
    }
}
