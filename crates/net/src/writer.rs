//! Writing through a buffer that keeps unsent bytes.
//!
//! Invariant: all bytes of the writes that were polled are either sent or in the buffer, in order.
//! A write that is dropped halfway leaves the rest in the buffer, and the next one sends it first.
//! So the stream never has a gap.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;
use picot_context::budget;

/// Up to how many bytes are copied behind buffered ones: cheaper than a system call of their own.
const FEW: usize = 8 * 1024;

/// From how many buffered bytes on a write by [`AsyncWrite`] sends them first.
const FULL: usize = 64 * 1024;

/// A writer with a buffer (asyncio's `StreamWriter`): over a half of a stream, a whole one, or any
/// other [`AsyncWrite`].
///
/// [`write_all`](Writer::write_all) sends at once, and returns when the kernel has taken all bytes:
/// this is the back-pressure. To send several pieces together, collect them with
/// [`put`](Writer::put), and send them with [`flush`](Writer::flush). Dropping the writer drops the
/// bytes that are still in its buffer.
///
/// ```
/// use futures_lite::AsyncReadExt;
/// use picot_net::{UnixStream, Writer};
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let (one, mut two) = UnixStream::pair()?;
///     let mut writer = Writer::new(one);
///     writer.put(b"HTTP/1.1 200 OK\r\n");
///     writer.put(b"Content-Length: 0\r\n\r\n");
///     writer.flush().await?; // both lines, in one system call
///     writer.close().await?;
///     let mut text = String::new();
///     two.read_to_string(&mut text).await?;
///     assert!(text.ends_with(": 0\r\n\r\n"));
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "StreamWriter")]
pub struct Writer<W> {
    inner: W,
    buffer: Vec<u8>,
    /// How many bytes of the buffer were sent.
    sent: usize,
}

impl<W> Writer<W> {
    /// Makes a writer with an empty buffer.
    ///
    /// ```
    /// use picot_net::{Reader, Writer, duplex};
    ///
    /// # picot_loop::run(async {
    /// let (near, far) = duplex(64);
    /// let mut writer = Writer::new(near);
    /// writer.write_line("hello").await?;
    /// assert_eq!(Reader::new(far).read_line().await?.as_deref(), Some("hello"));
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn new(inner: W) -> Writer<W> {
        Writer { inner, buffer: Vec::new(), sent: 0 }
    }

