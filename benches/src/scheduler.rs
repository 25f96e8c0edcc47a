//! The scheduler's workloads, written once for every executor: what is measured is the executor and nothing else.
//!
//! Each starts in the future that the executor is run for. They use no channel, lock or yield of any runtime, but the few
//! lines at the end of this file.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::{Table, measure};

/// What a workload needs of an executor.
pub trait Scheduler: Copy + 'static {
    /// The name in the table.
    const NAME: &'static str;
    /// Waits for a task.
    type Join<T: 'static>: Future<Output = T>;

    /// Runs the future and all tasks that it spawns, on a new executor.
    fn run<F: Future>(self, future: F) -> F::Output;

    /// Spawns a task, from inside of `run`.
    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static;
}

const SPAWNS: usize = 200_000;
const CROWD: usize = 1_000;
const YIELDS: usize = 1_000_000;
const ROUND_TRIPS: usize = 200_000;

/// Measures all workloads on `scheduler`, but for those whose name does not contain `filter`.
pub fn all<S: Scheduler>(table: &mut Table, scheduler: S, filter: &str) {
    let mut row = |name: &'static str, operations: usize, block: &mut dyn FnMut()| {
        if name.contains(filter) {
            table.add(name, S::NAME, measure(operations, block));
        }
    };
    row("spawn one, join it", SPAWNS, &mut || scheduler.run(spawn_one_join_it(scheduler)));
    row("spawn 1000, join all", SPAWNS, &mut || scheduler.run(spawn_many_join_all(scheduler)));
    row("1000 tasks yield", YIELDS, &mut || scheduler.run(crowd_yields(scheduler)));
    row("one task yields", YIELDS, &mut || scheduler.run(one_yields(scheduler)));
    row("two tasks wake each other", ROUND_TRIPS, &mut || scheduler.run(ping_pong(scheduler)));
}

async fn spawn_one_join_it<S: Scheduler>(scheduler: S) {
    for n in 0..SPAWNS {
        assert_eq!(scheduler.spawn(async move { n }).await, n);
    }
}

async fn spawn_many_join_all<S: Scheduler>(scheduler: S) {
    for _ in 0..SPAWNS / CROWD {
        let tasks: Vec<_> = (0..CROWD).map(|n| scheduler.spawn(async move { n })).collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await, n);
        }
    }
}

async fn crowd_yields<S: Scheduler>(scheduler: S) {
    let yields = || async {
        for _ in 0..YIELDS / CROWD {
            yield_now().await;
        }
    };
    let tasks: Vec<_> = (0..CROWD).map(|_| scheduler.spawn(yields())).collect();
    for task in tasks {
        task.await;
    }
}

async fn one_yields<S: Scheduler>(scheduler: S) {
    let task = scheduler.spawn(async {
        for _ in 0..YIELDS {
            yield_now().await;
        }
    });
    task.await;
}

async fn ping_pong<S: Scheduler>(scheduler: S) {
    let (ping, pong) = (Rc::new(Signal::default()), Rc::new(Signal::default()));
    let other = scheduler.spawn({
        let (ping, pong) = (ping.clone(), pong.clone());
        async move {
            for _ in 0..ROUND_TRIPS {
                ping.wait().await;
                pong.raise();
            }
        }
    });
    let this = scheduler.spawn(async move {
        for _ in 0..ROUND_TRIPS {
            ping.raise();
            pong.wait().await;
        }
    });
    other.await;
    this.await;
}

/// Lets everything else that is ready run once.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A flag that one task raises and one waits for.
#[derive(Default)]
struct Signal {
    raised: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Signal {
    fn raise(&self) {
        self.raised.set(true);
        let waiter = self.waiter.borrow_mut().take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            if self.raised.take() {
                return Poll::Ready(());
            }
            *self.waiter.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
