//! A TCP connection.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use picot_loop::LoopHandle;
use picot_reactor::{Direction, Source};
use socket2::{Domain, Protocol, Socket, Type};

use crate::address::{Address, first_success};

/// A TCP connection, on this thread's loop.
///
/// Reading and writing go by the traits of `futures-io`, which are implemented for `&TcpStream` as well: so one task can
/// read while another writes. In each direction one task waits at a time, the last that has polled.
///
/// Small writes are sent at once: `TCP_NODELAY` is set, as in asyncio. Dropping the stream closes the connection.
pub struct TcpStream {
    source: Source<net::TcpStream>,
}

impl TcpStream {
    /// Connects to `address`; of several, to the first that accepts, one after the other.
    ///
    /// # Errors
    /// What the operating system says, for example that the connection was refused; of several addresses, each attempt is
    /// named. And if this thread has no loop.
    ///
    /// # If dropped
    /// The connection is not made, or closed again.
    #[doc(alias = "create_connection")]
    #[doc(alias = "open_connection")]
    pub async fn connect(address: impl Into<Address>) -> io::Result<TcpStream> {
        let handle = LoopHandle::try_current()?;
        first_success(address.into(), |address| connect_one(handle.clone(), address)).await
    }

    /// A connection that was accepted. Its peer usually sends first, and there is room to send to it.
    pub(crate) fn from_accepted(stream: net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        let source = register(&LoopHandle::try_current()?, stream)?;
        source.assume_ready(Direction::Read);
        source.assume_ready(Direction::Write);
        Ok(TcpStream { source })
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// Whether small writes are sent at once (`true`, which is so unless changed), or collected by the kernel.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.source.get_ref().set_nodelay(nodelay)
    }

    /// Ends one or both directions. Ending the writing direction lets the peer read the end; that is what `close` of
    /// `AsyncWrite` does.
    ///
    /// # Errors
    /// What the operating system says; but a connection that has ended already is fine.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self.source.get_ref().shutdown(how) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

async fn connect_one(handle: LoopHandle, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if is_under_way(&error) => {}
        Err(error) => return Err(error),
    }
    // Registered after the call: a socket that does nothing yet would be told as hung up.
    let source = register(&handle, net::TcpStream::from(socket))?;
    loop {
        source.writable().await?;
        let stream = source.get_ref();
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        // Writable without an error means connected; that there is a peer is the proof.
        match stream.peer_addr() {
            Ok(_) => return Ok(TcpStream { source }),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                let _ = source.try_io(Direction::Write, |_| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether a call to connect goes on in the background.
fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error());
    #[cfg(not(unix))]
    return error.kind() == io::ErrorKind::WouldBlock;
}

fn register(handle: &LoopHandle, stream: net::TcpStream) -> io::Result<Source<net::TcpStream>> {
    // It fails where the peer has reset the connection already; reading will tell that.
    let _ = stream.set_nodelay(true);
    handle.register(stream)
}

/// What both implementations of the traits do.
impl TcpStream {
    #[inline]
    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.source.poll_transfer(cx, Direction::Read, buffer.len(), |mut stream| stream.read(buffer))
    }

    fn poll_recv_vectored(&self, cx: &mut Context<'_>, buffers: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        let length = buffers.iter().map(|buffer| buffer.len()).sum();
        self.source.poll_transfer(cx, Direction::Read, length, |mut stream| stream.read_vectored(buffers))
    }

    #[inline]
    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.source.poll_transfer(cx, Direction::Write, bytes.len(), |mut stream| stream.write(bytes))
    }

    fn poll_send_vectored(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.source.poll_transfer(cx, Direction::Write, length, |mut stream| stream.write_vectored(slices))
    }
}

impl AsyncRead for &TcpStream {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_recv(cx, buffer)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_recv_vectored(cx, buffers)
    }
}

impl AsyncWrite for &TcpStream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send_vectored(cx, slices)
    }

    /// There is nothing to flush: what was written is the kernel's.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the writing direction.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown(Shutdown::Write))
    }
}

impl AsyncRead for TcpStream {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_recv(cx, buffer)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_recv_vectored(cx, buffers)
    }
}

impl AsyncWrite for TcpStream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send_vectored(cx, slices)
    }

    /// There is nothing to flush: what was written is the kernel's.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the writing direction.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown(Shutdown::Write))
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpStream").field(self.source.get_ref()).finish()
    }
}
