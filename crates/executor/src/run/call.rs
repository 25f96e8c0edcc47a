//! Callbacks: a closure that runs once, in its turn, unless it is cancelled first.
//!
//! Cancelling drops the closure and its captures at once. The empty shell stays in the queue, and
//! its turn does nothing. This file does not know the queue.

use std::cell::Cell;
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

use picot_context::{Details, Kind, Origin, Place, contain};

/// A callback that was or will be scheduled (asyncio's `Handle`).
///
/// Dropping the handle has no effect: the callback still runs.
///
/// ```
/// let executor = picot_executor::Executor::new();
/// let call = executor.call_soon(|| println!("in its turn"));
/// drop(call.clone());
/// assert_eq!(executor.run_until_stalled(), 1);
/// assert!(!call.cancel(), "it has run");
/// ```
#[derive(Clone)]
#[doc(alias = "Handle")]
pub struct CallHandle(Rc<dyn Call>);

// Unwind safe: the closure is taken out before it is called or dropped.
impl UnwindSafe for CallHandle {}
impl RefUnwindSafe for CallHandle {}

/// The interface of callbacks with any type of closure.
trait Call {
    fn common(&self) -> &Common;
    fn invoke(&self);
    fn discard(&self);
}

struct Common {
    place: Place,
    details: Option<Rc<Details>>,
    state: Cell<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Ran,
    Cancelled,
}

struct Callback<F> {
    common: Common,
    call: Cell<Option<F>>,
}

impl<F: FnOnce()> Call for Callback<F> {
    fn common(&self) -> &Common {
        &self.common
    }

    fn invoke(&self) {
        if let Some(call) = self.call.take() {
            call();
        }
    }

    fn discard(&self) {
        drop(self.call.take());
    }
}

impl<F> Drop for Callback<F> {
    /// The closure and the locals are foreign values: dropped as fields, two that panic would abort
    /// the process.
    fn drop(&mut self) {
        let origin = || Origin::new(Kind::Callback).at(self.common.place);
        contain::discard(origin, self.call.take());
        contain::discard(origin, self.common.details.take());
    }
}

impl CallHandle {
    /// A callback that is not scheduled yet; [`Spawner::schedule`](crate::Spawner::schedule) does
    /// that. It runs with the current task-locals, and is reported under the caller's place.
    ///
    /// ```
    /// use picot_executor::{CallHandle, Executor};
    ///
    /// let executor = Executor::new();
    /// let call = CallHandle::new(|| println!("later"));
    /// assert_eq!(executor.run_until_stalled(), 0, "it is not scheduled yet");
    /// executor.spawner().schedule(call)?;
    /// assert_eq!(executor.run_until_stalled(), 1);
    /// # Ok::<(), picot_executor::Closed>(())
    /// ```
    #[track_caller]
    pub fn new(call: impl FnOnce() + 'static) -> CallHandle {
        CallHandle::at(Location::caller(), picot_context::inherited(None), call)
    }

    /// As [`new`](CallHandle::new), on behalf of a caller at `place`.
    ///
    /// ```
    /// use std::panic::Location;
    /// use picot_executor::CallHandle;
    ///
    /// #[track_caller]
    /// fn on_change(call: impl FnOnce() + 'static) -> CallHandle {
    ///     CallHandle::new_at(Location::caller(), call)
    /// }
    ///
    /// let call = on_change(|| ());
    /// assert_eq!(call.place().line(), line!() - 1);
    /// ```
    pub fn new_at(place: Place, call: impl FnOnce() + 'static) -> CallHandle {
        CallHandle::at(place, picot_context::inherited(None), call)
    }

    pub(crate) fn at(place: Place, details: Option<Rc<Details>>, call: impl FnOnce() + 'static) -> CallHandle {
        let common = Common { place, details, state: Cell::new(State::Pending) };
        CallHandle(Rc::new(Callback { common, call: Cell::new(Some(call)) }))
    }

    /// Prevents the callback from running and drops it, at once. Returns `false` if it has run,
    /// runs now, or was cancelled before. A panic in the drop goes to the thread's
    /// [host](picot_context::host).
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let call = executor.call_soon(|| unreachable!());
    /// assert!(call.cancel());
    /// assert!(!call.cancel());
    /// executor.run_until_stalled();
    /// ```
    pub fn cancel(&self) -> bool {
        let origin = || Origin::new(Kind::Callback).at(self.place());
        self.cancel_with(|discard| _ = contain::call(origin, discard))
    }

    /// As [`cancel`](CallHandle::cancel). `contain` runs the drops of the closure and of its
    /// locals, which are foreign code.
    pub(crate) fn cancel_with(&self, contain: impl Fn(&dyn Fn())) -> bool {
        let state = &self.0.common().state;
        if state.get() != State::Pending {
            return false;
        }
        // Set before the drops, which are foreign code and may call this again.
        state.set(State::Cancelled);
        contain(&|| self.0.discard());
        contain(&|| self.clear_locals());
        true
    }

    /// Whether the callback was cancelled.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let call = executor.call_soon(|| ());
    /// assert!(!call.is_cancelled());
    /// call.cancel();
    /// assert!(call.is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.0.common().state.get() == State::Cancelled
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.0.common().state.get() == State::Pending
    }

    /// Where it was scheduled.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let call = executor.call_soon(|| ());
    /// assert_eq!(call.place().line(), line!() - 1);
    /// ```
    pub fn place(&self) -> Place {
        self.0.common().place
    }

    /// Marks a pending callback as run, and returns the details to run it with.
    pub(crate) fn start(&self) -> Option<Option<Rc<Details>>> {
        let common = self.0.common();
        (common.state.get() == State::Pending).then(|| {
            common.state.set(State::Ran);
            common.details.clone()
        })
    }

    pub(crate) fn invoke(&self) {
        self.0.invoke();
    }

    /// Clears the task-locals that the callback ran with, or would have.
    pub(crate) fn clear_locals(&self) {
        if let Some(details) = &self.0.common().details {
            details.clear_locals();
        }
    }

    pub(crate) fn has_details(&self) -> bool {
        self.0.common().details.is_some()
    }
}

impl fmt::Debug for CallHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let common = self.0.common();
        let state = match common.state.get() {
            State::Pending => "pending",
            State::Ran => "ran",
            State::Cancelled => "cancelled",
        };
        write!(f, "CallHandle({state}, from {})", common.place)
    }
}
