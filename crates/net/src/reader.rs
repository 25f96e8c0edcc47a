//! Reading by lines, separators and lengths, through a buffer.
//!
//! Invariant: received bytes that were not returned yet are in the buffer, and nowhere else. Each
//! method searches the buffer, receives more if necessary, and takes bytes from the buffer only
//! when it returns. So a read that is dropped, for example by a timeout, has taken nothing.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_io::{AsyncBufRead, AsyncRead};
use picot_context::budget;

use crate::operation_error::About;
use crate::read_error::ReadError;

/// How many bytes are received at once, at first; also the memory that a waiting reader keeps.
const CHUNK: usize = 1024;

/// The most bytes that are received at once, unless the caller asked for more.
const CHUNK_MAX: usize = 64 * 1024;

/// The default limit of a line, in bytes.
const LIMIT: usize = 64 * 1024;

/// A reader with a buffer (asyncio's `StreamReader`): over a half of a stream, a whole one, or any
/// other [`AsyncRead`].
///
/// Dropping the future of one of its own methods loses no byte. The methods of the extension traits
/// that have the same names can lose bytes. The reader implements [`AsyncRead`] and
/// [`AsyncBufRead`], too.
///
/// The buffer grows while much data arrives. A reader that waits with an empty buffer keeps at most
/// 1 KiB.
///
/// ```
/// use futures_lite::AsyncWriteExt;
/// use picot_net::{Reader, UnixStream};
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let (one, mut two) = UnixStream::pair()?;
///     two.write_all(b"first line\nsecond\0rest").await?;
///     let mut reader = Reader::new(one);
///     assert_eq!(reader.read_line().await?.as_deref(), Some("first line"));
///     assert_eq!(reader.read_until(b"\0").await?, b"second\0");
///     assert_eq!(reader.read_exact(4).await?, b"rest");
///     drop(two);
///     assert_eq!(reader.read_line().await?, None);
///     Result::<(), Box<dyn std::error::Error>>::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "StreamReader")]
pub struct Reader<R> {
    inner: R,
    /// Received bytes are in `start..end`; the rest is free.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
    is_at_end: bool,
    /// How many of the received bytes, from the start, were searched and contain no end of a line.
    without_line: usize,
}

/// Where a separator begins and ends, counted from the first received byte.
struct Found {
    begin: usize,
    end: usize,
}

impl<R> Reader<R> {
    /// Makes a reader whose lines have a limit of 64 KiB.
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use picot_net::Reader;
    ///
    /// let mut reader = Reader::new(&b"one\ntwo"[..]);
    /// assert_eq!(block_on(reader.read_line()).unwrap().as_deref(), Some("one"));
    /// ```
    pub fn new(inner: R) -> Reader<R> {
        Reader { inner, buffer: Vec::new(), start: 0, end: 0, limit: LIMIT, is_at_end: false, without_line: 0 }
    }

    /// Sets how many bytes may come before a separator. More are an error, so that a peer cannot
    /// fill the memory.
    ///
    /// The end of a line, of one or two bytes, does not count. [`read_exact`](Reader::read_exact)
    /// ignores the limit.
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use picot_net::{ReadError, Reader};
    ///
    /// let mut reader = Reader::new(&b"much too long\nshort\n"[..]).with_limit(8);
    /// block_on(async {
    ///     let line = reader.read_line().await;
    ///     assert!(matches!(line, Err(ReadError::LimitOverrun { limit: 8, .. })));
    ///     assert_eq!(reader.read_line().await.unwrap().as_deref(), Some("short"));
    /// });
    /// ```
    ///
    /// # Panics
    /// If `limit` is 0.
    pub fn with_limit(self, limit: usize) -> Reader<R> {
        assert!(limit > 0, "a limit of 0 would let nothing through");
        Reader { limit, ..self }
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Receives more into the buffer. Returns the number of bytes; 0 is the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // A terminal, for example, can be read again after its end; this reader has one end.
        if self.is_at_end {
            return Poll::Ready(Ok(0));
        }
        self.make_room();
        let poll = Pin::new(&mut self.inner).poll_read(cx, &mut self.buffer[self.end..]);
        match poll {
            Poll::Ready(Ok(0)) => self.is_at_end = true,
            Poll::Ready(Ok(received)) => {
                self.end += received;
                if self.end == self.buffer.len() && self.end < CHUNK_MAX {
                    // There is probably more, so the next read gets more room.
                    self.buffer.resize(2 * self.end, 0);
                }
            }
            // A connection that only waits does not keep much memory.
            Poll::Ready(Err(_)) | Poll::Pending if self.len() == 0 && self.buffer.len() > CHUNK => {
                self.buffer = Vec::new();
            }
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        poll
    }

    async fn more(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_more(cx)).await
    }

