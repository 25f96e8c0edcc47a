//! The loop's metrics, readable from any thread.
//!
//! Only the loop's thread writes. So a counter is a load and a store, without a read-modify-write
//! and without an ordering: values that are read together may be a turn apart. No code decides
//! anything by them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Access to a loop's metrics; made by [`LoopHandle::metrics`](crate::LoopHandle::metrics).
///
/// It may be sent to other threads, and may outlive the loop.
///
/// ```
/// let event_loop = picot_loop::EventLoop::new()?;
/// let metrics = event_loop.handle().metrics();
/// event_loop.turn(Some(std::time::Duration::ZERO))?;
/// let reader = std::thread::spawn(move || metrics.snapshot().turns);
/// assert_eq!(reader.join().unwrap(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

/// The values that describe one moment, unlike counters.
pub(crate) struct Gauges {
    pub(crate) remote: usize,
    pub(crate) tasks: usize,
    pub(crate) timers: usize,
    pub(crate) sources: usize,
    pub(crate) waiting: usize,
    pub(crate) blocking: usize,
}

/// The number of buckets. The last one counts durations of 35 minutes and more.
const BUCKETS: usize = 32;

/// A loop's metrics at one moment; made by [`Metrics::snapshot`].
///
/// ```
/// # let event_loop = picot_loop::EventLoop::new().unwrap();
/// let snapshot = event_loop.handle().metrics().snapshot();
/// println!("{} tasks, {} timers", snapshot.tasks, snapshot.timers);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// Turns since the loop was built.
    pub turns: u64,
    /// Steps since the loop was built: polls of tasks, and callbacks.
    pub steps: u64,
    /// Waits since the loop was built, including those that did not block.
    pub waits: u64,
    /// The total time for which the loop has been blocked in waits.
    pub asleep: Duration,
    /// Steps that were queued at the end of the last turn, or at the last call of
    /// [`LoopHandle::metrics`](crate::LoopHandle::metrics) if that was later.
    pub ready: u64,
    /// Calls and tasks from other threads that the loop had not taken yet. This value and those
    /// below are of the last wait, or of that call if it was later.
    pub remote: u64,
    /// Tasks that had not ended.
    pub tasks: u64,
    /// Timers that were set.
    pub timers: u64,
    /// I/O objects that were registered.
    pub sources: u64,
    /// Wakers that waited for an I/O object.
    pub waiting: u64,
    /// Blocking jobs that were not over.
    pub blocking: u64,
    /// A histogram of the duration of steps, by powers of two.
    ///
    /// The first number counts steps below 2 µs, the next one those below 4 µs, and so on. It is as
    /// exact as the coarse clock, which on Linux ticks every few milliseconds: a step without a
    /// tick counts as one below 2 µs.
    pub step_times: [u64; BUCKETS],
    /// A histogram of the time from the end of a wait until everything that it woke has run.
    ///
    /// This is an upper bound of how long each woken step waited. The buckets are those of
    /// `step_times`. Turns without a step do not count. All zero unless the loop was built to
    /// [measure this](crate::Builder::record_wake_latency).
    pub wake_to_run: [u64; BUCKETS],
}

impl Metrics {
    /// Reads the current values.
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
        // The loop counts a step in a bucket only if the coarse clock ticked during it. All others
        // belong to the first bucket.
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

    /// Counts a wait, and the time for which the loop was blocked in it.
    #[inline]
    pub(crate) fn count_wait(&self, asleep: Option<u64>) {
        add(&self.0.waits, 1);
        if let Some(nanos) = asleep {
            add(&self.0.asleep, nanos);
        }
    }

    /// Whether a `Metrics` exists outside of the loop. Gauges are not written otherwise.
    pub(crate) fn has_readers(&self) -> bool {
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

    /// Counts a turn whose last woken step ended `nanos` after the wait.
    pub(crate) fn count_wake(&self, nanos: u64) {
        add(&self.0.wake_to_run[bucket(nanos)], 1);
    }
}

fn bucket(nanos: u64) -> usize {
    ((nanos / 1_000).max(1).ilog2() as usize).min(BUCKETS - 1)
}

// Not `fetch_add`: only the loop's thread writes, so no addition is lost. Relaxed: see the top.
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
