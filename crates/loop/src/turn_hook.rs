//! Hooks of the turn: callbacks that run around each look outside, as libuv's prepare, check and idle
//! handles.
//!
//! The turn itself runs them, not the queue. So they run once a look, however long the queue is. A
//! loop without hooks pays one branch.

use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};

use picot_context::{Kind, Place, Step, enter};

use crate::handle::{LoopHandle, open};
use crate::hooks::{Hook, Moment};
use crate::inner::Inner;

impl Inner {
    #[inline]
    pub(crate) fn run_hooks_before_wait(&self) {
        if !self.hooks.is_empty() {
            self.run_hooks(Moment::Idle);
            self.run_hooks(Moment::Prepare);
        }
    }

    #[inline]
    pub(crate) fn run_hooks_after_wait(&self) {
        if !self.hooks.is_empty() {
            self.run_hooks(Moment::Check);
        }
    }

    #[cold]
    fn run_hooks(&self, moment: Moment) {
        for Hook { id, place, call, .. } in self.hooks.of(moment) {
            self.contain(Kind::Callback, Some(place), || {
                if !self.hooks.contains(id) {
                    return; // a hook before it has removed it
                }
                let _entered = enter(Step::callback(place), None);
                // Borrowed while it runs. No second borrow: a turn does not run inside of a turn.
                self.contain(Kind::Callback, Some(place), || call.borrow_mut()());
                self.after_step();
            });
            // The last reference, if the hook was removed meanwhile: its drop is foreign code.
            self.contain(Kind::Callback, Some(place), || drop(call));
        }
    }

    /// Drops all hooks. What they hold is foreign code.
    pub(crate) fn clear_hooks(&self) {
        for hook in self.hooks.take() {
            self.contain(Kind::Callback, Some(hook.place), || drop(hook.call));
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