    /// Waits until the step has budget left. Taking bytes from the buffer needs no system call, so
    /// without this a loop over a full buffer would block all other tasks.
    async fn poll_budget(&self) {
        poll_fn(budget::poll_left).await;
    }

    /// Reads available bytes, at most `buffer.len()`, and waits until there are some. 0 is the end
    /// of the stream.
    ///
    /// # Errors
    /// The inner stream's errors.
    ///
    /// # If dropped
    /// Nothing is lost.
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use picot_net::Reader;
    ///
    /// let mut reader = Reader::new(&b"hello"[..]);
    /// let mut buffer = [0; 3];
    /// assert_eq!(block_on(reader.read(&mut buffer)).unwrap(), 3);
    /// assert_eq!(&buffer, b"hel");
    /// assert_eq!(block_on(reader.read(&mut buffer)).unwrap(), 2);
    /// assert_eq!(block_on(reader.read(&mut buffer)).unwrap(), 0, "the end of the stream");
    /// ```
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *self).poll_read(cx, buffer)).await
    }

    /// Reads exactly `length` bytes. The limit does not hold for it. Memory is allocated as the
    /// bytes arrive.
    ///
    /// # Errors
    /// [`ReadError::Incomplete`] with the bytes up to there, if the stream ends first. The inner
    /// stream's errors.
    ///
    /// # If dropped
    /// Nothing is lost: received bytes stay in the buffer.
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use picot_net::{ReadError, Reader};
    ///
    /// let mut reader = Reader::new(&b"\x03abcde"[..]);
    /// block_on(async {
    ///     let length = reader.read_exact(1).await.unwrap()[0];
    ///     assert_eq!(reader.read_exact(length.into()).await.unwrap(), b"abc");
    ///     let rest = reader.read_exact(8).await;
    ///     assert!(matches!(rest, Err(ReadError::Incomplete { partial, .. }) if partial == b"de"));
    /// });
    /// ```
    #[doc(alias = "readexactly")]
    pub async fn read_exact(&mut self, length: usize) -> Result<Vec<u8>, ReadError> {
        self.poll_budget().await;
        while self.len() < length {
            if self.more().await? == 0 {
                budget::spend();
                return Err(ReadError::Incomplete { partial: self.take_vec(self.len()), expected: Some(length) });
            }
        }
        budget::spend();
        Ok(self.take_vec(length))
    }

    /// Reads until the end of the stream. The limit does not hold for it, so use it with trusted
    /// peers, or after `take`.
    ///
    /// # Errors
    /// The inner stream's errors. Bytes that were received before stay in the buffer.
    ///
    /// # If dropped
    /// Nothing is lost: received bytes stay in the buffer.
    ///
    /// ```
    /// use picot_net::{Reader, Writer, duplex};
    ///
    /// # picot_loop::run(async {
    /// let (near, far) = duplex(64);
    /// Writer::new(near).write_all(b"head\nbody").await?; // then the writer is dropped
    /// let mut reader = Reader::new(far);
    /// assert_eq!(reader.read_line().await?.as_deref(), Some("head"));
    /// assert_eq!(reader.read_to_end().await?, b"body");
    /// # Result::<(), Box<dyn std::error::Error>>::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        self.poll_budget().await;
        while self.more().await? > 0 {}
        budget::spend();
        Ok(self.take_vec(self.len()))
    }

    /// Reads up to and including `separator`.
    ///
    /// # Errors
    /// [`ReadError::Incomplete`] with the bytes up to there, if the stream ends first.
    /// [`ReadError::LimitOverrun`] if more bytes come before the separator than the limit allows;
    /// they stay in the buffer, where other methods can read them. The inner stream's errors.
    ///
    /// # Panics
    /// If the separator is empty.
    ///
    /// # If dropped
    /// Nothing is lost: received bytes stay in the buffer.
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use picot_net::Reader;
    ///
    /// let mut reader = Reader::new(&b"GET / HTTP/1.1\r\nHost: here\r\n\r\nbody"[..]);
    /// let head = block_on(reader.read_until(b"\r\n\r\n")).unwrap();
    /// assert!(head.ends_with(b"here\r\n\r\n"));
    /// assert_eq!(reader.buffer(), b"body");
    /// ```
    #[doc(alias = "readuntil")]
    pub async fn read_until(&mut self, separator: &[u8]) -> Result<Vec<u8>, ReadError> {
        self.read_until_any(&[separator]).await
    }

    /// Reads up to and including the separator that ends first. Of several that end at the same
    /// byte, the longest counts.
    ///
    /// # Errors
    /// As for [`read_until`](Reader::read_until).
    ///
    /// # Panics
    /// If there is no separator, or an empty one.
    ///
    /// # If dropped
    /// Nothing is lost: received bytes stay in the buffer.
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use picot_net::Reader;
    ///
    /// let mut reader = Reader::new(&b"one;two,"[..]);
    /// block_on(async {
    ///     assert_eq!(reader.read_until_any(&[b",", b";"]).await.unwrap(), b"one;");
    ///     assert_eq!(reader.read_until_any(&[b",", b";"]).await.unwrap(), b"two,");
    /// });
    /// ```
    pub async fn read_until_any(&mut self, separators: &[&[u8]]) -> Result<Vec<u8>, ReadError> {
        match self.find(separators).await? {
            Some(found) => Ok(self.take_vec(found.end)),
            None => Err(ReadError::Incomplete { partial: self.take_vec(self.len()), expected: None }),
        }
    }

    /// Reads a line, and returns it without its end, `\n` or `\r\n`. `None` is the end of the
    /// stream. A last line may lack an end.
    ///
    /// # Errors
    /// [`ReadError::LimitOverrun`] if the line is longer than the limit. The part that was received
    /// is dropped, so that the next call continues behind it. [`ReadError::Io`] of the kind
    /// [`InvalidData`](io::ErrorKind::InvalidData) if the line is not UTF-8; it is dropped, too.
    /// The inner stream's errors.
    ///
    /// # If dropped
    /// Nothing is lost: received bytes stay in the buffer.
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use picot_net::Reader;
    ///
    /// let mut reader = Reader::new(&b"one\r\ntwo"[..]);
    /// block_on(async {
    ///     while let Some(line) = reader.read_line().await? {
    ///         println!("{line}");
    ///     }
    ///     Ok::<_, picot_net::ReadError>(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "readline")]
    pub async fn read_line(&mut self) -> Result<Option<String>, ReadError> {
        poll_fn(|cx| self.poll_line(cx)).await
    }

    /// The remaining lines, one by one: [`Lines::next`], or a [`Stream`]. After an error, it
    /// continues with the next line.
    ///
    /// ```
    /// use picot_net::{Reader, Writer, duplex};
    ///
    /// picot_loop::run(async {
    ///     let (near, far) = duplex(64);
    ///     let mut writer = Writer::new(near);
    ///     writer.write_line("one").await?;
    ///     writer.write_line("two").await?;
    ///     drop(writer);
    ///     let mut lines = Reader::new(far).lines();
    ///     while let Some(line) = lines.next().await {
    ///         println!("{}", line?);
    ///     }
    ///     Result::<(), Box<dyn std::error::Error>>::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn lines(self) -> Lines<R> {
        Lines { reader: self }
    }

    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<String>, ReadError>> {
        ready!(budget::poll_left(cx));
        // Kept between polls and calls, so that each byte of a line that arrives slowly is searched
        // once.
        let mut searched = self.without_line;
        // The search is for one byte, and the end of a line may have two.
        let poll = self.poll_find(cx, &[b"\n"], self.limit.saturating_add(1), &mut searched);
        self.without_line = searched;
        let found = ready!(poll);
        budget::spend();
        let line = match found {
            Ok(Some(found)) => {
                let mut line = self.take_vec(found.end);
                let text = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(&line);
                if text.len() > self.limit {
                    let error = ReadError::LimitOverrun { limit: self.limit, found: Some(found.end) };
                    return Poll::Ready(Err(error));
                }
                line.truncate(text.len());
                line
            }
            Ok(None) if self.len() == 0 => return Poll::Ready(Ok(None)),
            // The last line has no end, and the search allowed one byte beyond the limit.
            Ok(None) if self.len() > self.limit => {
                self.take(self.len());
                return Poll::Ready(Err(ReadError::LimitOverrun { limit: self.limit, found: None }));
            }
            Ok(None) => self.take_vec(self.len()),
            // The line that is too long is taken, so that the next call reads the next line.
            Err(ReadError::LimitOverrun { limit, found }) => {
                self.take(found.unwrap_or(self.len()));
                return Poll::Ready(Err(ReadError::LimitOverrun { limit, found }));
            }
            Err(error) => return Poll::Ready(Err(error)),
        };
        Poll::Ready(match String::from_utf8(line) {
            Ok(line) => Ok(Some(line)),
            Err(error) => {
                let error = io::Error::new(io::ErrorKind::InvalidData, error);
                Err(error.about(format_args!("read a line as UTF-8")).into())
            }
        })
    }

    async fn find(&mut self, separators: &[&[u8]]) -> Result<Option<Found>, ReadError> {
        assert!(
            !separators.is_empty() && separators.iter().all(|one| !one.is_empty()),
            "a separator must have at least one byte"
        );
        self.poll_budget().await;
        let mut searched = 0;
        let found = poll_fn(|cx| self.poll_find(cx, separators, self.limit, &mut searched)).await;
        budget::spend();
        found
    }

    /// Receives until one of the separators is in the buffer, with at most `limit` bytes before it;
    /// `None` if the stream ends first.
    ///
    /// No separator ends within the first `searched` bytes. The value is kept between polls, so
    /// that a long line is not searched again for each piece that arrives.
    fn poll_find(
        &mut self,
        cx: &mut Context<'_>,
        separators: &[&[u8]],
        limit: usize,
        searched: &mut usize,
    ) -> Poll<Result<Option<Found>, ReadError>> {
        loop {
            if let Some(found) = find(self.buffer(), separators, *searched) {
                if found.begin > limit {
                    let error = ReadError::LimitOverrun { limit: self.limit, found: Some(found.end) };
                    return Poll::Ready(Err(error));
                }
                return Poll::Ready(Ok(Some(found)));
            }
            // The next search begins here, less the length of a separator that has begun.
            *searched = self.len();
            // A separator may have begun already, within its own length from the end.
            let longest = separators.iter().map(|one| one.len()).max().unwrap_or(0);
            if self.len() > limit.saturating_add(longest - 1) {
                return Poll::Ready(Err(ReadError::LimitOverrun { limit: self.limit, found: None }));
            }
            if ready!(self.poll_more(cx))? == 0 {
                return Poll::Ready(Ok(None));
            }
        }
    }
}

