//! A connection in memory: two ends of a stream without a socket, for tests of protocols.
//!
//! Each direction is a bounded pipe. It behaves as a connection does: what was written before an end is closed can still be
//! read, a reader sees the end after that, and writing to a reader that is gone is a broken pipe.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use futures_io::{AsyncRead, AsyncWrite};
use picot_context::budget;

/// Two connected ends of a stream in memory. Each direction holds up to `capacity` bytes; then its writer waits.
///
/// They work under any executor, and a test under the virtual clock sees no real I/O.
///
/// # Panics
/// If `capacity` is 0: nothing could ever be written.
///
/// ```
/// use picot_net::duplex;
/// use futures_lite::{AsyncReadExt, AsyncWriteExt, future::{block_on, zip}};
///
/// let (mut near, mut far) = duplex(4);
/// block_on(zip(
///     async { near.write_all(b"more than fits at once").await.unwrap(); drop(near) },
///     async {
///         let mut text = String::new();
///         far.read_to_string(&mut text).await.unwrap();
///         assert_eq!(text, "more than fits at once");
///     },
/// ));
/// ```
pub fn duplex(capacity: usize) -> (DuplexStream, DuplexStream) {
    assert!(capacity > 0, "a stream that holds nothing could never be written to");
    let (one, other) = (Pipe::new(capacity), Pipe::new(capacity));
    (DuplexStream { read: one.clone(), write: other.clone() }, DuplexStream { read: other, write: one })
}

/// One end of a stream in memory; made by [`duplex`].
///
/// Dropping it closes both of its directions.
pub struct DuplexStream {
    read: Rc<Pipe>,
    write: Rc<Pipe>,
}

struct Pipe {
    capacity: usize,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    is_written_to_the_end: bool,
    has_no_reader: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(capacity: usize) -> Rc<Pipe> {
        Rc::new(Pipe { capacity, state: RefCell::default() })
    }

    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(budget::poll_left(cx));
        let mut state = self.state.borrow_mut();
        if state.bytes.is_empty() && !state.is_written_to_the_end && !buffer.is_empty() {
            drop(state);
            return self.wait(cx, |state| &mut state.reader);
        }
        let count = state.bytes.read(buffer)?;
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        budget::spend();
        Poll::Ready(Ok(count))
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(budget::poll_left(cx));
        let mut state = self.state.borrow_mut();
        if state.has_no_reader || state.is_written_to_the_end {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(self.capacity - state.bytes.len());
        if count == 0 && !bytes.is_empty() {
            drop(state);
            return self.wait(cx, |state| &mut state.writer);
        }
        state.bytes.extend(&bytes[..count]);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        budget::spend();
        Poll::Ready(Ok(count))
    }

    /// The task of `cx` is the one to be woken. Wakers are cloned and dropped with nothing borrowed: both may be anybody's code.
    fn wait<T>(&self, cx: &mut Context<'_>, slot: impl Fn(&mut State) -> &mut Option<Waker>) -> Poll<T> {
        let waker = cx.waker().clone();
        let old = slot(&mut self.state.borrow_mut()).replace(waker);
        drop(old);
        Poll::Pending
    }

    /// One of the two sides of the pipe ends; the other learns of it.
    fn end(&self, end: impl FnOnce(&mut State)) {
        let mut state = self.state.borrow_mut();
        end(&mut state);
        let waiters = [state.reader.take(), state.writer.take()];
        drop(state);
        waiters.into_iter().for_each(wake);
    }
}

fn wake(waiter: Option<Waker>) {
    if let Some(waiter) = waiter {
        waiter.wake();
    }
}

impl AsyncRead for DuplexStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.read.poll_read(cx, buffer)
    }
}

impl AsyncWrite for DuplexStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write.poll_write(cx, bytes)
    }

    /// There is nothing to flush: what was written can be read.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the writing direction.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.end(|state| state.is_written_to_the_end = true);
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "tokio-io")]
crate::tokio_io::by_futures_io!({} DuplexStream);

impl Drop for DuplexStream {
    fn drop(&mut self) {
        self.write.end(|state| state.is_written_to_the_end = true);
        self.read.end(|state| {
            state.has_no_reader = true;
            state.bytes.clear();
        });
    }
}

impl fmt::Debug for DuplexStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexStream")
            .field("to_read", &self.read.state.borrow().bytes.len())
            .field("unread", &self.write.state.borrow().bytes.len())
            .finish_non_exhaustive()
    }
}
