//! Datagrams over Unix sockets.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::Duration;

use picot_context::budget;
use picot_loop::{LoopHandle, sleep};
use picot_reactor::{Direction, Source};
use socket2::SockRef;

use super::path::{OwnedPath, remove_stale};
use crate::descriptor::descriptor;
use crate::operation::operate;

/// How long to wait, at first and at most, before a peer that was full is tried again, if nobody tells when it has room.
const REST: Duration = Duration::from_millis(1);
const REST_MAX: Duration = Duration::from_millis(50);

/// A Unix socket for datagrams, on this thread's loop. Datagrams arrive whole and in order, or sending them fails.
///
/// Any number of tasks may send and receive; each datagram goes to one of them. Dropping a bound one removes its path,
/// unless another socket has taken that meanwhile.
pub struct UnixDatagram {
    source: Source<net::UnixDatagram>,
    path: Option<OwnedPath>,
}

impl UnixDatagram {
    /// A socket at `path`. A socket that was left there by somebody else is removed first.
    ///
    /// # Errors
    /// What the operating system says; and if this thread has no loop.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        let (path, handle) = (path.as_ref(), LoopHandle::try_current()?);
        remove_stale(path)?;
        let socket = net::UnixDatagram::bind(path)?;
        let path = OwnedPath::new(path);
        register(&handle, socket, path)
    }

    /// A socket without an address, to send from.
    ///
    /// # Errors
    /// What the operating system says; and if this thread has no loop.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(net::UnixDatagram::unbound()?)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    /// What the operating system says; and if this thread has no loop.
    #[doc(alias = "socketpair")]
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, two) = net::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(one)?, UnixDatagram::from_std(two)?))
    }

    /// Takes over a socket of std, whose path is left to whoever has made it. It is put into non-blocking mode.
    ///
    /// # Errors
    /// What the operating system says; and if this thread has no loop.
    pub fn from_std(socket: net::UnixDatagram) -> io::Result<UnixDatagram> {
        register(&LoopHandle::try_current()?, socket, None)
    }

    /// Gives the socket to std, whose path nobody removes then. It is still in non-blocking mode.
    pub fn into_std(self) -> net::UnixDatagram {
        if let Some(path) = self.path {
            path.leave();
        }
        self.source.into_inner()
    }

    /// Sets the peer, to which [`send`](UnixDatagram::send) sends.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.source.get_ref().connect(path)
    }

    /// Sends a datagram to the peer, when that has room for it.
    ///
    /// # Errors
    /// What the operating system says, for example that there is no peer.
    ///
    /// # If dropped
    /// The datagram is not sent.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        operate(&self.source, Direction::Write, |socket| socket.send(datagram)).await
    }

    /// Sends a datagram to the socket at `path`, when that has room for it. That room is told to a sender that is
    /// [connected](UnixDatagram::connect); others, while it is full, look for it again and again, 1 to 50 ms apart.
    ///
    /// # Errors
    /// What the operating system says.
    ///
    /// # If dropped
    /// The datagram is not sent.
    pub async fn send_to(&self, datagram: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let (path, mut rest) = (path.as_ref(), Duration::ZERO);
        poll_fn(budget::poll_left).await;
        loop {
            match self.source.try_io(Direction::Write, |socket| socket.send_to(datagram, path)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => {
                    budget::spend_call();
                    return result;
                }
            }
            self.source.writable().await?;
            // This socket has room, and was told so; if the peer has none, trying at once would be so forever.
            if !rest.is_zero() {
                sleep(rest).await;
            }
            rest = (2 * rest).clamp(REST, REST_MAX);
        }
    }

    /// Receives a datagram. What does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// What the operating system says.
    ///
    /// # If dropped
    /// No datagram is lost.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        operate(&self.source, Direction::Read, |socket| socket.recv(buffer)).await
    }

    /// Receives a datagram, with the address of its sender. What does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// What the operating system says.
    ///
    /// # If dropped
    /// No datagram is lost.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        operate(&self.source, Direction::Read, |socket| socket.recv_from(buffer)).await
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// The socket, for its options. Sending and receiving by it goes past what the loop knows of the socket.
    #[doc(alias = "setsockopt")]
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.source.get_ref())
    }
}

descriptor!(UnixDatagram, net::UnixDatagram);

fn register(handle: &LoopHandle, socket: net::UnixDatagram, path: Option<OwnedPath>) -> io::Result<UnixDatagram> {
    socket.set_nonblocking(true)?;
    let source = handle.register(socket)?;
    source.assume_ready(Direction::Write);
    Ok(UnixDatagram { source, path })
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixDatagram").field(self.source.get_ref()).finish()
    }
}
