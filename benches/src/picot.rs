//! The adapters through which the shared workloads reach picot's executor, and its loop.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

use picot_executor::{Executor, Spawner, Task};

use crate::scheduler::Scheduler;
#[cfg(feature = "loop")]
use crate::sleepers::Sleeper;

thread_local! {
    static SPAWNER: RefCell<Option<Spawner>> = const { RefCell::new(None) };
}

/// picot's executor, and nothing else of picot.
#[derive(Clone, Copy, Debug)]
pub struct Picot;

/// Waits for a task that neither panics nor is cancelled.
#[derive(Debug)]
pub struct Unwrap<T>(Task<T>);

impl<T> Future for Unwrap<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut &mut self.0).poll(cx).map(Result::unwrap)
    }
}

impl Scheduler for Picot {
    const NAME: &'static str = "picot-executor";
    type Join<T: 'static> = Unwrap<T>;

    fn run<F: Future>(self, future: F) -> F::Output {
        let executor = Executor::new();
        SPAWNER.set(Some(executor.spawner().clone()));
        let output = executor.block_on(future);
        SPAWNER.set(None);
        output
    }

    fn spawn<F: Future + 'static>(self, future: F) -> Unwrap<F::Output>
    where
        F::Output: 'static,
    {
        let task = SPAWNER.with_borrow(|spawner| spawner.as_ref().map(|spawner| spawner.spawn(future)));
        Unwrap(task.expect("inside of `run`"))
    }
}

/// picot's loop, as its users run it: with I/O, timers and reports of slow steps.
#[cfg(feature = "loop")]
#[derive(Clone, Copy, Debug)]
pub struct PicotLoop;

/// As [`Unwrap`], for a wait that cancels its task when it is dropped.
#[cfg(feature = "loop")]
#[derive(Debug)]
pub struct UnwrapJoin<T>(picot_loop::Join<T>);

#[cfg(feature = "loop")]
impl<T> Future for UnwrapJoin<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx).map(Result::unwrap)
    }
}

#[cfg(feature = "loop")]
impl Scheduler for PicotLoop {
    const NAME: &'static str = "picot-loop";
    type Join<T: 'static> = UnwrapJoin<T>;

    fn run<F: Future>(self, future: F) -> F::Output {
        picot_loop::run(future)
    }

    fn spawn<F: Future + 'static>(self, future: F) -> UnwrapJoin<F::Output>
    where
        F::Output: 'static,
    {
        UnwrapJoin(picot_loop::spawn(future).into_future())
    }
}

#[cfg(feature = "loop")]
impl Sleeper for PicotLoop {
    fn sleep(self, duration: std::time::Duration) -> impl Future + 'static {
        picot_loop::sleep(duration)
    }
}
