//! Slow clients: many connections, driven by one thread, each sending a few bytes now and then.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What one slow client sends.
#[derive(Clone, Debug)]
pub struct Drip {
    /// Sent at once.
    pub first: Vec<u8>,
    /// Then sent again and again, every `interval`.
    pub piece: Vec<u8>,
    /// Time between two pieces.
    pub interval: Duration,
}

/// Slow clients at work; dropped, they end. A client that the server lets go comes back.
pub struct Drippers {
    counts: Arc<Counts>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    pieces: AtomicUsize,
    ended: AtomicUsize,
}

impl Drippers {
    /// Starts one client per element; returns when all are connected and have sent their first
    /// bytes.
    ///
    /// # Panics
    /// When the server does not accept them.
    pub fn start(address: SocketAddr, drips: Vec<Drip>) -> Drippers {
        let connect =
            |drip| Dripper::connect(address, drip).unwrap_or_else(|e| panic!("a slow client: {e}"));
        let mut clients: Vec<Dripper> = drips.into_iter().map(connect).collect();
        let counts = Arc::new(Counts::default());
        let theirs = Arc::clone(&counts);
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                clients.iter_mut().for_each(|client| client.tick(address, &theirs));
            }
        });
        Drippers { counts, stop: Some(stop), thread: Some(thread) }
    }

    /// Pieces sent by all clients so far.
    pub fn pieces(&self) -> usize {
        self.counts.pieces.load(Ordering::Relaxed)
    }

    /// Connections that the server has ended so far.
    pub fn ended(&self) -> usize {
        self.counts.ended.load(Ordering::Relaxed)
    }
}

impl Drop for Drippers {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Dripper {
    drip: Drip,
    stream: TcpStream,
    next: Instant,
}

impl Dripper {
    fn connect(address: SocketAddr, drip: Drip) -> io::Result<Dripper> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(&drip.first)?;
        stream.set_nonblocking(true)?;
        let next = Instant::now() + drip.interval;
        Ok(Dripper { drip, stream, next })
    }

    fn tick(&mut self, address: SocketAddr, counts: &Counts) {
        if Instant::now() < self.next {
            return;
        }
        self.next += self.drip.interval;
        if self.is_ended() {
            counts.ended.fetch_add(1, Ordering::Relaxed);
            if let Ok(again) = Dripper::connect(address, self.drip.clone()) {
                *self = again;
            }
        } else if self.stream.write(&self.drip.piece).is_ok() {
            counts.pieces.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the server has answered, which it does only to let a slow client go, or closed.
    fn is_ended(&mut self) -> bool {
        !matches!(self.stream.read(&mut [0; 1024]), Err(e) if e.kind() == ErrorKind::WouldBlock)
    }
}

/// Intervals are kept to this.
const TICK: Duration = Duration::from_millis(10);
