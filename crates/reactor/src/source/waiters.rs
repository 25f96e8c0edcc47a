//! The waiters of a source: how a task begins to wait in a direction, and how it is woken.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use picot_context::{Kind, Origin, budget, contain};

use super::state::{ASKS, ASSUMES, CROWDED, State};
use super::{Registered, Source};
use crate::foreign::{contain_wake, drop_contained};
use crate::inner::Inner;
use crate::ready::{Direction, Readiness};
use crate::waiter::{Crowd, Slot, Taken};

impl State {
    pub(super) fn crowd(&self) -> &Crowd {
        if self.crowd.get().is_none() {
            // The allocator is foreign code, and may come here itself; then there is one already.
            let _ = self.crowd.set(Box::default());
        }
        self.crowd.get().expect("the crowd was set above")
    }

    #[inline]
    pub(super) fn slot(&self, direction: Direction) -> &Slot {
        match direction {
            Direction::Read => &self.readers,
            Direction::Write => &self.writers,
            Direction::Priority => &self.crowd().urgent,
        }
    }

    /// Wakes the waiters of each direction that is ready now, and arms the source for those who wait on. A waker that panics
    /// is reported, and the others are woken all the same.
    #[inline(never)]
    pub(crate) fn wake(&self, inner: &Inner, news: Readiness) {
        if self.has(ASKS) {
            self.note_disarmed(inner, news);
        }
        self.enqueue();
        self.wake_those(inner, self.readiness.get());
        let armed = contain::call(|| Origin::new(Kind::Loop), || self.arm(inner));
        if !matches!(armed, Some(Ok(()))) {
            // No event would wake them. So they try, and find out.
            self.wake_those(inner, Readiness::EVERY_DIRECTION);
        }
    }

    /// Wakes all waiters of a source that has been closed.
    pub(crate) fn wake_closed(&self, inner: &Inner) {
        self.enqueue();
        self.wake_those(inner, Readiness::EVERY_DIRECTION);
    }

    pub(super) fn wake_those(&self, inner: &Inner, directions: Readiness) {
        let _hold = inner.retired.hold();
        for direction in Direction::ALL {
            let bit = Readiness::of(direction);
            if !directions.contains(bit) {
                continue;
            }
            let mut taken = self.crowd.get().map_or_else(Taken::default, |crowd| crowd.take(direction));
            inner.waiting.set(inner.waiting.get() - taken.count);
            for waker in taken.displaced.drain(..) {
                contain_wake(|| waker.wake_by_ref());
                // It has been in a slot, and may be one that is being called further out.
                inner.retired.add(waker);
            }
            if self.has(bit.bits()) {
                self.lower(bit.bits());
                inner.waiting.set(inner.waiting.get() - 1);
                // SAFETY: What leaves the slot is held, by the guard above.
                let waker = unsafe { self.slot(direction).lend() };
                contain_wake(|| waker.wake_by_ref());
            }
            taken.futures().for_each(|waker| _ = contain_wake(|| waker.wake()));
        }
        self.note_crowd();
    }

    /// Whether there is a crowd is known without looking there.
    pub(super) fn note_crowd(&self) {
        let crowd = self.crowd.get();
        if crowd.is_some_and(|crowd| Direction::ALL.iter().any(|&direction| crowd.waits(direction))) {
            self.raise(CROWDED);
        } else {
            self.lower(CROWDED);
        }
    }

    /// The task of `cx` waits for a direction. Ready only with an error.
    ///
    /// In line is what a task does that has waited here before and was woken since.
    #[inline]
    pub(super) fn wait_polling<R>(
        &self,
        inner: &Inner,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        if self.waits_again(inner, direction, cx) { Poll::Pending } else { self.wait_anew(inner, direction, cx) }
    }

    /// Lets the task of `cx` wait again if it is the one that waited here before. Returns whether
    /// it waits now.
    #[inline]
    pub(super) fn waits_again(&self, inner: &Inner, direction: Direction, cx: &Context<'_>) -> bool {
        let (flags, bit) = (self.flags.get(), Readiness::of(direction).bits());
        if flags & (bit | ASKS | ASSUMES) != 0 || !self.slot(direction).wakes_like(cx.waker()) {
            return false;
        }
        self.flags.set(flags | bit);
        inner.waiting.set(inner.waiting.get() + 1);
        true
    }

    #[inline(never)]
    pub(super) fn wait_anew<R>(
        &self,
        inner: &Inner,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        self.note_assumed();
        let waited = inner.check().and_then(|()| {
            self.enter_slot(inner, direction, cx.waker());
            self.arm(inner)
        });
        if let Err(error) = waited {
            ready!(budget::poll_left(cx));
            budget::spend_call();
            return Poll::Ready(Err(error));
        }
        // What was called on the way is foreign: the clone and the drop of a waker, and the
        // allocator. It may have brought the event, or closed the reactor, before this task was in
        // its place.
        if self.is_known_ready(direction) || inner.is_closed() {
            self.wake_those(inner, Readiness::of(direction));
        }
        Poll::Pending
    }

