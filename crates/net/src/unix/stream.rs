//! A connection over a Unix socket.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use picot_context::budget;
use picot_loop::{LoopHandle, sleep};
use picot_reactor::{Direction, Source};
use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};

use super::path::{self, Shown};
use super::{REST, REST_MAX};
use crate::descriptor::descriptor;
use crate::duplex::{Duplex, duplex};
use crate::freed::CountWhenClosed;
use crate::open::open_loop;
use crate::operation::call;
use crate::operation_error::About;
use crate::report::connection_name;
use crate::split::{ReadHalf, WriteHalf, split};
use crate::transfer::failed;

/// A connection over a Unix socket, on this thread's loop. It differs from
/// [`TcpStream`](crate::TcpStream) in its address only.
///
/// ```
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use picot_net::UnixStream;
///
/// picot_loop::run(async {
///     let (mut one, mut two) = UnixStream::pair()?;
///     one.write_all(b"hello").await?;
///     let mut buffer = [0; 5];
///     two.read_exact(&mut buffer).await?;
///     assert_eq!(&buffer, b"hello");
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub struct UnixStream {
    // Shared with the server, which can end a connection while a handler owns the stream.
    source: Rc<Source<net::UnixStream>>,
    // Dropped after the source, so that the descriptor is closed by the time it is counted as free.
    _count: CountWhenClosed,
}

impl UnixStream {
    /// Connects to the socket at `path`. On Linux, a path that begins with a zero byte is an
    /// abstract name. While the listener's backlog is full, the attempt is repeated, 1 to 50 ms
    /// apart.
    ///
    /// # Errors
    /// The operating system's error, with the path, for example that no process listens there. And
    /// if this thread has no loop, or it is closed.
    ///
    /// # If dropped
    /// The connection is not made, or closed again.
    ///
    /// ```
    /// use picot_net::{UnixListener, UnixStream};
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("stream-connect-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let client = UnixStream::connect(&path).await?;
    /// let (server, _) = listener.accept().await?;
    /// client.write_all(b"hello").await?;
    /// assert_eq!(server.read(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "create_unix_connection")]
    #[doc(alias = "open_unix_connection")]
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let path = path.as_ref();
        UnixStream::connect_to(path).await.about(format_args!("connect to {}", Shown(path)))
    }

    /// As [`connect`](UnixStream::connect), to an address of std, such as an abstract name.
    ///
    /// # Errors
    /// As [`connect`](UnixStream::connect); and if the address is unnamed.
    ///
    /// # If dropped
    /// The connection is not made, or closed again.
    ///
    /// ```
    /// use picot_net::{UnixListener, UnixStream};
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("stream-address-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let client = UnixStream::connect_addr(&listener.local_addr()?).await?;
    /// assert_eq!(client.peer_addr()?.as_pathname(), Some(&*path));
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        match path::of_address(address) {
            Ok(path) => UnixStream::connect(path).await,
            Err(error) => call(|| Err(error)).await.about(format_args!("connect to {address:?}")),
        }
    }

    /// Makes two streams that are connected to each other.
    ///
    /// # Errors
    /// The operating system's error; and if this thread has no loop.
    ///
    /// ```
    /// use picot_net::UnixStream;
    ///
    /// # picot_loop::run(async {
    /// let (one, two) = UnixStream::pair()?;
    /// one.write_all(b"hello").await?;
    /// assert_eq!(two.read(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "socketpair")]
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, two) = net::UnixStream::pair()?;
        Ok((UnixStream::take_over(one)?, UnixStream::take_over(two)?))
    }
}

duplex!(UnixStream, pair: "# let (near, far) = picot_net::UnixStream::pair()?;");

