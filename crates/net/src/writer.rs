//! Writing through a buffer that knows what has not gone out yet.
//!
//! The invariant: what was handed over is either the peer's kernel's or in the buffer, in order. A write that is dropped
//! halfway leaves the rest in the buffer, where it goes out with the next one, so a stream never has a gap.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;
use picot_context::budget;

/// So many bytes are rather copied than sent by a system call of their own.
const FEW: usize = 8 * 1024;

/// So much is collected before [`AsyncWrite`] waits for it to go out.
const FULL: usize = 64 * 1024;

/// A writer with a buffer (asyncio's `StreamWriter`): over a half of a stream, a whole one, or any other [`AsyncWrite`].
///
/// [`write_all`](Writer::write_all) sends at once, and returns when everything is the kernel's: this is the back-pressure.
/// What is to go out together is collected by [`put`](Writer::put) and sent by [`flush`](Writer::flush). What is still in
/// the buffer when the writer is dropped is not sent.
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
    /// How much of the buffer is gone already.
    sent: usize,
}

impl<W> Writer<W> {
    /// A writer with nothing in its buffer.
    pub fn new(inner: W) -> Writer<W> {
        Writer { inner, buffer: Vec::new(), sent: 0 }
    }

    /// Collects bytes, without sending anything: they go out with the next [`flush`](Writer::flush),
    /// [`write_all`](Writer::write_all) or [`close`](Writer::close).
    #[doc(alias = "write")]
    #[doc(alias = "writelines")]
    pub fn put(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes were handed over and are not the kernel's yet.
    #[doc(alias = "get_write_buffer_size")]
    pub fn unsent(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// What it writes to. Writing to that directly goes past the buffer.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// What it writes to, and what has not been sent yet.
    pub fn into_parts(mut self) -> (W, Vec<u8>) {
        self.buffer.drain(..self.sent);
        (self.inner, self.buffer)
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Sends `bytes`, after what was collected before. Returns when everything is the kernel's.
    ///
    /// # Errors
    /// Those of what it writes to; [`WriteZero`](io::ErrorKind::WriteZero) if that takes no more bytes.
    ///
    /// # If dropped
    /// Before the first poll, nothing has happened. Later, `bytes` are handed over: what has not gone out stays in the
    /// buffer, goes out with the next write or flush, and is counted by [`unsent`](Writer::unsent).
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = Rest { writer: self, bytes };
        poll_fn(|cx| rest.poll(cx)).await
    }

    /// Sends what was collected, and flushes what it writes to.
    ///
    /// # Errors
    /// As for [`write_all`](Writer::write_all).
    ///
    /// # If dropped
    /// What has not gone out stays in the buffer, and goes out with the next write or flush.
    #[doc(alias = "drain")]
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    /// Sends what was collected, and ends the stream: the peer reads an end.
    ///
    /// # Errors
    /// As for [`write_all`](Writer::write_all).
    ///
    /// # If dropped
    /// What has not gone out stays in the buffer, and the stream has not ended.
    #[doc(alias = "write_eof")]
    #[doc(alias = "wait_closed")]
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self).poll_close(cx)).await
    }

    /// Sends the buffer.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unsent() > 0 {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.buffer[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.sent = 0;
        self.buffer.clear();
        // One large write should not be remembered for the life of a connection.
        if self.buffer.capacity() > FULL {
            self.buffer = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

/// The bytes of a write that is under way. They are copied only if it is left halfway, or if they are few and can go out
/// together with what was collected.
struct Rest<'a, W> {
    writer: &'a mut Writer<W>,
    bytes: &'a [u8],
}

impl<W: AsyncWrite + Unpin> Rest<'_, W> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(budget::poll_left(cx));
        if self.writer.unsent() > 0 && self.bytes.len() <= FEW {
            self.writer.put(std::mem::take(&mut self.bytes));
        }
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
        self.writer.put(self.bytes);
    }
}

/// Writing collects, and waits only if there is much that has not gone out; flushing sends.
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
