//! How a task begins to wait for a direction of a source, and how it is woken.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use picot_context::{Kind, Origin, Waits, budget, contain};

use super::state::{HAS_OTHERS, MAY_ASSUME, NEEDS_ARMING, State};
use super::{Registered, Source};
use crate::describe::describe;
use crate::foreign::{contain_wake, drop_contained};
use crate::inner::Inner;
use crate::ready::{Direction, Readiness};
use crate::waiter::{OtherWaiters, Slot, Taken};

impl State {
    /// The other waiters, allocated on first use.
    pub(super) fn others(&self) -> &OtherWaiters {
        if self.others.get().is_none() {
            // The allocator is foreign code and may come here itself. Then the cell is set already,
            // and `set` drops the second box.
            let _ = self.others.set(Box::default());
        }
        self.others.get().expect("the cell was set above")
    }

    #[inline]
    pub(super) fn slot(&self, direction: Direction) -> &Slot {
        match direction {
            Direction::Read => &self.readers,
            Direction::Write => &self.writers,
            Direction::Priority => &self.others().urgent,
        }
    }

    /// Wakes the waiters of each ready direction, and arms the source for those that still wait.
    ///
    /// A waker that panics is reported, and the others are woken.
    #[inline(never)]
    pub(crate) fn wake(&self, inner: &Inner, reported: Readiness) {
        if self.has(NEEDS_ARMING) {
            self.event_disarmed(inner, reported);
        }
        self.enqueue();
        self.wake_directions(inner, self.readiness.get());
        let armed = contain::call(|| Origin::new(Kind::Loop), || self.arm(inner));
        if !matches!(armed, Some(Ok(()))) {
            // Not armed, so no event would wake the remaining waiters. Woken, they try, and get the
            // error.
            self.wake_directions(inner, Readiness::EVERY_DIRECTION);
        }
    }

    /// Wakes all waiters of a source whose reactor was closed.
    pub(crate) fn wake_closed(&self, inner: &Inner) {
        self.enqueue();
        self.wake_directions(inner, Readiness::EVERY_DIRECTION);
    }

    /// Wakes all waiters of these directions.
    pub(super) fn wake_directions(&self, inner: &Inner, directions: Readiness) {
        let _hold = inner.retired.hold();
        for direction in Direction::ALL {
            let bit = Readiness::of(direction);
            if !directions.contains(bit) {
                continue;
            }
            let mut taken = self.others.get().map_or_else(Taken::default, |others| others.take(direction));
            // The counts are right before any waker is called: it may read them, or wait again.
            inner.waiting.set(inner.waiting.get() - taken.count);
            for waiter in taken.displaced.drain(..) {
                contain_wake(|| waiter.waker.wake_by_ref());
                // It was in a slot, so a call further up the stack may still use it.
                inner.retired.add(waiter.waker);
            }
            if self.has(bit.bits()) {
                self.clear_flag(bit.bits());
                inner.waiting.set(inner.waiting.get() - 1);
                // SAFETY: `_hold` keeps wakers that leave their slots alive.
                let waker = unsafe { self.slot(direction).lend() };
                contain_wake(|| waker.wake_by_ref());
            }
            taken.futures().for_each(|waker| _ = contain_wake(|| waker.wake()));
        }
        self.update_others_flag();
    }

    /// Updates the flag that shows whether other waiters exist, so that an event need not look
    /// there.
    pub(super) fn update_others_flag(&self) {
        let others = self.others.get();
        if others.is_some_and(|others| Direction::ALL.iter().any(|&direction| others.waits(direction))) {
            self.set_flag(HAS_OTHERS);
        } else {
            self.clear_flag(HAS_OTHERS);
        }
    }

    /// Makes the task of `cx` wait for a direction. Ready only with an error.
    ///
    /// Only the fast path is inlined: a task that waited here before and was woken since.
    #[inline]
    pub(super) fn wait_polling<R>(
        &self,
        inner: &Inner,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        if self.wait_fast(inner, direction, cx) { Poll::Pending } else { self.wait_slow(inner, direction, cx) }
    }

