//! Datagrams over Unix sockets.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::Duration;

use picot_context::budget;
use picot_loop::{LoopHandle, sleep};
use picot_reactor::{Direction, Source};
use socket2::{SockAddr, SockRef, Type};

use super::path::{self, OwnedPath, Shown};
use super::{REST, REST_MAX};
use crate::descriptor::descriptor;
use crate::freed::CountWhenClosed;
use crate::open::open_loop;
use crate::operation::{call, operate};
use crate::operation_error::About;
use crate::report::unix_name;

/// A Unix socket for datagrams, on this thread's loop. Datagrams arrive whole and in order, or
/// sending them fails.
///
/// Any number of tasks may send and receive; each datagram goes to one of them. Dropping a bound
/// socket removes its path, unless another socket has replaced it there.
///
/// ```
/// use picot_net::UnixDatagram;
///
/// let path = std::env::temp_dir().join(format!("picot-datagrams-{}", std::process::id()));
/// picot_loop::run(async {
///     let (server, client) = (UnixDatagram::bind(&path)?, UnixDatagram::unbound()?);
///     client.send_to(b"hello", &path).await?;
///     let mut buffer = [0; 64];
///     assert_eq!(server.recv(&mut buffer).await?, 5);
///
///     let (one, two) = UnixDatagram::pair()?;
///     one.send(b"hi").await?;
///     assert_eq!(two.recv_from(&mut buffer).await?.0, 2);
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// assert!(!path.exists());
/// ```
pub struct UnixDatagram {
    source: Source<net::UnixDatagram>,
    // Dropped after the source, so that the descriptor is closed by the time it is counted as free.
    _count: CountWhenClosed,
    path: Option<OwnedPath>,
}

