//! The scheduler's workloads, written once for every executor: what is measured is the executor and nothing else.
//!
//! Each starts in the future that the executor is run for. They use no channel, lock or yield of any runtime, but the few
//! lines at the end of this file.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};

use crate::{Table, begin_part, end_part, live_bytes, measure};

/// What a workload needs of an executor.
pub trait Scheduler: Copy + 'static {
    /// The name in the table.
    const NAME: &'static str;
    /// Whether its wakers work on other threads.
    const WAKES_FROM_ANYWHERE: bool = true;
    /// Waits for a task.
    type Join<T: 'static>: Future<Output = T>;

    /// Runs the future and all tasks that it spawns, on a new executor.
    fn run<F: Future>(self, future: F) -> F::Output;

    /// Spawns a task, from inside of `run`.
    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static;
}

const SPAWNS: usize = 100_000;
const CROWD: usize = 1_000;
const YIELDS: usize = 1_000_000;
const ROUND_TRIPS: usize = 200_000;
const REMOTE_WAKES: usize = 200_000;
const REMOTE_ROUND_TRIPS: usize = 10_000;

/// Measures all workloads on `scheduler`, but for those whose name does not contain `filter`.
pub fn all<S: Scheduler>(table: &mut Table, scheduler: S, filter: &str) {
    let mut row = |name: &'static str, operations: usize, block: &mut dyn FnMut()| {
        if name.contains(filter) {
            // On the error stream, so that the table alone is what is printed.
            eprintln!("{}: {name}", S::NAME);
            table.add(name, S::NAME, measure(operations, block));
        }
    };
    row("spawn one, join it", SPAWNS, &mut || scheduler.run(spawn_one_join_it(scheduler)));
    row("spawn 1000, join all", SPAWNS, &mut || scheduler.run(spawn_many_join_all(scheduler)));
    row("1000 tasks yield", YIELDS, &mut || scheduler.run(crowd_yields(scheduler)));
    row("one task yields", YIELDS, &mut || scheduler.run(one_yields(scheduler)));
    row("two tasks wake each other", ROUND_TRIPS, &mut || scheduler.run(ping_pong(scheduler)));
    for (name, tasks) in [
        ("a yield of 10", 10),
        ("a yield of 1000", 1_000),
        ("a yield of 100000", 100_000),
        ("a yield of 1000000", 1_000_000),
    ] {
        row(name, YIELDS_OF_ALL, &mut || scheduler.run(yields_of(scheduler, tasks)));
    }
    if S::WAKES_FROM_ANYWHERE {
        row("remote wake", REMOTE_WAKES, &mut || scheduler.run(remote_wakes(scheduler)));
        row("remote round trip", REMOTE_ROUND_TRIPS, &mut || scheduler.run(remote_ping_pong(scheduler)));
    }
}

const YIELDS_OF_ALL: usize = 1_000_000;

/// Yields of so many tasks that all are ready all the time. Making and ending them does not count.
async fn yields_of<S: Scheduler>(scheduler: S, tasks: usize) {
    let (left, ready) = (Rc::new(Cell::new(tasks)), Rc::new(Signal::default()));
    // All wait at the gate until all are there.
    let gate: Rc<RefCell<Vec<Waker>>> = Rc::default();
    let yields = |left: Rc<Cell<usize>>, ready: Rc<Signal>, gate: Rc<RefCell<Vec<Waker>>>| async move {
        let arrive = || {
            left.set(left.get() - 1);
            if left.get() == 0 {
                ready.raise();
            }
        };
        arrive();
        let mut waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            gate.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        for _ in 0..YIELDS_OF_ALL / tasks {
            yield_now().await;
        }
        arrive();
    };
    let handles: Vec<_> =
        (0..tasks).map(|_| scheduler.spawn(yields(left.clone(), ready.clone(), gate.clone()))).collect();
    ready.wait().await;
    left.set(tasks);
    let wakers = gate.take();
    begin_part();
    wakers.into_iter().for_each(Waker::wake);
    ready.wait().await;
    end_part();
    for handle in handles {
        handle.await;
    }
}

