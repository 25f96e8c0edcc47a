//! A connection in memory: two ends of a stream without a socket, for tests of protocols.
//!
//! Each direction is a bounded pipe. It behaves as a connection does: what was written before an
//! end is closed can still be read, a reader sees the end after that, and writing to a reader that
//! is gone is a broken pipe.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::iter;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use futures_io::{AsyncRead, AsyncWrite};
use picot_context::{WaitInfo, WaitKind, WaitNote, budget};

use crate::operation::poll_nothing;

/// Two connected ends of a stream in memory. Each direction holds up to `capacity` bytes; then its
/// writer waits.
///
/// They work under any executor. A test under the virtual clock can use them, because they need no
/// real I/O.
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
    (DuplexStream::new(one.clone(), other.clone()), DuplexStream::new(other, one))
}

/// One end of a stream in memory; made by [`duplex`].
///
/// Dropping it closes both of its directions.
///
/// ```
/// use picot_net::{DuplexStream, Reader, Writer, duplex};
///
/// # picot_loop::run(async {
/// /// Answers one line. It takes a stream in memory here, and a socket in the program.
/// async fn greet(stream: DuplexStream) -> std::io::Result<()> {
///     Writer::new(stream).write_line("hello").await
/// }
///
/// let (near, far) = duplex(64);
/// greet(far).await?;
/// assert_eq!(Reader::new(near).read_line().await?.as_deref(), Some("hello"));
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
pub struct DuplexStream {
    read: Rc<Pipe>,
    write: Rc<Pipe>,
    reads: WaitNote,
    writes: WaitNote,
}

impl DuplexStream {
    fn new(read: Rc<Pipe>, write: Rc<Pipe>) -> DuplexStream {
        DuplexStream { read, write, reads: WaitNote::new(), writes: WaitNote::new() }
    }

    fn read(&mut self, cx: &mut Context<'_>, buffers: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        let polled = self.read.poll_read(cx, buffers);
        note(&mut self.reads, &polled, || WaitInfo::new(WaitKind::Read, "data from a stream in memory"));
        polled
    }

    fn write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = self.write.poll_write(cx, slices);
        note(&mut self.writes, &polled, || WaitInfo::new(WaitKind::Write, "room in a stream in memory"));
        polled
    }
}

fn note<T>(note: &mut WaitNote, polled: &Poll<T>, about: impl FnOnce() -> WaitInfo) {
    if polled.is_pending() { note.set(about) } else { note.clear() }
}

struct Pipe {
    capacity: usize,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    write_closed: bool,
    read_closed: bool,
    readers: Waiters,
    writers: Waiters,
}

/// How many tasks may wait beside the first. Each costs one waker until the next wake-up.
const OTHERS: usize = 16;

/// The tasks that wait on one side of a pipe. All of them are woken, and poll again.
///
/// Usually there is one. A future that is dropped does not remove its waker, because the polling
/// traits have no call for that. So the number of wakers has a limit.
#[derive(Default)]
struct Waiters {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Waiters {
    /// Adds a waker. Returns the waker that it replaces, for the caller to drop, and above the
    /// limit the oldest one, for the caller to wake: if its task still waits, it polls again.
    fn add(&mut self, waker: Waker) -> (Option<Waker>, Option<Waker>) {
        let Some(first) = &mut self.first else {
            self.first = Some(waker);
            return (None, None);
        };
        if let Some(same) = iter::once(first).chain(&mut self.others).find(|other| other.will_wake(&waker)) {
            return (Some(mem::replace(same, waker)), None);
        }
        // The list is bounded: the oldest waker makes room and is woken, so that its task waits
        // again.
        let oldest = if self.others.len() == OTHERS { self.first.replace(self.others.remove(0)) } else { None };
        self.others.push(waker);
        (None, oldest)
    }

    fn wake(self) {
        self.first.into_iter().chain(self.others).for_each(Waker::wake);
    }
}

impl State {
    /// Whether a read can complete: with bytes, or at the end of the stream.
    fn is_readable(&self) -> bool {
        !self.bytes.is_empty() || self.write_closed
    }

    /// Whether a write of at least one byte can complete: there is room, or the reader is gone,
    /// which is an error.
    fn is_writable(&self, capacity: usize) -> bool {
        self.bytes.len() < capacity || self.write_closed || self.read_closed
    }
}

impl Pipe {
    fn new(capacity: usize) -> Rc<Pipe> {
        Rc::new(Pipe { capacity, state: RefCell::default() })
    }