impl UnixDatagram {
    /// Binds a socket to `path`. A socket that an ended process left there is removed first. On
    /// Linux, a path that begins with a zero byte is an abstract name, which is in no file system;
    /// that holds for the peers of [`connect`](UnixDatagram::connect) and
    /// [`send_to`](UnixDatagram::send_to) as well.
    ///
    /// # Errors
    /// The operating system's error, with the path. [`AddrInUse`](io::ErrorKind::AddrInUse) if a
    /// process has a socket there, or if something other than a socket is there.
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the path is empty, too long, or contains a
    /// zero byte. And if this thread has no loop, or it is closed.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("picot-datagram-bind-{}", std::process::id()));
    /// let server = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.send_to(b"hello", &path).await?;
    /// assert_eq!(server.recv(&mut [0; 16]).await?, 5);
    /// drop(server);
    /// assert!(!path.exists());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        fn bind(path: &Path) -> io::Result<UnixDatagram> {
            budget::spend_call();
            let handle = open_loop()?;
            let (socket, path) = path::bind(path, Type::DGRAM)?;
            register(&handle, OwnedFd::from(socket).into(), path)
        }
        let path = path.as_ref();
        bind(path).about(format_args!("bind a datagram socket to {}", Shown(path)))
    }

    /// As [`bind`](UnixDatagram::bind), to an address of std, such as an abstract name.
    ///
    /// # Errors
    /// As [`bind`](UnixDatagram::bind); and if the address is unnamed.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// # {
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let name = SocketAddr::from_abstract_name(format!("datagram-{}", std::process::id()))?;
    /// let socket = UnixDatagram::bind_addr(&name)?;
    /// assert_eq!(socket.local_addr()?.as_abstract_name(), name.as_abstract_name());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// # }
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        match path::of_address(address) {
            Ok(path) => UnixDatagram::bind(path),
            Err(error) => Err(error).about(format_args!("bind a datagram socket to {address:?}")),
        }
    }

    /// Makes a socket without an address, to send from.
    ///
    /// # Errors
    /// The operating system's error; and if this thread has no loop.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let socket = UnixDatagram::unbound()?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::take_over(net::UnixDatagram::unbound()?)
    }

    /// Makes two sockets that are connected to each other.
    ///
    /// # Errors
    /// The operating system's error; and if this thread has no loop.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let (one, two) = UnixDatagram::pair()?;
    /// one.send(b"hello").await?;
    /// assert_eq!(two.recv(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "socketpair")]
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, two) = net::UnixDatagram::pair()?;
        Ok((UnixDatagram::take_over(one)?, UnixDatagram::take_over(two)?))
    }

    /// Sends a datagram to the socket at `path`. Waits until that socket has room for it.
    ///
    /// The kernel reports that room only to a sender that is [connected](UnixDatagram::connect).
    /// Other senders try again after 1 to 50 ms.
    ///
    /// # Errors
    /// The operating system's error, with the path.
    ///
    /// # If dropped
    /// The datagram is not sent.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("datagram-send-to-{}", std::process::id()));
    /// let (server, client) = (UnixDatagram::bind(&path)?, UnixDatagram::unbound()?);
    /// client.send_to(b"hello", &path).await?;
    /// assert_eq!(server.recv(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn send_to(&self, datagram: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let path = path.as_ref();
        let sent = match path::address(path) {
            Ok(address) => self.send_to_address(datagram, &address).await,
            Err(error) => Err(error),
        };
        sent.about(format_args!("send a datagram to {}", Shown(path)))
    }

    /// As [`send_to`](UnixDatagram::send_to), to an address of std, such as that of a sender.
    ///
    /// # Errors
    /// As [`send_to`](UnixDatagram::send_to); and if the address is unnamed, as that of a sender is
    /// whose socket was not bound.
    ///
    /// # If dropped
    /// The datagram is not sent.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let path = |name| std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    /// let server = UnixDatagram::bind(path("asks"))?;
    /// let client = UnixDatagram::bind(path("answers"))?;
    /// client.send_to(b"question", path("asks")).await?;
    /// let (_length, sender) = server.recv_from(&mut [0; 16]).await?;
    /// server.send_to_addr(b"answer", &sender).await?;
    /// assert_eq!(client.recv(&mut [0; 16]).await?, 6);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn send_to_addr(&self, datagram: &[u8], address: &SocketAddr) -> io::Result<usize> {
        match path::of_address(address) {
            Ok(path) => self.send_to(datagram, path).await,
            Err(error) => call(|| Err(error)).await.about(format_args!("send a datagram to {address:?}")),
        }
    }

    /// Receives a datagram, with the address of its sender. Bytes that do not fit into `buffer` are
    /// lost.
    ///
    /// # Errors
    /// The operating system's error, with the path.
    ///
    /// # If dropped
    /// No datagram is lost.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let (one, two) = UnixDatagram::pair()?;
    /// one.send(b"hello").await?;
    /// let (length, sender) = two.recv_from(&mut [0; 64]).await?;
    /// assert!(length == 5 && sender.is_unnamed());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = operate(&self.source, Direction::Read, |socket| socket.recv_from(buffer)).await;
        received.map_err(|error| self.not_received(error))
    }

    /// Sets the peer, to which [`send`](UnixDatagram::send) sends.
    ///
    /// # Errors
    /// The operating system's error, with the path.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("datagram-connect-{}", std::process::id()));
    /// let (server, client) = (UnixDatagram::bind(&path)?, UnixDatagram::unbound()?);
    /// client.connect(&path)?;
    /// client.send(b"hello").await?;
    /// assert_eq!(server.recv(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let connected = path::address(path).and_then(|address| self.socket().connect(&address));
        connected.about(format_args!("connect a datagram socket to {}", Shown(path)))
    }

    /// As [`connect`](UnixDatagram::connect), to an address of std, such as an abstract name.
    ///
    /// # Errors
    /// As [`connect`](UnixDatagram::connect); and if the address is unnamed.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("datagram-address-{}", std::process::id()));
    /// let (server, client) = (UnixDatagram::bind(&path)?, UnixDatagram::unbound()?);
    /// client.connect_addr(&server.local_addr()?)?;
    /// client.send(b"hello").await?;
    /// assert_eq!(server.recv(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        match path::of_address(address) {
            Ok(path) => self.connect(path),
            Err(error) => Err(error).about(format_args!("connect a datagram socket to {address:?}")),
        }
    }

    /// Sends a datagram to the peer. Waits until the peer has room for it.
    ///
    /// # Errors
    /// The operating system's error, with the peer's path or this one; for example that there is no
    /// peer.
    ///
    /// # If dropped
    /// The datagram is not sent.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let (one, two) = UnixDatagram::pair()?;
    /// assert_eq!(one.send(b"hello").await?, 5);
    /// assert_eq!(two.recv(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        let sent = operate(&self.source, Direction::Write, |socket| socket.send(datagram)).await;
        sent.map_err(|error| self.not_sent(error))
    }

    /// Receives a datagram. Bytes that do not fit into `buffer` are lost.
    ///
    /// # Errors
    /// The operating system's error, with the path.
    ///
    /// # If dropped
    /// No datagram is lost.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let (one, two) = UnixDatagram::pair()?;
    /// one.send(b"hello").await?;
    /// let mut buffer = [0; 64];
    /// let length = two.recv(&mut buffer).await?;
    /// assert_eq!(&buffer[..length], b"hello");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = operate(&self.source, Direction::Read, |socket| socket.recv(buffer)).await;
        received.map_err(|error| self.not_received(error))
    }

    /// The address of this end.
    ///
    /// # Errors
    /// The operating system's error, with the path.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("picot-datagram-addr-{}", std::process::id()));
    /// let socket = UnixDatagram::bind(&path)?;
    /// assert_eq!(socket.local_addr()?.as_pathname(), Some(&*path));
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let asked = self.source.get_ref().local_addr();
        asked.about(format_args!("ask for the address of a datagram socket"))
    }

    /// The socket, for its options. Do not send or receive through it: the loop would not notice.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let (one, _two) = UnixDatagram::pair()?;
    /// one.socket().set_send_buffer_size(64 * 1024)?;
    /// assert!(one.socket().send_buffer_size()? >= 64 * 1024);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "setsockopt")]
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.source.get_ref())
    }

    /// Takes over a socket of std, and puts it into non-blocking mode. Dropping it does not remove
    /// its path.
    ///
    /// # Errors
    /// The operating system's error, with the path; and if this thread has no loop.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let (one, two) = std::os::unix::net::UnixDatagram::pair()?;
    /// let (one, two) = (UnixDatagram::from_std(one)?, UnixDatagram::from_std(two)?);
    /// one.send(b"hello").await?;
    /// assert_eq!(two.recv(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn from_std(socket: net::UnixDatagram) -> io::Result<UnixDatagram> {
        let name = socket_name(&SockRef::from(&socket));
        UnixDatagram::take_over(socket).about(format_args!("take over the {name}"))
    }

    /// Returns the socket as one of std. It stays in non-blocking mode, and its path is not removed
    /// any more.
    ///
    /// ```
    /// use picot_net::UnixDatagram;
    ///
    /// # picot_loop::run(async {
    /// let (one, _two) = UnixDatagram::pair()?;
    /// let error = one.into_std().recv(&mut [0; 16]).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "still in non-blocking mode");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn into_std(self) -> net::UnixDatagram {
        if let Some(path) = self.path {
            path.leave();
        }
        self.source.into_inner()
    }

    fn take_over(socket: net::UnixDatagram) -> io::Result<UnixDatagram> {
        register(&LoopHandle::try_current()?, socket, None)
    }

    /// Names the peer, or this end if there is no peer.
    #[cold]
    fn not_sent(&self, error: io::Error) -> io::Error {
        match self.socket().peer_addr().ok().as_ref().and_then(unix_name) {
            Some(peer) => error.about(format_args!("send a datagram to {peer}")),
            None => error.about(format_args!("send a datagram from the {}", socket_name(&self.socket()))),
        }
    }

    #[cold]
    fn not_received(&self, error: io::Error) -> io::Error {
        error.about(format_args!("receive a datagram at the {}", socket_name(&self.socket())))
    }

    async fn send_to_address(&self, datagram: &[u8], address: &SockAddr) -> io::Result<usize> {
        let mut rest = Duration::ZERO;
        poll_fn(budget::poll_left).await;
        loop {
            match self.source.try_io(Direction::Write, |socket| SockRef::from(socket).send_to(datagram, address)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => {
                    budget::spend_call();
                    return result;
                }
            }
            self.source.writable().await?;
            // This socket is writable, so it is the peer that has no room. No event reports that it
            // has; hence the pause.
            if !rest.is_zero() {
                sleep(rest).await;
            }
            rest = (2 * rest).clamp(REST, REST_MAX);
        }
    }
}

descriptor!(UnixDatagram, net::UnixDatagram);

/// Names a socket after its own path, which few have that only send.
fn socket_name(socket: &SockRef<'_>) -> String {
    match socket.local_addr().ok().as_ref().and_then(unix_name) {
        Some(path) => format!("datagram socket at {path}"),
        None => "datagram socket without a path".to_string(),
    }
}

fn register(handle: &LoopHandle, socket: net::UnixDatagram, path: Option<OwnedPath>) -> io::Result<UnixDatagram> {
    socket.set_nonblocking(true)?;
    let source = handle.register(socket)?;
    source.assume_ready(Direction::Write);
    Ok(UnixDatagram { source, _count: CountWhenClosed, path })
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixDatagram").field(self.source.get_ref()).finish()
    }
}
