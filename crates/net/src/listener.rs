//! Listening for TCP connections.

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};

use picot_loop::LoopHandle;
use picot_reactor::Source;

use crate::accept::Rest;
use crate::address::Address;
use crate::descriptor::descriptor;
use crate::freed::CountWhenClosed;
use crate::incoming::Incoming;
use crate::open::open_loop;
use crate::operation_error::About;
use crate::options::listen::ListenOptions;
use crate::stream::TcpStream;

/// A socket that listens for TCP connections, on this thread's loop.
///
/// Dropping it closes it; new connections are refused from then on.
///
/// ```
/// use picot_net::{TcpListener, TcpStream};
///
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (_stream, peer) = listener.accept().await?;
///     assert_eq!(peer, client.local_addr()?);
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub struct TcpListener {
    source: Source<net::TcpListener>,
    // Dropped after the source, so that the descriptor is closed by the time it is counted as free.
    _count: CountWhenClosed,
    rest: Rest,
}

impl TcpListener {
    /// Listens at `address`; of several, at the first that can be bound. Port 0 picks a free one,
    /// which [`local_addr`](TcpListener::local_addr) returns. [`ListenOptions`] has more.
    ///
    /// # Errors
    /// The operating system's error, for example that the address is in use, with the address; of
    /// several addresses, each is named. And if this thread has no loop, or it is closed.
    ///
    /// # If dropped
    /// Nothing listens.
    ///
    /// ```
    /// use picot_net::TcpListener;
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// assert_ne!(listener.local_addr()?.port(), 0, "the system picked a port");
    /// let error = TcpListener::bind(listener.local_addr()?).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn bind(address: impl Into<Address>) -> io::Result<TcpListener> {
        ListenOptions::new().bind(address).await
    }

    /// Accepts the next connection, with the address of its peer. Any number of tasks may accept;
    /// each connection goes to one of them. A connection that its peer or the network has aborted
    /// meanwhile is skipped.
    ///
    /// # Errors
    /// The operating system's error, with the listener's address: most likely that the process has
    /// too many open files. The next try would fail as well, so after an error the listener rests:
    /// the next call waits until 100 ms have passed. A loop that accepts, reports an error and goes
    /// on is therefore fine as it is, and sees at most ten errors a second, however many tasks
    /// accept. Connections that are open already are not affected.
    ///
    /// # If dropped
    /// No connection is lost: one that was not accepted waits for the next call.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, peer) = listener.accept().await?;
    /// assert_eq!(peer, client.local_addr()?);
    /// stream.write_all(b"welcome").await?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let finish = |(stream, peer)| Ok((TcpStream::from_accepted(stream)?, peer));
        let accepted = self.rest.accept(&self.source, |listener| accept(listener).and_then(finish)).await;
        match accepted {
            Ok(accepted) => Ok(accepted),
            Err(error) => Err(self.cannot_accept(error)),
        }
    }

    /// The connections, one after the other, as a [`Stream`](futures_core::Stream).
    ///
    /// ```
    /// use futures_lite::StreamExt;
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let address = listener.local_addr()?;
    /// let _clients = (TcpStream::connect(address).await?, TcpStream::connect(address).await?);
    /// let streams: Vec<TcpStream> = listener.incoming().take(2).try_collect().await?;
    /// assert_eq!(streams.len(), 2);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn incoming(&self) -> Incoming<'_, TcpStream> {
        Incoming::new(async || Ok(self.accept().await?.0))
    }

    /// The address at which it listens.
    ///
    /// # Errors
    /// The operating system's error.
    ///
    /// ```
    /// use picot_net::TcpListener;
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// println!("listening at {}", listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// Takes over a listener of std, for example one that a service manager opened. It is put into
    /// non-blocking mode.
    ///
    /// # Errors
    /// The operating system's error, with the listener's address; and if this thread has no loop,
    /// or it is closed.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener = TcpListener::from_std(listener)?;
    /// let _client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (_stream, _peer) = listener.accept().await?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        let address = listener.local_addr();
        let taken = open_loop().and_then(|handle| TcpListener::register(&handle, listener));
        match address {
            Ok(address) => taken.about(format_args!("take over the listener at {address}")),
            Err(_) => taken.about(format_args!("take over a listener")),
        }
    }

    /// Converts into a listener of std, which stays in non-blocking mode.
    ///
    /// ```
    /// use picot_net::TcpListener;
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?.into_std();
    /// let error = listener.accept().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "still in non-blocking mode");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn into_std(self) -> net::TcpListener {
        self.source.into_inner()
    }

    pub(crate) fn register(handle: &LoopHandle, listener: net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener { source: handle.register(listener)?, _count: CountWhenClosed, rest: Rest::default() })
    }

    pub(crate) fn rest(&self) -> &Rest {
        &self.rest
    }

    #[cold]
    fn cannot_accept(&self, error: io::Error) -> io::Error {
        match self.local_addr() {
            Ok(address) => error.about(format_args!("accept a connection at {address}")),
            Err(_) => error.about(format_args!("accept a connection")),
        }
    }
}

descriptor!(TcpListener, net::TcpListener);

/// Accepts a connection, in non-blocking mode.
#[cfg(target_os = "linux")]
fn accept(listener: &net::TcpListener) -> io::Result<(net::TcpStream, SocketAddr)> {
    use rustix::net::{SocketFlags, acceptfrom_with};

    // std uses the same call, but needs a second one to set the mode.
    let (stream, peer) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.ok_or(io::ErrorKind::InvalidData)?;
    Ok((stream.into(), peer.try_into()?))
}

#[cfg(not(target_os = "linux"))]
fn accept(listener: &net::TcpListener) -> io::Result<(net::TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((stream, peer))
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpListener").field(self.source.get_ref()).finish()
    }
}
