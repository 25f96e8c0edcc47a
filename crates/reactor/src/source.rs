//! Sources: an I/O object with what is known of its readiness, and its waiters.
//!
//! The invariants: readiness is set by events and by `assume_ready`, and cleared only after an
//! operation has said "would block" (or has moved less than it could, where the owner vouches that
//! this means the same); every waiter of a direction is woken when it becomes ready; dropping a
//! source takes it out of the table and the kernel's set before its object is closed.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use picot_context::{Kind, Origin, budget, contain};

use crate::key::Key;
use crate::pollable::{BorrowedIo, Pollable, RawIo, raw};
use crate::reactor::Inner;
use crate::ready::{Direction, Readiness};
use crate::ready_list::{List, ReadyList};
use crate::waiter::{Crowd, Slot, Taken};

/// An I/O object that is registered with a reactor.
///
/// Operations that move data go through [`try_io`](Source::try_io) or [`poll_io`](Source::poll_io), which keep the
/// readiness up to date.
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
/// let mut buffer = [0; 16];
/// let mut read = || source.try_io(Direction::Read, |mut stream| stream.read(&mut buffer));
/// assert_eq!(read().unwrap_err().kind(), ErrorKind::WouldBlock);
///
/// peer.write_all(b"hello")?;
/// while !source.known().contains(picot_reactor::Readiness::READABLE) {
///     reactor.wait(None)?;
/// }
/// assert_eq!(read()?, 5);
/// # Ok(())
/// # }
/// # #[cfg(not(unix))]
/// # fn main() {}
/// ```
pub struct Source<T> {
    // In this order: it is deregistered first, and closed second.
    registered: Registered,
    io: T,
}

/// A registration. Dropping it undoes it, whatever of it was done.
pub(crate) struct Registered {
    inner: Rc<Inner>,
    state: Rc<State>,
}

/// What the reactor knows of a source. It is small, because there is one for each idle connection.
pub(crate) struct State {
    key: Cell<Key>,
    readers: Slot,
    writers: Slot,
    /// Made for the first future that waits here.
    crowd: OnceCell<Box<Crowd>>,
    /// The ready list that it is in, if so, and its token there.
    list: OnceCell<Rc<List>>,
    token: Cell<usize>,
    /// The number of the object, which is open for as long as the source is registered.
    raw: RawIo,
    readiness: Cell<Readiness>,
    /// The directions that a task waits for by polling, in the bits of their readiness, and the ones below.
    flags: Cell<u8>,
    asked: Cell<Asked>,
}

/// What matters only where events must be asked for. In a byte, so that a source has no padding.
#[derive(Clone, Copy, Default)]
struct Asked(u8);

impl Asked {
    /// The directions that were asked for by a try, which counts as waiting.
    fn tried(self) -> Readiness {
        Readiness::of_directions(self.0)
    }

    /// The directions that the driver's set has the source armed for.
    fn armed(self) -> Readiness {
        Readiness::of_directions(self.0 >> 3)
    }

    fn with_tried(self, tried: Readiness) -> Asked {
        Asked(self.0 & 0b111000 | tried.bits() & 0b111)
    }

    fn with_armed(self, armed: Readiness) -> Asked {
        Asked(self.0 & 0b111 | (armed.bits() & 0b111) << 3)
    }
}

/// There may be waiters beside the tasks that poll.
const CROWDED: u8 = 8;
/// Events must be asked for, or there are none any more. Either way a waiter takes the long way.
const ASKS: u8 = 16;
/// It is in the driver's set.
const IS_IN: u8 = 32;
/// A direction may be assumed to be ready. So an operation takes the long way, where that is looked
/// up.
const ASSUMES: u8 = 64;
/// The owner of its ready list, if there is one, has seen all that has happened: what happens next is to be listed.
const SEEN: u8 = 128;

/// Whom an event is for, once it is noted.
pub(crate) enum Told {
    Nobody,
    /// The task that waits to read, by the waker that its slot has lent.
    Reader(ManuallyDrop<Waker>),
    /// The owner of a ready list that was empty.
    Owner(Rc<List>),
    /// To be found out by [`State::wake`].
    Others(Rc<State>),
}

