//! A TCP connection.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{self, Shutdown, SocketAddr};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use picot_context::budget;
use picot_loop::LoopHandle;
use picot_reactor::{Direction, Source};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::address::Address;
use crate::descriptor::descriptor;
use crate::duplex::{Duplex, duplex};
use crate::freed::CountWhenClosed;
use crate::operation::{call, operate};
use crate::operation_error::About;
use crate::options::connect::ConnectOptions;
use crate::report::connection_name;
use crate::split::{ReadHalf, WriteHalf, split};
use crate::transfer::failed;

/// A TCP connection, on this thread's loop.
///
/// [`read`](TcpStream::read) and [`write_all`](TcpStream::write_all) need no trait. For everything
/// else, it implements the traits of `futures-io`, also for `&TcpStream`, so that one task can read
/// while another writes. Several tasks can wait in one direction; all of them are woken, and each
/// byte goes to one.
///
/// Small writes are sent at once: `TCP_NODELAY` is set, as in asyncio. Dropping the stream closes
/// the connection.
///
/// With the feature `tokio-io` it implements tokio's traits, too.
///
/// ```
/// use picot_net::{TcpListener, TcpStream};
///
/// # picot_loop::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, _peer) = listener.accept().await?;
///
/// client.write_all(b"hello").await?;
/// let mut buffer = [0; 16];
/// let length = server.read(&mut buffer).await?;
/// assert_eq!(&buffer[..length], b"hello");
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
pub struct TcpStream {
    // Shared with the server, which can end a connection while a handler owns the stream.
    source: Rc<Source<net::TcpStream>>,
    // Dropped after the source, so that the descriptor is closed by the time it is counted as free.
    _count: CountWhenClosed,
}

impl TcpStream {
    /// Connects to `address`. If it has several addresses, the first that accepts is used;
    /// [`ConnectOptions`] describes the order, and has a time limit.
    ///
    /// # Errors
    /// The operating system's error, for example that the connection was refused, with the address;
    /// of several addresses, each attempt is named. And if this thread has no loop, or it is
    /// closed.
    ///
    /// # If dropped
    /// The connection is not made, or closed again.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// picot_loop::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let stream = TcpStream::connect(listener.local_addr()?).await?;
    ///     assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "create_connection")]
    pub fn connect(address: impl Into<Address>) -> impl Future<Output = io::Result<TcpStream>> {
        const DEFAULTS: &ConnectOptions = &ConnectOptions::new();
        DEFAULTS.connect_to(address.into())
    }
}

duplex!(
    TcpStream,
    pair: "# let listener = picot_net::TcpListener::bind(\"127.0.0.1:0\").await?;\n\
           # let near = picot_net::TcpStream::connect(listener.local_addr()?).await?;\n\
           # let (far, _) = listener.accept().await?;"
);

