//! Listening for connections over Unix sockets.

use std::fmt;
use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use picot_loop::LoopHandle;
use picot_reactor::Source;

use super::UnixStream;
use super::path::{OwnedPath, remove_stale};
use crate::accept::Rest;
use crate::descriptor::descriptor;
use crate::incoming::Incoming;

/// A Unix socket that listens, on this thread's loop.
///
/// Dropping it closes it and removes its path, unless another socket has taken that meanwhile.
pub struct UnixListener {
    source: Source<net::UnixListener>,
    path: Option<OwnedPath>,
    rest: Rest,
}

impl UnixListener {
    /// Listens at `path`. A socket that was left there by somebody else is removed first.
    ///
    /// # Errors
    /// What the operating system says, for example that something other than a socket is at the path; and if this thread
    /// has no loop.
    #[doc(alias = "create_unix_server")]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let (path, handle) = (path.as_ref(), LoopHandle::try_current()?);
        remove_stale(path)?;
        let listener = net::UnixListener::bind(path)?;
        let path = OwnedPath::new(path);
        listener.set_nonblocking(true)?;
        Ok(UnixListener { source: handle.register(listener)?, path, rest: Rest::default() })
    }

    /// Takes over a listener of std, whose path is left to whoever has made it. It is put into non-blocking mode.
    /// That is the way to a name that is in no file system, as Linux has them: std's `bind_addr`.
    ///
    /// # Errors
    /// What the operating system says; and if this thread has no loop.
    pub fn from_std(listener: net::UnixListener) -> io::Result<UnixListener> {
        listener.set_nonblocking(true)?;
        Ok(UnixListener { source: LoopHandle::try_current()?.register(listener)?, path: None, rest: Rest::default() })
    }

    /// Gives the listener to std, whose path nobody removes then. It is still in non-blocking mode.
    pub fn into_std(self) -> net::UnixListener {
        if let Some(path) = self.path {
            path.leave();
        }
        self.source.into_inner()
    }

    /// Accepts the next connection, with the address of its peer, which rarely has one. Any number of tasks may accept;
    /// each connection goes to one of them. A connection that its peer has given up meanwhile is passed over.
    ///
    /// # Errors
    /// What the operating system says. After an error the listener rests for 100 ms, as
    /// [`TcpListener::accept`](crate::TcpListener::accept) explains.
    ///
    /// # If dropped
    /// No connection is lost: one that was not accepted waits for the next call.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let finish = |(stream, peer)| Ok((UnixStream::from_std(stream)?, peer));
        self.rest.accept(&self.source, |listener| listener.accept().and_then(finish)).await
    }

    /// The connections, one after the other, as a [`Stream`](futures_core::Stream).
    pub fn incoming(&self) -> Incoming<'_, UnixStream> {
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

descriptor!(UnixListener, net::UnixListener);

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixListener").field(self.source.get_ref()).finish()
    }
}
