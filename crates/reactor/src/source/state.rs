//! The state of a source: its readiness and flags, and how an event changes them.

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
use crate::waiter::{OtherWaiters, Slot};

/// What the reactor stores for a source. Small, because each idle connection has one.
pub(crate) struct State {
    pub(super) key: Cell<Key>,
    pub(super) readers: Slot,
    pub(super) writers: Slot,
    /// The other waiters. Allocated when the first of them waits.
    pub(super) others: OnceCell<Box<OtherWaiters>>,
    /// The ready list that the source is in, if any.
    pub(super) list: OnceCell<Rc<List>>,
    /// The source's token in that list.
    pub(super) token: Cell<usize>,
    /// The descriptor's number. The object is open while the source is registered.
    pub(super) raw: RawIo,
    pub(super) readiness: Cell<Readiness>,
    /// The directions in which a task waits by polling (bits 0 to 2, as in `Readiness`), and the
    /// flags below.
    pub(super) flags: Cell<u8>,
    pub(super) arming: Cell<Arming>,
}

/// The state for one-shot drivers. In one byte, so that `State` has no padding.
#[derive(Clone, Copy, Default)]
pub(super) struct Arming(u8);

impl Arming {
    /// The directions in which an operation was tried and would have blocked. A try counts as
    /// waiting.
    pub(super) fn tried(self) -> Readiness {
        Readiness::of_directions(self.0)
    }

    /// The directions for which the source is armed in the driver's set.
    pub(super) fn armed(self) -> Readiness {
        Readiness::of_directions(self.0 >> 3)
    }

    pub(super) fn with_tried(self, tried: Readiness) -> Arming {
        Arming(self.0 & 0b111000 | tried.bits() & 0b111)
    }

    pub(super) fn with_armed(self, armed: Readiness) -> Arming {
        Arming(self.0 & 0b111 | (armed.bits() & 0b111) << 3)
    }
}

/// The source may have other waiters than the tasks that poll.
pub(super) const HAS_OTHERS: u8 = 8;
/// The driver is one-shot, or the reactor is closed. Both send a waiter to the slow path.
pub(super) const NEEDS_ARMING: u8 = 16;
/// The source is in the driver's set.
pub(super) const IN_SET: u8 = 32;
/// A direction may be assumed to be ready. This sends an operation to the slow path, which checks
/// it.
pub(super) const MAY_ASSUME: u8 = 64;
/// The owner of the ready list has acknowledged all events: the next one adds the token to the
/// list.
pub(super) const ACKNOWLEDGED: u8 = 128;

/// What the reactor wakes for an event, after the event was applied.
pub(crate) enum WakeTarget {
    /// No task waits for the event.
    None,
    /// The task that waits to read: its waker, which the slot still owns.
    Reader(ManuallyDrop<Waker>),
    /// The owner of a ready list that was empty before.
    Owner(Rc<List>),
    /// Any other case: [`State::wake`] handles it.
    Uncommon(Rc<State>),
}

