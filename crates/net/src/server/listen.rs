//! The listeners that a server can use.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Weak;
use std::time::Duration;

use picot_reactor::Source;
use socket2::SockRef;

use super::Link;
use crate::accept::Rest;
use crate::listener::TcpListener;
use crate::protocol::Io;
use crate::stream::TcpStream;

/// A listener of this crate: [`TcpListener`] or [`UnixListener`](crate::UnixListener).
///
/// Other crates cannot implement it.
#[diagnostic::on_unimplemented(
    message = "a server cannot listen with `{Self}`",
    label = "expected `picot_net::TcpListener` or `picot_net::UnixListener`",
    note = "convert a listener of std with `TcpListener::from_std` or `UnixListener::from_std`"
)]
/// ```
/// use picot_net::{Listener, Server, ServerBuilder, TcpListener};
///
/// # picot_loop::run(async {
/// /// Works for TCP and for Unix sockets.
/// fn with_limit<L: Listener>(listener: L) -> ServerBuilder<L> {
///     Server::builder().max_connections(100).listener(listener)
/// }
///
/// let server = with_limit(TcpListener::bind("127.0.0.1:0").await?);
/// let _server = server.serve(|stream, _| async move { stream.write_all(b"hello").await })?;
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
pub trait Listener: Accept {}

/// The operations behind [`Listener`], for this crate only.
#[expect(private_interfaces, reason = "other crates cannot name the trait, so they cannot call its methods")]
pub trait Accept: 'static {
    /// The type of its connections.
    type Stream: 'static;
    /// The address of a connection's peer.
    type Peer: 'static;

    #[doc(hidden)]
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Self::Peer)>>;
    #[doc(hidden)]
    fn rest(&self) -> &Rest;
    #[doc(hidden)]
    fn address(&self) -> io::Result<Option<SocketAddr>>;
    #[doc(hidden)]
    fn name(stream: &Self::Stream, peer: &Self::Peer) -> String;
    #[doc(hidden)]
    fn link(stream: &Self::Stream) -> Weak<dyn Link>;
    #[doc(hidden)]
    fn io(stream: Self::Stream) -> Io;
}

impl Listener for TcpListener {}

#[expect(private_interfaces, reason = "as for the trait")]
impl Accept for TcpListener {
    type Stream = TcpStream;
    type Peer = SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }

    fn rest(&self) -> &Rest {
        self.rest()
    }

    fn address(&self) -> io::Result<Option<SocketAddr>> {
        self.local_addr().map(Some)
    }

    fn name(_: &TcpStream, peer: &SocketAddr) -> String {
        format!("client {peer}")
    }

    fn link(stream: &TcpStream) -> Weak<dyn Link> {
        stream.downgrade()
    }

    fn io(stream: TcpStream) -> Io {
        stream.into()
    }
}

impl Link for Source<std::net::TcpStream> {
    fn end_reading(&self) {
        // A child that was forked shares the socket with its parent, which continues to read.
        if !self.is_forked() {
            // A connection that has ended already needs no end.
            let _ = self.get_ref().shutdown(Shutdown::Read);
        }
    }

    fn reset_on_close(&self) {
        // As for `end_reading`: the option is the socket's, and not the process's.
        if !self.is_forked() {
            let _ = SockRef::from(self.get_ref()).set_linger(Some(Duration::ZERO));
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::os::unix::net::{SocketAddr as Peer, UnixStream as StdStream};

    use super::*;
    use crate::report::unix_name;
    use crate::unix::{UnixListener, UnixStream};

    impl Listener for UnixListener {}

    #[expect(private_interfaces, reason = "as for the trait")]
    impl Accept for UnixListener {
        type Stream = UnixStream;
        type Peer = Peer;

        async fn accept(&self) -> io::Result<(UnixStream, Peer)> {
            self.accept().await
        }

        fn rest(&self) -> &Rest {
            self.rest()
        }

        fn address(&self) -> io::Result<Option<SocketAddr>> {
            Ok(None)
        }

        /// Names the client after its path, or after the listener's, because a peer rarely has one.
        fn name(stream: &UnixStream, _: &Peer) -> String {
            let socket = stream.socket();
            if let Some(name) = socket.peer_addr().ok().and_then(|address| unix_name(&address)) {
                return format!("client {name}");
            }
            match socket.local_addr().ok().and_then(|address| unix_name(&address)) {
                Some(name) => format!("client at {name}"),
                None => "client of a Unix socket".to_string(),
            }
        }

        fn link(stream: &UnixStream) -> Weak<dyn Link> {
            stream.downgrade()
        }

        fn io(stream: UnixStream) -> Io {
            stream.into()
        }
    }

    impl Link for Source<StdStream> {
        fn end_reading(&self) {
            // As for TCP.
            if !self.is_forked() {
                let _ = self.get_ref().shutdown(Shutdown::Read);
            }
        }

        /// Unix sockets have no reset. The peer reads an end.
        fn reset_on_close(&self) {}
    }
}
