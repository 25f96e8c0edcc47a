//! The handle of a callback that is scheduled for a time.

use std::fmt;
use std::rc::Rc;

use picot_executor::CallHandle;
use picot_timers::TimerKey;

use crate::inner::Inner;
use crate::time::instant::Instant;
use crate::time::timers::Due;

/// A callback that was scheduled for a time; asyncio's `TimerHandle`.
///
/// Dropping the handle does nothing: the callback runs all the same.
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

    /// Keeps the callback from running and drops it, at once. Returns whether that was still possible.
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
        let due = self.inner.timers.borrow_mut().cancel(self.key);
        drop(due);
        self.call.cancel()
    }

    /// Whether the callback was cancelled.
    #[doc(alias = "cancelled")]
    pub fn is_cancelled(&self) -> bool {
        self.call.is_cancelled()
    }

    /// When the callback is due.
    pub fn when(&self) -> Instant {
        self.when
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle").field("when", &self.when).field("call", &self.call).finish_non_exhaustive()
    }
}
