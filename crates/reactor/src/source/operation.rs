//! Operations: each is tried while its direction is ready, and waits after it would block.

use std::io;
use std::task::{Context, Poll, ready};

use picot_context::budget;

use super::state::ASKS;
use super::{Registered, Source};
use crate::ready::Direction;

impl<T> Source<T> {
    /// Tries `operation` if the direction is ready as far as is known. If it says [`WouldBlock`](io::ErrorKind::WouldBlock),
    /// the direction is known not to be ready, and is the next time it becomes so.
    ///
    /// # Errors
    /// What `operation` says, and `WouldBlock` without calling it if the direction is not ready. If readiness cannot be
    /// asked for, or the reactor is closed, that error.
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
    /// assert_eq!((count, read()?), (2, 1), "what is ready stays so");
    /// assert_eq!(read().unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    #[inline]
    pub fn try_io<R>(&self, direction: Direction, operation: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        if !self.state().is_ready(direction) {
            return Err(self.registered.has_failed(direction, io::ErrorKind::WouldBlock.into()));
        }
        operation(&self.io).map_err(|error| self.registered.has_failed(direction, error))
    }

    /// [`try_io`](Source::try_io) for an operation that moves up to `length` bytes; see
    /// [`trust_short_transfers`](Source::trust_short_transfers).
    ///
    /// # Errors
    /// As for [`try_io`](Source::try_io).
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
        if state.has_moved(direction, moved, length) && state.has(ASKS) {
            state.ask_for(inner, direction);
        }
        Ok(moved)
    }

    /// Does `operation` as soon as the direction is ready; until then the task of `cx` waits. It is tried again if it says
    /// that it would block or was interrupted. It spends the task's [budget].
    ///
    /// Any number of tasks may do so in one direction, and an event wakes them all. The last one to
    /// poll costs nothing; of the others, more than 16 take turns in waking each other, because a
    /// poll cannot say that its future is gone. Where many wait, [`ready`](Source::ready) is the
    /// way.
    ///
    /// # Errors
    /// What `operation` says. If readiness cannot be asked for, or the reactor is closed, that
    /// error.
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
    /// let mut read = pin!(poll_fn(|cx| source.poll_io(cx, Direction::Read, |mut stream| stream.read(&mut buffer))));
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
            Err(error) => self.poll_on(cx, direction, operation, error),
        }
    }

    /// [`poll_io`](Source::poll_io) for an operation that moves up to `length` bytes. If it moves
    /// fewer (but some), and the owner has declared that this proves the kernel to be drained
    /// ([`trust_short_transfers`](Source::trust_short_transfers)), the direction is not ready any
    /// more. Without that declaration it does the same as `poll_io`. A transfer of no bytes
    /// (`length` is 0) never waits.
    ///
    /// # Errors
    /// As for [`poll_io`](Source::poll_io).
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
    /// let mut read =
    ///     || source.poll_transfer(&mut cx, Direction::Read, length, |mut stream| stream.read(&mut buffer));
    /// peer.write_all(b"hello")?;
    /// let count = loop {
    ///     match read() {
    ///         Poll::Ready(count) => break count?,
    ///         Poll::Pending => reactor.wait(None)?,
    ///     };
    /// };
    /// assert_eq!(count, 5);
    /// assert!(read().is_pending(), "there is no more");
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    // Always: for a small message a call costs as much as all else that is done here.
    #[inline(always)]
    pub fn poll_transfer(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        length: usize,
        mut operation: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let Registered { inner, state } = &self.registered;
        // Whether it is only assumed to be ready is looked up out of line.
        if !state.is_known_ready(direction) {
            if length != 0 && state.waits_again(inner, direction, cx) {
                return Poll::Pending;
            }
            return self.poll_transfer_anew(cx, direction, length, operation);
        }
        ready!(budget::poll_left(cx));
        match operation(&self.io) {
            Ok(moved) => {
                budget::spend_call();
                state.has_moved(direction, moved, length);
                Poll::Ready(Ok(moved))
            }
            Err(error) => self.poll_transfer_on(cx, direction, length, operation, error),
        }
    }

    /// The rest of a transfer in a direction that is not known to be ready.
    #[cold]
    #[inline(never)]
    fn poll_transfer_anew(
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
            return state.wait_anew(inner, direction, cx);
        }
        ready!(budget::poll_left(cx));
        match operation(&self.io) {
            Ok(moved) => {
                budget::spend_call();
                state.has_moved(direction, moved, length);
                Poll::Ready(Ok(moved))
            }
            Err(error) => self.poll_transfer_on(cx, direction, length, operation, error),
        }
    }

    #[cold]
    fn poll_transfer_on(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        length: usize,
        operation: impl FnMut(&T) -> io::Result<usize>,
        error: io::Error,
    ) -> Poll<io::Result<usize>> {
        // Some kernels wait for data although there is no room for it.
        if length == 0 && error.kind() == io::ErrorKind::WouldBlock {
            return transfer_nothing(cx);
        }
        let result = ready!(self.poll_on(cx, direction, operation, error));
        if let Ok(moved) = result {
            self.state().has_moved(direction, moved, length);
        }
        Poll::Ready(result)
    }

    /// The rest of an operation that has failed, which may only mean that it would block or was interrupted.
    #[cold]
    fn poll_on<R>(
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
                        // No kernel tells when it is, so it is tried again in the next turn.
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

    /// Ready when the direction is, as far as is known; until then the task of `cx` waits. See [`poll_io`](Source::poll_io)
    /// on who that is. It spends the task's [budget].
    ///
    /// # Errors
    /// If readiness cannot be asked for, or the reactor is closed.
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
    /// An operation was tried, and has failed; or it was not, because it would have blocked. Returns what it has failed by.
    #[cold]
    #[inline(never)]
    pub(super) fn has_failed(&self, direction: Direction, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::WouldBlock {
            return error;
        }
        self.state.would_block(&self.inner, direction).err().unwrap_or(error)
    }
}

/// Completes a transfer of no bytes. It spends the budget as any other operation.
fn transfer_nothing(cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    ready!(budget::poll_left(cx));
    budget::spend();
    Poll::Ready(Ok(0))
}