impl TcpStream {
    /// Splits the stream into two halves, for two owners, such as two tasks; an example is at
    /// [`ReadHalf`]. Within one function, use `&stream` to read and write instead, which costs
    /// nothing.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (server, _) = listener.accept().await?;
    /// let (mut read, mut write) = client.split();
    /// let writer = picot_loop::spawn(async move { write.write_all(b"ping").await });
    /// server.write_all(b"pong").await?;
    /// assert_eq!(read.read(&mut [0; 16]).await?, 4);
    /// writer.await.unwrap()?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn split(self) -> (ReadHalf<TcpStream>, WriteHalf<TcpStream>) {
        split(self)
    }

    /// Ends one or both directions. After the end of the writing direction, the peer reads an end
    /// of stream; `close` of `AsyncWrite` does the same.
    ///
    /// # Errors
    /// The operating system's error. A connection that has ended already is no error.
    ///
    /// ```
    /// use std::net::Shutdown;
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (server, _) = listener.accept().await?;
    /// client.shutdown(Shutdown::Write)?;
    /// assert_eq!(server.read(&mut [0; 16]).await?, 0, "the end of the stream");
    /// server.write_all(b"the other direction is still open").await?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "write_eof")]
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        Duplex::shutdown(self, how)
    }

    /// Copies available bytes into `buffer`, and leaves them for the next read. Waits until there
    /// are some; 0 means the end of the stream, or an empty buffer.
    ///
    /// # Errors
    /// The operating system's error, with the name of the connection.
    ///
    /// # If dropped
    /// Nothing happens.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// picot_loop::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let client = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (server, _) = listener.accept().await?;
    ///     client.write_all(b"x").await?;
    ///     assert_eq!(server.peek(&mut [0; 8]).await?, 1);
    ///     assert_eq!(server.read(&mut [0; 8]).await?, 1, "the same byte");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return call(|| Ok(0)).await;
        }
        let peeked = operate(&self.source, Direction::Read, |stream| stream.peek(buffer)).await;
        peeked.map_err(|error| failed(self.source.get_ref(), "receive on", error))
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// The operating system's error, with the name of the connection.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "getpeername")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.ask("ask for the peer's address of", net::TcpStream::peer_addr)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// The operating system's error, with the name of the connection.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (_server, peer) = listener.accept().await?;
    /// assert_eq!(client.local_addr()?, peer);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "getsockname")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.ask("ask for the local address of", net::TcpStream::local_addr)
    }

    /// Sets whether small writes are sent at once (`true`, the default), or collected by the kernel
    /// (Nagle's algorithm).
    ///
    /// # Errors
    /// The operating system's error, with the name of the connection.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_nodelay(false)?;
    /// assert!(!stream.socket().tcp_nodelay()?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.ask("set TCP_NODELAY of", |stream| stream.set_nodelay(nodelay))
    }

    /// The socket, for its other options: keep-alive, buffer sizes, linger, and all others of
    /// `socket2`.
    ///
    /// Do not read or write through it: the loop would not notice. Before you give it another
    /// protocol, such as kernel TLS, call
    /// [`trust_short_transfers(false)`](Source::trust_short_transfers) on the
    /// [`source`](TcpStream::source). Borrowing the descriptor by the traits of std does that, too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_net::socket2::TcpKeepalive;
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// picot_loop::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let stream = TcpStream::connect(listener.local_addr()?).await?;
    ///     let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));
    ///     stream.socket().set_tcp_keepalive(&keepalive)?;
    ///     assert!(stream.socket().keepalive()?);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "setsockopt")]
    #[doc(alias = "get_extra_info")]
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.source.get_ref())
    }

    /// Takes over a connection of std, for example one that another library made. It is put into
    /// non-blocking mode.
    ///
    /// It may be any kind of stream socket. So a read that fills only a part of the buffer costs
    /// another system call: of an unknown socket, a short read does not prove that the kernel has
    /// no more data. Of plain TCP it does; a caller that knows the socket calls
    /// [`trust_short_transfers(true)`](Source::trust_short_transfers) on its
    /// [`source`](TcpStream::source).
    ///
    /// # Errors
    /// The operating system's error, with the name of the connection; and if this thread has no
    /// loop.
    ///
    /// ```
    /// use picot_net::TcpStream;
    ///
    /// picot_loop::run(async {
    ///     let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    ///     let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    ///     let stream = TcpStream::from_std(stream)?;
    ///     stream.write_all(b"hello").await?;
    ///     let _stream: std::net::TcpStream = stream.into_std();
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "connect_accepted_socket")]
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        let name = connection_name(&SockRef::from(&stream));
        let taken = stream.set_nonblocking(true).and_then(|()| TcpStream::from_nonblocking(stream));
        taken.about(format_args!("take over the {name}"))
    }

    /// Returns the connection as one of std, for a loop on another thread, or for blocking code. It
    /// stays in non-blocking mode.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?.into_std();
    /// stream.set_nonblocking(false)?; // for blocking code
    /// let mut stream = TcpStream::from_std(stream)?; // or for a loop again
    /// # let _ = &mut stream;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn into_std(self) -> net::TcpStream {
        Rc::into_inner(self.source).expect("a stream has one owner").into_inner()
    }

    /// Connects to one address. The error is the operating system's, without a name.
    ///
    /// No other task can use the socket yet, so the future polls it directly, which needs no state
    /// of its own.
    pub(crate) fn connect_one(
        handle: LoopHandle,
        local: Option<SocketAddr>,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<TcpStream>> {
        let mut begun = None;
        poll_fn(move |cx| {
            if begun.is_none() {
                ready!(budget::poll_left(cx));
                budget::spend_call();
                begun = Some(begin(&handle, local, address)?);
            }
            loop {
                let source = &begun.as_ref().expect("the attempt was begun above").source;
                ready!(source.poll_ready(cx, Direction::Write))?;
                if is_connected(source)? {
                    let stream: TcpStream = begun.take().expect("the attempt was begun above");
                    return Poll::Ready(Ok(stream.trusted_if_plain()));
                }
            }
        })
    }

    /// Makes a stream of a connection that a listener of this crate accepted, which is in
    /// non-blocking mode.
    pub(crate) fn from_accepted(stream: net::TcpStream) -> io::Result<TcpStream> {
        Ok(TcpStream::from_nonblocking(stream)?.trusted_if_plain())
    }

    /// Lets short transfers clear readiness, if this is plain TCP. Not for sockets from elsewhere,
    /// to which their owner may give another protocol.
    ///
    /// The protocol is the kernel's answer, because a wrapper or a BPF program can turn TCP into
    /// MPTCP, which ends a receive where the path changes.
    fn trusted_if_plain(self) -> TcpStream {
        self.source.trust_short_transfers(is_plain(self.source.get_ref()));
        self
    }

    fn from_nonblocking(stream: net::TcpStream) -> io::Result<TcpStream> {
        let stream = register(&LoopHandle::try_current()?, stream)?;
        // A new connection usually has room to send, and may have data already. Assuming both saves
        // a wait; if an assumption is wrong, the first attempt would block and clears it.
        stream.source.assume_ready(Direction::Read);
        stream.source.assume_ready(Direction::Write);
        Ok(stream)
    }

    /// Makes a system call that never waits. Its error names `operation` and the connection.
    fn ask<R>(&self, operation: &str, call: impl FnOnce(&net::TcpStream) -> io::Result<R>) -> io::Result<R> {
        let stream = self.source.get_ref();
        call(stream).map_err(|error| failed(stream, operation, error))
    }

    /// The source, for another owner.
    pub(crate) fn into_source(self) -> Source<net::TcpStream> {
        Rc::into_inner(self.source).expect("a stream has one owner")
    }

    /// A weak reference to the source, for a server, which does not own its connections.
    pub(crate) fn downgrade(&self) -> Weak<Source<net::TcpStream>> {
        Rc::downgrade(&self.source)
    }
}

