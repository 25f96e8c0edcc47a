//! The scheduler's workloads, written once for every executor: what is measured is the executor and
//! nothing else.
//!
//! Each starts in the future that the executor is run for. They use no channel, lock or yield of
//! any runtime, but the few lines at the end of this file.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};

use crate::{Table, begin_part, callgrind, end_part, live_bytes, measure};

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
const STARTS: usize = 2_000;

/// One workload, on executors of one kind.
struct Row<S> {
    name: &'static str,
    operations: usize,
    /// Does so many operations on a new executor.
    run: fn(S, usize),
}

impl<S: Scheduler> Row<S> {
    /// Which row it is, and whose.
    fn title(&self) -> String {
        format!("{}: {}", self.name, S::NAME)
    }
}

fn rows<S: Scheduler>() -> Vec<Row<S>> {
    let row = |name, operations, run| Row { name, operations, run };
    let mut rows = vec![
        row("spawn one, join it", SPAWNS, |s: S, n| s.run(spawn_one_join_it(s, n))),
        row("spawn 1000, join all", SPAWNS, |s, n| s.run(spawn_many_join_all(s, n))),
        row("1000 tasks yield", YIELDS, |s, n| s.run(crowd_yields(s, n))),
        row("one task yields", YIELDS, |s, n| s.run(one_yields(s, n))),
        row("two tasks wake each other", ROUND_TRIPS, |s, n| s.run(ping_pong(s, n))),
        row("a yield of 10", YIELDS, |s, n| s.run(yields_of(s, 10, n))),
        row("a yield of 1000", YIELDS, |s, n| s.run(yields_of(s, 1_000, n))),
        row("a yield of 100000", YIELDS, |s, n| s.run(yields_of(s, 100_000, n))),
        row("a yield of 1000000", YIELDS, |s, n| s.run(yields_of(s, 1_000_000, n))),
        row("start, run nothing, end", STARTS, |s, n| (0..n).for_each(|_| s.run(async {}))),
    ];
    if S::WAKES_FROM_ANYWHERE {
        rows.push(row("remote wake", REMOTE_WAKES, |s, n| s.run(remote_wakes(s, n))));
        rows.push(row("remote round trip", REMOTE_ROUND_TRIPS, |s, n| s.run(remote_ping_pong(s, n))));
    }
    rows
}

/// Measures all workloads on `scheduler`, but for those whose title does not contain `filter`.
pub fn all<S: Scheduler>(table: &mut Table, scheduler: S, filter: &str) {
    for row in rows::<S>().into_iter().filter(|row| row.title().contains(filter)) {
        // On the error stream, so that the table alone is what is printed.
        eprintln!("{}", row.title());
        table.add(row.name, S::NAME, measure(row.operations, || (row.run)(scheduler, row.operations)));
    }
}

/// Counts the user-mode instructions of each workload by callgrind, which runs this program again:
/// its `main` has to pass its arguments on to [`run_counted`]. The workloads between threads are
/// left out: most of what they do is to wait.
pub fn count_all<S: Scheduler>(table: &mut Table, _: S, filter: &str) {
    for row in rows::<S>().into_iter().filter(|row| row.title().contains(filter) && !row.name.contains("remote")) {
        eprintln!("{}", row.title());
        let collected = |operations: usize| callgrind(&["--run", &row.title(), &operations.to_string()]);
        // The difference is what is done twice as often, without what it takes to get there.
        let counted = collected(row.operations).and_then(|once| Ok(collected(2 * row.operations)? - once));
        match counted {
            Ok(instructions) => table.add(row.name, S::NAME, format!("{:.0}", instructions / row.operations as f64)),
            Err(error) => table.add(row.name, S::NAME, error),
        }
    }
}

/// Runs the workload that the arguments name, if they are those of a run under [`count_all`] and it
/// is one of `scheduler`'s.
pub fn run_counted<S: Scheduler>(scheduler: S, arguments: &[String]) {
    if let [_, title, operations] = arguments {
        for row in rows::<S>().into_iter().filter(|row| row.title() == *title) {
            (row.run)(scheduler, operations.parse().expect("a number of operations"));
        }
    }
}

/// Yields of so many tasks that all are ready all the time. Making and ending them does not count.
async fn yields_of<S: Scheduler>(scheduler: S, tasks: usize, operations: usize) {
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
        for _ in 0..operations / tasks {
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

/// Measures how many bytes a task takes that holds 64 across a wait and does nothing: as asked of
/// the allocator, without the list of handles. The program's allocator has to be
/// [`Counting`](crate::Counting).
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
async fn remote_wakes<S: Scheduler>(scheduler: S, operations: usize) {
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
                if wakes == operations / TASKS { Poll::Ready(()) } else { Poll::Pending }
            }))
        })
        .collect();
    drop(sender);
    let thread = std::thread::spawn(move || {
        let wakers: Vec<_> = receiver.iter().collect();
        for round in 1..=operations / TASKS {
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
async fn remote_ping_pong<S: Scheduler>(scheduler: S, operations: usize) {
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
        for _ in 0..operations {
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

async fn spawn_one_join_it<S: Scheduler>(scheduler: S, operations: usize) {
    for n in 0..operations {
        assert_eq!(scheduler.spawn(async move { n }).await, n);
    }
}

async fn spawn_many_join_all<S: Scheduler>(scheduler: S, operations: usize) {
    for _ in 0..operations / CROWD {
        let tasks: Vec<_> = (0..CROWD).map(|n| scheduler.spawn(async move { n })).collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await, n);
        }
    }
}

async fn crowd_yields<S: Scheduler>(scheduler: S, operations: usize) {
    let yields = || async move {
        for _ in 0..operations / CROWD {
            yield_now().await;
        }
    };
    let tasks: Vec<_> = (0..CROWD).map(|_| scheduler.spawn(yields())).collect();
    for task in tasks {
        task.await;
    }
}

async fn one_yields<S: Scheduler>(scheduler: S, operations: usize) {
    let task = scheduler.spawn(async move {
        for _ in 0..operations {
            yield_now().await;
        }
    });
    task.await;
}

async fn ping_pong<S: Scheduler>(scheduler: S, operations: usize) {
    let (ping, pong) = (Rc::new(Signal::default()), Rc::new(Signal::default()));
    let other = scheduler.spawn({
        let (ping, pong) = (ping.clone(), pong.clone());
        async move {
            for _ in 0..operations {
                ping.wait().await;
                pong.raise();
            }
        }
    });
    let this = scheduler.spawn(async move {
        for _ in 0..operations {
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