impl<R> Reader<R> {
    /// The received bytes that no method has returned yet.
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use picot_net::Reader;
    ///
    /// let mut reader = Reader::new(&b"line\nrest"[..]);
    /// block_on(reader.read_line()).unwrap();
    /// assert_eq!(reader.buffer(), b"rest");
    /// ```
    pub fn buffer(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether the end of the stream was received, and all bytes before it were returned.
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use picot_net::Reader;
    ///
    /// let mut reader = Reader::new(&b"all"[..]);
    /// assert_eq!(block_on(reader.read_to_end()).unwrap(), b"all");
    /// assert!(reader.at_eof());
    /// ```
    pub fn at_eof(&self) -> bool {
        self.is_at_end && self.buffer().is_empty()
    }

    /// The inner stream. Bytes that are read from it directly are missing here.
    ///
    /// ```
    /// use picot_net::Reader;
    ///
    /// let reader = Reader::new(&b"hello"[..]);
    /// assert_eq!(reader.get_ref().len(), 5, "nothing was read yet");
    /// ```
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The inner stream, and the received bytes that no method has returned.
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use picot_net::Reader;
    ///
    /// let mut reader = Reader::new(&b"head;body"[..]);
    /// block_on(reader.read_until(b";")).unwrap();
    /// let (_stream, rest) = reader.into_parts();
    /// assert_eq!(rest, b"body");
    /// ```
    pub fn into_parts(mut self) -> (R, Vec<u8>) {
        self.buffer.truncate(self.end);
        self.buffer.drain(..self.start);
        (self.inner, self.buffer)
    }

    fn len(&self) -> usize {
        self.end - self.start
    }

    /// Removes bytes from the front of the buffer.
    fn take(&mut self, length: usize) {
        self.start += length;
        self.without_line = self.without_line.saturating_sub(length);
        // An empty buffer starts again at its front, so that most reads move nothing.
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    fn take_vec(&mut self, length: usize) -> Vec<u8> {
        let taken = self.buffer()[..length].to_vec();
        self.take(length);
        taken
    }

    /// Makes room for at least one more chunk behind the received bytes.
    fn make_room(&mut self) {
        if self.buffer.len() - self.end >= CHUNK {
            return;
        }
        // Moved before the buffer grows: often the space of returned bytes is enough.
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.len());
        if self.buffer.len() - self.end < CHUNK {
            let length = (self.end + CHUNK).max(2 * self.buffer.len());
            self.buffer.resize(length, 0);
        }
    }
}

/// The separator that ends first, and not within the first `searched` bytes; of several that end
/// there, the longest.
fn find(bytes: &[u8], separators: &[&[u8]], searched: usize) -> Option<Found> {
    #[cfg(test)]
    tests::LOOKED_AT.set(tests::LOOKED_AT.get() + bytes.len() - searched.min(bytes.len()));
    let ends = separators.iter().filter_map(|one| {
        let from = (searched + 1).saturating_sub(one.len());
        let rest = &bytes[from.min(bytes.len())..];
        let begin = from
            + match one {
                [byte] => rest.iter().position(|other| other == byte)?,
                _ => rest.windows(one.len()).position(|window| window == *one)?,
            };
        Some(Found { begin, end: begin + one.len() })
    });
    // The first to end, as if the bytes arrived one by one. Of two with the same end, the longer.
    ends.min_by_key(|found| (found.end, found.begin))
}

impl<R: AsyncRead + Unpin> AsyncRead for Reader<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(budget::poll_left(cx));
        if this.len() == 0 && !this.is_at_end && buffer.len() >= CHUNK {
            // A large read goes past the empty buffer, which saves a copy.
            let poll = Pin::new(&mut this.inner).poll_read(cx, buffer);
            this.is_at_end = matches!(poll, Poll::Ready(Ok(0)));
            return poll;
        }
        if this.len() == 0 && !buffer.is_empty() {
            ready!(this.poll_more(cx))?;
        }
        budget::spend();
        let length = this.len().min(buffer.len());
        buffer[..length].copy_from_slice(&this.buffer()[..length]);
        this.take(length);
        Poll::Ready(Ok(length))
    }
}

