//! Sources: an I/O object with what is known of its readiness, and who waits for it.
//!
//! The invariants: readiness is set by events and by `assume_ready`, and cleared only after an operation has said "would
//! block" (or has moved less than it could, where that means the same); whoever waits in a direction is woken when it
//! becomes ready; dropping a source takes it out of the table and the kernel's set before its object is closed.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use picot_context::{Kind, Origin, Report, budget};

use crate::key::Key;
use crate::pollable::{BorrowedIo, Pollable, RawIo, raw};
use crate::reactor::Inner;
use crate::ready::{Direction, Readiness};

/// An I/O object that is registered with a reactor.
///
/// Operations that move data go through [`try_io`](Source::try_io) or [`poll_io`](Source::poll_io), which keep the
/// readiness up to date.
pub struct Source<T> {
    // In this order: it is deregistered first, and closed second.
    registered: Registered,
    io: T,
}

struct Registered {
    inner: Rc<Inner>,
    state: Rc<State>,
}

/// What the reactor knows of a source.
pub(crate) struct State {
    key: Key,
    /// The number of the object, which is open for as long as the source is registered.
    raw: RawIo,
    membership: Cell<Membership>,
    readiness: Cell<Readiness>,
    /// The directions that were asked for by a try. Where events must be asked for, this counts as waiting.
    tried: Cell<Readiness>,
    /// The directions that a task waits for by polling, and those that futures wait for.
    polling: Cell<Readiness>,
    crowded: Cell<Readiness>,
    readers: Waiters,
    writers: Waiters,
    urgent: Waiters,
    /// The source has been dropped; events that are still on their way are for nobody.
    gone: Cell<bool>,
}

/// What the driver's set has of a source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// It cannot be polled at all, and so is always ready.
    Never,
    /// It is not in the set.
    Out,
    /// It is in the set, armed for these directions.
    In(Readiness),
}

/// Who waits in one direction.
#[derive(Default)]
struct Waiters {
    /// The task that polls. Its waker is kept when it has been woken, because it is likely to wait again.
    polling: Cell<Option<Waker>>,
    /// The others: each a future of its own.
    others: RefCell<Vec<(u64, Waker)>>,
    last_id: Cell<u64>,
}

