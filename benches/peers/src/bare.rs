//! `async-task` with nothing but a queue around it: the least that any executor on it can cost.
//!
//! It is not usable as an executor: it does not own, name, list or drop its tasks, a panic ends
//! everything, its wakers work on one thread only, and it never sleeps. In the tables it shows the
//! cost that no executor on `async-task` can go below.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};

use async_task::Runnable;
use picot_benches::scheduler::Scheduler;

/// `async-task` and a queue.
#[derive(Clone, Copy, Debug)]
pub struct BareAsyncTask;

/// What a task keeps of its executor: one word, as any that is found by its tasks.
type Owner = usize;

thread_local! {
    static QUEUE: RefCell<VecDeque<Runnable<Owner>>> = const { RefCell::new(VecDeque::new()) };
}

fn schedule(runnable: Runnable<Owner>) {
    QUEUE.with_borrow_mut(|queue| queue.push_back(runnable));
}

struct Root(AtomicBool);

impl Wake for Root {
    fn wake(self: Arc<Root>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Scheduler for BareAsyncTask {
    const NAME: &'static str = "bare async-task";
    const WAKES_FROM_ANYWHERE: bool = false;
    type Join<T: 'static> = async_task::Task<T, Owner>;

    fn run<F: Future>(self, future: F) -> F::Output {
        let mut future = pin!(future);
        let root = Arc::new(Root(AtomicBool::new(true)));
        let waker = root.clone().into();
        let mut cx = Context::from_waker(&waker);
        loop {
            let is_woken = root.0.swap(false, Ordering::Relaxed);
            let polled = if is_woken { future.as_mut().poll(&mut cx) } else { Poll::Pending };
            if let Poll::Ready(output) = polled {
                return output;
            }
            for _ in 0..QUEUE.with_borrow(VecDeque::len) {
                let runnable =
                    QUEUE.with_borrow_mut(VecDeque::pop_front).expect("this loop alone takes from the queue");
                runnable.run();
            }
        }
    }

    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static,
    {
        // SAFETY: The workloads that this is for keep tasks and their wakers on one thread; the
        // future is `'static`, and `schedule` a plain function.
        let (runnable, task) = unsafe { async_task::Builder::new().metadata(0).spawn_unchecked(|_| future, schedule) };
        runnable.schedule();
        task
    }
}
