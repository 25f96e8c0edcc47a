//! Operations: tried while their direction is ready, and waiting once they would block.

use std::io;
use std::task::{Context, Poll, ready};

use picot_context::budget;

use super::state::NEEDS_ARMING;
use super::{Registered, Source};
use crate::ready::Direction;

impl<T> Source<T> {
    /// Tries `operation` if the direction is known to be ready.
    ///
    /// If it returns [`WouldBlock`](io::ErrorKind::WouldBlock), the direction is not ready until
    /// the next event.
    ///
    /// # Errors
    /// The error of `operation`. `WouldBlock`, without calling it, if the direction is not ready.
    /// An error if the driver cannot be asked for readiness or the reactor is closed.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::io::{ErrorKind, Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use picot_reactor::{Direction, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, mut peer) = UnixStream::pair()?;
    /// stream.set_nonblocking(true)?;
    /// let source = reactor.register(stream)?;
    /// let mut buffer = [0; 2];
    /// let mut read = || source.try_io(Direction::Read, |mut stream| stream.read(&mut buffer));
    /// peer.write_all(b"abc")?;
    /// let count = loop {
    ///     match read() {
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => reactor.wait(None)?,
    ///         count => break count?,
    ///     };
    /// };
    /// assert_eq!((count, read()?), (2, 1), "the direction stays ready");
    /// assert_eq!(read().unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    #[inline]
    pub fn try_io<R>(&self, direction: Direction, operation: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        if !self.state().is_ready(direction) {
            return Err(self.registered.record_failure(direction, io::ErrorKind::WouldBlock.into()));
        }
        operation(&self.io).map_err(|error| self.registered.record_failure(direction, error))
    }

    /// As [`try_io`](Source::try_io), for an operation that moves up to `length` bytes.
    ///
    /// If [short transfers are trusted](Source::trust_short_transfers), one clears the readiness.
    ///
    /// # Errors
    /// As [`try_io`](Source::try_io).
    ///
    /// ```
    /// use std::io::{ErrorKind, Write};
    /// use picot_reactor::{Direction, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_nonblocking(true)?;
    /// let source = reactor.register(stream)?;
    /// source.assume_ready(Direction::Write);
    /// let sent = source.try_transfer(Direction::Write, 5, |mut stream| stream.write(b"hello"))?;
    /// assert_eq!(sent, 5);
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    pub fn try_transfer(
        &self,
        direction: Direction,
        length: usize,
        operation: impl FnOnce(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let moved = self.try_io(direction, operation)?;
        if moved == length {
            return Ok(moved);
        }
        let Registered { inner, state } = &self.registered;
        // A one-shot driver reports no further event by itself.
        if state.record_transfer(direction, moved, length) && state.has(NEEDS_ARMING) {
            state.rearm_after_short_transfer(inner, direction);
        }
        Ok(moved)
    }

    /// Tries `operation` once the direction is ready; until then the task of `cx` waits.
    ///
    /// It is tried again if it would block or was interrupted. It spends the task's [budget].
    ///
    /// Any number of tasks may poll one direction, and an event wakes them all. The last task to
    /// poll costs nothing. Of the others, at most 16 are kept, because a poll cannot announce that
    /// its future was dropped; beyond that the oldest is woken, and polls again. If many tasks
    /// wait, use [`ready`](Source::ready).
    ///
    /// # Errors
    /// The error of `operation`. An error if the driver cannot be asked for readiness or the
    /// reactor is closed.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::future::poll_fn;
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    /// use picot_reactor::{Direction, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, mut peer) = UnixStream::pair()?;
    /// stream.set_nonblocking(true)?;
    /// let source = reactor.register(stream)?;
    /// let mut buffer = [0; 16];
    /// let mut read = pin!(poll_fn(|cx| {
    ///     source.poll_io(cx, Direction::Read, |mut stream| stream.read(&mut buffer))
    /// }));
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert!(read.as_mut().poll(&mut cx).is_pending());
    /// peer.write_all(b"hello")?;
    /// let count = loop {
    ///     match read.as_mut().poll(&mut cx) {
    ///         Poll::Ready(count) => break count?,
    ///         Poll::Pending => reactor.wait(None)?,
    ///     };
    /// };
    /// assert_eq!(count, 5);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    #[inline]
    pub fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let Registered { inner, state } = &self.registered;
        if !state.is_ready(direction) {
            return state.wait_polling(inner, direction, cx);
        }
        ready!(budget::poll_left(cx));
        match operation(&self.io) {
            Ok(done) => {
                budget::spend_call();
                Poll::Ready(Ok(done))
            }
            Err(error) => self.poll_after_error(cx, direction, operation, error),
        }
    }

