//! The connection as its protocol sees it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Weak;

use super::connection::{Connection, closed, lost};
use crate::operation::call;

/// A connection that calls a protocol (asyncio's `Transport`). Clones are handles of the same connection, for whoever wants
/// to write from outside of a callback.
///
/// No method calls back: what it causes comes later, in the same turn from inside of a callback, and else in the next.
/// Dropping transports does not close the connection; when it is lost, transports that are left are handles of nothing.
///
/// ```
/// use picot_net::{Connections, Protocol, TcpListener, Transport};
/// use futures_lite::AsyncReadExt;
///
/// struct Quiet;
///
/// impl Protocol for Quiet {
///     fn data(&mut self, _: &Transport, _: &[u8]) {}
/// }
///
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let connections = Connections::new()?;
///     let transport = connections.connect(listener.local_addr()?, Quiet).await?;
///     let (mut stream, peer) = listener.accept().await?;
///     assert_eq!(transport.local_addr()?, peer);
///
///     // From outside of any callback. The first goes out at once, and the others together in the next turn.
///     transport.write(b"one ")?;
///     transport.write(b"two ")?;
///     transport.write(b"three")?;
///     assert_eq!(transport.unsent(), 9);
///     transport.close();
///     assert!(transport.write(b"four").is_err());
///     let mut text = String::new();
///     stream.read_to_string(&mut text).await?;
///     assert_eq!(text, "one two three");
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[derive(Clone)]
pub struct Transport {
    connection: Weak<Connection>,
}

impl Transport {
    pub(super) fn new(connection: Weak<Connection>) -> Transport {
        Transport { connection }
    }

    /// Asks or does something, unless the connection is lost.
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&Connection) -> R) -> Option<R> {
        self.connection.upgrade().map(|connection| f(&connection))
    }

    /// Writes, without waiting. The first write of a turn is tried at once; what is written after it in the same turn, and
    /// what the kernel has no room for, is kept, and goes out together: by one system call a turn. While nothing waits, 64 KiB
    /// or more are always tried at once, which is quicker than to copy them.
    ///
    /// There is no limit: a protocol that writes much heeds [`pause_writing`](super::Protocol::pause_writing).
    ///
    /// # Errors
    /// If the transport is closed, its connection lost, or its writing direction ended: the bytes are not sent. An error of
    /// the operating system ends the connection; the protocol is told in [`lost`](super::Protocol::lost). That bytes were
    /// accepted does not mean that they arrive.
    #[inline]
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.with(|connection| connection.write(bytes)).unwrap_or_else(|| Err(closed()))
    }

    /// Ends the writing direction when everything that was written has gone out: the peer reads an end. Doing it twice is
    /// fine; writing after it is an error.
    pub fn write_eof(&self) {
        self.with(Connection::end_writing);
    }

    /// Closes the connection: reads nothing more, sends what was written, and then the protocol's
    /// [`lost`](super::Protocol::lost) is called without an error. Closing twice is fine.
    pub fn close(&self) {
        self.with(Connection::close);
    }

    /// Closes the connection without sending what still waits; then the protocol's [`lost`](super::Protocol::lost) is called
    /// without an error.
    pub fn abort(&self) {
        self.with(Connection::abort);
    }

    /// Whether it was closed or aborted, or its connection is lost.
    pub fn is_closing(&self) -> bool {
        self.with(Connection::is_closing).unwrap_or(true)
    }

    /// Waits until the connection has ended: the protocol's [`lost`](super::Protocol::lost) was called, the protocol dropped and
    /// the socket closed. It ends nothing itself; [`close`](Transport::close) does.
    ///
    /// ```
    /// use picot_net::{Protocol, TcpListener, Transport, connect_protocol};
    ///
    /// struct Print;
    ///
    /// impl Protocol for Print {
    ///     fn data(&mut self, _: &Transport, data: &[u8]) {
    ///         println!("{}", String::from_utf8_lossy(data));
    ///     }
    /// }
    ///
    /// picot_loop::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let transport = connect_protocol(listener.local_addr()?, Print).await?;
    ///     let (stream, _) = listener.accept().await?;
    ///     stream.write_all(b"that is all").await?;
    ///     drop(stream);
    ///     transport.closed().await;
    ///     assert!(transport.is_closing());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    ///
    /// # If dropped
    /// Nothing happens.
    #[doc(alias = "wait_closed")]
    pub async fn closed(&self) {
        match self.with(Connection::ending) {
            Some(ending) => ending.until(|| self.connection.strong_count() == 0).await,
            None => call(|| ()).await,
        }
    }

    /// Reads nothing until [`resume_reading`](Transport::resume_reading): the kernel's buffer fills, and the peer waits.
    /// Pausing twice is fine.
    pub fn pause_reading(&self) {
        self.with(Connection::pause_reading);
    }

    /// Reads again. Resuming twice is fine.
    pub fn resume_reading(&self) {
        self.with(Connection::resume_reading);
    }

    /// Whether it reads: it is not paused, not closing, and the peer has not sent everything.
    pub fn is_reading(&self) -> bool {
        self.with(Connection::is_reading).unwrap_or(false)
    }

    /// How many bytes were written and have not gone out.
    #[doc(alias = "get_write_buffer_size")]
    pub fn unsent(&self) -> usize {
        self.with(Connection::unsent).unwrap_or(0)
    }

    /// Sets the marks: the protocol is told to pause writing when more than `high` bytes wait to go out (64 KiB unless
    /// set), and to resume when these are down to `low` (a quarter of that). Neither is above 4 GiB.
    ///
    /// # Panics
    /// If `low` is above `high`.
    #[doc(alias = "set_write_buffer_limits")]
    pub fn set_write_marks(&self, high: usize, low: usize) {
        assert!(low <= high, "the low mark, {low}, is above the high mark, {high}");
        self.with(|connection| connection.set_marks(high, low));
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// What the operating system says; if the connection is lost; of a Unix socket, which has no such address.
    #[doc(alias = "get_extra_info")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        internet(self.with_socket(|socket| socket.peer_addr())?)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// As for [`peer_addr`](Transport::peer_addr).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        internet(self.with_socket(|socket| socket.local_addr())?)
    }

    /// Lets `ask` have the socket, for its options.
    ///
    /// # Errors
    /// What `ask` says; if the connection is lost.
    pub fn with_socket<R>(&self, ask: impl FnOnce(socket2::SockRef<'_>) -> io::Result<R>) -> io::Result<R> {
        self.with(|connection| connection.with_socket(ask)).unwrap_or_else(|| Err(lost()))
    }
}

fn internet(address: socket2::SockAddr) -> io::Result<SocketAddr> {
    let error = || io::Error::new(io::ErrorKind::Unsupported, "a Unix socket has no internet address");
    address.as_socket().ok_or_else(error)
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("peer", &self.peer_addr().ok())
            .field("closing", &self.is_closing())
            .field("unsent", &self.unsent())
            .finish_non_exhaustive()
    }
}
