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
use crate::freed::Descriptor;
use crate::operation::{call, operate};
use crate::operation_error::About;
use crate::options::ConnectOptions;
use crate::report::connection_name;
use crate::split::{ReadHalf, WriteHalf, split};
use crate::transfer::failed;

/// A TCP connection, on this thread's loop.
///
/// [`read`](TcpStream::read) and [`write_all`](TcpStream::write_all) need no trait; everything else goes by those of
/// `futures-io`, which are implemented for `&TcpStream` as well. So one task can read while another writes. In each direction
/// one task waits at a time, the last that has polled.
///
/// Small writes are sent at once: `TCP_NODELAY` is set, as in asyncio. Dropping the stream closes the connection.
///
/// With the feature `tokio-io` it has tokio's traits, too.
pub struct TcpStream {
    // Shared with a server, which may want to end the connection while its handler has it.
    source: Rc<Source<net::TcpStream>>,
    // After the source: the descriptor is closed when it is counted.
    _descriptor: Descriptor,
}

impl TcpStream {
    /// Connects to `address`; of several, to the first that accepts. [`ConnectOptions`] says how these are tried, and has
    /// a time limit.
    ///
    /// # Errors
    /// The operating system's error, for example that the connection was refused, with the address; of several addresses,
    /// each attempt is named. And if this thread has no loop, or it is closed.
    ///
    /// # If dropped
    /// The connection is not made, or closed again.
    #[doc(alias = "create_connection")]
    pub fn connect(address: impl Into<Address>) -> impl Future<Output = io::Result<TcpStream>> {
        const DEFAULTS: &ConnectOptions = &ConnectOptions::new();
        DEFAULTS.connect_to(address.into())
    }

    /// Connects to one address. The error is the bare one of the operating system.
    ///
    /// The future has no other owner of the socket beside it, so it waits by polling, which needs no state of its own.
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

    /// Takes over a connection of std: one that was accepted elsewhere, inherited, or given by another library. It is put
    /// into non-blocking mode.
    ///
    /// It may be any kind of stream socket. Each read that brings less than was asked for costs another call of the
    /// operating system, because of a socket from elsewhere it is unknown whether that proves that there is no more. Of plain
    /// TCP it does: the caller who knows calls [`trust_short_transfers(true)`](Source::trust_short_transfers) on its
    /// [`source`](TcpStream::source).
    ///
    /// # Errors
    /// What the operating system says; and if this thread has no loop.
    #[doc(alias = "connect_accepted_socket")]
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        let name = connection_name(&SockRef::from(&stream));
        let taken = stream.set_nonblocking(true).and_then(|()| TcpStream::from_nonblocking(stream));
        taken.about(format_args!("take over the {name}"))
    }

    /// A connection that a listener of this crate has accepted, in non-blocking mode.
    pub(crate) fn from_accepted(stream: net::TcpStream) -> io::Result<TcpStream> {
        Ok(TcpStream::from_nonblocking(stream)?.trusted_if_plain())
    }

    /// Lets short transfers clear readiness, if this is plain TCP. It is not for streams that were handed in: their owner may
    /// have given them another protocol, and may yet.
    ///
    /// The kernel is asked, because it may have made another socket than was asked for: a wrapper or a BPF program can turn TCP
    /// into MPTCP, which ends a receive where the path changes.
    fn trusted_if_plain(self) -> TcpStream {
        self.source.trust_short_transfers(is_plain(self.source.get_ref()));
        self
    }

    fn from_nonblocking(stream: net::TcpStream) -> io::Result<TcpStream> {
        let stream = register(&LoopHandle::try_current()?, stream)?;
        // There may be data already, and there is room to send; if not, the first try finds out.
        stream.source.assume_ready(Direction::Read);
        stream.source.assume_ready(Direction::Write);
        Ok(stream)
    }

    /// Gives the connection to std: for another loop on another thread, or for blocking code. It is still in non-blocking
    /// mode.
    pub fn into_std(self) -> net::TcpStream {
        Rc::into_inner(self.source).expect("a stream has one owner").into_inner()
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// What the operating system says.
    #[doc(alias = "getpeername")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.ask("ask for the peer's address of", net::TcpStream::peer_addr)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the operating system says.
    #[doc(alias = "getsockname")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.ask("ask for the local address of", net::TcpStream::local_addr)
    }

    /// Whether small writes are sent at once (`true`, which is so unless changed), or collected by the kernel.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.ask("set TCP_NODELAY of", |stream| stream.set_nodelay(nodelay))
    }

    /// The socket, for its other options: keep-alive, buffer sizes, linger and whatever else `socket2` knows.
    ///
    /// Reading and writing by it goes past what the loop knows of the connection. Before it is given another protocol, such
    /// as kernel TLS, call [`trust_short_transfers(false)`](Source::trust_short_transfers) on the
    /// [`source`](TcpStream::source); lending the descriptor by the traits of std does so by itself.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_net::socket2::TcpKeepalive;
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// picot_loop::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let stream = TcpStream::connect(listener.local_addr()?).await?;
    ///     stream.socket().set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
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

    /// Reads into `buffer` without taking what was read: the next read finds it again. Waits until there is something;
    /// 0 is the end of the stream, or of a buffer without room.
    ///
    /// # Errors
    /// What the operating system says.
    ///
    /// # If dropped
    /// Nothing happens.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return call(|| Ok(0)).await;
        }
        let peeked = operate(&self.source, Direction::Read, |stream| stream.peek(buffer)).await;
        peeked.map_err(|error| failed(self.source.get_ref(), "receive on", error))
    }

    /// Ends one or both directions. Ending the writing direction lets the peer read the end; that is what `close` of
    /// `AsyncWrite` does.
    ///
    /// # Errors
    /// What the operating system says; but a connection that has ended already is fine.
    #[doc(alias = "write_eof")]
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        Duplex::shutdown(self, how)
    }

    /// Two halves, for two owners, such as two tasks. Where both stay in one function, `&stream` reads and writes as well,
    /// and costs nothing.
    pub fn split(self) -> (ReadHalf<TcpStream>, WriteHalf<TcpStream>) {
        split(self)
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

    /// For a server, which does not own its connections.
    pub(crate) fn downgrade(&self) -> Weak<Source<net::TcpStream>> {
        Rc::downgrade(&self.source)
    }
}

/// Whether the protocol of a socket is TCP itself. Where the system has no such question, it has no such protocols either.
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

/// Whether the attempt to connect has succeeded, once the socket is writable; an error if it has failed.
fn is_connected(source: &Source<net::TcpStream>) -> io::Result<bool> {
    if let Some(error) = source.get_ref().take_error()? {
        return Err(error);
    }
    // Writable without an error means connected, unless the event was spurious; a peer is the proof.
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
    // It fails where the peer has reset the connection already; reading will tell that.
    let _ = stream.set_nodelay(true);
    Ok(TcpStream { source: Rc::new(handle.register(stream)?), _descriptor: Descriptor })
}

descriptor!(TcpStream, net::TcpStream);
duplex!(TcpStream);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpStream").field(self.source.get_ref()).finish()
    }
}
