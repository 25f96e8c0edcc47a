//! Listening for TCP connections.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{self, SocketAddr};

use picot_context::budget;
use picot_loop::LoopHandle;
use picot_reactor::{Direction, Source};

use crate::address::Address;
use crate::incoming::Incoming;
use crate::options::ListenOptions;
use crate::stream::TcpStream;

/// A socket that listens for TCP connections, on this thread's loop.
///
/// Dropping it closes it; new connections are refused from then on.
pub struct TcpListener {
    source: Source<net::TcpListener>,
}

impl TcpListener {
    /// Listens at `address`; of several, at the first that can be had. Port 0 picks a free one, which
    /// [`local_addr`](TcpListener::local_addr) tells. [`ListenOptions`] has more.
    ///
    /// # Errors
    /// What the operating system says, for example that the address is in use; and if this thread has no loop.
    ///
    /// # If dropped
    /// Nothing listens.
    pub async fn bind(address: impl Into<Address>) -> io::Result<TcpListener> {
        ListenOptions::new().bind(address).await
    }

    /// Takes over a listener of std: one that was inherited, or given by a service manager. It is put into non-blocking mode.
    ///
    /// # Errors
    /// What the operating system says; and if this thread has no loop.
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener { source: LoopHandle::try_current()?.register(listener)? })
    }

    /// Gives the listener to std. It is still in non-blocking mode.
    pub fn into_std(self) -> net::TcpListener {
        self.source.into_inner()
    }

    /// Accepts the next connection, with the address of its peer. Any number of tasks may accept; each connection goes to
    /// one of them. A connection that its peer has given up meanwhile is passed over.
    ///
    /// # Errors
    /// What the operating system says. If that is a lack of descriptors, it will be the same at once again: wait a while
    /// before the next try.
    ///
    /// # If dropped
    /// No connection is lost: one that was not accepted waits for the next call.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(budget::poll_left).await;
        loop {
            match self.source.try_io(Direction::Read, net::TcpListener::accept) {
                Ok((stream, peer)) => {
                    budget::spend();
                    return Ok((TcpStream::from_std(stream)?, peer));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.source.readable().await?,
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The connections, one after the other, as a [`Stream`](futures_core::Stream).
    pub fn incoming(&self) -> Incoming<'_, TcpStream> {
        Incoming::new(async || Ok(self.accept().await?.0))
    }

    /// The address at which it listens.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }
}

/// Errors of a single connection, or of none: the next try may succeed at once.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted)
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpListener").field(self.source.get_ref()).finish()
    }
}