/// Whether the protocol of a socket is TCP itself. Systems that cannot be asked have no other
/// protocols of that kind.
fn is_plain(stream: &net::TcpStream) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return rustix::net::sockopt::socket_protocol(stream)
        .is_ok_and(|protocol| protocol == Some(rustix::net::ipproto::TCP));
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    return {
        let _ = stream;
        true
    };
}

/// Starts to connect, and registers the socket.
fn begin(handle: &LoopHandle, local: Option<SocketAddr>, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(local) = local {
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if is_under_way(&error) => {}
        Err(error) => return Err(error),
    }
    // Registered after the call: the kernel reports a socket that was never connected as hung up.
    register(handle, net::TcpStream::from(socket))
}

/// Whether the attempt to connect has succeeded, once the socket is writable; an error if it has
/// failed.
fn is_connected(source: &Source<net::TcpStream>) -> io::Result<bool> {
    if let Some(error) = source.get_ref().take_error()? {
        return Err(error);
    }
    // Writable without an error means connected, unless the event was spurious; a peer is the
    // proof.
    match source.get_ref().peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            let would_block = |_: &net::TcpStream| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
            let _ = source.try_io(Direction::Write, would_block);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether a call to connect goes on in the background.
fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error());
    #[cfg(not(unix))]
    return error.kind() == io::ErrorKind::WouldBlock;
}

fn register(handle: &LoopHandle, stream: net::TcpStream) -> io::Result<TcpStream> {
    // This fails if the peer has reset the connection already, and a read will report that.
    let _ = stream.set_nodelay(true);
    Ok(TcpStream { source: Rc::new(handle.register(stream)?), _count: CountWhenClosed })
}

descriptor!(TcpStream, net::TcpStream);
impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpStream").field(self.source.get_ref()).finish()
    }
}
