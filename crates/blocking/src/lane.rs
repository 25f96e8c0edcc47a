//! The lane: takes jobs, starts threads within its bound, and knows what runs.

use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use concurrent_queue::ConcurrentQueue;
use picot_context::Place;

use crate::job::{Cell, Job, Work};
use crate::worker::{self, Worker};

/// How long a thread without a job stays.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Where a job was submitted: what it is called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobInfo {
    /// Where it was submitted.
    pub place: Place,
}

impl JobInfo {
    pub(crate) fn new(place: Place) -> JobInfo {
        JobInfo { place }
    }
}

impl fmt::Display for JobInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the blocking job from {}", self.place)
    }
}

/// A bounded number of threads that run blocking jobs, in the order in which they were submitted. It starts without any,
/// and a thread that has been idle for ten seconds ends.
///
/// Dropping it closes it; see [`close`](Lane::close).
pub struct Lane {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) name: String,
    threads_max: usize,
    pub(crate) jobs: ConcurrentQueue<Arc<dyn Work>>,
    pool: Mutex<Pool>,
    /// A worker has left the pool.
    pub(crate) has_ended: Condvar,
    pending: Arc<Count>,
    pub(crate) keep_alive: Duration,
}

/// How many jobs are not over.
#[derive(Default)]
struct Count {
    number: AtomicUsize,
    /// Who else is told of jobs that end abandoned.
    waker: Option<Waker>,
}

#[derive(Default)]
pub(crate) struct Pool {
    pub(crate) workers: Vec<Arc<Worker>>,
    /// Those that sleep, the latest last: it is woken first, so that the others can end.
    pub(crate) idle: Vec<Arc<Worker>>,
    pub(crate) is_closed: bool,
}

/// Counts one job as pending for as long as it lives.
pub(crate) struct Pending(Arc<Count>);

impl Pending {
    fn new(count: &Arc<Count>) -> Pending {
        count.number.fetch_add(1, Ordering::Relaxed);
        Pending(count.clone())
    }

    /// A job has ended that was abandoned, so nobody is woken by its result.
    pub(crate) fn end_abandoned(self) {
        let count = self.0.clone();
        drop(self);
        if let Some(waker) = &count.waker {
            waker.wake_by_ref();
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Releases what the job has done to whoever sees the count.
        self.0.number.fetch_sub(1, Ordering::Release);
    }
}

impl Shared {
    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker ends, and leaves the pool for good.
    pub(crate) fn dismiss(&self, mut pool: MutexGuard<'_, Pool>, worker: &Arc<Worker>) {
        pool.workers.retain(|other| !Arc::ptr_eq(other, worker));
        drop(pool);
        self.has_ended.notify_all();
    }
}

impl Lane {
    /// A lane of at most `threads_max` threads, which carry its name.
    ///
    /// # Panics
    /// If `threads_max` is 0: such a lane could never run a job.
    pub fn new(name: impl Into<String>, threads_max: usize) -> Lane {
        Lane::build(name.into(), threads_max, KEEP_ALIVE, None)
    }

    /// A lane that calls `waker` whenever a job has ended that had been abandoned while it ran, and that was
    /// [pending](Lane::pending) until then: for loops that wait while jobs are, and would not learn of it otherwise. It is
    /// called on the lane's threads.
    ///
    /// # Panics
    /// As [`new`](Lane::new).
    pub fn with_waker(name: impl Into<String>, threads_max: usize, waker: Waker) -> Lane {
        Lane::build(name.into(), threads_max, KEEP_ALIVE, Some(waker))
    }

    fn build(name: String, threads_max: usize, keep_alive: Duration, waker: Option<Waker>) -> Lane {
        assert!(threads_max > 0, "a lane needs at least one thread to run jobs");
        Lane {
            shared: Arc::new(Shared {
                name,
                threads_max,
                jobs: ConcurrentQueue::unbounded(),
                pool: Mutex::default(),
                has_ended: Condvar::new(),
                pending: Arc::new(Count { number: AtomicUsize::new(0), waker }),
                keep_alive,
            }),
        }
    }

    /// Hands a job to the lane's threads. It starts as soon as one is free, whether the returned [`Job`] is polled or not.
    ///
    /// # Errors
    /// If the lane is closed, or if it has no thread and the operating system gives none. The job is dropped.
    #[track_caller]
    pub fn submit<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<Job<T>, SubmitError> {
        self.submit_at(Location::caller(), job)
    }

