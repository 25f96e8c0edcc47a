//! Reading by lines, separators and lengths, through a buffer.
//!
//! The invariant: what was received and not yet handed out is in the buffer, and nowhere else. Every method looks at the
//! buffer, receives more if that is not enough, and takes from it only when it returns. So a read that is dropped, by a
//! timeout or a lost race, has taken nothing.

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

/// How much is received at once, at first, and how much memory a reader that waits keeps.
const CHUNK: usize = 1024;

/// How much is received at once, at most, unless more was asked for.
const CHUNK_MAX: usize = 64 * 1024;

/// The longest line, unless another limit is set.
const LIMIT: usize = 64 * 1024;

/// A reader with a buffer (asyncio's `StreamReader`): over a half of a stream, a whole one, or any other [`AsyncRead`].
///
/// Its own methods lose nothing when their futures are dropped, other than those of the extension traits with the same
/// names. It is an [`AsyncRead`] and [`AsyncBufRead`] as well, for whoever needs one.
///
/// Its buffer grows with what is read at once, and a reader that waits with nothing in it keeps 1 KiB at most.
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
    /// What was received is in `start..end`; the rest is room.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
    is_at_end: bool,
    /// So many bytes at the start of what is in the buffer were searched for the end of a line, and have none.
    without_line: usize,
}

/// A separator that was found: where it begins and ends, counted from the start of what is in the buffer.
struct Found {
    begin: usize,
    end: usize,
}

impl<R> Reader<R> {
    /// A reader whose lines have a limit of 64 KiB.
    pub fn new(inner: R) -> Reader<R> {
        Reader { inner, buffer: Vec::new(), start: 0, end: 0, limit: LIMIT, is_at_end: false, without_line: 0 }
    }

    /// Sets how many bytes may come before a separator; what is longer is an error, and not memory. The end of a line, of one
    /// byte or two, does not count. Of [`read_exact`](Reader::read_exact) the caller sets the length.
    ///
    /// # Panics
    /// If it is 0.
    pub fn with_limit(self, limit: usize) -> Reader<R> {
        assert!(limit > 0, "a limit of 0 would let nothing through");
        Reader { limit, ..self }
    }

    /// What was received and not yet handed out.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether the end was received and everything before it was handed out.
    pub fn at_eof(&self) -> bool {
        self.is_at_end && self.buffer().is_empty()
    }

    /// What it reads from. Reading from that directly goes past the buffer.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// What it reads from, and what it has received of that but not handed out.
    pub fn into_parts(mut self) -> (R, Vec<u8>) {
        self.buffer.truncate(self.end);
        self.buffer.drain(..self.start);
        (self.inner, self.buffer)
    }

    fn len(&self) -> usize {
        self.end - self.start
    }

    /// Takes bytes off the front.
    fn take(&mut self, length: usize) {
        self.start += length;
        self.without_line = self.without_line.saturating_sub(length);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    fn take_vec(&mut self, length: usize) -> Vec<u8> {
        let taken = self.buffer()[..length].to_vec();
        self.take(length);
        taken
    }

    /// Makes room for at least one more chunk behind what there is.
    fn make_room(&mut self) {
        if self.buffer.len() - self.end >= CHUNK {
            return;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.len());
        if self.buffer.len() - self.end < CHUNK {
            let length = (self.end + CHUNK).max(2 * self.buffer.len());
            self.buffer.resize(length, 0);
        }
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Receives more into the buffer. Returns how much; 0 is the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
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
                    // There is probably more: the next time it is received in larger pieces.
                    self.buffer.resize(2 * self.end, 0);
                }
            }
            // Much memory is not kept for a connection that only waits.
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

    /// Waits until the step has budget left. What is taken from the buffer needs no system call, so without this a loop over
    /// a full buffer would keep all other tasks waiting.
    async fn turn(&self) {
        poll_fn(budget::poll_left).await;
    }

