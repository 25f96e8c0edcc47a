//! Sleeps and yields, and the current time.

use std::cell::RefMut;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use picot_executor::WakeKey;
use picot_timers::TimerKey;

use crate::handle::{LoopHandle, expect_open};
use crate::time::instant::Instant;
use crate::time::timers::{Due, Timers};

impl Instant {
    /// The time of this thread's loop.
    ///
    /// # Panics
    /// If this thread has no loop.
    ///
    /// ```
    /// # picot_loop::run(async {
    /// let deadline = picot_loop::Instant::now() + std::time::Duration::from_secs(1);
    /// # });
    /// ```
    #[track_caller]
    pub fn now() -> Instant {
        LoopHandle::current().now()
    }

    /// The time since this instant, by the clock of this thread's loop; zero if it is in the
    /// future.
    ///
    /// # Panics
    /// If this thread has no loop.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{Instant, sleep};
    ///
    /// # picot_loop::run(async {
    /// let start = Instant::now();
    /// sleep(Duration::from_millis(1)).await;
    /// assert!(start.elapsed() >= Duration::from_millis(1));
    /// # });
    /// ```
    #[track_caller]
    pub fn elapsed(self) -> Duration {
        Instant::now() - self
    }

    /// Converts a time of std's clock, for libraries that use it.
    ///
    /// On the operating system's clock both are the same time, to some nanoseconds, and a timer is
    /// never early. A time before the loop's clock began becomes the time when it began.
    ///
    /// A virtual clock, or another one of the program, is related to std's by one pair of readings:
    /// distances stay, and what [`into_std`](Instant::into_std) has returned converts back to the
    /// same time. But such a clock and std's drift apart after that, so a later reading of std's
    /// clock means another time here. Under such a clock convert durations instead.
    ///
    /// # Panics
    /// If this thread has no loop.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{Instant, sleep_until};
    ///
    /// # picot_loop::run(async {
    /// let deadline = std::time::Instant::now() + Duration::from_millis(1); // of a library
    /// sleep_until(Instant::from_std(deadline)).await;
    /// assert!(std::time::Instant::now() >= deadline);
    /// # });
    /// ```
    #[track_caller]
    pub fn from_std(instant: std::time::Instant) -> Instant {
        Instant::from_nanos(LoopHandle::current().anchor().nanos(instant))
    }

    /// Converts a time of this thread's loop for a library that uses std's clock; see
    /// [`from_std`](Instant::from_std).
    ///
    /// # Panics
    /// If this thread has no loop, or if std cannot represent the time. Some systems cannot
    /// represent one that is long before they have started.
    ///
    /// ```
    /// use picot_loop::Instant;
    ///
    /// # picot_loop::run(async {
    /// let now = Instant::now();
    /// assert_eq!(Instant::from_std(now.into_std()), now);
    /// # });
    /// ```
    #[track_caller]
    pub fn into_std(self) -> std::time::Instant {
        match LoopHandle::current().anchor().std(self.nanos()) {
            Some(instant) => instant,
            None => panic!("std cannot represent {self:?} of the loop's clock; convert a duration instead"),
        }
    }
}

/// Waits for at least `duration`. A duration of zero is a [`yield_now`].
///
/// # Panics
/// If this thread has no loop.
///
/// # If dropped
/// The timer is cancelled.
///
/// ```
/// use std::time::Duration;
/// use picot_loop::sleep;
///
/// # picot_loop::run(async {
/// sleep(Duration::from_millis(1)).await;
/// # });
/// ```
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    let handle = LoopHandle::current();
    // Zero needs no timer: in asyncio, too, `sleep(0)` is a bare yield.
    let state = if duration.is_zero() { State::Yield } else { State::New };
    Sleep { deadline: handle.now() + duration, handle, state }
}

/// Waits at least until the time `deadline`.
///
/// If that time has passed, the sleep still ends in a later turn, in the order of the deadlines.
///
/// # Panics
/// If this thread has no loop.
///
/// # If dropped
/// The timer is cancelled.
///
/// ```
/// use std::time::Duration;
/// use picot_loop::{Instant, sleep_until};
///
/// # picot_loop::run(async {
/// let deadline = Instant::now() + Duration::from_millis(1);
/// sleep_until(deadline).await;
/// assert!(Instant::now() >= deadline);
/// # });
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, handle: LoopHandle::current(), state: State::New }
}

/// A sleep; made by [`sleep`] and [`sleep_until`].
///
/// Its deadline is set when it is made; its timer starts at the first poll.
///
/// ```
/// # picot_loop::run(async {
/// let nap = picot_loop::sleep(std::time::Duration::from_millis(1));
/// nap.await;
/// # });
/// ```
///
/// It is not `Send`:
///
/// ```compile_fail
/// fn send<T: Send>(_: T) {}
/// send(picot_loop::sleep(std::time::Duration::ZERO));
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sleep {
    handle: LoopHandle,
    deadline: Instant,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// A sleep of zero: yields once, without a timer.
    Yield,
    /// Not polled yet.
    New,
    /// In the wheel, until it is due. The key is stale after that.
    Waiting(TimerKey),
    Done,
}

