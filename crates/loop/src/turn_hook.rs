//! Hooks of the turn: callbacks that run around each event poll, as libuv's prepare, check and idle
//! handles.
//!
//! The turn itself calls them, not the queue. So they run once per event poll, however long the
//! queue is. A loop without hooks pays one branch.

use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};

use picot_context::{Kind, Place, Step, enter};

use crate::handle::{LoopHandle, expect_open};
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
        for Hook { id, place, call, .. } in self.hooks.at(moment) {
            self.contain(Kind::Callback, Some(place), || {
                if !self.hooks.contains(id) {
                    return; // an earlier hook removed this one
                }
                let _entered = enter(Step::callback(place), None);
                // User code runs here. Only this hook's own cell is borrowed, and a turn never runs
                // within a turn, so it is not borrowed twice.
                self.contain(Kind::Callback, Some(place), || call.borrow_mut()());
                self.after_step();
            });
            // User code may run here: this is the last reference if the hook was removed meanwhile.
            self.contain(Kind::Callback, Some(place), || drop(call));
        }
    }

    /// Drops all hooks. Their captures are user code, so each drop is contained.
    pub(crate) fn clear_hooks(&self) {
        for hook in self.hooks.take() {
            self.contain(Kind::Callback, Some(hook.place), || drop(hook.call));
        }
    }
}

impl LoopHandle {
    /// Calls `call` just before each event poll (libuv's prepare handle).
    ///
    /// A turn that skips the event poll does not call it.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let hook = event_loop.handle().on_prepare(|| println!("about to wait"));
    /// event_loop.turn(Some(std::time::Duration::ZERO))?;
    /// assert!(hook.remove());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn on_prepare(&self, call: impl FnMut() + 'static) -> TurnHook {
        self.add_hook(Moment::Prepare, Location::caller(), call)
    }

    /// Calls `call` just after each event poll, before anything runs (libuv's check handle).
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let hook = event_loop.handle().on_check(|| println!("has polled for events"));
    /// event_loop.turn(Some(std::time::Duration::ZERO))?;
    /// assert!(hook.remove());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn on_check(&self, call: impl FnMut() + 'static) -> TurnHook {
        self.add_hook(Moment::Check, Location::caller(), call)
    }

    /// Calls `call` before each event poll, and keeps the loop from blocking (libuv's idle handle).
    ///
    /// For work that is done in pieces while the loop has nothing else to do. It keeps a processor
    /// busy until it is removed.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let pieces = Rc::new(Cell::new(0));
    /// let count = pieces.clone();
    /// let hook = event_loop.handle().on_idle(move || count.set(count.get() + 1));
    /// event_loop.turn(None)?; // does not block
    /// assert_eq!(pieces.get(), 1);
    /// hook.remove();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn on_idle(&self, call: impl FnMut() + 'static) -> TurnHook {
        self.add_hook(Moment::Idle, Location::caller(), call)
    }

    #[track_caller]
    fn add_hook(&self, moment: Moment, place: Place, call: impl FnMut() + 'static) -> TurnHook {
        expect_open(self.check_open());
        let id = self.inner.hooks.add(moment, place, call);
        // An idle hook shortens the timeout that an embedding host may be waiting with.
        if moment == Moment::Idle {
            self.inner.wake_host();
        }
        TurnHook { id, inner: Rc::downgrade(&self.inner) }
    }
}

/// A callback that runs around each event poll.
///
/// Made by [`LoopHandle::on_prepare`], [`on_check`](LoopHandle::on_check) and
/// [`on_idle`](LoopHandle::on_idle). Dropping it does nothing: the callback stays until it is
/// removed or the loop is closed.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use picot_loop::{EventLoop, yield_now};
///
/// let event_loop = EventLoop::new().unwrap();
/// let polls = Rc::new(Cell::new(0));
/// let count = polls.clone();
/// let hook = event_loop.handle().on_check(move || count.set(count.get() + 1));
/// event_loop.stop();
/// event_loop.run_forever().unwrap(); // one turn
/// assert_eq!(polls.get(), 1);
/// assert!(hook.remove());
/// ```
pub struct TurnHook {
    id: u64,
    inner: Weak<Inner>,
}

impl TurnHook {
    /// Removes the callback and drops it. Returns false if it was removed before.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let hook = event_loop.handle().on_check(|| ());
    /// assert_eq!((hook.remove(), hook.remove()), (true, false));
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn remove(&self) -> bool {
        self.inner.upgrade().is_some_and(|inner| inner.hooks.remove(self.id))
    }
}

impl fmt::Debug for TurnHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnHook").field("id", &self.id).finish_non_exhaustive()
    }
}