impl State {
    pub(super) fn new(raw: RawIo) -> State {
        State {
            key: Cell::new(Key::NONE),
            readers: Slot::default(),
            writers: Slot::default(),
            others: OnceCell::new(),
            list: OnceCell::new(),
            token: Cell::new(0),
            raw,
            readiness: Cell::new(Readiness::NONE),
            flags: Cell::new(0),
            arming: Cell::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> State {
        State::new(RawIo::default())
    }

    /// Adds the source to the driver's set. An object that cannot be polled is always ready.
    pub(super) fn add(&self, inner: &Inner, interest: Readiness) -> io::Result<()> {
        // A forked child shares the set with its parent, and its entry would stay there.
        inner.fork_detector.check()?;
        // SAFETY: `Pollable` promises that the object stays open, with the same descriptor, while
        // its owner lives. The owner is the source, which deletes the object from the set before it
        // closes or returns it. A leaked source leaks its object, too.
        match unsafe { inner.driver.add(self.io(), self.key(), interest) } {
            Ok(()) => {
                self.set_flag(IN_SET);
                self.arming.set(self.arming.get().with_armed(interest));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.readiness.set(Readiness::READABLE | Readiness::WRITABLE | Readiness::ALWAYS);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Removes the source from the driver's set.
    pub(super) fn delete(&self, inner: &Inner) {
        if inner.fork_detector.is_forked() {
            return; // the set is shared with the parent, whose source must stay in it
        }
        if self.has(IN_SET) {
            self.clear_flag(IN_SET);
            // The error is ignored: no caller could act on it, and later events have a stale key. A
            // panic is contained, so that the calling destructor or event goes on.
            contain::call(|| Origin::new(Kind::Loop), || _ = inner.driver.delete(self.io()));
        }
    }

    /// The object.
    pub(super) fn io(&self) -> BorrowedIo<'_> {
        // SAFETY: This is called only during registration and while the state is in the table. The
        // source removes the state from the table before it closes the object, and `Pollable`
        // promises the same descriptor until then.
        unsafe { BorrowedIo::borrow_raw(self.raw) }
    }

    pub(crate) fn list(&self) -> Option<Rc<List>> {
        self.list.get().cloned()
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
    pub(super) fn set_flag(&self, flag: u8) {
        self.flags.set(self.flags.get() | flag);
    }

    #[inline]
    pub(super) fn clear_flag(&self, flag: u8) {
        self.flags.set(self.flags.get() & !flag);
    }

    /// Whether to try an operation: the direction is ready, or assumed to be.
    #[inline]
    pub(super) fn is_ready(&self, direction: Direction) -> bool {
        self.readiness.get().intersects(Readiness::of(direction) | Readiness::assumed(direction))
    }

    /// Whether an event has reported the direction as ready. Waiters wait for this; an assumption
    /// is not enough.
    #[inline]
    pub(super) fn is_known_ready(&self, direction: Direction) -> bool {
        self.readiness.get().contains(Readiness::of(direction))
    }

    #[inline]
    pub(super) fn clear_ready(&self, direction: Direction) {
        let readiness = self.readiness.get();
        // No event would ever set the bit again.
        if readiness.contains(Readiness::ALWAYS) {
            return;
        }
        let bit = Readiness::of(direction);
        // The urgent byte was received, but its mark stays in the stream, and a receive still ends
        // early there. So short transfers are not trusted any more.
        let has_mark = direction == Direction::Priority && readiness.contains(bit);
        let rest = readiness.without(bit | Readiness::assumed(direction));
        self.readiness.set(rest | Readiness::UNTRUSTED.when(has_mark));
    }

    /// Sets whether a short transfer clears readiness. The driver has to support it.
    pub(super) fn trust(&self, inner: &Inner, is_trusted: bool) {
        let readiness = self.readiness.get().without(Readiness::UNTRUSTED);
        let is_trusted = is_trusted && inner.driver.trusts_partial_transfers();
        self.readiness.set(readiness | Readiness::UNTRUSTED.when(!is_trusted));
    }

    /// Records a transfer of `moved` out of `length` bytes. Returns true if it cleared the
    /// direction.
    ///
    /// A trusted short transfer clears it: the kernel has no more data, or no more room.
    #[inline]
    pub(super) fn record_transfer(&self, direction: Direction, moved: usize, length: usize) -> bool {
        // Zero bytes are the end of the stream, which stays readable.
        if moved == length || moved == 0 {
            return false;
        }
        let readiness = self.readiness.get();
        if readiness.distrusts_short_transfers() {
            return false;
        }
        self.readiness.set(readiness.without(Readiness::of(direction) | Readiness::assumed(direction)));
        true
    }

    /// Applies an event to the readiness, and returns what to wake. Calls no foreign code.
    ///
    /// Nearly always it wakes one task that waits to read, which does not wait any more then, or
    /// the owner of a ready list.
    ///
    /// # Safety
    /// The caller must hold retired wakers ([`Retired::hold`](crate::waiter::Retired::hold)) from
    /// before this call until it has called the returned waker.
    #[inline]
    pub(crate) unsafe fn apply_event(self: &Rc<State>, inner: &Inner, reported: Readiness) -> WakeTarget {
        let readiness = self.readiness.get() | reported;
        self.readiness.set(readiness);
        let flags = self.flags.get();
        // One test for all rare cases. What is left are the directions that are ready and waited
        // for.
        match flags & (readiness.bits() | HAS_OTHERS | NEEDS_ARMING | ACKNOWLEDGED) {
            0 => WakeTarget::None,
            1 => {
                const _: () = assert!(Readiness::READABLE.bits() == 1);
                self.flags.set(flags & !1);
                inner.waiting.set(inner.waiting.get() - 1);
                // SAFETY: The caller holds retired wakers until it has called this one, and a
                // source empties its slots before it is dropped.
                WakeTarget::Reader(unsafe { self.readers.lend() })
            }
            ACKNOWLEDGED => {
                let list = self.list.get();
                let was_empty = match list.map(|list| list.add_within_capacity(self.token.get())) {
                    None => false,
                    Some(Some(was_empty)) => was_empty,
                    // The list has to grow. The allocator is foreign code, so `wake` does it.
                    Some(None) => return WakeTarget::Uncommon(self.clone()),
                };
                self.flags.set(flags & !ACKNOWLEDGED);
                match list {
                    Some(list) if was_empty => WakeTarget::Owner(list.clone()),
                    _ => WakeTarget::None,
                }
            }
            _ => WakeTarget::Uncommon(self.clone()),
        }
    }

    /// Closes the source with its reactor: no direction is ready any more, and every operation
    /// takes the slow path, which returns the error.
    pub(crate) fn close(&self, inner: &Inner) {
        self.readiness.set(self.readiness.get().intersection(Readiness::STICKY));
        self.set_flag(NEEDS_ARMING);
        self.delete(inner);
    }

    /// Adds the token to the source's list, unless it is there, and wakes the owner of an empty
    /// list.
    pub(super) fn enqueue(&self) {
        if !self.has(ACKNOWLEDGED) {
            return;
        }
        self.clear_flag(ACKNOWLEDGED);
        if let Some(list) = self.list.get().filter(|list| list.add(self.token.get())) {
            list.wake();
        }
    }

    /// Adds the source to a list. Returns false if it is in one already.
    pub(super) fn join_list(&self, inner: &Inner, list: Rc<List>, token: usize) -> bool {
        if self.list.set(list).is_err() {
            return false;
        }
        self.token.set(token);
        self.set_flag(ACKNOWLEDGED);
        // The owner of a list tries without waiting first, so for it an assumption is readiness.
        self.readiness.set(self.readiness.get().with_assumed_as_known());
        inner.waiting.set(inner.waiting.get() + 1);
        true
    }

    /// Clears assumptions that an event has confirmed, and updates the flag for the remaining ones.
    pub(super) fn update_assumed(&self) {
        let mut readiness = self.readiness.get();
        for direction in Direction::ALL {
            if readiness.contains(Readiness::of(direction)) {
                readiness = readiness.without(Readiness::assumed(direction));
            }
        }
        self.readiness.set(readiness);
        if readiness.assumes() { self.set_flag(MAY_ASSUME) } else { self.clear_flag(MAY_ASSUME) }
    }
}