impl Sleep {
    /// The time at which the sleep ends.
    ///
    /// ```
    /// # picot_loop::run(async {
    /// let end = picot_loop::Instant::now();
    /// assert_eq!(picot_loop::sleep_until(end).deadline(), end);
    /// # });
    /// ```
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the deadline, to an earlier or a later time.
    ///
    /// A task that awaits the sleep keeps waiting. Among equal deadlines the sleep counts as
    /// started now. A sleep that has ended, or that was not polled yet, starts again at its next
    /// poll.
    ///
    /// For a timeout that is postponed again and again, this is cheaper than a new sleep.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{Instant, sleep};
    ///
    /// # picot_loop::run(async {
    /// let mut idle = sleep(Duration::from_secs(60));
    /// // … and when a message arrives:
    /// idle.reset(Instant::now() + Duration::from_secs(60));
    /// # });
    /// ```
    #[doc(alias = "reschedule")]
    pub fn reset(&mut self, deadline: Instant) {
        // Only an earlier deadline can shorten a host's wait. A postponed timeout skips this.
        if deadline < self.deadline {
            self.handle.inner.wake_host_for_timer(deadline.nanos());
        }
        self.deadline = deadline;
        let is_waiting = match self.state {
            State::Waiting(key) => self.timers().reset(key, deadline.nanos()),
            State::Yield | State::New | State::Done => false,
        };
        // Due already, but not polled since: its task is woken, polls this sleep again, and waits.
        if !is_waiting {
            self.state = State::New;
        }
    }
}

impl Sleep {
    /// The time of the sleep's own loop.
    pub(crate) fn now(&self) -> Instant {
        self.handle.now()
    }

    /// The running task's key, if `cx` has the running task's waker.
    fn wake_key(&self, cx: &Context<'_>) -> Option<WakeKey> {
        self.handle.inner.executor.spawner().wake_key(cx.waker())
    }

    fn timers(&self) -> RefMut<'_, Timers> {
        self.handle.inner.timers.borrow_mut()
    }
}

/// What the wheel stores to wake the task that polls: its key if it has one, which needs no clone.
fn due(own: Option<WakeKey>, cx: &Context<'_>) -> Due {
    own.map_or_else(|| Due::Wake(cx.waker().clone()), Due::Task)
}

impl Future for Sleep {
    type Output = ();

    /// # Panics
    /// If the loop is closed: its time never comes.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        match this.state {
            State::Yield => {
                this.state = State::Done;
                // Queued behind everything that is ready now.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            State::New => {
                expect_open(this.handle.before_timer(this.deadline));
                // User code may run here: `due` may clone a waker. The timers are not borrowed.
                let due = due(this.wake_key(cx), cx);
                let key = this.timers().insert(this.deadline.nanos(), due);
                this.state = State::Waiting(key);
                return Poll::Pending;
            }
            State::Waiting(key) => {
                // The wheel removes a timer when it is due. While this one is there, make sure that
                // it wakes the task that polled last.
                let own = this.wake_key(cx);
                let wakes = this.timers().wakes(key, own, cx.waker());
                let is_there = match wakes {
                    Some(false) => {
                        let new = due(own, cx);
                        // User code: cloning the waker may have run a turn. Then the timer was due,
                        // and has woken the previous waker, so `replace` fails and the sleep is
                        // done.
                        let replaced = this.timers().replace(key, new);
                        let is_there = replaced.is_ok();
                        // User code: drops the old waker, or the new one. The timers are not
                        // borrowed.
                        drop(replaced);
                        is_there
                    }
                    Some(true) => true,
                    None => false,
                };
                if is_there {
                    return Poll::Pending;
                }
                // Closing removes all timers, too. Only a due timer may end the sleep.
                expect_open(this.handle.check_open());
                this.state = State::Done;
            }
            State::Done => {}
        }
        Poll::Ready(())
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let State::Waiting(key) = self.state {
            // The borrow of the timers ends before the waker is dropped, which is user code.
            let due = self.timers().cancel(key);
            drop(due);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Yields to the loop: everything else that is ready runs once.
///
/// # If dropped
/// Nothing happens.
///
/// ```
/// # picot_loop::run(async {
/// for n in 0..1_000_000_u32 {
///     if n % 100_000 == 0 {
///         picot_loop::yield_now().await; // keeps the loop responsive
///     }
/// }
/// # });
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { has_yielded: false }
}

/// A yield; made by [`yield_now`].
///
/// ```
/// # picot_loop::run(async {
/// let turn: picot_loop::YieldNow = picot_loop::yield_now();
/// turn.await;
/// # });
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct YieldNow {
    has_yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