    /// Adds bytes to the buffer, without sending anything. The next [`flush`](Writer::flush),
    /// [`write_all`](Writer::write_all) or [`close`](Writer::close) sends them.
    ///
    /// ```
    /// use picot_net::Writer;
    ///
    /// # picot_loop::run(async {
    /// let mut writer = Writer::new(Vec::new());
    /// writer.put(b"two ");
    /// writer.put(b"pieces");
    /// assert!(writer.get_ref().is_empty(), "nothing is sent yet");
    /// writer.flush().await?;
    /// assert_eq!(writer.get_ref(), b"two pieces");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "write")]
    #[doc(alias = "writelines")]
    pub fn put(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The number of bytes in the buffer.
    ///
    /// ```
    /// use picot_net::Writer;
    ///
    /// let mut writer = Writer::new(Vec::<u8>::new());
    /// writer.put(b"hello");
    /// assert_eq!(writer.unsent(), 5);
    /// ```
    #[doc(alias = "get_write_buffer_size")]
    pub fn unsent(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// The inner stream. Bytes that are written to it directly overtake those in the buffer.
    ///
    /// ```
    /// use picot_net::Writer;
    ///
    /// let mut writer = Writer::new(Vec::<u8>::new());
    /// writer.put(b"hello");
    /// assert!(writer.get_ref().is_empty(), "the bytes are still in the buffer");
    /// ```
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// The inner stream, and the unsent bytes.
    ///
    /// ```
    /// use picot_net::Writer;
    ///
    /// let mut writer = Writer::new(Vec::<u8>::new());
    /// writer.put(b"hello");
    /// let (inner, unsent) = writer.into_parts();
    /// assert!(inner.is_empty() && unsent == b"hello");
    /// ```
    pub fn into_parts(mut self) -> (W, Vec<u8>) {
        self.buffer.drain(..self.sent);
        (self.inner, self.buffer)
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Sends `bytes`, after those in the buffer. Returns when the inner stream has taken all of
    /// them.
    ///
    /// # Errors
    /// The inner stream's errors; [`WriteZero`](io::ErrorKind::WriteZero) if it takes no more
    /// bytes.
    ///
    /// # If dropped
    /// After the first poll, unsent bytes stay in the buffer, and the next write or flush sends
    /// them;
    /// [`unsent`](Writer::unsent) counts them. A future that was never polled is dropped without
    /// effect.
    ///
    /// ```
    /// use picot_net::Writer;
    ///
    /// # picot_loop::run(async {
    /// let mut writer = Writer::new(Vec::new());
    /// writer.put(b"head ");
    /// writer.write_all(b"body").await?;
    /// assert_eq!((writer.get_ref().as_slice(), writer.unsent()), (&b"head body"[..], 0));
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = Rest { writer: self, bytes };
        poll_fn(|cx| rest.poll(cx)).await
    }

    /// Sends `text` and a line feed together, after the bytes in the buffer: the counterpart of
    /// [`Reader::read_line`](crate::Reader::read_line).
    ///
    /// `text` should contain no line feed, as the peer would read several lines.
    ///
    /// # Errors
    /// As for [`write_all`](Writer::write_all).
    ///
    /// # If dropped
    /// As for [`write_all`](Writer::write_all).
    ///
    /// ```
    /// use picot_net::{Reader, Writer, duplex};
    ///
    /// picot_loop::run(async {
    ///     let (near, far) = duplex(64);
    ///     Writer::new(near).write_line("hello").await?;
    ///     assert_eq!(Reader::new(far).read_line().await?.as_deref(), Some("hello"));
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub async fn write_line(&mut self, text: &str) -> io::Result<()> {
        self.put(text.as_bytes());
        self.write_all(b"\n").await
    }

    /// Sends the bytes in the buffer, and flushes the inner stream.
    ///
    /// # Errors
    /// As for [`write_all`](Writer::write_all).
    ///
    /// # If dropped
    /// Unsent bytes stay in the buffer, and the next write or flush sends them.
    ///
    /// ```
    /// use picot_net::Writer;
    ///
    /// # picot_loop::run(async {
    /// let mut writer = Writer::new(Vec::new());
    /// for part in ["one,", "two,", "three"] {
    ///     writer.put(part.as_bytes());
    /// }
    /// writer.flush().await?; // all parts together
    /// assert_eq!(writer.get_ref(), b"one,two,three");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "drain")]
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    /// Sends the bytes in the buffer, and ends the stream: the peer reads an end of stream.
    ///
    /// # Errors
    /// As for [`write_all`](Writer::write_all).
    ///
    /// # If dropped
    /// Unsent bytes stay in the buffer, and the stream has not ended.
    ///
    /// ```
    /// use picot_net::{Reader, Writer, duplex};
    ///
    /// # picot_loop::run(async {
    /// let (near, far) = duplex(64);
    /// let mut writer = Writer::new(near);
    /// writer.put(b"the last words");
    /// writer.close().await?;
    /// assert_eq!(Reader::new(far).read_to_end().await?, b"the last words");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "write_eof")]
    #[doc(alias = "wait_closed")]
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self).poll_close(cx)).await
    }

    /// Sends the buffer.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unsent() > 0 {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.buffer[self.sent..]))? {
                // Another try would have the same result, without end.
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.sent = 0;
        self.buffer.clear();
        // After one large write, a connection does not keep the memory for the rest of its life.
        if self.buffer.capacity() > FULL {
            self.buffer = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

/// The unsent bytes of a running `write_all`. They are copied into the buffer only if the write is
/// dropped halfway, or if they are few and the buffer has bytes that go out with them.
struct Rest<'a, W> {
    writer: &'a mut Writer<W>,
    bytes: &'a [u8],
}

impl<W: AsyncWrite + Unpin> Rest<'_, W> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(budget::poll_left(cx));
        // A copy of few bytes costs less than a system call of their own.
        if self.writer.unsent() > 0 && self.bytes.len() <= FEW {
            self.writer.put(std::mem::take(&mut self.bytes));
        }
        // Older bytes first; then these without a copy.
        ready!(self.writer.poll_send(cx))?;
        while !self.bytes.is_empty() {
            match ready!(Pin::new(&mut self.writer.inner).poll_write(cx, self.bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.bytes = &self.bytes[sent..],
            }
        }
        budget::spend();
        Poll::Ready(Ok(()))
    }
}

impl<W> Drop for Rest<'_, W> {
    fn drop(&mut self) {
        // Empty after a completed write. Otherwise the next write sends them first.
        self.writer.put(self.bytes);
    }
}

/// Writing fills the buffer, and waits only if that is full. Flushing sends.
impl<W: AsyncWrite + Unpin> AsyncWrite for Writer<W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(budget::poll_left(cx));
        // The buffer takes the whole write, so it is bounded by this and the size of one write.
        if this.unsent() >= FULL {
            ready!(this.poll_send(cx))?;
        }
        budget::spend();
        slices.iter().for_each(|slice| this.put(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(budget::poll_left(cx));
        ready!(this.poll_send(cx))?;
        let result = ready!(Pin::new(&mut this.inner).poll_flush(cx));
        budget::spend();
        Poll::Ready(result)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(budget::poll_left(cx));
        ready!(this.poll_send(cx))?;
        let result = ready!(Pin::new(&mut this.inner).poll_close(cx));
        budget::spend();
        Poll::Ready(result)
    }
}

impl<W: fmt::Debug> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("inner", &self.inner).field("unsent", &self.unsent()).finish_non_exhaustive()
    }
}