impl State {
    fn new(raw: RawIo) -> State {
        State {
            key: Cell::new(Key::NONE),
            readers: Slot::default(),
            writers: Slot::default(),
            crowd: OnceCell::new(),
            list: OnceCell::new(),
            token: Cell::new(0),
            raw,
            readiness: Cell::new(Readiness::NONE),
            flags: Cell::new(0),
            asked: Cell::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> State {
        State::new(RawIo::default())
    }

    /// Registers an object that outlives its registration.
    pub(crate) fn register(inner: &Rc<Inner>, io: BorrowedIo<'_>) -> io::Result<Registered> {
        inner.check()?;
        let state = Rc::new(State::new(raw(io)));
        state.readiness.set(Readiness::UNTRUSTED);
        let is_edge = inner.driver.is_edge();
        // In the table first: the driver is foreign code, and may register something itself, which
        // must not get this slot.
        let state = inner.table.insert(state);
        let state = state.ok_or_else(|| io::Error::other("the reactor has no room for more sources"))?;
        // From here on it is undone if the driver refuses or panics.
        let registered = Registered { inner: inner.clone(), state };
        let state = &registered.state;
        if is_edge {
            state.add(inner, Readiness::EVERY_DIRECTION)?;
        } else {
            // It is armed when a waiter asks.
            state.raise(ASKS);
            state.add(inner, Readiness::NONE)?;
        }
        Ok(registered)
    }

    /// Puts it into the driver's set. What cannot be polled at all is always ready.
    fn add(&self, inner: &Inner, interest: Readiness) -> io::Result<()> {
        // A child shares the set with its parent, where an entry of the child's would stay.
        inner.mark.check()?;
        // SAFETY: `Pollable` promises that the object stays open, and the same, for as long as its owner lives. That is the
        // source, which takes the object out before it closes it or gives it away. A source that is leaked leaks its
        // object, too.
        match unsafe { inner.driver.add(self.io(), self.key(), interest) } {
            Ok(()) => {
                self.raise(IS_IN);
                self.asked.set(self.asked.get().with_armed(interest));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.readiness.set(Readiness::READABLE | Readiness::WRITABLE | Readiness::ALWAYS);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes it out of the driver's set.
    fn delete(&self, inner: &Inner) {
        if inner.mark.is_forked() {
            return; // a child shares the set with its parent, where the source is to stay
        }
        if self.has(IS_IN) {
            self.lower(IS_IN);
            // If it fails, events that still come have a key that no source has. A panic must not
            // keep a destructor or an event from doing the rest.
            contain::call(|| Origin::new(Kind::Loop), || _ = inner.driver.delete(self.io()));
        }
    }

    /// The object.
    fn io(&self) -> BorrowedIo<'_> {
        // SAFETY: This is called while the object is being registered, and while it is in the table; its source takes the
        // state out of there before it closes the object, and `Pollable` promises that it has the same number until then.
        unsafe { BorrowedIo::borrow_raw(self.raw) }
    }

    #[inline]
    pub(crate) fn key(&self) -> Key {
        self.key.get()
    }

    pub(crate) fn set_key(&self, key: Key) {
        self.key.set(key);
    }

    #[inline]
    fn has(&self, flag: u8) -> bool {
        self.flags.get() & flag != 0
    }

    #[inline]
    fn raise(&self, flag: u8) {
        self.flags.set(self.flags.get() | flag);
    }

    #[inline]
    fn lower(&self, flag: u8) {
        self.flags.set(self.flags.get() & !flag);
    }

    fn crowd(&self) -> &Crowd {
        if self.crowd.get().is_none() {
            // The allocator is foreign code, and may come here itself; then there is one already.
            let _ = self.crowd.set(Box::default());
        }
        self.crowd.get().expect("the crowd was set above")
    }

    #[inline]
    fn slot(&self, direction: Direction) -> &Slot {
        match direction {
            Direction::Read => &self.readers,
            Direction::Write => &self.writers,
            Direction::Priority => &self.crowd().urgent,
        }
    }

    /// Whether an operation is worth a try: the direction is ready, or taken to be.
    #[inline]
    fn is_ready(&self, direction: Direction) -> bool {
        self.readiness.get().intersects(Readiness::of(direction) | Readiness::assumed(direction))
    }

    /// Whether the direction is ready as far as events and operations have told, which is what
    /// waiters wait for.
    #[inline]
    fn is_known_ready(&self, direction: Direction) -> bool {
        self.readiness.get().contains(Readiness::of(direction))
    }

    #[inline]
    fn clear_ready(&self, direction: Direction) {
        let readiness = self.readiness.get();
        if readiness.contains(Readiness::ALWAYS) {
            return;
        }
        let bit = Readiness::of(direction);
        // The urgent byte was received out of band, but a receive still ends early at the mark that
        // it leaves behind.
        let has_mark = direction == Direction::Priority && readiness.contains(bit);
        let rest = readiness.without(bit | Readiness::assumed(direction));
        self.readiness.set(rest | Readiness::UNTRUSTED.when(has_mark));
    }

    /// Whether a short transfer clears readiness from now on, which it does only where the driver
    /// agrees.
    fn trust(&self, inner: &Inner, is_trusted: bool) {
        let readiness = self.readiness.get().without(Readiness::UNTRUSTED);
        let is_trusted = is_trusted && inner.driver.trusts_partial_transfers();
        self.readiness.set(readiness | Readiness::UNTRUSTED.when(!is_trusted));
    }

    /// Records a transfer of `moved` out of `length` bytes. Where short transfers are trusted, a
    /// short one clears the direction: the kernel has no more data, or no more room.
    ///
    /// Returns whether it was cleared.
    #[inline]
    fn has_moved(&self, direction: Direction, moved: usize, length: usize) -> bool {
        if moved == length || moved == 0 {
            return false;
        }
        let readiness = self.readiness.get();
        if readiness.must_be_tried() {
            return false;
        }
        self.readiness.set(readiness.without(Readiness::of(direction) | Readiness::assumed(direction)));
        true
    }

    /// Notes an event, and says whom it is for. Calls nobody.
    ///
    /// Nearly always that is one task, which waits to read, and does not any more then; or the owner of a ready list.
    ///
    /// # Safety
    /// The reactor must hold what leaves its slot, from before this is called until the waker was.
    #[inline]
    pub(crate) unsafe fn note(self: &Rc<State>, inner: &Inner, news: Readiness) -> Told {
        let readiness = self.readiness.get() | news;
        self.readiness.set(readiness);
        let flags = self.flags.get();
        match flags & (readiness.bits() | CROWDED | ASKS | SEEN) {
            0 => Told::Nobody,
            1 => {
                const _: () = assert!(Readiness::READABLE.bits() == 1);
                self.flags.set(flags & !1);
                inner.waiting.set(inner.waiting.get() - 1);
                // SAFETY: Our caller holds what has left its slot until it has called the waker, and a source empties
                // its slots when it is dropped.
                Told::Reader(unsafe { self.readers.lend() })
            }
            SEEN => {
                let list = self.list.get();
                let was_empty = match list.map(|list| list.add_within_capacity(self.token.get())) {
                    None => false,
                    Some(Some(was_empty)) => was_empty,
                    // The list has to grow, and the allocator is foreign code: `wake` does it.
                    Some(None) => return Told::Others(self.clone()),
                };
                self.flags.set(flags & !SEEN);
                match list {
                    Some(list) if was_empty => Told::Owner(list.clone()),
                    _ => Told::Nobody,
                }
            }
            _ => Told::Others(self.clone()),
        }
    }

    /// Wakes whoever waits in a direction that is ready now, and arms the source for those who wait on. A waker that panics
    /// is reported, and the others are woken all the same.
    #[inline(never)]
    pub(crate) fn wake(&self, inner: &Inner, news: Readiness) {
        if self.has(ASKS) {
            self.note_disarmed(inner, news);
        }
        self.list();
        self.wake_those(inner, self.readiness.get());
        let armed = contain::call(|| Origin::new(Kind::Loop), || self.arm(inner));
        if !matches!(armed, Some(Ok(()))) {
            // No event would wake them. So they try, and find out.
            self.wake_those(inner, Readiness::EVERY_DIRECTION);
        }
    }

    /// The reactor closes: nothing is ready any more, and every operation takes the long way, where
    /// the error is.
    pub(crate) fn close(&self, inner: &Inner) {
        self.readiness.set(self.readiness.get().only(Readiness::STAYS));
        self.raise(ASKS);
        self.delete(inner);
    }

    /// Wakes all waiters of a source that has been closed.
    pub(crate) fn wake_closed(&self, inner: &Inner) {
        self.list();
        self.wake_those(inner, Readiness::EVERY_DIRECTION);
    }

    fn note_disarmed(&self, inner: &Inner, news: Readiness) {
        let asked = self.asked.get();
        self.asked.set(asked.with_tried(asked.tried().without(news)));
        // The event has disarmed the source. If it was a hang-up it leaves the set, as some backends tell that in every
        // wait, also while nobody asks.
        if news.is_hangup() {
            self.delete(inner);
        } else {
            self.asked.set(self.asked.get().with_armed(Readiness::NONE));
        }
    }

    fn wake_those(&self, inner: &Inner, directions: Readiness) {
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

    /// Puts its token into the list, if it is in one and not there, and wakes the owner if that was empty.
    fn list(&self) {
        if !self.has(SEEN) {
            return;
        }
        self.lower(SEEN);
        if let Some(list) = self.list.get().filter(|list| list.add(self.token.get())) {
            list.wake();
        }
    }

    /// Has its events put `token` into a list, from now on. Returns whether it was in none.
    fn enter(&self, inner: &Inner, list: Rc<List>, token: usize) -> bool {
        if self.list.set(list).is_err() {
            return false;
        }
        self.token.set(token);
        self.raise(SEEN);
        // The owner of a list tries; it does not wait first.
        self.readiness.set(self.readiness.get().with_assumed_as_known());
        inner.waiting.set(inner.waiting.get() + 1);
        true
    }

    /// Forgets what was assumed of directions that are known to be ready by now, and shows in the
    /// flags whether anything is assumed still.
    fn note_assumed(&self) {
        let mut readiness = self.readiness.get();
        for direction in Direction::ALL {
            if readiness.contains(Readiness::of(direction)) {
                readiness = readiness.without(Readiness::assumed(direction));
            }
        }
        self.readiness.set(readiness);
        if readiness.assumes() { self.raise(ASSUMES) } else { self.lower(ASSUMES) }
    }

    /// Whether there is a crowd is known without looking there.
    fn note_crowd(&self) {
        let crowd = self.crowd.get();
        if crowd.is_some_and(|crowd| Direction::ALL.iter().any(|&direction| crowd.waits(direction))) {
            self.raise(CROWDED);
        } else {
            self.lower(CROWDED);
        }
    }

    /// Asks the driver for the directions that are waited for or were tried, where it must be asked.
    #[inline]
    fn arm(&self, inner: &Inner) -> io::Result<()> {
        if self.has(ASKS) { self.arm_again(inner) } else { Ok(()) }
    }

    #[cold]
    fn arm_again(&self, inner: &Inner) -> io::Result<()> {
        inner.check()?;
        let mut interest = self.asked.get().tried() | Readiness::of_directions(self.flags.get());
        if let Some(crowd) = self.crowd.get() {
            for direction in Direction::ALL {
                interest |= Readiness::of(direction).when(crowd.waits(direction));
            }
        }
        if self.key() == Key::NONE || self.readiness.get().contains(Readiness::ALWAYS) || interest == Readiness::NONE {
            return Ok(());
        }
        if !self.has(IS_IN) {
            return self.add(inner, interest);
        }
        if self.asked.get().armed() != interest {
            inner.driver.modify(self.io(), self.key(), interest)?;
            self.asked.set(self.asked.get().with_armed(interest));
        }
        Ok(())
    }

    /// An operation was tried, or was not because it would have blocked.
    fn would_block(&self, inner: &Inner, direction: Direction) -> io::Result<()> {
        self.clear_ready(direction);
        if !self.has(ASKS) {
            return Ok(());
        }
        self.try_again(direction);
        self.arm_again(inner)
    }

    /// The direction is asked for by a try.
    fn try_again(&self, direction: Direction) {
        let asked = self.asked.get();
        self.asked.set(asked.with_tried(asked.tried() | Readiness::of(direction)));
    }

    /// Asks for the next event of a direction in which less was moved than could have been. If that cannot be, the next
    /// try says so.
    #[cold]
    fn ask_for(&self, inner: &Inner, direction: Direction) {
        self.try_again(direction);
        if self.arm_again(inner).is_err() && !inner.is_closed() {
            self.readiness.set(self.readiness.get() | Readiness::of(direction));
        }
    }

    /// The task of `cx` waits for a direction. Ready only with an error.
    ///
    /// In line is what a task does that has waited here before and was woken since.
    #[inline]
    fn wait_polling<R>(&self, inner: &Inner, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        if self.waits_again(inner, direction, cx) { Poll::Pending } else { self.wait_anew(inner, direction, cx) }
    }

    /// Lets the task of `cx` wait again if it is the one that waited here before. Returns whether
    /// it waits now.
    #[inline]
    fn waits_again(&self, inner: &Inner, direction: Direction, cx: &Context<'_>) -> bool {
        let (flags, bit) = (self.flags.get(), Readiness::of(direction).bits());
        if flags & (bit | ASKS | ASSUMES) != 0 || !self.slot(direction).wakes_like(cx.waker()) {
            return false;
        }
        self.flags.set(flags | bit);
        inner.waiting.set(inner.waiting.get() + 1);
        true
    }

    #[inline(never)]
    fn wait_anew<R>(&self, inner: &Inner, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
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
    fn enter_slot(&self, inner: &Inner, direction: Direction, waker: &Waker) {
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

    fn begin_polling(&self, inner: &Inner, bit: u8) {
        if !self.has(bit) {
            self.raise(bit);
            inner.waiting.set(inner.waiting.get() + 1);
        }
    }

    /// The end of a registration with waiters beside the slots. Out of line, as few sources have
    /// any.
    #[cold]
    fn delete_crowded(&self, inner: &Inner, crowd: &Crowd, polled: [Waker; 2]) {
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

/// Completes a transfer of no bytes. It spends the budget as any other operation.
fn transfer_nothing(cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    ready!(budget::poll_left(cx));
    budget::spend();
    Poll::Ready(Ok(0))
}

/// Wakers are foreign code. Returns whether this one has panicked, which is reported then.
pub(crate) fn contain_wake(wake: impl FnOnce()) -> bool {
    contain::call(|| Origin::new(Kind::Waker), wake).is_none()
}

/// What a waker drops with it is foreign code, too.
pub(crate) fn drop_contained(waker: Waker) {
    contain::discard(|| Origin::new(Kind::Waker), waker);
}

impl Registered {
    /// An operation was tried, and has failed; or it was not, because it would have blocked. Returns what it has failed by.
    #[cold]
    #[inline(never)]
    fn has_failed(&self, direction: Direction, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::WouldBlock {
            return error;
        }
        self.state.would_block(&self.inner, direction).err().unwrap_or(error)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let Registered { inner, state } = self;
        let removed = inner.table.remove(state.key());
        state.set_key(Key::NONE);
        state.lower(SEEN);
        if state.list.get().is_some() {
            inner.waiting.set(inner.waiting.get() - 1);
        }
        // There are no waiters any more, the slots are empty and the count is right before foreign
        // code runs: the driver's, and what a waker drops with it. An event may be calling one of
        // these wakers just now, so they go to `retired`.
        let polling = Readiness::of_directions(state.flags.get());
        state.lower(polling.bits());
        inner.waiting.set(inner.waiting.get() - polling.bits().count_ones() as usize);
        let polled = [state.readers.empty(), state.writers.empty()];
        match state.crowd.get() {
            None => {
                state.delete(inner);
                polled.into_iter().for_each(|waker| inner.retired.add(waker));
            }
            Some(crowd) => state.delete_crowded(inner, crowd, polled),
        }
        drop(removed);
    }
}

impl<T> Source<T> {
    pub(crate) fn new(registered: Registered, io: T) -> Source<T> {
        Source { registered, io }
    }

    fn state(&self) -> &State {
        &self.registered.state
    }

    /// Lets all events of the source put `token` into `list` from now on, and puts it there at once, so that the list's owner
    /// tries what it wants to do. The source may also be waited for, as before.
    ///
    /// Where the platform has no edges, a direction is watched from when an operation there has said that it would block.
    /// For [`Reactor::waiting`](crate::Reactor::waiting), somebody waits for the source from now on.
    ///
    /// # Panics
    /// If the source is in a list already.
    pub fn list_in(&self, list: &ReadyList, token: usize) {
        let Registered { inner, state } = &self.registered;
        let is_new = state.enter(inner, list.list(), token);
        assert!(
            is_new,
            "the source is in a ready list already; for another one, take its object out and register it again"
        );
        state.list();
    }

    /// Puts the source into its list, as an event would: for work that is left, or that has come by another way than I/O.
    /// One that is there already, or that has no list, stays as it is.
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::os::unix::net::UnixStream;
    /// use std::task::{Context, Waker};
    /// use picot_reactor::{Reactor, ReadyList};
    ///
    /// let (reactor, list) = (Reactor::new()?, ReadyList::new());
    /// let (stream, _peer) = UnixStream::pair()?;
    /// let source = reactor.register(stream)?;
    /// source.list_in(&list, 7);
    /// let mut tokens = Vec::new();
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert!(list.poll_take(&mut cx, &mut tokens).is_ready());
    /// source.look();
    /// // Half of the work is done. The rest is for the next time.
    /// source.list();
    /// source.list();
    /// assert!(list.poll_take(&mut cx, &mut tokens).is_ready());
    /// assert_eq!(tokens, [7, 7]);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn list(&self) {
        self.state().list();
    }

    /// What is [known](Source::known) of the object, for the owner of its list, which has taken its token: what happens from
    /// now on lists it again.
    #[inline]
    pub fn look(&self) -> Readiness {
        // Of one that is in no list, it is found out when something happens.
        self.state().raise(SEEN);
        // Of a listed source nothing is assumed: it counts as known.
        self.state().readiness.get().shown()
    }

    /// The I/O object. What is done with it directly does not bring the readiness up to date.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Whether this process was forked from the one that has registered the source. The object is then shared with that one,
    /// so a destructor in this process must do nothing to it that the other would notice, such as shutting a socket down.
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::os::unix::net::UnixStream;
    /// use picot_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let source = reactor.register(UnixStream::pair()?.0)?;
    /// assert!(!source.is_forked());
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn is_forked(&self) -> bool {
        self.registered.inner.mark.is_forked()
    }

    /// Deregisters the I/O object and gives it back.
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::os::unix::net::UnixStream;
    /// use picot_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, _peer) = UnixStream::pair()?;
    /// let source = reactor.register(stream)?;
    /// assert_eq!(reactor.sources(), 1);
    /// let stream = source.into_inner();
    /// assert_eq!(reactor.sources(), 0);
    /// // It is open still, and may be registered again, here or elsewhere.
    /// let _source = reactor.register(stream)?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn into_inner(self) -> T {
        let Source { registered, io } = self;
        drop(registered);
        io
    }

    /// Declares whether a short transfer (more than nothing, but less than asked for) proves that
    /// the kernel has no more data, or no more room. If so,
    /// [`poll_transfer`](Source::poll_transfer) and [`try_transfer`](Source::try_transfer) clear
    /// the readiness after one, which saves the call that would only return "would block".
    ///
    /// It is no proof in general, so a source starts without this trust, and then only "would
    /// block" clears its readiness. Kernels end a receive early, with more to read and no further
    /// edge, at Unix messages that carry descriptors, between Unix writers with different
    /// credentials, at Unix out-of-band data, at records of kernel TLS, between the lines of a
    /// terminal, and wherever the protocol has messages. **Only a plain TCP socket keeps the
    /// promise**: one whose protocol is known to be `IPPROTO_TCP` (not MPTCP), with no upper-layer
    /// protocol such as kernel TLS on it, and outside of a BPF socket map. Who hands in a
    /// descriptor from elsewhere rarely knows that.
    ///
    /// TCP stops at urgent data, too, and there the reactor itself takes the trust back: the driver
    /// reports the urgent mark as an event. So call this right after the registration, and again,
    /// with `false`, before the socket is given another protocol. Where the driver cannot vouch for
    /// it ([`Driver::trusts_partial_transfers`](crate::driver::Driver)), the call has no effect.
    ///
    /// ```
    /// use std::net::{TcpListener, TcpStream};
    /// use picot_reactor::Reactor;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let reactor = Reactor::new()?;
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_nonblocking(true)?;
    /// let source = reactor.register(stream)?;
    /// // We made it ourselves, so it is plain TCP.
    /// source.trust_short_transfers(true);
    /// # Ok(())
    /// # }
    /// ```
    pub fn trust_short_transfers(&self, is_trusted: bool) {
        let Registered { inner, state } = &self.registered;
        state.trust(inner, is_trusted);
    }

    /// Lets operations try a direction before an event has told that it is ready, until one finds
    /// that it is not. For objects that probably are: an accepted connection has its first data
    /// soon, a connected one can be written to.
    ///
    /// It is a guess, so those who wait ([`ready`](Source::ready),
    /// [`poll_ready`](Source::poll_ready)) still wait for the event.
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::io::{ErrorKind, Write};
    /// use std::os::unix::net::UnixStream;
    /// use picot_reactor::{Direction, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, _peer) = UnixStream::pair()?;
    /// stream.set_nonblocking(true)?;
    /// let source = reactor.register(stream)?;
    /// let write = || source.try_io(Direction::Write, |mut stream| stream.write(b"hello"));
    /// assert_eq!(write().unwrap_err().kind(), ErrorKind::WouldBlock, "nothing is known yet");
    /// source.assume_ready(Direction::Write);
    /// assert_eq!(write()?, 5);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn assume_ready(&self, direction: Direction) {
        let Registered { inner, state } = &self.registered;
        if inner.is_closed() {
            return;
        }
        // Their owner tries; it does not wait first.
        let is_listed = state.list.get().is_some();
        let bit = if is_listed { Readiness::of(direction) } else { Readiness::assumed(direction) };
        state.readiness.set(state.readiness.get() | bit);
        state.note_assumed();
        let asked = state.asked.get();
        state.asked.set(asked.with_tried(asked.tried().without(Readiness::of(direction))));
    }

    /// What is known of the object, as far as events and operations have told, and the directions that are
    /// [assumed](Source::assume_ready) to be ready: what an operation would try.
    pub fn known(&self) -> Readiness {
        self.state().readiness.get().with_assumed_as_known().shown()
    }

    /// Whether the peer has closed its side or the connection, or there was an error, as far as events have told. Once
    /// true it stays; [`known`](Source::known) says which.
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::os::unix::net::UnixStream;
    /// use picot_reactor::{Direction, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, peer) = UnixStream::pair()?;
    /// let source = reactor.register(stream)?;
    /// assert!(!source.is_hung_up());
    /// drop(peer);
    /// // It is asked for where there are no edges: here, by a try.
    /// let _ = source.try_io(Direction::Read, |_| Ok(()));
    /// reactor.wait(None)?;
    /// # #[cfg(target_os = "linux")]
    /// assert!(source.is_hung_up());
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn is_hung_up(&self) -> bool {
        self.known().is_hangup()
    }

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

/// Stream sockets of every family as one type. The descriptor stays the same, and registered.
#[cfg(unix)]
macro_rules! into_owned {
    ($($type:ty),+) => {
        $(
            impl From<Source<$type>> for Source<std::os::fd::OwnedFd> {
                fn from(source: Source<$type>) -> Self {
                    let Source { registered, io } = source;
                    Source { registered, io: io.into() }
                }
            }
        )+
    };
}

#[cfg(unix)]
into_owned!(std::net::TcpStream, std::os::unix::net::UnixStream);

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
        // its place.
        inner.check()?;
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