impl State {
    fn new(key: Key, raw: RawIo) -> State {
        State {
            key,
            raw,
            membership: Cell::new(Membership::Out),
            readiness: Cell::new(Readiness::NONE),
            tried: Cell::new(Readiness::NONE),
            polling: Cell::new(Readiness::NONE),
            crowded: Cell::new(Readiness::NONE),
            readers: Waiters::default(),
            writers: Waiters::default(),
            urgent: Waiters::default(),
            gone: Cell::new(false),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(key: Key) -> State {
        State::new(key, RawIo::default())
    }

    /// Registers an object that outlives its registration.
    pub(crate) fn register(inner: &Inner, io: BorrowedIo<'_>) -> io::Result<Rc<State>> {
        // Where there are no edges, it is armed when somebody asks.
        let interest = if inner.is_edge { Readiness::EVERY_DIRECTION } else { Readiness::NONE };
        let key = inner.table.borrow().vacant_key();
        let key = key.ok_or_else(|| io::Error::other("the reactor has no room for more sources"))?;
        let state = Rc::new(State::new(key, raw(io)));
        state.add(inner, interest)?;
        if state.membership.get() == Membership::Never {
            state.readiness.set(Readiness::READABLE | Readiness::WRITABLE | Readiness::ALWAYS);
        }
        inner.table.borrow_mut().insert(state.clone());
        Ok(state)
    }

    /// Puts it into the driver's set.
    fn add(&self, inner: &Inner, interest: Readiness) -> io::Result<()> {
        // SAFETY: `Pollable` promises that the object stays open, and the same, for as long as its owner lives. That is the
        // source, which takes the object out before it closes it or gives it away. A source that is leaked leaks its
        // object, too.
        let result = unsafe { inner.driver.add(self.io(), self.key, interest) };
        self.membership.set(match result {
            Ok(()) => Membership::In(interest),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Membership::Never,
            Err(error) => return Err(error),
        });
        Ok(())
    }

    /// Takes it out of the driver's set.
    fn delete(&self, inner: &Inner) {
        if inner.mark.is_forked() {
            return; // a child shares the set with its parent, where the source is to stay
        }
        if let Membership::In(_) = self.membership.replace(Membership::Out) {
            // It can only fail if the object was taken out behind our back; then there is nothing to do.
            let _ = inner.driver.delete(self.io());
        }
    }

    /// The object.
    fn io(&self) -> BorrowedIo<'_> {
        // SAFETY: This is called while the object is being registered, and while it is in the table; its source takes the
        // state out of there before it closes the object, and `Pollable` promises that it has the same number until then.
        unsafe { BorrowedIo::borrow_raw(self.raw) }
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    fn waiters(&self, direction: Direction) -> &Waiters {
        match direction {
            Direction::Read => &self.readers,
            Direction::Write => &self.writers,
            Direction::Priority => &self.urgent,
        }
    }

    fn is_ready(&self, direction: Direction) -> bool {
        self.readiness.get().contains(Readiness::of(direction))
    }

    fn clear_ready(&self, direction: Direction) {
        let readiness = self.readiness.get();
        if !readiness.contains(Readiness::ALWAYS) {
            self.readiness.set(readiness.without(Readiness::of(direction)));
        }
    }

    /// Notes an event. Calls nobody.
    #[inline]
    pub(crate) fn note(&self, inner: &Inner, readiness: Readiness) {
        self.readiness.set(self.readiness.get() | readiness);
        if !inner.is_edge {
            self.note_disarmed(inner, readiness);
        }
    }

    #[cold]
    fn note_disarmed(&self, inner: &Inner, readiness: Readiness) {
        self.tried.set(self.tried.get().without(readiness));
        // The event has disarmed the source. If it was a hang-up it leaves the set, as some backends tell that in every
        // wait, also while nobody asks.
        if readiness.is_hangup() {
            self.delete(inner);
        } else {
            self.membership.set(Membership::In(Readiness::NONE));
        }
    }

    /// Wakes whoever waits in a direction that is ready now, and arms the source for those who wait on. A waker may panic
    /// out of this; called again, it goes on with the others.
    #[inline]
    pub(crate) fn wake(&self, inner: &Inner) {
        self.wake_those(inner, self.readiness.get());
        if self.arm(inner).is_err() {
            // Nobody would tell them. So they try, and find out.
            self.wake_those(inner, Readiness::EVERY_DIRECTION);
        }
    }

    /// Wakes whoever waits in one of these directions. Nearly always that is one task, which waits to read.
    #[inline]
    fn wake_those(&self, inner: &Inner, directions: Readiness) {
        let polling = self.polling.get();
        if directions.contains(Readiness::READABLE) && polling.contains(Readiness::READABLE) {
            self.polling.set(polling.without(Readiness::READABLE));
            self.wake_polling(inner, &self.readers);
        }
        if directions.intersects(self.polling.get() | self.crowded.get()) {
            self.wake_rest(inner, directions);
        }
    }

    #[inline(never)]
    fn wake_rest(&self, inner: &Inner, directions: Readiness) {
        for direction in Direction::ALL {
            let bit = Readiness::of(direction);
            if directions.contains(bit) {
                self.wake_direction(inner, bit, self.waiters(direction));
            }
        }
    }

    fn wake_direction(&self, inner: &Inner, bit: Readiness, waiters: &Waiters) {
        let polling = self.polling.get();
        if polling.contains(bit) {
            self.polling.set(polling.without(bit));
            self.wake_polling(inner, waiters);
        }
        let crowded = self.crowded.get();
        if crowded.contains(bit) {
            self.crowded.set(crowded.without(bit));
            self.wake_others(inner, waiters);
        }
    }

    #[inline]
    fn wake_polling(&self, inner: &Inner, waiters: &Waiters) {
        inner.waiting.set(inner.waiting.get() - 1);
        let Some(waker) = waiters.polling.take() else { return };
        // It may panic: whoever called contains that, and calls again for the others.
        waker.wake_by_ref();
        // Kept, unless the woken code has put another one there or is done with the source.
        let newer = waiters.polling.take();
        if newer.is_none() && !self.gone.get() {
            waiters.polling.set(Some(waker));
        } else {
            waiters.polling.set(newer);
            drop_contained(waker);
        }
    }

    fn wake_others(&self, inner: &Inner, waiters: &Waiters) {
        let others = waiters.others.take();
        inner.waiting.set(inner.waiting.get() - others.len());
        for (_, waker) in others {
            contain(|| waker.wake());
        }
    }

    /// Asks the driver for the directions that are waited for or were tried, where it must be asked.
    #[inline]
    fn arm(&self, inner: &Inner) -> io::Result<()> {
        if inner.is_edge { Ok(()) } else { self.arm_again(inner) }
    }

    #[cold]
    fn arm_again(&self, inner: &Inner) -> io::Result<()> {
        let interest = self.tried.get() | self.polling.get() | self.crowded.get();
        if self.gone.get() || interest == Readiness::NONE {
            return Ok(());
        }
        match self.membership.get() {
            Membership::Never => Ok(()),
            Membership::In(armed) if armed == interest => Ok(()),
            Membership::In(_) => {
                inner.driver.modify(self.io(), self.key, interest)?;
                self.membership.set(Membership::In(interest));
                Ok(())
            }
            Membership::Out => self.add(inner, interest),
        }
    }

    /// An operation was tried, or was not because it would have blocked.
    fn would_block(&self, inner: &Inner, direction: Direction) -> io::Result<()> {
        self.clear_ready(direction);
        if inner.is_edge {
            return Ok(());
        }
        self.tried.set(self.tried.get() | Readiness::of(direction));
        self.arm_again(inner)
    }

    /// The task of `cx` waits for a direction, instead of whichever has polled it before. Ready only with an error.
    #[inline]
    fn wait_polling(&self, inner: &Inner, direction: Direction, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let waiters = self.waiters(direction);
        match waiters.polling.take() {
            Some(known) if known.will_wake(cx.waker()) => waiters.polling.set(Some(known)),
            other => waiters.change(other, cx.waker()),
        }
        let polling = self.polling.get();
        if !polling.contains(Readiness::of(direction)) {
            self.polling.set(polling | Readiness::of(direction));
            inner.waiting.set(inner.waiting.get() + 1);
        }
        match self.arm(inner) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Waiters {
    /// Another task polls than the one before, if there was one. Cloning and dropping wakers may be anybody's code.
    #[cold]
    fn change(&self, old: Option<Waker>, new: &Waker) {
        old.into_iter().for_each(drop_contained);
        let old = self.polling.replace(Some(new.clone()));
        old.into_iter().for_each(drop_contained);
    }

    /// Takes all of them out. Futures of `ready` borrow the source, so where it goes there are only such as were leaked.
    fn take(&self) -> (Option<Waker>, Vec<(u64, Waker)>) {
        (self.polling.take(), self.others.take())
    }
}

/// Errors after which an operation is tried again.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cold]
fn drop_contained(waker: Waker) {
    contain(|| drop(waker));
}

/// Wakers are anybody's code. Returns whether this one has panicked, which is reported then.
pub(crate) fn contain(wake: impl FnOnce()) -> bool {
    let Err(payload) = picot_context::catch(wake) else { return false };
    if let Some(host) = picot_context::host() {
        host.report(Report::panic(Origin::new(Kind::Waker), payload));
    }
    true
}

impl Drop for Registered {
    fn drop(&mut self) {
        let Registered { inner, state } = self;
        state.gone.set(true);
        let removed = inner.table.borrow_mut().remove(state.key);
        state.delete(inner);
        // Nobody waits any more, also for a wait that has collected an event of it and has yet to wake. All of that is so
        // before the first waker is dropped: what it drops with it may be anybody's code.
        let (polling, mut waiters) =
            (state.polling.take(), Direction::ALL.map(|direction| state.waiters(direction).take()));
        state.crowded.set(Readiness::NONE);
        let polling =
            Direction::ALL.into_iter().filter(|direction| polling.contains(Readiness::of(*direction))).count();
        let others: usize = waiters.iter().map(|(_, others)| others.len()).sum();
        inner.waiting.set(inner.waiting.get() - polling - others);
        for (polling, others) in &mut waiters {
            polling.take().into_iter().chain(others.drain(..).map(|(_, waker)| waker)).for_each(drop_contained);
        }
        drop(removed);
    }
}

impl<T> Source<T> {
    pub(crate) fn new(inner: Rc<Inner>, state: Rc<State>, io: T) -> Source<T> {
        Source { registered: Registered { inner, state }, io }
    }

    fn state(&self) -> &State {
        &self.registered.state
    }

    /// The I/O object. What is done with it directly does not bring the readiness up to date.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Deregisters the I/O object and gives it back.
    pub fn into_inner(self) -> T {
        let Source { registered, io } = self;
        drop(registered);
        io
    }

    /// Takes a direction to be ready, until an operation finds that it is not. For objects that probably are: an accepted
    /// connection has its first data soon, a connected one can be written to.
    pub fn assume_ready(&self, direction: Direction) {
        let state = self.state();
        state.readiness.set(state.readiness.get() | Readiness::of(direction));
        state.tried.set(state.tried.get().without(Readiness::of(direction)));
    }

    /// What is known of the object, as far as events and operations have told.
    pub fn known(&self) -> Readiness {
        self.state().readiness.get().without(Readiness::ALWAYS)
    }

    /// Whether the peer has closed its side or the connection, or there was an error, as far as events have told. Once
    /// true it stays; [`known`](Source::known) says which.
    pub fn is_hung_up(&self) -> bool {
        self.known().is_hangup()
    }

    /// Tries `operation` if the direction is ready as far as is known. If it says [`WouldBlock`](io::ErrorKind::WouldBlock),
    /// the direction is known not to be ready, and is the next time it becomes so.
    ///
    /// # Errors
    /// What `operation` says, and `WouldBlock` without calling it if the direction is not ready. If readiness cannot be
    /// asked for, that error.
    pub fn try_io<R>(&self, direction: Direction, operation: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        let Registered { inner, state } = &self.registered;
        if !state.is_ready(direction) {
            state.would_block(inner, direction)?;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = operation(&self.io);
        if let Err(error) = &result {
            if error.kind() == io::ErrorKind::WouldBlock {
                state.would_block(inner, direction)?;
            }
        }
        result
    }

    /// Does `operation` as soon as the direction is ready; until then the task of `cx` waits. It is tried again if it says
    /// that it would block or was interrupted. It spends the task's [budget].
    ///
    /// This is for the traits that poll: there is one such waiter a direction, and the last to poll is the one. Others use
    /// [`ready`](Source::ready).
    ///
    /// # Errors
    /// What `operation` says. If readiness cannot be asked for, that error.
    #[inline]
    pub fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        ready!(budget::poll_left(cx));
        let Registered { inner, state } = &self.registered;
        if !state.is_ready(direction) {
            ready!(state.wait_polling(inner, direction, cx))?;
        }
        let result = match operation(&self.io) {
            Err(error) if is_passing(&error) => ready!(self.poll_again(cx, direction, &mut operation, error)),
            result => result,
        };
        budget::spend();
        Poll::Ready(result)
    }

    /// [`poll_io`](Source::poll_io) for an operation that moves up to `length` bytes over a stream socket. If it moves
    /// fewer (but some), the kernel has no more, or has no more room; where that can be relied upon, the call that would
    /// only find out is saved.
    ///
    /// Only for stream sockets: of terminals and datagrams it is not true.
    ///
    /// # Errors
    /// As for [`poll_io`](Source::poll_io).
    #[inline]
    pub fn poll_transfer(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        length: usize,
        mut operation: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        ready!(budget::poll_left(cx));
        let Registered { inner, state } = &self.registered;
        if !state.is_ready(direction) {
            ready!(state.wait_polling(inner, direction, cx))?;
        }
        let result = match operation(&self.io) {
            Err(error) if is_passing(&error) => ready!(self.poll_again(cx, direction, &mut operation, error)),
            result => result,
        };
        if let Ok(moved) = result {
            // After a hang-up there may be no further edge: then only "would block" counts.
            let partial = 0 < moved && moved < length;
            if partial && inner.trusts_partial_transfers && !state.readiness.get().is_hangup() {
                state.clear_ready(direction);
            }
        }
        budget::spend();
        Poll::Ready(result)
    }

    /// The rest of an operation that said that it would block, or was interrupted. It spends nothing.
    #[cold]
    fn poll_again<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        operation: &mut impl FnMut(&T) -> io::Result<R>,
        mut error: io::Error,
    ) -> Poll<io::Result<R>> {
        let Registered { inner, state } = &self.registered;
        loop {
            if error.kind() == io::ErrorKind::WouldBlock {
                state.clear_ready(direction);
                ready!(state.wait_polling(inner, direction, cx))?;
            }
            match operation(&self.io) {
                Err(again) if is_passing(&again) => error = again,
                result => return Poll::Ready(result),
            }
        }
    }

    /// Ready when the direction is, as far as is known; until then the task of `cx` waits. See [`poll_io`](Source::poll_io)
    /// on who that is. It neither asks for the task's [budget] nor spends of it: that is up to whoever does the operation.
    ///
    /// # Errors
    /// If readiness cannot be asked for.
    pub fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        let state = self.state();
        if state.is_ready(direction) {
            return Poll::Ready(Ok(()));
        }
        state.wait_polling(&self.registered.inner, direction, cx)
    }

    /// Waits until the direction is ready, as far as is known. It is a hint: an operation may still say that it would
    /// block, after which [`try_io`](Source::try_io) knows better and this waits again. Any number of futures may wait. It
    /// spends the task's [budget], so that a task whose object is always ready lets the others run.
    ///
    /// # Errors
    /// If readiness cannot be asked for.
    ///
    /// # If dropped
    /// Nothing happens.
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

impl<T: Pollable> AsRef<T> for Source<T> {
    fn as_ref(&self) -> &T {
        &self.io
    }
}

impl<T: fmt::Debug> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("io", &self.io).finish_non_exhaustive()
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

impl Future for Ready<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(budget::poll_left(cx));
        let Registered { inner, state } = self.registered;
        if state.is_ready(self.direction) {
            budget::spend();
            return Poll::Ready(Ok(()));
        }
        let waiters = state.waiters(self.direction);
        let id = *self.id.get_or_insert_with(|| {
            waiters.last_id.set(waiters.last_id.get() + 1);
            waiters.last_id.get()
        });
        // Cloned and dropped outside of the borrow: both may be anybody's code.
        let waker = cx.waker().clone();
        let mut others = waiters.others.borrow_mut();
        let old = match others.iter_mut().find(|(other, _)| *other == id) {
            Some((_, old)) => Some(std::mem::replace(old, waker)),
            None => {
                others.push((id, waker));
                state.crowded.set(state.crowded.get() | Readiness::of(self.direction));
                inner.waiting.set(inner.waiting.get() + 1);
                None
            }
        };
        drop(others);
        old.into_iter().for_each(drop_contained);
        match state.arm(inner) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let Registered { inner, state } = self.registered;
        let mut others = state.waiters(self.direction).others.borrow_mut();
        let Some(index) = others.iter().position(|(other, _)| *other == id) else { return };
        let waiter = others.remove(index);
        if others.is_empty() {
            state.crowded.set(state.crowded.get().without(Readiness::of(self.direction)));
        }
        inner.waiting.set(inner.waiting.get() - 1);
        drop(others);
        drop_contained(waiter.1);
    }
}

impl fmt::Debug for Ready<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("direction", &self.direction).finish_non_exhaustive()
    }
}
