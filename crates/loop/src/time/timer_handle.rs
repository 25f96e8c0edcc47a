//! The handle of a callback that runs at a time.

use std::fmt;
use std::rc::Rc;

use picot_executor::CallHandle;
use picot_timers::TimerKey;

use crate::inner::Inner;
use crate::time::instant::Instant;
use crate::time::timers::Due;

/// A callback that is scheduled for a time (asyncio's `TimerHandle`).
///
/// Made by [`LoopHandle::call_later`](crate::LoopHandle::call_later) and
/// [`call_at`](crate::LoopHandle::call_at). Dropping it does not cancel the callback.
///
/// ```
/// use std::time::Duration;
///
/// # let event_loop = picot_loop::EventLoop::new().unwrap();
/// let handle = event_loop.handle();
/// let timer = handle.call_later(Duration::from_secs(60), || println!("a minute later"));
/// assert!(timer.when() > handle.now());
/// ```
pub struct TimerHandle {
    inner: Rc<Inner>,
    key: TimerKey,
    when: Instant,
    call: CallHandle,
}

impl TimerHandle {
    pub(crate) fn new(inner: &Rc<Inner>, when: Instant, call: CallHandle) -> TimerHandle {
        let key = inner.timers.borrow_mut().insert(when.nanos(), Due::Call(call.clone()));
        TimerHandle { inner: inner.clone(), key, when, call }
    }

    /// Cancels the callback, and drops it at once. Returns false if it has run or was cancelled.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let event_loop = picot_loop::EventLoop::new().unwrap();
    /// let timer = event_loop.handle().call_later(Duration::from_secs(60), || unreachable!());
    /// assert!(timer.cancel());
    /// assert!(!timer.cancel());
    /// ```
    pub fn cancel(&self) -> bool {
        // The borrow ends before anything is dropped: the callback's captures are user code.
        let due = self.inner.timers.borrow_mut().cancel(self.key);
        drop(due);
        self.call.cancel()
    }

    /// Whether the callback was cancelled.
    ///
    /// ```
    /// # let event_loop = picot_loop::EventLoop::new().unwrap();
    /// let timer = event_loop.handle().call_later(std::time::Duration::ZERO, || ());
    /// timer.cancel();
    /// assert!(timer.is_cancelled());
    /// ```
    #[doc(alias = "cancelled")]
    pub fn is_cancelled(&self) -> bool {
        self.call.is_cancelled()
    }

    /// The time at which the callback is due.
    ///
    /// ```
    /// # let event_loop = picot_loop::EventLoop::new().unwrap();
    /// let when = event_loop.handle().now();
    /// assert_eq!(event_loop.handle().call_at(when, || ()).when(), when);
    /// ```
    pub fn when(&self) -> Instant {
        self.when
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle").field("when", &self.when).field("call", &self.call).finish_non_exhaustive()
    }
}