/// Measures how many bytes a task takes that holds 64 across a wait and does nothing: as asked of the allocator, without the
/// list of handles. The program's allocator has to be [`Counting`](crate::Counting).
pub fn bytes<S: Scheduler>(table: &mut Table, scheduler: S, filter: &str) {
    for (name, tasks) in
        [("1 000 parked tasks", 1_000), ("100 000 parked tasks", 100_000), ("1 000 000 parked tasks", 1_000_000)]
    {
        if name.contains(filter) {
            eprintln!("{}: {name}", S::NAME);
            // In a task and not as the root, which some runtimes treat in a way of its own.
            let measured = scheduler.run(async move { scheduler.spawn(bytes_of(scheduler, tasks)).await });
            table.add(name, S::NAME, measured);
        }
    }
}

async fn bytes_of<S: Scheduler>(scheduler: S, tasks: usize) -> usize {
    let (left, all_parked) = (Rc::new(Cell::new(tasks)), Rc::new(Signal::default()));
    let mut handles = Vec::with_capacity(tasks);
    let before = live_bytes();
    for n in 0..tasks as u64 {
        let (left, all_parked, held) = (left.clone(), all_parked.clone(), [n; 6]);
        handles.push(scheduler.spawn(async move {
            left.set(left.get() - 1);
            if left.get() == 0 {
                all_parked.raise();
            }
            std::future::pending::<()>().await;
            std::hint::black_box((held, left, all_parked));
        }));
    }
    all_parked.wait().await;
    let bytes = (live_bytes() - before) / tasks;
    drop(handles);
    bytes
}

/// A thread wakes each of a thousand tasks, again and again; each wake leads to a poll.
async fn remote_wakes<S: Scheduler>(scheduler: S) {
    const TASKS: usize = 1000;
    let (sender, receiver) = mpsc::channel::<Waker>();
    let polled = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (mut sender, polled, mut wakes) = (Some(sender.clone()), polled.clone(), 0);
            scheduler.spawn(poll_fn(move |cx| {
                match sender.take() {
                    Some(sender) => sender.send(cx.waker().clone()).unwrap(),
                    None => wakes += 1,
                }
                polled.fetch_add(1, Ordering::Release);
                if wakes == REMOTE_WAKES / TASKS { Poll::Ready(()) } else { Poll::Pending }
            }))
        })
        .collect();
    drop(sender);
    let thread = std::thread::spawn(move || {
        let wakers: Vec<_> = receiver.iter().collect();
        for round in 1..=REMOTE_WAKES / TASKS {
            while polled.load(Ordering::Acquire) < round * TASKS {
                std::hint::spin_loop();
            }
            wakers.iter().for_each(Waker::wake_by_ref);
        }
    });
    for task in tasks {
        task.await;
    }
    thread.join().unwrap();
}

/// A task hands its waker to a thread, which wakes it; both sleep in between.
async fn remote_ping_pong<S: Scheduler>(scheduler: S) {
    let (sender, receiver) = mpsc::channel::<Waker>();
    let answered = Arc::new(AtomicBool::new(false));
    let flag = answered.clone();
    let thread = std::thread::spawn(move || {
        for waker in receiver {
            flag.store(true, Ordering::Release);
            waker.wake();
        }
    });
    let task = scheduler.spawn(async move {
        for _ in 0..REMOTE_ROUND_TRIPS {
            let mut sent = false;
            poll_fn(|cx| {
                if answered.swap(false, Ordering::Acquire) {
                    return Poll::Ready(());
                }
                if !std::mem::replace(&mut sent, true) {
                    sender.send(cx.waker().clone()).unwrap();
                }
                Poll::Pending
            })
            .await;
        }
    });
    task.await;
    thread.join().unwrap();
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
