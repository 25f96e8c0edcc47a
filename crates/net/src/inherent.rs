//! The futures of the streams' own methods `read` and `write_all`, which need no extension trait.
//!
//! Servers spend most of their time in these two, so a poll is the operation itself, inlined.
//! Dropping one loses nothing: a read that has not returned took no bytes, and a write knows which
//! bytes are unsent.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::duplex::{Receive, Transmit};
use crate::operation::poll_nothing;

/// Receives available bytes; made by [`TcpStream::read`](crate::TcpStream::read), and by `read` of
/// Unix streams.
///
/// ```
/// use picot_net::{TcpListener, TcpStream};
///
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     client.write_all(b"hello").await?;
///     let mut buffer = [0; 16];
///     let length = server.read(&mut buffer).await?;
///     assert_eq!(&buffer[..length], b"hello");
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Read<'a, S> {
    stream: &'a S,
    buffer: &'a mut [u8],
}

impl<'a, S: Receive> Read<'a, S> {
    #[doc(hidden)]
    #[inline]
    pub fn new(stream: &'a S, buffer: &'a mut [u8]) -> Read<'a, S> {
        Read { stream, buffer }
    }
}

impl<S: Receive> Future for Read<'_, S> {
    type Output = io::Result<usize>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // The kernel would wait even if there is no room; `poll_transfer` completes at once.
        this.stream.poll_receive(cx, this.buffer)
    }
}

impl<S> fmt::Debug for Read<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").field("room", &self.buffer.len()).finish_non_exhaustive()
    }
}

/// Writes all bytes; made by [`TcpStream::write_all`](crate::TcpStream::write_all), and by
/// `write_all` of Unix streams.
///
/// ```
/// use std::pin::pin;
/// use std::time::Duration;
/// use picot_net::{TcpListener, TcpStream};
///
/// # use futures_lite::FutureExt;
/// # async fn a_while() { picot_loop::sleep(Duration::from_millis(1)).await }
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let stream = TcpStream::connect(listener.local_addr()?).await?;
///     let bytes = vec![b'x'; 1 << 24];
///     // The peer does not read, so this is not done in a while.
///     let mut write = pin!(stream.write_all(&bytes));
///     async { write.as_mut().await.unwrap() }.or(a_while()).await;
///     assert!(!write.unsent().is_empty() && write.unsent().len() < bytes.len());
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct WriteAll<'a, S> {
    stream: &'a S,
    bytes: &'a [u8],
}

impl<'a, S: Transmit> WriteAll<'a, S> {
    #[doc(hidden)]
    #[inline]
    pub fn new(stream: &'a S, bytes: &'a [u8]) -> WriteAll<'a, S> {
        WriteAll { stream, bytes }
    }

    /// The unsent bytes. After dropping the future, the caller can continue with these.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let mut write = stream.write_all(b"hello");
    /// assert_eq!(write.unsent(), b"hello", "nothing is sent before the first poll");
    /// (&mut write).await?;
    /// assert_eq!(write.unsent(), b"");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn unsent(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<S: Transmit> Future for WriteAll<'_, S> {
    type Output = io::Result<()>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.bytes.is_empty() {
            return poll_nothing(cx, Ok(()));
        }
        loop {
            // A copy, because the compiler assumes that a system call changes memory.
            let bytes = this.bytes;
            let sent = ready!(this.stream.poll_send(cx, bytes))?;
            // The hot path: the kernel takes all bytes at once.
            if sent == bytes.len() {
                this.bytes = &[];
                return Poll::Ready(Ok(()));
            }
            // Otherwise the loop would never end.
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.bytes = &bytes[sent..];
        }
    }
}

impl<S> fmt::Debug for WriteAll<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteAll").field("unsent", &self.bytes.len()).finish_non_exhaustive()
    }
}
