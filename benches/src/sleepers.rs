//! The workloads of sleeping tasks, written once for every runtime: what a sleep costs that is
//! cancelled or fires, how late it is, and how much memory it takes.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::hint::black_box;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::scheduler::{Scheduler, yield_now};
use crate::{Table, Time, live_bytes, measure_async, measure_by};

/// What a workload needs of a runtime that has timers.
pub trait Sleeper: Scheduler {
    /// Whether a task that wakes itself lets the others run first.
    const IS_FAIR: bool = true;

    /// Waits until the time has passed.
    fn sleep(self, duration: Duration) -> impl Future + 'static;
}

const PAIRS: usize = 200_000;
const CROWD: usize = 100_000;
const SLEEPS: usize = 1_000;
const MILLISECOND: Duration = Duration::from_millis(1);
const CROWDS: [(&str, &str, usize); 4] = [
    ("insert + cancel", "", 0),
    ("insert + cancel, 1 000 pending", "1 000 sleeping tasks", 1_000),
    ("insert + cancel, 100 000 pending", "100 000 sleeping tasks", 100_000),
    ("insert + cancel, 1 000 000 pending", "1 000 000 sleeping tasks", 1_000_000),
];

/// Measures what a sleep costs, but for those workloads whose name does not contain `filter`.
pub fn costs<S: Sleeper>(table: &mut Table, sleeper: S, filter: &str) {
    for (name, _, pending) in CROWDS {
        if name.contains(filter) {
            let figures = in_a_task(sleeper, async move {
                let _pending = spawn_sleepers(sleeper, pending).await;
                measure_async(PAIRS, async || insert_and_cancel(sleeper).await).await
            });
            table.add(name, S::NAME, figures);
        }
    }
    let name = "100 000 fire within 1 s (CPU)";
    if name.contains(filter) {
        table.add(name, S::NAME, measure_by(Time::Cpu, CROWD, || in_a_task(sleeper, fire(sleeper))));
    }
}

/// Measures by how much a sleep of a millisecond is late.
pub fn lateness<S: Sleeper>(table: &mut Table, sleeper: S, filter: &str) {
    let idle = "sleep(1 ms) at idle";
    if idle.contains(filter) {
        table.add(idle, S::NAME, in_a_task(sleeper, late_by(sleeper)));
    }
    let loaded = "sleep(1 ms) beside work";
    if loaded.contains(filter) && S::IS_FAIR {
        let lateness = in_a_task(sleeper, async move {
            let is_over = Rc::new(Cell::new(false));
            let load: Vec<_> = (0..4).map(|_| sleeper.spawn(work(is_over.clone()))).collect();
            let lateness = late_by(sleeper).await;
            is_over.set(true);
            for task in load {
                task.await;
            }
            lateness
        });
        table.add(loaded, S::NAME, lateness);
    }
}

/// Measures how many bytes a task takes that does nothing but sleep. The program's allocator has to
/// be [`Counting`](crate::Counting).
pub fn bytes<S: Sleeper>(table: &mut Table, sleeper: S, filter: &str) {
    for (_, name, pending) in CROWDS {
        if pending > 0 && name.contains(filter) {
            let bytes = in_a_task(sleeper, async move {
                let before = live_bytes();
                let tasks = spawn_sleepers(sleeper, pending).await;
                let handles = tasks.capacity() * size_of::<S::Join<()>>();
                (live_bytes() - before - handles) / pending
            });
            table.add(name, S::NAME, bytes);
        }
    }
}

/// Runs a workload in a task and not as the root, which some runtimes treat in a way of its own.
fn in_a_task<S: Sleeper, T: 'static>(sleeper: S, workload: impl Future<Output = T> + 'static) -> T {
    sleeper.run(async move { sleeper.spawn(workload).await })
}

thread_local! {
    static ASLEEP: Cell<usize> = const { Cell::new(0) };
}

/// Tasks that sleep for one to two hours, each polled once.
async fn spawn_sleepers<S: Sleeper>(sleeper: S, number: usize) -> Vec<S::Join<()>> {
    ASLEEP.set(0);
    let mut tasks = Vec::with_capacity(number);
    for n in 0..number as u64 {
        tasks.push(sleeper.spawn(async move {
            ASLEEP.set(ASLEEP.get() + 1);
            sleeper.sleep(Duration::from_secs(3600) + scattered(n, Duration::from_secs(3600))).await;
        }));
    }
    while ASLEEP.get() < number {
        sleeper.sleep(MILLISECOND).await;
    }
    tasks
}

/// Numbers that look random and are the same in each run.
fn scattered(n: u64, below: Duration) -> Duration {
    Duration::from_nanos(n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) % below.as_nanos() as u64)
}

/// Timeouts of 10 to 40 s, each cancelled after its first poll. Other tasks, and the timers, get
/// their turn in between.
async fn insert_and_cancel<S: Sleeper>(sleeper: S) {
    let mut n = 0;
    while n < PAIRS as u64 {
        yield_now().await;
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let mut cx = Context::from_waker(&waker);
        for _ in 0..64 {
            let sleep = pin!(sleeper.sleep(Duration::from_secs(10) + scattered(n, Duration::from_secs(30))));
            assert!(sleep.poll(&mut cx).is_pending());
            n += 1;
        }
    }
}

/// Tasks that sleep for up to a second, all of which end.
async fn fire<S: Sleeper>(sleeper: S) {
    let sleeping = |n| async move {
        sleeper.sleep(scattered(n, Duration::from_secs(1))).await;
    };
    let tasks: Vec<_> = (0..CROWD as u64).map(|n| sleeper.spawn(sleeping(n))).collect();
    for task in tasks {
        task.await;
    }
}

/// Sleeps of a millisecond, one after the other, by how much they were late.
async fn late_by<S: Sleeper>(sleeper: S) -> Lateness {
    let mut micros = Vec::with_capacity(SLEEPS);
    for _ in 0..SLEEPS {
        let start = now();
        sleeper.sleep(MILLISECOND).await;
        let late = (now() - start).checked_sub(MILLISECOND).expect("no sleep is early");
        micros.push(late.as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    Lateness { p50: micros[SLEEPS / 2], p99: micros[SLEEPS * 99 / 100] }
}

/// Steps of some microseconds, for as long as a measurement runs beside them.
async fn work(is_over: Rc<Cell<bool>>) {
    while !is_over.get() {
        let mut hash = 0_u64;
        for n in 0..10_000 {
            hash = black_box(hash.rotate_left(5) ^ n);
        }
        yield_now().await;
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

struct Lateness {
    p50: f64,
    p99: f64,
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} / {:.0}", self.p50, self.p99)
    }
}
