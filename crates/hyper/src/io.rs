//! hyper's I/O traits on picot's streams, and the other way round.
//!
//! hyper reads into memory that is not initialized. Sockets of `picot-net` can receive into such
//! memory, so no byte is cleared first and an idle connection does not touch its read buffer. Other
//! streams want an initialized buffer: [`Io`] clears only as much as a read is likely to fill.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_io::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use picot_loop::{Local, Sleep, sleep};
#[cfg(unix)]
use picot_net::UnixStream;
use picot_net::{Duplex, DuplexStream, TcpStream};

/// A stream that hyper can use in an [`Io`]: the streams of `picot-net`, and [`AnyStream`] around
/// any other.
///
/// Other crates cannot implement it.
///
/// ```
/// use picot_hyper::{HttpStream, Io};
///
/// fn for_hyper(stream: impl HttpStream) -> impl hyper::rt::Read + hyper::rt::Write {
///     Io::new(stream)
/// }
///
/// let (near, _far) = picot_net::duplex(4096);
/// for_hyper(near);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stream of `picot-net`",
    note = "wrap a stream that has the traits of `futures-io` in `picot_hyper::AnyStream`"
)]
pub trait HttpStream: AsyncRead + AsyncWrite + Unpin + Fill + 'static {}

/// How a stream fills hyper's buffer.
#[doc(hidden)]
pub trait Fill {
    /// Receives into the cursor's buffer, which has room. `chunk` is the size of the next read for
    /// streams that need an initialized buffer.
    #[doc(hidden)]
    fn poll_fill(&mut self, cx: &mut Context<'_>, cursor: ReadBufCursor<'_>, chunk: &mut usize)
    -> Poll<io::Result<()>>;
}

/// The first read of a stream that needs an initialized buffer.
const CHUNK: usize = 1024;

/// The largest such read.
const CHUNK_MAX: usize = 64 * 1024;

/// A stream as hyper wants it: with the traits [`Read`] and [`Write`] of [`hyper::rt`].
///
/// It is `Send`, whatever the stream is, because hyper requires that for upgrades. It works on the
/// thread that made it; a use on another thread panics, and a drop there leaks the stream, as with
/// [`picot_loop::Local`].
///
/// ```
/// use hyper::server::conn::http1;
/// use hyper::service::service_fn;
/// use hyper::{Request, Response, body::Incoming};
/// use picot_hyper::{Body, Io};
/// use std::convert::Infallible;
///
/// # picot_loop::run(async {
/// let (client, server) = picot_net::duplex(4096);
/// client_sends(&client);
/// # fn client_sends(_: &picot_net::DuplexStream) {}
/// # drop(client);
/// let hello = service_fn(|_: Request<Incoming>| async {
///     Ok::<_, Infallible>(Response::new(Body::from("hello")))
/// });
/// http1::Builder::new().serve_connection(Io::new(server), hello).await
/// # })
/// # .unwrap();
/// ```
pub struct Io<S> {
    // One check of the thread for each operation covers all of it.
    inner: Local<Inner<S>>,
}

struct Inner<S> {
    stream: S,
    /// Bytes that were received before, which the next reads return first.
    before: Bytes,
    chunk: usize,
    write_timeout: Option<Duration>,
    /// The end of the current wait for room to write.
    alarm: Option<Box<Sleep>>,
}

impl<S: HttpStream> Io<S> {
    /// Wraps a stream.
    ///
    /// ```
    /// let (near, _far) = picot_net::duplex(4096);
    /// let _io = picot_hyper::Io::new(near);
    /// ```
    pub fn new(stream: S) -> Io<S> {
        let inner = Inner { stream, before: Bytes::new(), chunk: CHUNK, write_timeout: None, alarm: None };
        Io { inner: Local::new(inner) }
    }

    /// Limits how long a write may wait for a peer that takes no data. After that, the write fails
    /// as [`TimedOut`](io::ErrorKind::TimedOut). The default is no limit.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (near, _far) = picot_net::duplex(4096);
    /// let _io = picot_hyper::Io::new(near).write_timeout(Duration::from_secs(30));
    /// ```
    pub fn write_timeout(mut self, limit: Duration) -> Io<S> {
        self.inner.write_timeout = Some(limit);
        self
    }