    /// Makes the task of `cx` wait if the slot still has its waker. Returns false if it does not,
    /// or if a flag requires the slow path.
    #[inline]
    pub(super) fn wait_fast(&self, inner: &Inner, direction: Direction, cx: &Context<'_>) -> bool {
        let (flags, bit) = (self.flags.get(), Readiness::of(direction).bits());
        if flags & (bit | NEEDS_ARMING | MAY_ASSUME) != 0 || !self.slot(direction).wakes_like(cx.waker()) {
            return false;
        }
        self.flags.set(flags | bit);
        inner.waiting.set(inner.waiting.get() + 1);
        true
    }

    /// As [`wait_polling`](State::wait_polling), for every other case.
    #[inline(never)]
    pub(super) fn wait_slow<R>(
        &self,
        inner: &Inner,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        self.update_assumed();
        let waited = inner.check().and_then(|()| {
            self.enter_slot(inner, direction, cx.waker());
            self.arm(inner)
        });
        if let Err(error) = waited {
            ready!(budget::poll_left(cx));
            budget::spend_call();
            return Poll::Ready(Err(error));
        }
        // Foreign code has run: the clone and the drop of a waker, and the allocator. It may have
        // received the event, or closed the reactor, before this task was in its slot. Check again,
        // or the wake is lost.
        if self.is_known_ready(direction) || inner.is_closed() {
            self.wake_directions(inner, Readiness::of(direction));
        }
        Poll::Pending
    }

    /// Puts a waker into the slot. If another task waits there, its waker is displaced, and an
    /// event wakes both.
    pub(super) fn enter_slot(&self, inner: &Inner, direction: Direction, waker: &Waker) {
        let (slot, bit) = (self.slot(direction), Readiness::of(direction).bits());
        if slot.wakes_like(waker) {
            self.mark_waiting(inner, bit);
            return;
        }
        // Foreign code: the clone. It runs first, because the flag that is tested next must not
        // change before the slot does.
        let waker = waker.clone();
        if !self.has(bit) {
            let old = slot.replace(waker);
            self.mark_waiting(inner, bit);
            inner.retired.add(old);
            return;
        }
        // Foreign code may run here: the allocator.
        let others = self.others();
        let removed = others.remove_displaced(direction, &waker);
        let task = slot.task();
        let oldest = others.displace(direction, slot.replace(waker), task);
        self.set_flag(HAS_OTHERS);
        self.mark_waiting(inner, bit);
        // The displaced waker counts as a further waiter, a removed or evicted one no longer.
        let [gone, came] = [removed.is_some() || oldest.is_some(), true].map(usize::from);
        inner.waiting.set(inner.waiting.get() + came - gone);
        removed.into_iter().for_each(|waker| inner.retired.add(waker));
        if let Some(oldest) = oldest {
            contain_wake(|| oldest.wake_by_ref());
            inner.retired.add(oldest);
        }
    }

    /// Marks that a task waits in this direction by polling, and counts it.
    pub(super) fn mark_waiting(&self, inner: &Inner, bit: u8) {
        if !self.has(bit) {
            self.set_flag(bit);
            inner.waiting.set(inner.waiting.get() + 1);
        }
    }

    /// Adds what the waiters of this source wait for, for a report. `directions` are those of a
    /// task that polls.
    pub(crate) fn add_waits(&self, waits: &mut Waits) {
        for direction in Direction::ALL {
            let polls = self.has(Readiness::of(direction).bits());
            let polling = polls.then(|| self.slot(direction).task());
            let others = self.others.get().map_or_else(Vec::new, |others| others.tasks(direction));
            for task in polling.into_iter().chain(others) {
                waits.add(task, describe(self.io(), direction));
            }
        }
    }