impl<R: AsyncRead + Unpin> AsyncBufRead for Reader<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(budget::poll_left(cx));
        if this.len() == 0 {
            ready!(this.poll_more(cx))?;
        }
        budget::spend();
        Poll::Ready(Ok(this.buffer()))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.get_mut();
        this.take(amount.min(this.len()));
    }
}

impl<R: fmt::Debug> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("inner", &self.inner).field("buffered", &self.len()).finish_non_exhaustive()
    }
}

/// The lines of a reader; made by [`Reader::lines`], which has an example.
///
/// ```
/// use futures_lite::StreamExt;
/// use picot_net::{Reader, Writer, duplex};
///
/// # picot_loop::run(async {
/// let (near, far) = duplex(64);
/// Writer::new(near).write_all(b"one\ntwo\n").await?;
/// let lines: Vec<String> = Reader::new(far).lines().try_collect().await?;
/// assert_eq!(lines, ["one", "two"]);
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
#[derive(Debug)]
pub struct Lines<R> {
    reader: Reader<R>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads the next line; `None` at the end of the stream. It needs no extension trait, unlike
    /// `next` of a [`Stream`].
    ///
    /// # Errors
    /// As for [`Reader::read_line`]. The next call continues with the next line.
    ///
    /// # If dropped
    /// Nothing is lost: received bytes stay in the buffer.
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use picot_net::Reader;
    ///
    /// let mut lines = Reader::new(&b"one\r\ntwo"[..]).lines();
    /// block_on(async {
    ///     assert_eq!(lines.next().await.unwrap().unwrap(), "one");
    ///     assert_eq!(lines.next().await.unwrap().unwrap(), "two");
    ///     assert!(lines.next().await.is_none());
    /// });
    /// ```
    pub async fn next(&mut self) -> Option<Result<String, ReadError>> {
        self.reader.read_line().await.transpose()
    }
}