    /// As [`submit`](Lane::submit), on behalf of a caller at `place`.
    ///
    /// # Errors
    /// As for [`submit`](Lane::submit).
    pub fn submit_at<T: Send + 'static>(
        &self,
        place: Place,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Job<T>, SubmitError> {
        let cell = Cell::new(place, Pending::new(&self.shared.pending), job);
        let mut pool = self.shared.pool();
        if pool.is_closed {
            return Err(SubmitError::Closed);
        }
        if pool.idle.is_empty() && pool.workers.len() < self.shared.threads_max {
            match worker::start(&self.shared) {
                Ok(worker) => pool.workers.push(worker),
                Err(error) if pool.workers.is_empty() => return Err(SubmitError::NoThread(error)),
                // The threads that there are will come to it.
                Err(_) => {}
            }
        }
        if self.shared.jobs.push(cell.clone()).is_err() {
            unreachable!("the queue is unbounded, and closed under the pool's lock only");
        }
        let woken = pool.idle.pop();
        drop(pool);
        if let Some(worker) = woken {
            worker.wake();
        }
        Ok(Job::new(cell))
    }

    /// The jobs that run now.
    pub fn running(&self) -> Vec<JobInfo> {
        self.shared.pool().workers.iter().filter_map(|worker| worker.running()).collect()
    }

    /// How many jobs are not over: those that wait or run, and those whose result was not taken yet. One that was abandoned
    /// counts only while it runs.
    pub fn pending(&self) -> usize {
        self.shared.pending.number.load(Ordering::Acquire)
    }

    /// How many threads the lane has now.
    pub fn threads(&self) -> usize {
        self.shared.pool().workers.len()
    }

    /// Closes the lane: refuses new jobs, and drops those that have not started, whose waiters get an error. What runs is
    /// not waited for; each thread ends after its job. Closing twice is fine.
    pub fn close(&self) -> CloseReport {
        self.close_within(Duration::ZERO)
    }

    /// [Closes](Lane::close) the lane, and blocks this thread until what runs has ended, for at most `limit`. The report names
    /// what runs on after that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_blocking::Lane;
    ///
    /// let lane = Lane::new("files", 1);
    /// drop(lane.submit(|| std::thread::yield_now()).unwrap());
    /// assert!(lane.close_within(Duration::from_secs(10)).running.is_empty());
    /// assert_eq!(lane.threads(), 0);
    /// ```
    pub fn close_within(&self, limit: Duration) -> CloseReport {
        let mut pool = self.shared.pool();
        pool.is_closed = true;
        self.shared.jobs.close();
        let idle = std::mem::take(&mut pool.idle);
        drop(pool);
        let dropped = self.drop_waiting_jobs();
        for worker in idle {
            worker.wake();
        }
        let mut pool = self.shared.pool();
        if limit != Duration::ZERO {
            let waited = self.shared.has_ended.wait_timeout_while(pool, limit, |pool| !pool.workers.is_empty());
            pool = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let running = pool.workers.iter().filter_map(|worker| worker.running()).collect();
        CloseReport { running, dropped }
    }

    fn drop_waiting_jobs(&self) -> Vec<JobInfo> {
        let mut dropped = Vec::new();
        while let Ok(job) = self.shared.jobs.pop() {
            if job.refuse() {
                dropped.push(*job.info());
            }
        }
        dropped
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("name", &self.shared.name)
            .field("threads", &self.threads())
            .field("pending", &self.pending())
            .finish_non_exhaustive()
    }
}

/// What was in a lane when it was closed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CloseReport {
    /// The jobs that run on.
    pub running: Vec<JobInfo>,
    /// The jobs that had not started and have been dropped. Those that were abandoned before are not among them.
    pub dropped: Vec<JobInfo>,
}

/// Why a lane did not take a job.
#[derive(Debug)]
#[non_exhaustive]
pub enum SubmitError {
    /// The lane is closed.
    Closed,
    /// It has no thread, and the operating system gives none.
    NoThread(io::Error),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::Closed => f.write_str("the lane is closed and takes no more blocking jobs"),
            SubmitError::NoThread(error) => write!(f, "no thread could be started for a blocking job: {error}"),
        }
    }
}

impl std::error::Error for SubmitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SubmitError::Closed => None,
            SubmitError::NoThread(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// The thread is idle for about as long as it stays, so that it ends, and is woken, at the same moments.
    #[test]
    fn a_thread_that_is_woken_at_the_moment_in_which_it_would_have_ended_stays_a_good_one() {
        let lane = Lane::build("brief".into(), 2, Duration::from_micros(60), None);
        let (sender, receiver) = mpsc::channel();
        for round in 0..20_000 {
            let sender = sender.clone();
            let _job = lane.submit(move || sender.send(round).unwrap()).unwrap();
            let done = receiver.recv_timeout(Duration::from_secs(20));
            assert_eq!(done, Ok(round), "the job was given to a thread that has ended");
            let pool = lane.shared.pool();
            for (index, worker) in pool.idle.iter().enumerate() {
                assert!(
                    pool.workers.iter().any(|other| Arc::ptr_eq(worker, other)),
                    "an idle thread is one of the lane's"
                );
                assert!(!pool.idle[..index].iter().any(|other| Arc::ptr_eq(worker, other)), "and is idle once");
            }
            drop(pool);
            // Idle for a while that differs, around the time that a thread stays.
            for _ in 0..(round % 64) * 10 {
                std::hint::spin_loop();
            }
        }
    }
}