    /// Ends a registration that has other waiters. Out of line, because few sources have any.
    #[cold]
    pub(super) fn delete_with_others(&self, inner: &Inner, others: &OtherWaiters, polled: [Waker; 2]) {
        let left = Direction::ALL.map(|direction| others.take(direction));
        let count: usize = left.iter().map(|taken| taken.count).sum();
        inner.waiting.set(inner.waiting.get() - count);
        // All waiters are out and uncounted. From here on foreign code runs: the driver, and the
        // destructors of wakers.
        let urgent = others.urgent.empty();
        self.delete(inner);
        polled.into_iter().chain([urgent]).for_each(|waker| inner.retired.add(waker));
        // `Ready` futures borrow the source, so the ones that are left here were leaked.
        for mut taken in left {
            taken.displaced.drain(..).for_each(|waiter| inner.retired.add(waiter.waker));
            taken.futures().for_each(drop_contained);
        }
    }
}

impl<T> Source<T> {
    /// Waits until an event has reported the direction as ready.
    ///
    /// It is a hint: an operation may still return "would block". [`try_io`](Source::try_io) then
    /// clears the readiness, and this waits again. Any number of futures may wait. It spends the
    /// task's [budget], so that a task whose object is always ready lets others run.
    ///
    /// # Errors
    /// If the driver cannot be asked for readiness, or the reactor is closed.
    ///
    /// # If dropped
    /// Nothing happens.
    ///
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
    /// assert!(other.as_mut().poll(&mut cx).is_ready(), "the event woke both");
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn ready(&self, direction: Direction) -> Ready<'_> {
        Ready { registered: &self.registered, wait: Wait::new(direction) }
    }

    /// As [`ready`](Source::ready), for a wait that owns its source, so that a struct or a task can
    /// keep it.
    ///
    /// The source and its object stay open while the wait exists.
    ///
    /// # Errors
    /// As [`ready`](Source::ready).
    ///
    /// # If dropped
    /// Nothing happens.
    ///
    /// ```
    /// use std::net::UdpSocket;
    /// use std::rc::Rc;
    /// use picot_reactor::{Direction, Reactor, ReadyOwned, Source};
    ///
    /// /// Keeps a wait between its polls.
    /// struct Sender {
    ///     socket: Rc<Source<UdpSocket>>,
    ///     wait: Option<ReadyOwned<UdpSocket>>,
    /// }
    ///
    /// let reactor = Reactor::new()?;
    /// let socket = Rc::new(reactor.register(UdpSocket::bind("127.0.0.1:0")?)?);
    /// let wait = Some(socket.ready_owned(Direction::Write));
    /// let sender = Sender { socket, wait };
    /// # drop((sender.wait, sender.socket));
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "readable_owned")]
    pub fn ready_owned(self: &Rc<Self>, direction: Direction) -> ReadyOwned<T> {
        ReadyOwned { source: self.clone(), wait: Wait::new(direction) }
    }

    /// Waits for data, an end or an error to read; see [`ready`](Source::ready).
    ///
    /// # Errors
    /// As [`ready`](Source::ready).
    ///
    /// # If dropped
    /// Nothing happens.
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// # let reactor = picot_reactor::Reactor::new()?;
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_nonblocking(true)?;
    /// let source = reactor.register(socket)?;
    /// source.readable().await?;
    /// source.get_ref().recv(&mut [0; 64])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn readable(&self) -> Ready<'_> {
        self.ready(Direction::Read)
    }

    /// Waits for room to write, or for an error; see [`ready`](Source::ready).
    ///
    /// # Errors
    /// As [`ready`](Source::ready).
    ///
    /// # If dropped
    /// Nothing happens.
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// # let reactor = picot_reactor::Reactor::new()?;
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_nonblocking(true)?;
    /// let source = reactor.register(socket)?;
    /// source.writable().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn writable(&self) -> Ready<'_> {
        self.ready(Direction::Write)
    }
}