    /// Reads what there is, at most `buffer.len()` bytes; waits if there is nothing. 0 is the end.
    ///
    /// # Errors
    /// Those of what it reads from.
    ///
    /// # If dropped
    /// Nothing is lost.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *self).poll_read(cx, buffer)).await
    }

    /// Reads exactly `length` bytes. It may be more than the limit; memory is taken as the bytes come.
    ///
    /// # Errors
    /// [`ReadError::Incomplete`] with what was there, if the end comes first. Those of what it reads from.
    ///
    /// # If dropped
    /// Nothing is lost: what was received stays in the buffer.
    #[doc(alias = "readexactly")]
    pub async fn read_exact(&mut self, length: usize) -> Result<Vec<u8>, ReadError> {
        self.turn().await;
        while self.len() < length {
            if self.more().await? == 0 {
                budget::spend();
                return Err(ReadError::Incomplete { partial: self.take_vec(self.len()), expected: Some(length) });
            }
        }
        budget::spend();
        Ok(self.take_vec(length))
    }

    /// Reads until the end. It may be more than the limit: for peers that are trusted, or behind a `take`.
    ///
    /// # Errors
    /// Those of what it reads from; what was received before stays in the buffer.
    ///
    /// # If dropped
    /// Nothing is lost: what was received stays in the buffer.
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        self.turn().await;
        while self.more().await? > 0 {}
        budget::spend();
        Ok(self.take_vec(self.len()))
    }

    /// Reads up to and including `separator`.
    ///
    /// # Errors
    /// [`ReadError::Incomplete`] with what was there, if the end comes first. [`ReadError::LimitOverrun`] if there are more
    /// bytes before it than the limit allows: they stay in the buffer, so the caller can read them otherwise or give up.
    /// Those of what it reads from.
    ///
    /// # Panics
    /// If the separator is empty.
    ///
    /// # If dropped
    /// Nothing is lost: what was received stays in the buffer.
    #[doc(alias = "readuntil")]
    pub async fn read_until(&mut self, separator: &[u8]) -> Result<Vec<u8>, ReadError> {
        self.read_until_any(&[separator]).await
    }

    /// Reads up to and including whichever of the separators ends first; of several that end together, it is the longest
    /// one.
    ///
    /// # Errors
    /// As for [`read_until`](Reader::read_until).
    ///
    /// # Panics
    /// If there is no separator, or an empty one.
    ///
    /// # If dropped
    /// Nothing is lost: what was received stays in the buffer.
    pub async fn read_until_any(&mut self, separators: &[&[u8]]) -> Result<Vec<u8>, ReadError> {
        match self.find(separators).await? {
            Some(found) => Ok(self.take_vec(found.end)),
            None => Err(ReadError::Incomplete { partial: self.take_vec(self.len()), expected: None }),
        }
    }

    /// Reads a line, and gives it without its end, which is `\n` or `\r\n`. `None` is the end of the stream. A last line
    /// without an end counts.
    ///
    /// # Errors
    /// [`ReadError::LimitOverrun`] if the line is longer than the limit: its beginning, as far as it was received, is thrown
    /// away, so that a caller who goes on does not meet it again. [`ReadError::Io`] of the kind
    /// [`InvalidData`](io::ErrorKind::InvalidData) if it is no UTF-8; it is thrown away, too. Those of what it reads from.
    ///
    /// # If dropped
    /// Nothing is lost: what was received stays in the buffer.
    #[doc(alias = "readline")]
    pub async fn read_line(&mut self) -> Result<Option<String>, ReadError> {
        poll_fn(|cx| self.poll_line(cx)).await
    }

    /// The lines that are left, as a [`Stream`]; see [`read_line`](Reader::read_line). After an error it goes on, if there
    /// is more.
    pub fn lines(self) -> Lines<R> {
        Lines { reader: self }
    }

    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<String>, ReadError>> {
        ready!(budget::poll_left(cx));
        // Kept between polls and between calls: a line that comes byte by byte is searched once.
        let mut searched = self.without_line;
        // The end of a line may be one byte longer than what is searched for.
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
            Ok(None) if self.len() > self.limit => {
                self.take(self.len());
                return Poll::Ready(Err(ReadError::LimitOverrun { limit: self.limit, found: None }));
            }
            Ok(None) => self.take_vec(self.len()),
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
            "an empty separator is nowhere"
        );
        self.turn().await;
        let mut searched = 0;
        let found = poll_fn(|cx| self.poll_find(cx, separators, self.limit, &mut searched)).await;
        budget::spend();
        found
    }

    /// Receives until one of the separators is in the buffer, with no more than `limit` bytes before it; `None` if the end
    /// comes first. `searched` is how far from the
    /// start no separator ends, so that a long line is not searched again for each of its pieces.
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
            *searched = self.len();
            // A separator may have begun already, but not before these many bytes.
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

/// The separator that ends first, and not within the first `searched` bytes; of several that end there, the longest.
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
    ends.min_by_key(|found| (found.end, found.begin))
}

impl<R: AsyncRead + Unpin> AsyncRead for Reader<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(budget::poll_left(cx));
        if this.len() == 0 && !this.is_at_end && buffer.len() >= CHUNK {
            // A large read needs no buffer in between.
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

/// The lines of a reader; made by [`Reader::lines`].
#[derive(Debug)]
pub struct Lines<R> {
    reader: Reader<R>,
}

impl<R> Lines<R> {
    /// The reader, with everything behind the last line that was given.
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

    use futures_lite::StreamExt;
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    thread_local! {
        /// How many bytes were searched.
        pub(super) static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
    }

    /// Gives one piece for each two polls, and is pending in between; then the end.
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
        // Dropped and asked again each time that it waits.
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
    fn separators_are_found_wherever_the_pieces_are_cut() {
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
        assert!(block_on(reader.read_line()).unwrap().is_none(), "thrown away");
    }
}
