//! Hooks of the turn: callbacks that run around each look outside, libuv's prepare, check and idle handles.
//!
//! They run from the turn itself and not from the queue, so they come once a look, however long the queue is. Where there are
//! none, they cost a branch.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};

use picot_context::{Kind, Place, Step, enter};

use crate::handle::{LoopHandle, open};
use crate::inner::Inner;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Idle,
    Prepare,
    Check,
}

#[derive(Default)]
pub(crate) struct Hooks {
    all: RefCell<Vec<Hook>>,
    /// How many there are, and how many of these are idle ones: asked every turn.
    count: Cell<usize>,
    idling: Cell<usize>,
    last_id: Cell<u64>,
}

#[derive(Clone)]
struct Hook {
    id: u64,
    moment: Moment,
    place: Place,
    call: Rc<RefCell<dyn FnMut()>>,
}

impl Hooks {
    fn add(&self, moment: Moment, place: Place, call: impl FnMut() + 'static) -> u64 {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        self.all.borrow_mut().push(Hook { id, moment, place, call: Rc::new(RefCell::new(call)) });
        self.count_them();
        id
    }

    fn remove(&self, id: u64) -> bool {
        let mut all = self.all.borrow_mut();
        let removed = all.iter().position(|hook| hook.id == id).map(|index| all.remove(index));
        drop(all);
        self.count_them();
        // Dropped last: what it holds may be anybody's code.
        removed.is_some()
    }

    fn count_them(&self) {
        let all = self.all.borrow();
        self.count.set(all.len());
        self.idling.set(all.iter().filter(|hook| hook.moment == Moment::Idle).count());
    }

    /// Drops all of them. What they hold may be anybody's code.
    pub(crate) fn clear(&self, inner: &Inner) {
        let all = self.all.take();
        self.count_them();
        for hook in all {
            inner.contain(Kind::Callback, Some(hook.place), || drop(hook.call));
        }
    }

    /// Whether the loop is kept from waiting.
    #[inline]
    pub(crate) fn is_idling(&self) -> bool {
        self.idling.get() != 0
    }

    #[inline]
    pub(crate) fn run_before_wait(&self, inner: &Inner) {
        if self.count.get() != 0 {
            self.run(inner, Moment::Idle);
            self.run(inner, Moment::Prepare);
        }
    }

    #[inline]
    pub(crate) fn run_after_wait(&self, inner: &Inner) {
        if self.count.get() != 0 {
            self.run(inner, Moment::Check);
        }
    }

    #[cold]
    fn run(&self, inner: &Inner, moment: Moment) {
        let due: Vec<_> = self.all.borrow().iter().filter(|hook| hook.moment == moment).cloned().collect();
        for Hook { id, place, call, .. } in due {
            inner.contain(Kind::Callback, Some(place), || {
                if !self.all.borrow().iter().any(|other| other.id == id) {
                    return; // removed by one before it
                }
                let _entered = enter(Step::callback(place), None);
                // It is borrowed while it runs, and nobody else does: a turn does not run inside of a turn.
                inner.contain(Kind::Callback, Some(place), || call.borrow_mut()());
                inner.after_step();
            });
            // If it was removed, this is the last of it.
            inner.contain(Kind::Callback, Some(place), || drop(call));
        }
    }
}

impl LoopHandle {
    /// Calls `call` in each turn, just before the loop looks outside: libuv's prepare handle. A turn that goes straight to what
    /// is queued does not look outside.
    ///
    /// # Panics
    /// If the loop is closed.
    #[track_caller]
    pub fn on_prepare(&self, call: impl FnMut() + 'static) -> TurnHook {
        self.add_hook(Moment::Prepare, Location::caller(), call)
    }

    /// Calls `call` in each turn, just after the loop has looked outside, before anything that was found there runs: libuv's
    /// check handle.
    ///
    /// # Panics
    /// If the loop is closed.
    #[track_caller]
    pub fn on_check(&self, call: impl FnMut() + 'static) -> TurnHook {
        self.add_hook(Moment::Check, Location::caller(), call)
    }

    /// Calls `call` in each turn before the loop looks outside, and keeps it from waiting there: libuv's idle handle. For work
    /// that is to be done piece by piece while nothing else is to do. It keeps a processor busy until it is removed.
    ///
    /// # Panics
    /// If the loop is closed.
    #[track_caller]
    pub fn on_idle(&self, call: impl FnMut() + 'static) -> TurnHook {
        self.add_hook(Moment::Idle, Location::caller(), call)
    }

    #[track_caller]
    fn add_hook(&self, moment: Moment, place: Place, call: impl FnMut() + 'static) -> TurnHook {
        open(self.check_open());
        let id = self.inner.hooks.add(moment, place, call);
        if moment == Moment::Idle {
            self.inner.ring_host();
        }
        TurnHook { id, inner: Rc::downgrade(&self.inner) }
    }
}

/// A callback that runs around each look outside; made by [`LoopHandle::on_prepare`], [`on_check`](LoopHandle::on_check) and
/// [`on_idle`](LoopHandle::on_idle).
///
/// Dropping this does nothing: the callback stays until it is removed, or the loop is closed.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use picot_loop::{EventLoop, yield_now};
///
/// let event_loop = EventLoop::new().unwrap();
/// let looks = Rc::new(Cell::new(0));
/// let count = looks.clone();
/// let hook = event_loop.handle().on_check(move || count.set(count.get() + 1));
/// event_loop.stop();
/// event_loop.run_forever().unwrap(); // one turn
/// assert_eq!(looks.get(), 1);
/// assert!(hook.remove());
/// ```
pub struct TurnHook {
    id: u64,
    inner: Weak<Inner>,
}

impl TurnHook {
    /// Removes the callback and drops it. Returns whether it was still there.
    pub fn remove(&self) -> bool {
        self.inner.upgrade().is_some_and(|inner| inner.hooks.remove(self.id))
    }
}

impl fmt::Debug for TurnHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnHook").field("id", &self.id).finish_non_exhaustive()
    }
}
