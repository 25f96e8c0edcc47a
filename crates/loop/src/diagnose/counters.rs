//! Figures about the loop, to be read from any thread.
//!
//! One thread writes, so a counter is a load and a store, with no ordering and no read-modify-write: figures that are read
//! together may be of different moments, a turn apart. Nothing here decides anything.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A window on a loop's figures; made by [`LoopHandle::metrics`](crate::LoopHandle::metrics). It may be sent to other threads, and outlive the loop.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Counters>);

#[derive(Default)]
struct Counters {
    turns: AtomicU64,
    steps: AtomicU64,
    waits: AtomicU64,
    asleep: AtomicU64,
    ready: AtomicU64,
    remote: AtomicU64,
    tasks: AtomicU64,
    timers: AtomicU64,
    sources: AtomicU64,
    waiting: AtomicU64,
    blocking: AtomicU64,
    step_times: [AtomicU64; BUCKETS],
    wake_to_run: [AtomicU64; BUCKETS],
}

/// What exists at one moment.
pub(crate) struct Gauges {
    pub(crate) remote: usize,
    pub(crate) tasks: usize,
    pub(crate) timers: usize,
    pub(crate) sources: usize,
    pub(crate) waiting: usize,
    pub(crate) blocking: usize,
}

/// The number of buckets. The last one holds what takes 35 minutes and longer.
const BUCKETS: usize = 32;

/// A loop's figures at one moment; made by [`Metrics::snapshot`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// Turns since the loop was built.
    pub turns: u64,
    /// Steps since then: polls of tasks and callbacks.
    pub steps: u64,
    /// Waits since then: how often the loop has looked outside.
    pub waits: u64,
    /// How long the loop has slept, altogether.
    pub asleep: Duration,
    /// Steps that were queued at the end of the last turn, or when [`LoopHandle::metrics`](crate::LoopHandle::metrics) was last called, if that was later.
    pub ready: u64,
    /// What other threads had handed over and was not taken yet, at the last look outside, or at that call; likewise the
    /// following.
    pub remote: u64,
    /// Tasks that had not ended.
    pub tasks: u64,
    /// Timers that were set.
    pub timers: u64,
    /// I/O objects that were registered.
    pub sources: u64,
    /// Wakers that waited for these.
    pub waiting: u64,
    /// Blocking jobs that were not over.
    pub blocking: u64,
    /// How many steps took how long, in microseconds by powers of two: the first number is of steps below 2 µs, the next of those
    /// below 4 µs, and so on. As exact as the clock by which steps are timed, which on Linux ticks every few milliseconds: a
    /// step that did not see a tick counts as one below 2 µs.
    pub step_times: [u64; BUCKETS],
    /// How many turns took how long, in the same powers of two, from the end of a wait until all that it had woken had run: so
    /// long the last of these waited, at the most, and the others less. Turns in which nothing ran do not count. All zero unless
    /// the loop was built to [measure it](crate::Builder::record_wake_latency).
    pub wake_to_run: [u64; BUCKETS],
}

impl Metrics {
    /// The figures as they are now.
    ///
    /// ```
    /// use picot_loop::{EventLoop, yield_now};
    ///
    /// let event_loop = EventLoop::new().unwrap();
    /// let metrics = event_loop.handle().metrics();
    /// event_loop.run_until_complete(async { yield_now().await }).unwrap();
    /// let steps = std::thread::spawn(move || metrics.snapshot().steps).join().unwrap();
    /// assert_eq!(steps, 2);
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        let Counters {
            turns,
            steps,
            waits,
            asleep,
            ready,
            remote,
            tasks,
            timers,
            sources,
            waiting,
            blocking,
            step_times,
            wake_to_run,
        } = &*self.0;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut times = step_times.each_ref().map(get);
        let steps = get(steps);
        // Only those that the clock could see are counted one by one.
        times[0] += steps.saturating_sub(times.iter().sum());
        Snapshot {
            turns: get(turns),
            steps,
            waits: get(waits),
            asleep: Duration::from_nanos(get(asleep)),
            ready: get(ready),
            remote: get(remote),
            tasks: get(tasks),
            timers: get(timers),
            sources: get(sources),
            waiting: get(waiting),
            blocking: get(blocking),
            step_times: times,
            wake_to_run: wake_to_run.each_ref().map(get),
        }
    }

    /// Counts a turn of `steps` steps.
    #[inline]
    pub(crate) fn count_turn(&self, steps: usize) {
        add(&self.0.turns, 1);
        add(&self.0.steps, steps as u64);
    }

    /// Counts a wait, and the time that the loop slept in it.
    #[inline]
    pub(crate) fn count_wait(&self, asleep: Option<u64>) {
        add(&self.0.waits, 1);
        if let Some(nanos) = asleep {
            add(&self.0.asleep, nanos);
        }
    }

    /// Whether another handle exists. Gauges are not written while none could be read.
    pub(crate) fn is_read(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    pub(crate) fn set_ready(&self, ready: usize) {
        set(&self.0.ready, ready);
    }

    pub(crate) fn set_gauges(&self, gauges: &Gauges) {
        set(&self.0.remote, gauges.remote);
        set(&self.0.tasks, gauges.tasks);
        set(&self.0.timers, gauges.timers);
        set(&self.0.sources, gauges.sources);
        set(&self.0.waiting, gauges.waiting);
        set(&self.0.blocking, gauges.blocking);
    }

    /// Counts a step that took `nanos`.
    pub(crate) fn count_step(&self, nanos: u64) {
        add(&self.0.step_times[bucket(nanos)], 1);
    }

    /// Counts a turn that ran what a wait had woken, `nanos` after the wait.
    pub(crate) fn count_wake(&self, nanos: u64) {
        add(&self.0.wake_to_run[bucket(nanos)], 1);
    }
}

fn bucket(nanos: u64) -> usize {
    ((nanos / 1_000).max(1).ilog2() as usize).min(BUCKETS - 1)
}

fn add(counter: &AtomicU64, number: u64) {
    counter.store(counter.load(Ordering::Relaxed) + number, Ordering::Relaxed);
}

fn set(counter: &AtomicU64, number: usize) {
    counter.store(number as u64, Ordering::Relaxed);
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}
