//! Figures about the loop, to be read from any thread.
//!
//! One thread writes, so a counter is a load and a store, with no ordering and no read-modify-write: figures that are read
//! together may be of different moments, a turn apart. Nothing here decides anything.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::handle::LoopHandle;
use crate::inner::Inner;

/// A window on a loop's figures; made by [`LoopHandle::metrics`]. It may be sent to other threads, and outlive the loop.
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

/// The last one holds what takes 35 minutes and longer.
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
    /// Steps that were queued at the end of the last turn, or when [`LoopHandle::metrics`] was last called, if that was later.
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
    /// the loop was built to [measure it](crate::Builder::measure_wakes).
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

    /// A turn is over, in which so many steps ran.
    #[inline]
    pub(crate) fn has_turned(&self, inner: &Inner, steps: usize) {
        add(&self.0.turns, 1);
        add(&self.0.steps, steps as u64);
        if self.is_watched() {
            set(&self.0.ready, inner.executor.ready());
        }
    }

    /// A wait is over; if the loop slept in it, so long.
    #[inline]
    pub(crate) fn has_waited(&self, inner: &Inner, asleep: Option<u64>) {
        add(&self.0.waits, 1);
        if let Some(nanos) = asleep {
            add(&self.0.asleep, nanos);
        }
        if self.is_watched() {
            self.gauge(inner);
        }
    }

    /// Whether anybody else has them. What is only of this moment is not worth noting for nobody.
    fn is_watched(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Notes what is there at this moment.
    #[inline(never)]
    fn gauge(&self, inner: &Inner) {
        // To count what is not there takes longer than everything else here.
        set(&self.0.remote, if inner.executor.has_remote() { inner.executor.remote_len() } else { 0 });
        set(&self.0.tasks, inner.executor.spawner().task_count());
        set(&self.0.timers, inner.timers.borrow().len());
        set(&self.0.sources, inner.reactor.sources());
        set(&self.0.waiting, inner.reactor.waiting());
        set(&self.0.blocking, inner.lanes.pending());
    }

    /// A step has taken so many nanoseconds.
    pub(crate) fn has_stepped(&self, took: u64) {
        add(&self.0.step_times[bucket(took)], 1);
    }

    /// What a wait had woken has run, after so many nanoseconds.
    pub(crate) fn has_served(&self, took: u64) {
        add(&self.0.wake_to_run[bucket(took)], 1);
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

impl LoopHandle {
    /// The loop's figures, to be read at any time and from any thread.
    pub fn metrics(&self) -> Metrics {
        let metrics = &self.inner.metrics;
        metrics.gauge(&self.inner);
        set(&metrics.0.ready, self.inner.executor.ready());
        metrics.clone()
    }
}