impl UnixStream {
    /// Splits the stream into two halves, for two owners, such as two tasks; an example is at
    /// [`ReadHalf`]. Within one function, use `&stream` to read and write instead, which costs
    /// nothing.
    ///
    /// ```
    /// use picot_net::UnixStream;
    ///
    /// # picot_loop::run(async {
    /// let (one, two) = UnixStream::pair()?;
    /// let (mut read, mut write) = one.split();
    /// let writer = picot_loop::spawn(async move { write.write_all(b"ping").await });
    /// two.write_all(b"pong").await?;
    /// assert_eq!(read.read(&mut [0; 16]).await?, 4);
    /// writer.await.unwrap()?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn split(self) -> (ReadHalf<UnixStream>, WriteHalf<UnixStream>) {
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
    /// use picot_net::UnixStream;
    ///
    /// # picot_loop::run(async {
    /// let (one, two) = UnixStream::pair()?;
    /// one.shutdown(Shutdown::Write)?;
    /// assert_eq!(two.read(&mut [0; 16]).await?, 0, "the end of the stream");
    /// two.write_all(b"the other direction is still open").await?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        Duplex::shutdown(self, how)
    }

    /// The address of the peer. It is unnamed unless the peer is bound to a path.
    ///
    /// # Errors
    /// The operating system's error, with the name of the connection.
    ///
    /// ```
    /// use picot_net::{UnixListener, UnixStream};
    ///
    /// # picot_loop::run(async {
    /// let path = std::env::temp_dir().join(format!("picot-stream-peer-{}", std::process::id()));
    /// let _listener = UnixListener::bind(&path)?;
    /// let client = UnixStream::connect(&path).await?;
    /// assert_eq!(client.peer_addr()?.as_pathname(), Some(&*path));
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let stream = self.source.get_ref();
        stream.peer_addr().map_err(|error| failed(stream, "ask for the peer's address of", error))
    }

    /// The address of this end.
    ///
    /// # Errors
    /// The operating system's error, with the name of the connection.
    ///
    /// ```
    /// use picot_net::UnixStream;
    ///
    /// # picot_loop::run(async {
    /// let (one, _two) = UnixStream::pair()?;
    /// assert!(one.local_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let stream = self.source.get_ref();
        stream.local_addr().map_err(|error| failed(stream, "ask for the local address of", error))
    }

    /// The socket, for its options. Do not read or write through it: the loop would not notice.
    ///
    /// ```
    /// use picot_net::UnixStream;
    ///
    /// # picot_loop::run(async {
    /// let (one, _two) = UnixStream::pair()?;
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

    /// Takes over a connection of std. It is put into non-blocking mode.
    ///
    /// # Errors
    /// The operating system's error, with the name of the connection; and if this thread has no
    /// loop.
    ///
    /// ```
    /// use picot_net::UnixStream;
    ///
    /// picot_loop::run(async {
    ///     let (one, two) = std::os::unix::net::UnixStream::pair()?;
    ///     let (one, two) = (UnixStream::from_std(one)?, UnixStream::from_std(two)?);
    ///     one.write_all(b"x").await?;
    ///     assert_eq!(two.read(&mut [0; 8]).await?, 1);
    ///     let _one: std::os::unix::net::UnixStream = one.into_std();
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn from_std(stream: net::UnixStream) -> io::Result<UnixStream> {
        let name = connection_name(&SockRef::from(&stream));
        UnixStream::take_over(stream).about(format_args!("take over the {name}"))
    }

    /// Returns the connection as one of std. It stays in non-blocking mode.
    ///
    /// ```
    /// use picot_net::UnixStream;
    ///
    /// # picot_loop::run(async {
    /// let (one, _two) = UnixStream::pair()?;
    /// let stream: std::os::unix::net::UnixStream = one.into_std();
    /// stream.set_nonblocking(false)?; // for blocking code
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn into_std(self) -> net::UnixStream {
        self.into_source().into_inner()
    }

    async fn connect_to(path: &Path) -> io::Result<UnixStream> {
        poll_fn(budget::poll_left).await;
        let (handle, socket, mut rest) = (open_loop()?, socket()?, REST);
        let is_connected = loop {
            budget::spend_call();
            match socket.connect(&path::address(path)?) {
                Ok(()) => break true,
                // Linux connects at once or fails. Other systems may connect in the background.
                Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => break false,
                // The listener's backlog is full, and Linux does not report when it has room.
                // Boxed, because few attempts sleep, and the sleep would enlarge the future of
                // each.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Box::pin(sleep(rest)).await,
                Err(error) => return Err(error),
            }
            rest = (2 * rest).min(REST_MAX);
        };
        let stream = net::UnixStream::from(OwnedFd::from(socket));
        if is_connected {
            return UnixStream::take_over(stream);
        }
        let stream = UnixStream { source: Rc::new(handle.register(stream)?), _count: CountWhenClosed };
        stream.source.writable().await?;
        match stream.source.get_ref().take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// [`from_std`](UnixStream::from_std) with the bare error.
    pub(crate) fn take_over(stream: net::UnixStream) -> io::Result<UnixStream> {
        stream.set_nonblocking(true)?;
        let source = LoopHandle::try_current()?.register(stream)?;
        // A new connection usually has room to send, and may have data already. Assuming both saves
        // a wait; if an assumption is wrong, the first attempt would block and clears it.
        source.assume_ready(Direction::Read);
        source.assume_ready(Direction::Write);
        Ok(UnixStream { source: Rc::new(source), _count: CountWhenClosed })
    }

    /// The source, for another owner.
    pub(crate) fn into_source(self) -> Source<net::UnixStream> {
        Rc::into_inner(self.source).expect("a stream has one owner")
    }

    /// A weak reference to the source, for a server, which does not own its connections.
    pub(crate) fn downgrade(&self) -> Weak<Source<net::UnixStream>> {
        Rc::downgrade(&self.source)
    }
}

fn socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

descriptor!(UnixStream, net::UnixStream);
impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixStream").field(self.source.get_ref()).finish()
    }
}