/// A wait for a direction of a source; made by [`Source::ready`].
///
/// ```
/// use std::pin::pin;
/// use std::task::{Context, Waker};
/// use picot_reactor::{Direction, Reactor, Ready};
///
/// let reactor = Reactor::new()?;
/// let source = reactor.register(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
/// let mut wait: std::pin::Pin<&mut Ready<'_>> = pin!(source.ready(Direction::Write));
/// let mut cx = Context::from_waker(Waker::noop());
/// while wait.as_mut().poll(&mut cx).is_pending() {
///     reactor.wait(None)?;
/// }
/// # std::io::Result::Ok(())
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Ready<'a> {
    registered: &'a Registered,
    wait: Wait,
}

impl Future for Ready<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let registered = self.registered;
        self.wait.poll(registered, cx)
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        self.wait.leave(self.registered);
    }
}

impl fmt::Debug for Ready<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("direction", &self.wait.direction).finish_non_exhaustive()
    }
}

/// A wait for a direction of a source that it owns a share of; made by [`Source::ready_owned`].
///
/// ```
/// use std::pin::pin;
/// use std::rc::Rc;
/// use std::task::{Context, Waker};
/// use picot_reactor::{Direction, Reactor};
///
/// let reactor = Reactor::new()?;
/// let source = Rc::new(reactor.register(std::net::UdpSocket::bind("127.0.0.1:0")?)?);
/// let mut wait = pin!(source.ready_owned(Direction::Write));
/// drop(source); // the wait keeps it
/// let mut cx = Context::from_waker(Waker::noop());
/// while wait.as_mut().poll(&mut cx).is_pending() {
///     reactor.wait(None)?;
/// }
/// # std::io::Result::Ok(())
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct ReadyOwned<T> {
    source: Rc<Source<T>>,
    wait: Wait,
}

impl<T> Future for ReadyOwned<T> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ReadyOwned { source, wait } = &mut *self;
        wait.poll(&source.registered, cx)
    }
}

impl<T> Drop for ReadyOwned<T> {
    fn drop(&mut self) {
        // Before the share of the source, which may be the last one.
        self.wait.leave(&self.source.registered);
    }
}

impl<T> fmt::Debug for ReadyOwned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyOwned").field("direction", &self.wait.direction).finish_non_exhaustive()
    }
}

/// A wait among those of a source, which its owner passes to each call.
struct Wait {
    direction: Direction,
    /// The id among the waiters, once it waits.
    id: Option<u64>,
}

impl Wait {
    fn new(direction: Direction) -> Wait {
        Wait { direction, id: None }
    }

    fn poll(&mut self, registered: &Registered, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(budget::poll_left(cx));
        let is_ready = registered.state.is_known_ready(self.direction);
        let result = if is_ready { Ok(()) } else { ready!(self.begin(registered, cx)) };
        self.leave(registered);
        budget::spend_call();
        Poll::Ready(result)
    }

    /// Begins to wait, or updates the waker. Ready if the direction is ready now, or with an error.
    fn begin(&mut self, registered: &Registered, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Registered { inner, state } = registered;
        inner.check()?;
        let others = state.others();
        // Foreign code: the clone here, and the drop of the old waker below. Nothing is borrowed.
        let waker = cx.waker().clone();
        let old = others.put(self.direction, &mut self.id, waker);
        if old.is_none() {
            state.set_flag(HAS_OTHERS);
            inner.waiting.set(inner.waiting.get() + 1);
        }
        old.into_iter().for_each(drop_contained);
        state.arm(inner)?;
        // The foreign code above may have received the event before this future was among the
        // waiters. Check again, or the wake is lost. If it closed the reactor, that woke this
        // future.
        if state.is_known_ready(self.direction) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Stops waiting. Does nothing if an event has taken the future out already.
    fn leave(&mut self, registered: &Registered) {
        let Some(id) = self.id.take() else { return };
        let Registered { inner, state } = registered;
        let Some(waker) = state.others().remove(self.direction, id) else { return };
        state.update_others_flag();
        inner.waiting.set(inner.waiting.get() - 1);
        drop_contained(waker);
    }
}
