//! The state of a source: its readiness, its flags, and how an event changes them.

use std::cell::{Cell, OnceCell};
use std::io;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::task::Waker;

use picot_context::{Kind, Origin, contain};

use crate::inner::Inner;
use crate::key::Key;
use crate::pollable::{BorrowedIo, RawIo};
use crate::ready::{Direction, Readiness};
use crate::ready_list::List;
use crate::waiter::{Crowd, Slot};

/// What the reactor knows of a source. It is small, because there is one for each idle connection.
pub(crate) struct State {
    pub(super) key: Cell<Key>,
    pub(super) readers: Slot,
    pub(super) writers: Slot,
    /// Made for the first future that waits here.
    pub(super) crowd: OnceCell<Box<Crowd>>,
    /// The ready list that it is in, if so, and its token there.
    pub(super) list: OnceCell<Rc<List>>,
    pub(super) token: Cell<usize>,
    /// The number of the object, which is open for as long as the source is registered.
    pub(super) raw: RawIo,
    pub(super) readiness: Cell<Readiness>,
    /// The directions that a task waits for by polling, in the bits of their readiness, and the ones below.
    pub(super) flags: Cell<u8>,
    pub(super) asked: Cell<Asked>,
}

/// What matters only where events must be asked for. In a byte, so that a source has no padding.
#[derive(Clone, Copy, Default)]
pub(super) struct Asked(u8);

impl Asked {
    /// The directions that were asked for by a try, which counts as waiting.
    pub(super) fn tried(self) -> Readiness {
        Readiness::of_directions(self.0)
    }

    /// The directions that the driver's set has the source armed for.
    pub(super) fn armed(self) -> Readiness {
        Readiness::of_directions(self.0 >> 3)
    }

    pub(super) fn with_tried(self, tried: Readiness) -> Asked {
        Asked(self.0 & 0b111000 | tried.bits() & 0b111)
    }

    pub(super) fn with_armed(self, armed: Readiness) -> Asked {
        Asked(self.0 & 0b111 | (armed.bits() & 0b111) << 3)
    }
}

/// There may be waiters beside the tasks that poll.
pub(super) const CROWDED: u8 = 8;
/// Events must be asked for, or there are none any more. Either way a waiter takes the long way.
pub(super) const ASKS: u8 = 16;
/// It is in the driver's set.
pub(super) const IS_IN: u8 = 32;
/// A direction may be assumed to be ready. So an operation takes the long way, where that is looked
/// up.
pub(super) const ASSUMES: u8 = 64;
/// The owner of its ready list, if there is one, has seen all that has happened: what happens next is to be listed.
pub(super) const SEEN: u8 = 128;

/// What the reactor wakes for an event, once the event is noted.
pub(crate) enum WakeTarget {
    /// No task waits for the event.
    None,
    /// The task that waits to read, by the waker that its slot has lent.
    Reader(ManuallyDrop<Waker>),
    /// The owner of a ready list that was empty.
    Owner(Rc<List>),
    /// To be found out by [`State::wake`].
    Others(Rc<State>),
}

