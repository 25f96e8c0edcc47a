//! Sections that block the loop on purpose.
//!
//! Both kinds suppress slow-step reports and the watchdog. docs/guide/blocking-the-loop.md shows
//! when to use which.

use picot_executor::Exclusive;

use crate::handle::LoopHandle;
use crate::inner::Inner;

/// Runs `f`, which may block this thread's loop without being reported.
///
/// The time of `f` is not charged to its step, and the watchdog pauses. Without a loop, this only
/// runs `f`. Prefer [`spawn_blocking`](crate::spawn_blocking) for work that can run on another
/// thread.
///
/// ```
/// # let event_loop = picot_loop::EventLoop::new().unwrap();
/// event_loop.handle().call_soon(|| {
///     picot_loop::blocking_section(|| println!("the last words, to a disk that may be slow"));
/// });
/// # event_loop.turn(None).unwrap();
/// ```
pub fn blocking_section<R>(f: impl FnOnce() -> R) -> R {
    match LoopHandle::try_current() {
        Ok(handle) => handle.inner.blocking_section(f),
        Err(_) => f(),
    }
}

/// Enters an exclusive section: only the calling task runs until the returned guard is dropped.
///
/// Tasks and callbacks that become ready meanwhile are held back, in order. I/O, timers and wakes
/// are still collected. See [`Exclusive`].
///
/// # Panics
/// If this thread has no loop. The returned future panics if it is polled by anything but a task of
/// the loop, such as a callback.
///
/// # If dropped
/// Before it has returned the guard, nothing happens. After that the guard decides.
///
/// ```
/// use picot_loop::{exclusive, run, spawn, yield_now};
///
/// run(async {
///     let other = spawn(async { println!("after the section") });
///     let alone = exclusive().await;
///     yield_now().await; // `other` does not run here
///     println!("in the section");
///     drop(alone);
///     other.await.unwrap();
/// });
/// ```
#[track_caller]
pub fn exclusive() -> Exclusive {
    LoopHandle::current().inner.executor.spawner().exclusive()
}

impl Inner {
    fn blocking_section<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Resume<'a> {
            inner: &'a Inner,
            elapsed_before: u64,
        }
        impl Drop for Resume<'_> {
            fn drop(&mut self) {
                // As if the step had begun later, by the duration of `f`. Also while unwinding.
                self.inner.stats.step_began_at.set(self.inner.clock.coarse().saturating_sub(self.elapsed_before));
            }
        }
        let elapsed_before = self.clock.coarse().saturating_sub(self.stats.step_began_at.get());
        let _resume = Resume { inner: self, elapsed_before };
        // Cloned, because `f` is user code and may close the loop, which takes the watchdog.
        let watchdog = self.watchdog.borrow().clone();
        match watchdog {
            Some(watchdog) => watchdog.pause_while(f),
            None => f(),
        }
    }
}
