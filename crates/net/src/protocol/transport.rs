//! The connection as its protocol sees it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Weak;

use super::connection::{Connection, closed, lost};
use picot_context::{WaitInfo, WaitKind};

use crate::operation::call;

/// The connection of a protocol (asyncio's `Transport`). Clones are handles of the same connection,
/// to write from outside of a callback.
///
/// No method runs a callback. What a method causes comes later: in the same turn if a callback
/// called the method, and otherwise in the next turn. Dropping transports does not close the
/// connection.
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
///     // From outside of any callback. The first goes out at once, and the others together in the
///     // next turn.
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

    /// Calls `f`, unless the connection is lost.
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&Connection) -> R) -> Option<R> {
        self.connection.upgrade().map(|connection| f(&connection))
    }

    /// Writes `bytes` without waiting.
    ///
    /// The first write of a turn is tried at once. Later writes of the same turn, and bytes for
    /// which the kernel has no room, are buffered, and go out together by one system call a turn.
    /// While the buffer is empty, a write of 64 KiB or more is always tried at once, because that
    /// is faster than copying it.
    ///
    /// The buffer has no limit. A protocol that writes much stops in
    /// [`pause_writing`](super::Protocol::pause_writing).
    ///
    /// # Errors
    /// If the transport is closed, its connection is lost, or its writing direction has ended: the
    /// bytes are not sent. An error of the operating system ends the connection, and
    /// [`lost`](super::Protocol::lost) receives it. Accepted bytes may still be lost with the
    /// connection.
    ///
    /// ```
    /// # use picot_net::{TcpListener, connect_protocol};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// transport.write(b"hello")?;
    /// assert_eq!(stream.read(&mut [0; 16]).await?, 5);
    /// transport.close();
    /// assert!(transport.write(b"too late").is_err());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[inline]
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.with(|connection| connection.write(bytes)).unwrap_or_else(|| Err(closed()))
    }

    /// Ends the writing direction after all unsent bytes: the peer reads an end of stream. A second
    /// call has no effect. Writing after it is an error.
    ///
    /// ```
    /// # use picot_net::{TcpListener, connect_protocol};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// transport.write(b"the last words")?;
    /// transport.write_eof();
    /// assert_eq!(stream.read(&mut [0; 64]).await?, 14);
    /// assert_eq!(stream.read(&mut [0; 64]).await?, 0, "the end of the stream");
    /// assert!(transport.is_reading(), "the other direction is still open");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn write_eof(&self) {
        self.with(Connection::end_writing);
    }

    /// Closes the connection after sending all unsent bytes. Nothing more is read. At the end, the
    /// protocol's
    /// [`lost`](super::Protocol::lost) is called without an error. A second call has no effect.
    ///
    /// ```
    /// # use picot_net::{TcpListener, connect_protocol};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// transport.write(b"the last words")?;
    /// transport.close();
    /// assert_eq!(stream.read(&mut [0; 64]).await?, 14);
    /// transport.closed().await;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn close(&self) {
        self.with(Connection::close);
    }

    /// Closes the connection without sending unsent bytes. Then the protocol's
    /// [`lost`](super::Protocol::lost) is called without an error.
    ///
    /// ```
    /// # use picot_net::{TcpListener, connect_protocol};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
    /// transport.abort();
    /// assert!(transport.is_closing());
    /// transport.closed().await;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn abort(&self) {
        self.with(Connection::abort);
    }

    /// Whether the transport was closed or aborted, or its connection is lost.
    ///
    /// ```
    /// # use picot_net::{TcpListener, connect_protocol};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
    /// assert!(!transport.is_closing());
    /// transport.close();
    /// assert!(transport.is_closing());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn is_closing(&self) -> bool {
        self.with(Connection::is_closing).unwrap_or(true)
    }

    /// Waits until the connection has ended: [`lost`](super::Protocol::lost) was called, the
    /// protocol dropped and the socket closed. It does not end the connection;
    /// [`close`](Transport::close) does.
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
            Some(ending) => {
                let about = || WaitInfo::new(WaitKind::Server, "the end of the connection");
                ending.until_about(about, || self.connection.strong_count() == 0).await;
            }
            None => call(|| ()).await,
        }
    }

    /// Reads nothing until [`resume_reading`](Transport::resume_reading). The kernel's buffer
    /// fills, and then the peer waits. A second call has no effect.
    ///
    /// ```
    /// # use picot_net::{TcpListener, connect_protocol};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
    /// transport.pause_reading();
    /// assert!(!transport.is_reading(), "no more data until `resume_reading`");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn pause_reading(&self) {
        self.with(Connection::pause_reading);
    }

    /// Reads again after [`pause_reading`](Transport::pause_reading). A second call has no effect.
    ///
    /// ```
    /// # use picot_net::{TcpListener, connect_protocol};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
    /// transport.pause_reading();
    /// transport.resume_reading();
    /// assert!(transport.is_reading());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn resume_reading(&self) {
        self.with(Connection::resume_reading);
    }

    /// Whether data is read: reading is not paused, the transport is open, and the peer has not
    /// ended its stream.
    ///
    /// ```
    /// # use picot_net::{TcpListener, connect_protocol};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
    /// assert!(transport.is_reading());
    /// transport.close();
    /// assert!(!transport.is_reading());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn is_reading(&self) -> bool {
        self.with(Connection::is_reading).unwrap_or(false)
    }

    /// The number of bytes that were written and are not sent yet.
    ///
    /// ```
    /// # use picot_net::{TcpListener, connect_protocol};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// transport.write(b"tried at once")?;
    /// transport.write(b"collected")?;
    /// assert_eq!(transport.unsent(), 9);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "get_write_buffer_size")]
    pub fn unsent(&self) -> usize {
        self.with(Connection::unsent).unwrap_or(0)
    }

    /// Sets the marks for back-pressure, in bytes.
    ///
    /// With more than `high` unsent bytes, [`pause_writing`](super::Protocol::pause_writing) is
    /// called; at `low` or fewer,
    /// [`resume_writing`](super::Protocol::resume_writing). The defaults are 64 KiB and 16 KiB.
    /// Marks above 4 GiB count as 4 GiB.
    ///
    /// # Panics
    /// If `low` is above `high`.
    ///
    /// ```
    /// use picot_net::{Protocol, Transport};
    ///
    /// /// Pauses at once, and resumes when all bytes are sent.
    /// struct Strict;
    ///
    /// impl Protocol for Strict {
    ///     fn made(&mut self, transport: &Transport) {
    ///         transport.set_write_marks(0, 0);
    ///     }
    ///
    ///     fn data(&mut self, _: &Transport, _: &[u8]) {}
    /// }
    /// # picot_loop::run(async {
    /// #     let listener = picot_net::TcpListener::bind("127.0.0.1:0").await?;
    /// #     picot_net::connect_protocol(listener.local_addr()?, Strict).await?;
    /// #     picot_loop::yield_now().await;
    /// #     std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "set_write_buffer_limits")]
    pub fn set_write_marks(&self, high: usize, low: usize) {
        assert!(low <= high, "the low mark, {low}, is above the high mark, {high}");
        self.with(|connection| connection.set_marks(high, low));
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// The operating system's error; if the connection is lost; or if it is a Unix socket, which
    /// has no such address.
    ///
    /// ```
    /// # use picot_net::{TcpListener, connect_protocol};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
    /// assert_eq!(transport.peer_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "get_extra_info")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        internet(self.with_socket(|socket| socket.peer_addr())?)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// As for [`peer_addr`](Transport::peer_addr).
    ///
    /// ```
    /// # use picot_net::{TcpListener, connect_protocol};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
    /// let (_stream, peer) = listener.accept().await?;
    /// assert_eq!(transport.local_addr()?, peer);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        internet(self.with_socket(|socket| socket.local_addr())?)
    }

    /// Calls `ask` with the socket, to read or set its options.
    ///
    /// # Errors
    /// The error of `ask`; or if the connection is lost.
    ///
    /// ```
    /// # use picot_net::{TcpListener, connect_protocol};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
    /// transport.with_socket(|socket| socket.set_keepalive(true))?;
    /// assert!(transport.with_socket(|socket| socket.keepalive())?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
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
