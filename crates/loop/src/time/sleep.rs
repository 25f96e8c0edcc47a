//! Sleeps and yields, and the current time.

use std::cell::RefMut;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use picot_executor::WakeKey;
use picot_timers::TimerKey;

use crate::handle::{LoopHandle, open};
use crate::time::instant::Instant;
use crate::time::timers::{Due, Timers};

impl Instant {
    /// The time of this thread's loop.
    ///
    /// # Panics
    /// If this thread has no loop.
    #[track_caller]
    pub fn now() -> Instant {
        LoopHandle::current().now()
    }

    /// How long ago this was, by the clock of this thread's loop; zero if it is yet to come.
    ///
    /// # Panics
    /// If this thread has no loop.
    #[track_caller]
    pub fn elapsed(self) -> Duration {
        Instant::now() - self
    }
}

/// Waits until `duration` has passed, and never less. A duration of zero lets everything else that is ready run once.
///
/// # Panics
/// If this thread has no loop.
///
/// # If dropped
/// The timer is cancelled.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    let handle = LoopHandle::current();
    let state = if duration.is_zero() { State::Yield } else { State::New };
    Sleep { deadline: handle.now() + duration, handle, state }
}

/// Waits until the time `deadline`, and never less. If that has passed, it ends in a later turn all the same, in the order of
/// the deadlines.
///
/// # Panics
/// If this thread has no loop.
///
/// # If dropped
/// The timer is cancelled.
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, handle: LoopHandle::current(), state: State::New }
}

/// A sleep; made by [`sleep`] and [`sleep_until`].
///
/// Its timer starts with the first poll, for the time that was set when it was made. It belongs to its loop's thread:
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
    /// There is nothing to wait for; the others get their turn.
    Yield,
    /// Not polled yet.
    New,
    /// In the wheel, until it is due.
    Waiting(TimerKey),
    Done,
}

impl Sleep {
    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the end, to an earlier time or a later one. A task that awaits it goes on waiting. Among equal deadlines it
    /// counts as started now. A sleep that has ended, or was not polled yet, sleeps until then when it is next polled.
    ///
    /// For a timeout that is put off again and again, this is cheaper than another sleep.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{Instant, sleep};
    ///
    /// # picot_loop::run(async {
    /// let mut idle = sleep(Duration::from_secs(60));
    /// // … and when a message has come:
    /// idle.reset(Instant::now() + Duration::from_secs(60));
    /// # });
    /// ```
    #[doc(alias = "reschedule")]
    pub fn reset(&mut self, deadline: Instant) {
        // A later time, which is what a timeout is put off to, ends no wait too late.
        if deadline < self.deadline {
            self.handle.inner.ring_host_for(deadline.nanos());
        }
        self.deadline = deadline;
        let is_waiting = match self.state {
            State::Waiting(key) => self.timers().reset(key, deadline.nanos()),
            State::Yield | State::New | State::Done => false,
        };
        // If it was due already, its waker is woken all the same, and finds that there is more to wait for.
        if !is_waiting {
            self.state = State::New;
        }
    }
}

impl Sleep {
    /// The time of the loop that it belongs to.
    pub(crate) fn now(&self) -> Instant {
        self.handle.now()
    }

    /// The running task's key, if that is who polls.
    fn wake_key(&self, cx: &Context<'_>) -> Option<WakeKey> {
        self.handle.inner.executor.spawner().wake_key(cx.waker())
    }

    fn timers(&self) -> RefMut<'_, Timers> {
        self.handle.inner.timers.borrow_mut()
    }
}

/// How to wake the task that polls.
fn due(own: Option<WakeKey>, cx: &Context<'_>) -> Due {
    own.map_or_else(|| Due::Wake(cx.waker().clone()), Due::Task)
}

impl Future for Sleep {
    type Output = ();

    /// # Panics
    /// If the loop is closed: the time would never come.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        match this.state {
            State::Yield => {
                this.state = State::Done;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            State::New => {
                open(this.handle.before_timer(this.deadline));
                let due = due(this.wake_key(cx), cx);
                let key = this.timers().insert(this.deadline.nanos(), due);
                this.state = State::Waiting(key);
                return Poll::Pending;
            }
            State::Waiting(key) => {
                // The wheel takes out a timer that is due. While it holds this one, the last task to poll is woken.
                let own = this.wake_key(cx);
                let wakes = this.timers().wakes(key, own, cx.waker());
                let is_there = match wakes {
                    Some(false) => {
                        let new = due(own, cx);
                        // Cloning a waker is foreign code, which may have made a turn: then the timer was due, and has woken the
                        // waker before this one.
                        let replaced = this.timers().replace(key, new);
                        let is_there = replaced.is_ok();
                        drop(replaced);
                        is_there
                    }
                    Some(true) => true,
                    None => false,
                };
                if is_there {
                    return Poll::Pending;
                }
                open(this.handle.check_open());
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

/// Lets everything else that is ready run once.
///
/// # If dropped
/// Nothing happens.
pub fn yield_now() -> YieldNow {
    YieldNow { has_yielded: false }
}

/// A yield; made by [`yield_now`].
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