    /// Lets the next reads return `bytes`, which were received before.
    ///
    /// ```
    /// let (near, _far) = picot_net::duplex(4096);
    /// let _io = picot_hyper::Io::new(near).with_received(&b"GET / HT"[..]);
    /// ```
    pub fn with_received(mut self, bytes: impl Into<bytes::Bytes>) -> Io<S> {
        self.inner.before = bytes.into();
        self
    }

    /// Returns the stream, without the bytes of [`with_received`](Io::with_received) that are
    /// unread.
    ///
    /// # Panics
    /// On another thread than the one that made this.
    ///
    /// ```
    /// let (near, _far) = picot_net::duplex(4096);
    /// let _near: picot_net::DuplexStream = picot_hyper::Io::new(near).into_inner();
    /// ```
    #[track_caller]
    pub fn into_inner(self) -> S {
        match self.inner.try_into_inner() {
            Ok(inner) => inner.stream,
            Err(_) => panic!("an `Io` was unwrapped on another thread than the one that made it"),
        }
    }

    /// Waits for bytes that arrive first, and returns them; none at the end of the stream.
    pub(crate) fn poll_first(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        // On the stack, so that the wait itself keeps no buffer.
        let mut memory = [const { std::mem::MaybeUninit::uninit() }; 4096];
        let mut buffer = ReadBuf::uninit(&mut memory);
        let inner = &mut *self.inner;
        ready!(inner.stream.poll_fill(cx, buffer.unfilled(), &mut inner.chunk))?;
        into.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<S: HttpStream> Read for Io<S> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner;
        if !inner.before.is_empty() {
            let length = inner.before.len().min(cursor.remaining());
            cursor.put_slice(&inner.before[..length]);
            inner.before.advance(length);
            if inner.before.is_empty() {
                // Frees the memory.
                inner.before = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        if cursor.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        inner.stream.poll_fill(cx, cursor, &mut inner.chunk)
    }
}

impl<S> Inner<S> {
    /// Starts, ends or checks the time limit of a write.
    #[inline]
    fn timed<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match poll {
            Poll::Ready(result) => {
                if self.alarm.is_some() {
                    self.alarm = None;
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_alarm(cx),
        }
    }

    #[cold]
    fn poll_alarm<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Some(limit) = self.write_timeout else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| Box::new(sleep(limit)));
        ready!(Pin::new(&mut **alarm).poll(cx));
        let text = format!("cannot send: the peer took no data for {limit:?}");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

impl<S: HttpStream> Write for Io<S> {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let inner = &mut *self.inner;
        let poll = Pin::new(&mut inner.stream).poll_write(cx, bytes);
        inner.timed(cx, poll)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.inner;
        let poll = Pin::new(&mut inner.stream).poll_write_vectored(cx, slices);
        inner.timed(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner;
        let poll = Pin::new(&mut inner.stream).poll_flush(cx);
        inner.timed(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner;
        let poll = Pin::new(&mut inner.stream).poll_close(cx);
        inner.timed(cx, poll)
    }
}

/// Receives by a socket of `picot-net`, which fills memory that is not initialized.
#[inline]
fn fill_uninit(socket: &impl Duplex, cx: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
    // SAFETY: `as_mut` forbids to make initialized memory uninitialized. The socket writes bytes
    // that the kernel received, and nothing else.
    let buffer = unsafe { cursor.as_mut() };
    let length = buffer.len();
    let received = ready!(socket.poll_receive_uninit(cx, buffer))?;
    assert!(received <= length, "the kernel wrote into the buffer");
    // SAFETY: `advance` wants the next `received` bytes initialized. `Duplex` cannot be implemented
    // outside of `picot-net`, whose sockets return how many bytes at the front of the buffer the
    // kernel has written.
    unsafe { cursor.advance(received) };
    Poll::Ready(Ok(()))
}

/// Receives by a stream that needs an initialized buffer. Clears `chunk` bytes, which grows while
/// reads fill it, and shrinks when the stream has nothing more.
fn fill_initialized(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    mut cursor: ReadBufCursor<'_>,
    chunk: &mut usize,
) -> Poll<io::Result<()>> {
    let length = cursor.remaining().min(*chunk);
    let poll = Pin::new(stream).poll_read(cx, cursor.initialize_unfilled_to(length));
    let Poll::Ready(result) = poll else {
        *chunk = CHUNK;
        return Poll::Pending;
    };
    let received = result?;
    assert!(received <= length, "the stream read {received} bytes into a buffer of {length}");
    if received == *chunk {
        *chunk = (*chunk * 2).min(CHUNK_MAX);
    }
    // SAFETY: The next `length` bytes were initialized above, and `received` is at most that.
    unsafe { cursor.advance(received) };
    Poll::Ready(Ok(()))
}

macro_rules! by_uninit {
    ($type:ty) => {
        impl HttpStream for $type {}

        impl Fill for $type {
            #[inline]
            fn poll_fill(
                &mut self,
                cx: &mut Context<'_>,
                cursor: ReadBufCursor<'_>,
                _: &mut usize,
            ) -> Poll<io::Result<()>> {
                fill_uninit(self, cx, cursor)
            }
        }
    };
}

macro_rules! by_initialized {
    ({$($generics:tt)*} $type:ty, |$this:ident| $stream:expr) => {
        impl<$($generics)*> HttpStream for $type {}

        impl<$($generics)*> Fill for $type {
            fn poll_fill(
                &mut self,
                cx: &mut Context<'_>,
                cursor: ReadBufCursor<'_>,
                chunk: &mut usize,
            ) -> Poll<io::Result<()>> {
                let $this = self;
                fill_initialized($stream, cx, cursor, chunk)
            }
        }
    };
}

by_uninit!(TcpStream);
#[cfg(unix)]
by_uninit!(UnixStream);
by_initialized!({} DuplexStream, |stream| stream);
#[cfg(feature = "__tls")]
by_initialized!({S: AsyncRead + AsyncWrite + Unpin + 'static} picot_net::tls::TlsStream<S>, |stream| stream);
by_initialized!({S: AsyncRead + AsyncWrite + Unpin + 'static} AnyStream<S>, |stream| &mut stream.0);

impl<S> fmt::Debug for Io<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}

/// Any stream with the traits of `futures-io`, for an [`Io`].
///
/// ```
/// use picot_hyper::{AnyStream, Io};
///
/// let stream: Box<dyn Connection> = Box::new(picot_net::duplex(4096).0);
/// let _io = Io::new(AnyStream(stream));
///
/// trait Connection: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin {}
/// impl<T: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin> Connection for T {}
/// ```
#[derive(Debug)]
pub struct AnyStream<S>(pub S);

impl<S: AsyncRead + Unpin> AsyncRead for AnyStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AnyStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// A stream of hyper with the traits of `futures-io`: for an
/// [`Upgraded`](hyper::upgrade::Upgraded) connection, such as that of a WebSocket.
///
/// ```
/// use hyper::upgrade::Upgraded;
/// use picot_hyper::FuturesIo;
///
/// fn stream(upgraded: Upgraded) -> impl futures_io::AsyncRead + futures_io::AsyncWrite {
///     FuturesIo::new(upgraded)
/// }
/// ```
#[derive(Debug)]
pub struct FuturesIo<T> {
    inner: T,
}

impl<T> FuturesIo<T> {
    /// Wraps a stream of hyper.
    ///
    /// ```
    /// use picot_hyper::{FuturesIo, Io};
    ///
    /// let (near, _far) = picot_net::duplex(4096);
    /// let _stream = FuturesIo::new(Io::new(near));
    /// ```
    pub fn new(inner: T) -> FuturesIo<T> {
        FuturesIo { inner }
    }

    /// Returns the stream of hyper.
    ///
    /// ```
    /// use picot_hyper::{FuturesIo, Io};
    ///
    /// let (near, _far) = picot_net::duplex(4096);
    /// let _io: Io<_> = FuturesIo::new(Io::new(near)).into_inner();
    /// ```
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: Read + Unpin> AsyncRead for FuturesIo<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer.unfilled()))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<T: Write + Unpin> AsyncWrite for FuturesIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