    fn poll_read(&self, cx: &mut Context<'_>, buffers: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        let is_empty = buffers.iter().all(|buffer| buffer.is_empty());
        self.poll_read_by(cx, is_empty, |bytes| {
            let mut count = 0;
            for buffer in buffers {
                count += bytes.read(buffer)?;
            }
            Ok(count)
        })
    }

    /// Reads by `take`, which removes bytes from the front. It is not foreign code. A read of
    /// nothing does not wait, as with a socket.
    fn poll_read_by<T>(
        &self,
        cx: &mut Context<'_>,
        is_empty: bool,
        take: impl FnOnce(&mut VecDeque<u8>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        ready!(budget::poll_left(cx));
        if !is_empty {
            ready!(self.wait(cx, State::is_readable, |state| &mut state.readers));
        }
        let mut state = self.state.borrow_mut();
        let taken = take(&mut state.bytes)?;
        // The borrow ends before the wakers run, because they are foreign code.
        let writers = mem::take(&mut state.writers);
        drop(state);
        writers.wake();
        budget::spend();
        Poll::Ready(Ok(taken))
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(budget::poll_left(cx));
        if slices.iter().any(|slice| !slice.is_empty()) {
            ready!(self.wait(cx, |state| state.is_writable(self.capacity), |state| &mut state.writers));
        }
        // Spent for an error as well: a loop that ignores it must not block other tasks.
        budget::spend();
        let mut state = self.state.borrow_mut();
        if state.read_closed || state.write_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let before = state.bytes.len();
        for slice in slices {
            let room = self.capacity - state.bytes.len();
            state.bytes.extend(&slice[..slice.len().min(room)]);
        }
        let count = state.bytes.len() - before;
        // As in `poll_read`: no borrow is live while the wakers run.
        let readers = mem::take(&mut state.readers);
        drop(state);
        readers.wake();
        Poll::Ready(Ok(count))
    }

    /// Ready when `is_ready` holds. Until then, the task of `cx` is one of the waiters.
    ///
    /// Cloning and dropping a waker may run user code, so both happen while nothing is borrowed.
    /// That code may use the other end of the pipe before this waiter is registered; so the state
    /// is checked again after the clone.
    fn wait(
        &self,
        cx: &mut Context<'_>,
        is_ready: impl Fn(&State) -> bool,
        waiters: impl Fn(&mut State) -> &mut Waiters,
    ) -> Poll<()> {
        if is_ready(&self.state.borrow()) {
            return Poll::Ready(());
        }
        // Cloned without a borrow, as a clone is foreign code. It may read or write the other end,
        // so the state is checked again.
        let waker = cx.waker().clone();
        let mut state = self.state.borrow_mut();
        if is_ready(&state) {
            drop(state);
            return Poll::Ready(());
        }
        let (old, oldest) = waiters(&mut state).add(waker);
        drop(state);
        drop(old);
        if let Some(oldest) = oldest {
            oldest.wake();
        }
        Poll::Pending
    }

    /// Closes one of the two sides of the pipe, and wakes all waiters.
    fn end(&self, end: impl FnOnce(&mut State)) {
        let mut state = self.state.borrow_mut();
        end(&mut state);
        // Both sides: a writer learns that its reader is gone, and a reader that no bytes follow.
        let waiters = [mem::take(&mut state.readers), mem::take(&mut state.writers)];
        drop(state);
        waiters.into_iter().for_each(Waiters::wake);
    }
}

impl AsyncRead for DuplexStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.get_mut().read(cx, &mut [IoSliceMut::new(buffer)])
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().read(cx, buffers)
    }
}

impl AsyncWrite for DuplexStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, slices)
    }

    /// Does nothing: written bytes can be read at once.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_nothing(cx, Ok(()))
    }

    /// Ends the writing direction.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(poll_nothing(cx, ()));
        self.write.end(|state| state.write_closed = true);
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "tokio-io")]
impl DuplexStream {
    /// Reads at most `room` bytes, in one or two pieces.
    fn poll_take(&mut self, cx: &mut Context<'_>, room: usize, mut put: impl FnMut(&[u8])) -> Poll<io::Result<()>> {
        self.read.poll_read_by(cx, room == 0, |bytes| {
            let (front, back) = bytes.as_slices();
            let (first, second) = (front.len().min(room), back.len().min(room - front.len().min(room)));
            put(&front[..first]);
            put(&back[..second]);
            bytes.drain(..first + second);
            Ok(())
        })
    }
}

#[cfg(feature = "tokio-io")]
crate::tokio_io::by_futures_io!({} DuplexStream);

impl Drop for DuplexStream {
    fn drop(&mut self) {
        // The peer still reads what was written; what it wrote to this end is dropped.
        self.write.end(|state| state.write_closed = true);
        self.read.end(|state| {
            state.read_closed = true;
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
