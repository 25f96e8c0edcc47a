//! Blocking the loop in the open: the essay's "if need be block the whole loop". docs/guide/blocking-the-loop.md shows both ways.
//!
//! Both suppress slow-step reports and the watchdog.

use picot_executor::Exclusive;

use crate::handle::LoopHandle;
use crate::inner::Inner;

/// Runs `f`, which blocks this thread's loop on purpose: the time that it takes is not held against its step, and the watchdog
/// looks away. Off a loop it just runs `f`.
///
/// Whatever can run elsewhere should, by [`spawn_blocking`](crate::spawn_blocking).
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

/// Enters an exclusive section of this thread's loop: from then on, until the guard that this gives is dropped, the calling
/// task runs and nothing else does. What becomes ready meanwhile is held back in order, callbacks included; I/O, timers and wakes
/// are still collected. See [`Exclusive`].
///
/// # Panics
/// If this thread has no loop. What is awaited panics if it is polled by anything but a task of the loop, such as by a callback.
///
/// # If dropped
/// Before it has given its guard, nothing has happened; after that the section is the guard's.
///
/// ```
/// use picot_loop::{exclusive, run, spawn, yield_now};
///
/// run(async {
///     let other = spawn(async { println!("after the section") });
///     let alone = exclusive().await;
///     yield_now().await; // the other does not run here
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
            taken_before: u64,
        }
        impl Drop for Resume<'_> {
            fn drop(&mut self) {
                // As if the step had begun so much later.
                self.inner.stats.coarse.set(self.inner.clock.coarse().saturating_sub(self.taken_before));
            }
        }
        let taken_before = self.clock.coarse().saturating_sub(self.stats.coarse.get());
        let _resume = Resume { inner: self, taken_before };
        let watchdog = self.watchdog.borrow().clone();
        match watchdog {
            Some(watchdog) => watchdog.look_away(f),
            None => f(),
        }
    }
}