    /// Puts a waker into the slot. The task that is there, if it still waits, is kept beside it:
    /// both are woken.
    pub(super) fn enter_slot(&self, inner: &Inner, direction: Direction, waker: &Waker) {
        let (slot, bit) = (self.slot(direction), Readiness::of(direction).bits());
        if slot.wakes_like(waker) {
            self.begin_polling(inner, bit);
            return;
        }
        // Foreign code first, so that from the next line to the last one of this block nothing is.
        let waker = waker.clone();
        if !self.has(bit) {
            let old = slot.replace(waker);
            self.begin_polling(inner, bit);
            inner.retired.add(old);
            return;
        }
        let crowd = self.crowd();
        let recalled = crowd.recall(direction, &waker);
        let oldest = crowd.displace(direction, slot.replace(waker));
        self.raise(CROWDED);
        self.begin_polling(inner, bit);
        let [gone, came] = [recalled.is_some() || oldest.is_some(), true].map(usize::from);
        inner.waiting.set(inner.waiting.get() + came - gone);
        recalled.into_iter().for_each(|waker| inner.retired.add(waker));
        if let Some(oldest) = oldest {
            contain_wake(|| oldest.wake_by_ref());
            inner.retired.add(oldest);
        }
    }

    pub(super) fn begin_polling(&self, inner: &Inner, bit: u8) {
        if !self.has(bit) {
            self.raise(bit);
            inner.waiting.set(inner.waiting.get() + 1);
        }
    }

    /// The end of a registration with waiters beside the slots. Out of line, as few sources have
    /// any.
    #[cold]
    pub(super) fn delete_crowded(&self, inner: &Inner, crowd: &Crowd, polled: [Waker; 2]) {
        let left = Direction::ALL.map(|direction| crowd.take(direction));
        let count: usize = left.iter().map(|taken| taken.count).sum();
        inner.waiting.set(inner.waiting.get() - count);
        let urgent = crowd.urgent.empty();
        self.delete(inner);
        polled.into_iter().chain([urgent]).for_each(|waker| inner.retired.add(waker));
        // Futures of `ready` borrow the source, so those that are left here were leaked.
        for mut taken in left {
            taken.displaced.drain(..).for_each(|waker| inner.retired.add(waker));
            taken.futures().for_each(drop_contained);
        }
    }
}

impl<T> Source<T> {
    /// Waits until the direction is ready, as far as events have told. It is a hint: an operation
    /// may still say that it would block, after which [`try_io`](Source::try_io) knows better and
    /// this waits again. Any number of futures may wait. It spends the task's [budget], so that a
    /// task whose object is always ready lets the others run.
    ///
    /// # Errors
    /// If readiness cannot be asked for, or the reactor is closed.
    ///
    /// # If dropped
    /// Nothing happens.
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    /// use std::pin::pin;
    /// use std::task::{Context, Waker};
    /// use picot_reactor::{Direction, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, mut peer) = UnixStream::pair()?;
    /// let source = reactor.register(stream)?;
    /// let (mut one, mut other) = (pin!(source.ready(Direction::Read)), pin!(source.readable()));
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert!(one.as_mut().poll(&mut cx).is_pending());
    /// assert!(other.as_mut().poll(&mut cx).is_pending());
    /// peer.write_all(b"hello")?;
    /// while one.as_mut().poll(&mut cx).is_pending() {
    ///     reactor.wait(None)?;
    /// }
    /// assert!(other.as_mut().poll(&mut cx).is_ready(), "both are told");
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn ready(&self, direction: Direction) -> Ready<'_> {
        Ready { registered: &self.registered, direction, id: None }
    }

    /// Waits for data, an end or an error to read; see [`ready`](Source::ready).
    ///
    /// # Errors
    /// As for [`ready`](Source::ready).
    ///
    /// # If dropped
    /// Nothing happens.
    pub fn readable(&self) -> Ready<'_> {
        self.ready(Direction::Read)
    }

    /// Waits for room to write, or an error; see [`ready`](Source::ready).
    ///
    /// # Errors
    /// As for [`ready`](Source::ready).
    ///
    /// # If dropped
    /// Nothing happens.
    pub fn writable(&self) -> Ready<'_> {
        self.ready(Direction::Write)
    }
}

/// Waits for a direction of a source; see [`Source::ready`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Ready<'a> {
    registered: &'a Registered,
    direction: Direction,
    /// Its number among the waiters, once it waits.
    id: Option<u64>,
}

impl Ready<'_> {
    /// Has it wait. Ready if it need not, or with an error.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Registered { inner, state } = self.registered;
        inner.check()?;
        let crowd = state.crowd();
        // Cloned and dropped outside of the borrow: both may be foreign code.
        let waker = cx.waker().clone();
        let old = crowd.put(self.direction, &mut self.id, waker);
        if old.is_none() {
            state.raise(CROWDED);
            inner.waiting.set(inner.waiting.get() + 1);
        }
        old.into_iter().for_each(drop_contained);
        state.arm(inner)?;
        // What was called on the way is foreign, and may have brought the event before this was in
        // its place. If it has closed the reactor, that has woken this.
        if state.is_known_ready(self.direction) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// It does not wait any more.
    fn leave(&mut self) {
        let Some(id) = self.id.take() else { return };
        let Registered { inner, state } = self.registered;
        let Some(waker) = state.crowd().remove(self.direction, id) else { return };
        state.note_crowd();
        inner.waiting.set(inner.waiting.get() - 1);
        drop_contained(waker);
    }
}

impl Future for Ready<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(budget::poll_left(cx));
        let is_ready = self.registered.state.is_known_ready(self.direction);
        let result = if is_ready { Ok(()) } else { ready!(self.wait(cx)) };
        self.leave();
        budget::spend_call();
        Poll::Ready(result)
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Ready<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("direction", &self.direction).finish_non_exhaustive()
    }
}