impl<R> Lines<R> {
    /// The reader, with all bytes behind the last line that was returned.
    ///
    /// ```
    /// use futures_lite::future::block_on;
    /// use picot_net::Reader;
    ///
    /// let mut lines = Reader::new(&b"head\nbody"[..]).lines();
    /// block_on(async {
    ///     lines.next().await.unwrap().unwrap();
    ///     assert_eq!(lines.into_inner().read_to_end().await.unwrap(), b"body");
    /// });
    /// ```
    pub fn into_inner(self) -> Reader<R> {
        self.reader
    }
}

impl<R: AsyncRead + Unpin> Stream for Lines<R> {
    type Item = Result<String, ReadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<String, ReadError>>> {
        self.get_mut().reader.poll_line(cx).map(Result::transpose)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::VecDeque;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    thread_local! {
        /// How many bytes were searched.
        pub(super) static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
    }

    /// Returns one piece for every second poll, and is pending in between; then the end.
    struct Script {
        pieces: VecDeque<Vec<u8>>,
        is_pending: bool,
    }

    impl AsyncRead for Script {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            self.is_pending = !self.is_pending;
            if self.is_pending {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(piece) = self.pieces.pop_front() else { return Poll::Ready(Ok(0)) };
            assert!(piece.len() <= buffer.len());
            buffer[..piece.len()].copy_from_slice(&piece);
            Poll::Ready(Ok(piece.len()))
        }
    }

    fn reader<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Reader<Script> {
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect();
        Reader::new(Script { pieces, is_pending: false })
    }

    /// All ways to cut `bytes` into three.
    fn cuts(bytes: &[u8]) -> impl Iterator<Item = [&[u8]; 3]> {
        let ends = (0..=bytes.len()).flat_map(|second| (0..=second).map(move |first| (first, second)));
        ends.map(|(first, second)| [&bytes[..first], &bytes[first..second], &bytes[second..]])
    }

    #[test]
    fn a_line_that_comes_byte_by_byte_is_searched_once() {
        let text = [vec![b'x'; 10_000], b"\nnext\n".to_vec()].concat();
        let mut reader = reader(text.chunks(1));
        LOOKED_AT.set(0);
        // Dropped and started again each time that it waits.
        let line = loop {
            if let Some(line) = block_on(poll_once(reader.read_line())) {
                break line;
            }
        };
        assert_eq!(line.unwrap().unwrap().len(), 10_000);
        assert_eq!(LOOKED_AT.get(), 10_001);
        assert_eq!(block_on(reader.read_line()).unwrap().unwrap(), "next");
        assert_eq!(LOOKED_AT.get(), text.len());
    }

    #[test]
    fn separators_are_found_wherever_the_pieces_end() {
        for pieces in cuts(b"one\r\n\ntwo;AAABx") {
            let mut reader = reader(pieces);
            block_on(async {
                assert_eq!(reader.read_line().await.unwrap().unwrap(), "one", "{pieces:?}");
                assert_eq!(reader.read_line().await.unwrap().unwrap(), "", "{pieces:?}");
                assert_eq!(reader.read_until_any(&[b"\n", b";"]).await.unwrap(), b"two;", "{pieces:?}");
                assert_eq!(reader.read_until(b"AAB").await.unwrap(), b"AAAB", "{pieces:?}");
                assert_eq!(reader.read_exact(1).await.unwrap(), b"x", "{pieces:?}");
                assert!(reader.read_line().await.unwrap().is_none() && reader.at_eof());
            });
        }
    }

    /// Polls a read of each kind `polls` times, drops it, and begins it anew, until one is ready.
    macro_rules! persistently {
        ($polls:expr, $read:expr) => {
            loop {
                let mut read = Box::pin($read);
                let mut ready = None;
                for _ in 0..$polls {
                    ready = block_on(poll_once(&mut read));
                    if ready.is_some() {
                        break;
                    }
                }
                if let Some(ready) = ready {
                    break ready.unwrap();
                }
            }
        };
    }

    #[test]
    fn a_read_that_is_dropped_after_any_number_of_polls_loses_no_byte() {
        let text = b"a line\nuntil;exact16 bytes now|another\nlast";
        for polls in 1..2 * text.len() {
            let mut reader = reader(text.chunks(1));
            assert_eq!(persistently!(polls, reader.read_line()).unwrap(), "a line");
            assert_eq!(persistently!(polls, reader.read_until(b";")), b"until;");
            assert_eq!(persistently!(polls, reader.read_exact(17)), b"exact16 bytes now");
            assert_eq!(persistently!(polls, reader.read_until_any(&[b"|", b"\n"])), b"|");
            let mut lines = reader.lines();
            let next = persistently!(polls, async { Ok::<_, ()>(lines.next().await) });
            assert_eq!(next.unwrap().unwrap(), "another");
            let mut reader = lines.into_inner();
            assert_eq!(persistently!(polls, reader.read_to_end()), b"last");
        }
    }

    #[test]
    fn the_limit_counts_what_is_before_the_end_of_a_line() {
        for end in [&b"\n"[..], b"\r\n"] {
            for length in 7..10 {
                let text = [vec![b'x'; length], end.to_vec(), b"next\n".to_vec()].concat();
                for pieces in cuts(&text) {
                    let mut reader = reader(pieces).with_limit(8);
                    let line = block_on(reader.read_line());
                    if length <= 8 {
                        assert_eq!(line.unwrap().unwrap().len(), length, "{pieces:?}");
                        assert_eq!(block_on(reader.read_line()).unwrap().unwrap(), "next", "{pieces:?}");
                    } else {
                        assert!(matches!(line, Err(ReadError::LimitOverrun { limit: 8, .. })), "{pieces:?}");
                    }
                }
            }
        }
        let mut reader = reader([&b"123456789"[..]]).with_limit(8);
        assert!(matches!(block_on(reader.read_line()), Err(ReadError::LimitOverrun { limit: 8, found: None })));
        assert!(block_on(reader.read_line()).unwrap().is_none(), "dropped");
    }
}