    /// As [`poll_io`](Source::poll_io), for an operation that moves up to `length` bytes.
    ///
    /// If [short transfers are trusted](Source::trust_short_transfers), one clears the readiness. A
    /// transfer of no bytes (`length` is 0) never waits.
    ///
    /// # Errors
    /// As [`poll_io`](Source::poll_io).
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use std::task::{Context, Poll, Waker};
    /// use picot_reactor::{Direction, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, mut peer) = UnixStream::pair()?;
    /// stream.set_nonblocking(true)?;
    /// let source = reactor.register(stream)?;
    /// let (mut buffer, mut cx) = ([0; 16], Context::from_waker(Waker::noop()));
    /// let length = buffer.len();
    /// let mut read = || {
    ///     source.poll_transfer(&mut cx, Direction::Read, length, |mut stream| {
    ///         stream.read(&mut buffer)
    ///     })
    /// };
    /// peer.write_all(b"hello")?;
    /// let count = loop {
    ///     match read() {
    ///         Poll::Ready(count) => break count?,
    ///         Poll::Pending => reactor.wait(None)?,
    ///     };
    /// };
    /// assert_eq!(count, 5);
    /// assert!(read().is_pending(), "all data was read");
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    // Always: for a small message, a call costs as much as the rest of this function.
    #[inline(always)]
    pub fn poll_transfer(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        length: usize,
        mut operation: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let Registered { inner, state } = &self.registered;
        // The slow path checks whether the direction is only assumed to be ready.
        if !state.is_known_ready(direction) {
            if length != 0 && state.wait_fast(inner, direction, cx) {
                return Poll::Pending;
            }
            return self.poll_transfer_slow(cx, direction, length, operation);
        }
        ready!(budget::poll_left(cx));
        match operation(&self.io) {
            Ok(moved) => {
                budget::spend_call();
                state.record_transfer(direction, moved, length);
                Poll::Ready(Ok(moved))
            }
            Err(error) => self.poll_transfer_after_error(cx, direction, length, operation, error),
        }
    }

    /// A transfer in a direction that no event has reported as ready.
    #[cold]
    #[inline(never)]
    fn poll_transfer_slow(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        length: usize,
        mut operation: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let Registered { inner, state } = &self.registered;
        if length == 0 {
            return transfer_nothing(cx);
        }
        if !state.is_ready(direction) {
            return state.wait_slow(inner, direction, cx);
        }
        ready!(budget::poll_left(cx));
        match operation(&self.io) {
            Ok(moved) => {
                budget::spend_call();
                state.record_transfer(direction, moved, length);
                Poll::Ready(Ok(moved))
            }
            Err(error) => self.poll_transfer_after_error(cx, direction, length, operation, error),
        }
    }

    /// Continues a transfer after an error.
    #[cold]
    fn poll_transfer_after_error(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        length: usize,
        operation: impl FnMut(&T) -> io::Result<usize>,
        error: io::Error,
    ) -> Poll<io::Result<usize>> {
        // Some kernels return "would block" for an empty buffer when no data has arrived.
        if length == 0 && error.kind() == io::ErrorKind::WouldBlock {
            return transfer_nothing(cx);
        }
        let result = ready!(self.poll_after_error(cx, direction, operation, error));
        if let Ok(moved) = result {
            self.state().record_transfer(direction, moved, length);
        }
        Poll::Ready(result)
    }

    /// Continues an operation after an error, which may be "would block" or an interruption.
    #[cold]
    fn poll_after_error<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
        mut error: io::Error,
    ) -> Poll<io::Result<R>> {
        let Registered { inner, state } = &self.registered;
        loop {
            match error.kind() {
                io::ErrorKind::WouldBlock => {
                    state.clear_ready(direction);
                    if state.is_ready(direction) {
                        // An object that no kernel polls: no event will come. So the task yields,
                        // and tries again in the next turn.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    return state.wait_polling(inner, direction, cx);
                }
                io::ErrorKind::Interrupted => {}
                _ => {
                    budget::spend_call();
                    return Poll::Ready(Err(error));
                }
            }
            error = match operation(&self.io) {
                Ok(done) => {
                    budget::spend_call();
                    return Poll::Ready(Ok(done));
                }
                Err(error) => error,
            };
        }
    }

    /// Waits until an event has reported the direction as ready.
    ///
    /// Until then the task of `cx` waits; [`poll_io`](Source::poll_io) says how many tasks may. It
    /// spends the task's [budget].
    ///
    /// # Errors
    /// If the driver cannot be asked for readiness, or the reactor is closed.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::future::poll_fn;
    /// use std::os::unix::net::UnixStream;
    /// use std::pin::pin;
    /// use std::task::{Context, Waker};
    /// use picot_reactor::{Direction, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, _peer) = UnixStream::pair()?;
    /// let source = reactor.register(stream)?;
    /// let mut writable = pin!(poll_fn(|cx| source.poll_ready(cx, Direction::Write)));
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert!(writable.as_mut().poll(&mut cx).is_pending());
    /// assert_eq!(reactor.waiting(), 1);
    /// while writable.as_mut().poll(&mut cx).is_pending() {
    ///     reactor.wait(None)?;
    /// }
    /// assert_eq!(reactor.waiting(), 0);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        let state = self.state();
        if !state.is_known_ready(direction) {
            return state.wait_polling(&self.registered.inner, direction, cx);
        }
        ready!(budget::poll_left(cx));
        budget::spend_call();
        Poll::Ready(Ok(()))
    }
}

impl Registered {
    /// Handles a failed operation, or one that was not tried because it would block. Returns the
    /// error for the caller, which is another one if arming fails.
    #[cold]
    #[inline(never)]
    pub(super) fn record_failure(&self, direction: Direction, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::WouldBlock {
            return error;
        }
        self.state.would_block(&self.inner, direction).err().unwrap_or(error)
    }
}

/// Completes a transfer of no bytes. It spends the budget as any other operation, so that a loop of
/// such transfers yields.
fn transfer_nothing(cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    ready!(budget::poll_left(cx));
    budget::spend();
    Poll::Ready(Ok(0))
}
