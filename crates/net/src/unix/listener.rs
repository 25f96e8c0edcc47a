//! Listening for connections over Unix sockets.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use picot_context::budget;
use picot_reactor::Source;
use socket2::{SockRef, Type};

use super::UnixStream;
use super::path::{self, OwnedPath, Shown};
use crate::accept::Rest;
use crate::descriptor::descriptor;
use crate::freed::CountWhenClosed;
use crate::incoming::Incoming;
use crate::open::open_loop;
use crate::operation_error::About;
use crate::report::unix_name;

/// The longest backlog: the kernel lowers the number to its own limit.
const BACKLOG: i32 = i32::MAX;

/// A Unix socket that listens, on this thread's loop.
///
/// Dropping it closes it and removes its path, unless another socket has been bound there since.
///
/// ```
/// use picot_net::{UnixListener, UnixStream};
///
/// let path = std::env::temp_dir().join(format!("picot-listener-{}", std::process::id()));
/// picot_loop::run(async {
///     let listener = UnixListener::bind(&path)?;
///     let client = UnixStream::connect(&path).await?;
///     let (stream, _peer) = listener.accept().await?;
///     client.write_all(b"hello").await?;
///     assert_eq!(stream.read(&mut [0; 8]).await?, 5);
///     drop(listener);
///     assert!(!path.exists());
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub struct UnixListener {
    source: Source<net::UnixListener>,
    // Dropped after the source, so that the descriptor is closed by the time it is counted as free.
    _count: CountWhenClosed,
    path: Option<OwnedPath>,
    rest: Rest,
}

impl UnixListener {
    /// Listens at `path`. A socket that a process left there is removed first. On Linux, a path
    /// that begins with a zero byte is an abstract name, which is in no file system.
    ///
    /// # Errors
    /// The operating system's error, with the path. [`AddrInUse`](io::ErrorKind::AddrInUse) if a
    /// process has a socket there, or if something other than a socket is there.
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the path is empty, too long, or contains a
    /// zero byte. And if this thread has no loop, or it is closed.
    ///
    /// ```
    /// use picot_net::UnixListener;
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("picot-listener-bind-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// assert_eq!(UnixListener::bind(&path).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    /// drop(listener);
    /// assert!(!path.exists());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "create_unix_server")]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        fn bind(path: &Path) -> io::Result<UnixListener> {
            budget::spend_call();
            let handle = open_loop()?;
            let (socket, path) = path::bind(path, Type::STREAM)?;
            socket.listen(BACKLOG)?;
            let source = handle.register(OwnedFd::from(socket).into())?;
            Ok(UnixListener { source, _count: CountWhenClosed, path, rest: Rest::default() })
        }
        let path = path.as_ref();
        bind(path).about(format_args!("listen at {}", Shown(path)))
    }

    /// As [`bind`](UnixListener::bind), to an address of std, such as an abstract name.
    ///
    /// # Errors
    /// As [`bind`](UnixListener::bind); and if the address is unnamed.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// # {
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    /// use picot_net::{UnixListener, UnixStream};
    ///
    /// # picot_loop::run(async {
    /// let name = SocketAddr::from_abstract_name(format!("picot-{}", std::process::id()))?;
    /// let listener = UnixListener::bind_addr(&name)?;
    /// let client = UnixStream::connect_addr(&name).await?;
    /// assert!(listener.accept().await.is_ok());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// # }
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        match path::of_address(address) {
            Ok(path) => UnixListener::bind(path),
            Err(error) => Err(error).about(format_args!("listen at {address:?}")),
        }
    }

    /// Accepts the next connection, with the address of its peer, which rarely has one. Any number
    /// of tasks may accept; each connection goes to one of them. A connection that its peer has
    /// given up meanwhile is passed over.
    ///
    /// # Errors
    /// The operating system's error, with the listener's path. After an error the listener rests
    /// for at most 100 ms, as [`TcpListener::accept`](crate::TcpListener::accept) explains.
    ///
    /// # If dropped
    /// No connection is lost: one that was not accepted waits for the next call.
    ///
    /// ```
    /// use picot_net::{UnixListener, UnixStream};
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("listener-accept-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let client = UnixStream::connect(&path).await?;
    /// let (stream, _peer) = listener.accept().await?;
    /// stream.write_all(b"hello").await?;
    /// assert_eq!(client.read(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let finish = |(stream, peer)| Ok((UnixStream::take_over(stream)?, peer));
        let accepted = self.rest.accept(&self.source, |listener| listener.accept().and_then(finish)).await;
        match accepted {
            Ok(accepted) => Ok(accepted),
            Err(error) => Err(self.cannot_accept(error)),
        }
    }

    /// The connections, one after the other, as a [`Stream`](futures_core::Stream).
    ///
    /// ```
    /// use futures_lite::StreamExt;
    /// use picot_net::{UnixListener, UnixStream};
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("listener-incoming-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let _clients = (UnixStream::connect(&path).await?, UnixStream::connect(&path).await?);
    /// let streams: Vec<UnixStream> = listener.incoming().take(2).try_collect().await?;
    /// assert_eq!(streams.len(), 2);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn incoming(&self) -> Incoming<'_, UnixStream> {
        Incoming::new(async || Ok(self.accept().await?.0))
    }

    /// The address at which it listens.
    ///
    /// # Errors
    /// The operating system's error.
    ///
    /// ```
    /// use picot_net::UnixListener;
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("picot-listener-addr-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// assert_eq!(listener.local_addr()?.as_pathname(), Some(&*path));
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// Takes over a listener of std and puts it into non-blocking mode. Its path is not removed at
    /// the end.
    ///
    /// # Errors
    /// The operating system's error; and if this thread has no loop, or it is closed.
    ///
    /// ```
    /// use picot_net::{UnixListener, UnixStream};
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("picot-listener-from-{}", std::process::id()));
    /// let listener = UnixListener::from_std(std::os::unix::net::UnixListener::bind(&path)?)?;
    /// let _client = UnixStream::connect(&path).await?;
    /// let (_stream, _peer) = listener.accept().await?;
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn from_std(listener: net::UnixListener) -> io::Result<UnixListener> {
        let name = SockRef::from(&listener).local_addr().ok().and_then(|address| unix_name(&address));
        let register = || {
            listener.set_nonblocking(true)?;
            open_loop()?.register(listener)
        };
        let source = register();
        let source = match name {
            Some(name) => source.about(format_args!("take over the listener at {name}")),
            None => source.about(format_args!("take over a listener")),
        };
        Ok(UnixListener { source: source?, _count: CountWhenClosed, path: None, rest: Rest::default() })
    }

    /// Converts into a listener of std, which stays in non-blocking mode. Its path is not removed.
    ///
    /// ```
    /// use picot_net::UnixListener;
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("picot-listener-into-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?.into_std();
    /// drop(listener);
    /// std::fs::remove_file(&path)?; // the path is left to its new owner
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn into_std(self) -> net::UnixListener {
        if let Some(path) = self.path {
            path.leave();
        }
        self.source.into_inner()
    }

    pub(crate) fn rest(&self) -> &Rest {
        &self.rest
    }

    #[cold]
    fn cannot_accept(&self, error: io::Error) -> io::Error {
        match SockRef::from(self.source.get_ref()).local_addr().ok().and_then(|address| unix_name(&address)) {
            Some(name) => error.about(format_args!("accept a connection at {name}")),
            None => error.about(format_args!("accept a connection")),
        }
    }
}

descriptor!(UnixListener, net::UnixListener);

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixListener").field(self.source.get_ref()).finish()
    }
}