impl State {
    pub(super) fn new(raw: RawIo) -> State {
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

    /// Puts it into the driver's set. What cannot be polled at all is always ready.
    pub(super) fn add(&self, inner: &Inner, interest: Readiness) -> io::Result<()> {
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
    pub(super) fn delete(&self, inner: &Inner) {
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
    pub(super) fn io(&self) -> BorrowedIo<'_> {
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
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags.get() & flag != 0
    }

    #[inline]
    pub(super) fn raise(&self, flag: u8) {
        self.flags.set(self.flags.get() | flag);
    }

    #[inline]
    pub(super) fn lower(&self, flag: u8) {
        self.flags.set(self.flags.get() & !flag);
    }

    /// Whether an operation is worth a try: the direction is ready, or taken to be.
    #[inline]
    pub(super) fn is_ready(&self, direction: Direction) -> bool {
        self.readiness.get().intersects(Readiness::of(direction) | Readiness::assumed(direction))
    }

    /// Whether the direction is ready as far as events and operations have told, which is what
    /// waiters wait for.
    #[inline]
    pub(super) fn is_known_ready(&self, direction: Direction) -> bool {
        self.readiness.get().contains(Readiness::of(direction))
    }

    #[inline]
    pub(super) fn clear_ready(&self, direction: Direction) {
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
    pub(super) fn trust(&self, inner: &Inner, is_trusted: bool) {
        let readiness = self.readiness.get().without(Readiness::UNTRUSTED);
        let is_trusted = is_trusted && inner.driver.trusts_partial_transfers();
        self.readiness.set(readiness | Readiness::UNTRUSTED.when(!is_trusted));
    }

    /// Records a transfer of `moved` out of `length` bytes. Where short transfers are trusted, a
    /// short one clears the direction: the kernel has no more data, or no more room.
    ///
    /// Returns whether it was cleared.
    #[inline]
    pub(super) fn has_moved(&self, direction: Direction, moved: usize, length: usize) -> bool {
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

    /// Notes an event, and says which waiters it is for. Calls no foreign code.
    ///
    /// Nearly always that is one task, which waits to read, and does not any more then; or the owner of a ready list.
    ///
    /// # Safety
    /// The reactor must hold what leaves its slot, from before this is called until the waker was.
    #[inline]
    pub(crate) unsafe fn note(self: &Rc<State>, inner: &Inner, news: Readiness) -> WakeTarget {
        let readiness = self.readiness.get() | news;
        self.readiness.set(readiness);
        let flags = self.flags.get();
        match flags & (readiness.bits() | CROWDED | ASKS | SEEN) {
            0 => WakeTarget::None,
            1 => {
                const _: () = assert!(Readiness::READABLE.bits() == 1);
                self.flags.set(flags & !1);
                inner.waiting.set(inner.waiting.get() - 1);
                // SAFETY: Our caller holds what has left its slot until it has called the waker, and a source empties
                // its slots when it is dropped.
                WakeTarget::Reader(unsafe { self.readers.lend() })
            }
            SEEN => {
                let list = self.list.get();
                let was_empty = match list.map(|list| list.add_within_capacity(self.token.get())) {
                    None => false,
                    Some(Some(was_empty)) => was_empty,
                    // The list has to grow, and the allocator is foreign code: `wake` does it.
                    Some(None) => return WakeTarget::Others(self.clone()),
                };
                self.flags.set(flags & !SEEN);
                match list {
                    Some(list) if was_empty => WakeTarget::Owner(list.clone()),
                    _ => WakeTarget::None,
                }
            }
            _ => WakeTarget::Others(self.clone()),
        }
    }

    /// The reactor closes: nothing is ready any more, and every operation takes the long way, where
    /// the error is.
    pub(crate) fn close(&self, inner: &Inner) {
        self.readiness.set(self.readiness.get().only(Readiness::STAYS));
        self.raise(ASKS);
        self.delete(inner);
    }

    /// Puts its token into the list, if it is in one and not there, and wakes the owner if that was empty.
    pub(super) fn enqueue(&self) {
        if !self.has(SEEN) {
            return;
        }
        self.lower(SEEN);
        if let Some(list) = self.list.get().filter(|list| list.add(self.token.get())) {
            list.wake();
        }
    }

    /// Has its events put `token` into a list, from now on. Returns whether it was in none.
    pub(super) fn enter(&self, inner: &Inner, list: Rc<List>, token: usize) -> bool {
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
    pub(super) fn note_assumed(&self) {
        let mut readiness = self.readiness.get();
        for direction in Direction::ALL {
            if readiness.contains(Readiness::of(direction)) {
                readiness = readiness.without(Readiness::assumed(direction));
            }
        }
        self.readiness.set(readiness);
        if readiness.assumes() { self.raise(ASSUMES) } else { self.lower(ASSUMES) }
    }
}
