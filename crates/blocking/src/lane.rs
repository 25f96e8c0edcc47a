//! The lane: takes jobs, starts threads within its bound, and knows what runs.

use std::fmt;
use std::io;
use std::panic::Location;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use concurrent_queue::ConcurrentQueue;
use picot_context::{Escaped, Place};

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
///
/// A lane belongs to the process that made it. In a child that was forked from that process, the lane's threads do not
/// exist: there a lane takes no jobs, the jobs that it had fail at their next poll, and closing and dropping do nothing.
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
    /// The process that made the lane, and in which its threads are.
    process: u32,
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
    /// How many threads run a job that was abandoned. The job's owner adds one and its thread takes one off, in either order,
    /// so the number may be negative for a moment.
    abandoned: isize,
    /// How many of those may be replaced at a time.
    replacements_max: usize,
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

    /// Whether this process was forked from the one that made the lane. A lock may have been held by one of the lane's threads
    /// at that moment, and would never be released here: so take none if this is true.
    pub(crate) fn is_forked(&self) -> bool {
        process::id() != self.process
    }

    /// How many threads the lane may have now: those for jobs that are wanted, and those that replace stuck ones.
    fn threads_allowed(&self, pool: &Pool) -> usize {
        let stuck = usize::try_from(pool.abandoned).unwrap_or(0);
        self.threads_max.saturating_add(stuck.min(pool.replacements_max))
    }

    /// Starts a thread, unless one is idle or the lane has all that it may have.
    fn start_thread(self: &Arc<Self>, pool: &mut Pool) -> io::Result<()> {
        if pool.idle.is_empty() && pool.workers.len() < self.threads_allowed(pool) {
            pool.workers.push(worker::start(self)?);
        }
        Ok(())
    }

    /// A job that runs has been abandoned: its thread no longer counts, within bounds, and jobs that wait get another.
    pub(crate) fn begin_abandoned(self: &Arc<Self>) {
        let mut pool = self.pool();
        pool.abandoned += 1;
        if !pool.is_closed && !self.jobs.is_empty() {
            // Without another thread the jobs wait for those that there are.
            let _ = self.start_thread(&mut pool);
        }
    }

    /// An abandoned job has ended on the thread of `worker`. Returns whether that thread was replaced, and so has to end: it
    /// has left the pool then.
    pub(crate) fn end_abandoned(&self, worker: &Arc<Worker>) -> bool {
        let mut pool = self.pool();
        pool.abandoned -= 1;
        let is_surplus = pool.workers.len() > self.threads_allowed(&pool);
        if is_surplus {
            self.dismiss(pool, worker);
        }
        is_surplus
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
    #[track_caller]
    pub fn new(name: impl Into<String>, threads_max: usize) -> Lane {
        Lane::build(name.into(), threads_max, KEEP_ALIVE, None)
    }

    /// A lane that calls `waker` whenever a job has ended that had been abandoned while it ran, and that was
    /// [pending](Lane::pending) until then: for loops that wait while jobs are, and would not learn of it otherwise. It is
    /// called on the lane's threads.
    ///
    /// # Panics
    /// As [`new`](Lane::new).
    #[track_caller]
    pub fn with_waker(name: impl Into<String>, threads_max: usize, waker: Waker) -> Lane {
        Lane::build(name.into(), threads_max, KEEP_ALIVE, Some(waker))
    }

    /// Replaces threads that are stuck: at most `most` at a time.
    ///
    /// A job that is [dropped](Job) while it runs cannot be stopped, and keeps its thread. Without replacements, as many such
    /// jobs as the lane has threads keep all other jobs from running. With them, the lane starts another thread for each, so
    /// that it may have up to `threads_max + most` threads. A thread that was replaced ends with its job. Unless set, none is
    /// replaced.
    ///
    /// ```
    /// use picot_blocking::Lane;
    ///
    /// # futures_lite::future::block_on(async {
    /// let lookups = Lane::new("lookups", 1).with_replacements(1);
    /// let (answer, no_answer) = std::sync::mpsc::channel::<()>();
    /// let (started, has_started) = std::sync::mpsc::channel();
    /// let stuck = lookups.submit(move || {
    ///     started.send(()).unwrap();
    ///     no_answer.recv()
    /// });
    /// has_started.recv().unwrap();
    /// drop(stuck); // given up, but it runs on
    /// assert_eq!(lookups.submit(|| "localhost").unwrap().await.unwrap(), "localhost");
    /// drop(answer);
    /// # });
    /// ```
    pub fn with_replacements(self, most: usize) -> Lane {
        self.shared.pool().replacements_max = most;
        self
    }

    #[track_caller]
    fn build(name: String, threads_max: usize, keep_alive: Duration, waker: Option<Waker>) -> Lane {
        assert!(threads_max > 0, "the lane {:?} needs at least one thread to run jobs", Escaped(&name));
        Lane {
            shared: Arc::new(Shared {
                name,
                threads_max,
                jobs: ConcurrentQueue::unbounded(),
                pool: Mutex::default(),
                has_ended: Condvar::new(),
                pending: Arc::new(Count { number: AtomicUsize::new(0), waker }),
                keep_alive,
                process: process::id(),
            }),
        }
    }

    /// Hands a job to the lane's threads. It starts as soon as one is free, whether the returned [`Job`] is polled or not.
    ///
    /// # Errors
    /// If the lane is closed or belongs to another process, or if it has no thread and the operating system gives none. The
    /// job is dropped.
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
        let shared = &self.shared;
        if shared.is_forked() {
            return Err(SubmitError::Forked { lane: shared.name.clone() });
        }
        let cell = Cell::new(place, Pending::new(&shared.pending), job);
        let mut pool = shared.pool();
        if pool.is_closed {
            return Err(SubmitError::Closed { lane: shared.name.clone() });
        }
        match shared.start_thread(&mut pool) {
            Err(error) if pool.workers.is_empty() => {
                return Err(SubmitError::NoThread { lane: shared.name.clone(), error });
            }
            // The threads that there are will come to it.
            Ok(()) | Err(_) => {}
        }
        if shared.jobs.push(cell.clone()).is_err() {
            unreachable!("the queue is unbounded, and closed under the pool's lock only");
        }
        let woken = pool.idle.pop();
        drop(pool);
        if let Some(worker) = woken {
            worker.wake();
        }
        Ok(Job::new(cell, shared.clone()))
    }

    /// The jobs that run now.
    pub fn running(&self) -> Vec<JobInfo> {
        if self.shared.is_forked() {
            return Vec::new();
        }
        self.shared.pool().workers.iter().filter_map(|worker| worker.running()).collect()
    }

    /// How many jobs are not over: those that wait or run, and those whose result was not taken yet. One that was abandoned
    /// counts only while it runs.
    pub fn pending(&self) -> usize {
        if self.shared.is_forked() {
            return 0;
        }
        self.shared.pending.number.load(Ordering::Acquire)
    }

    /// How many threads the lane has now.
    pub fn threads(&self) -> usize {
        if self.shared.is_forked() {
            return 0;
        }
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
        if self.shared.is_forked() {
            return CloseReport::default();
        }
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
    #[non_exhaustive]
    Closed {
        /// The name of the lane.
        lane: String,
    },
    /// It has no thread, and the operating system gives none.
    #[non_exhaustive]
    NoThread {
        /// The name of the lane.
        lane: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// This process was forked from the one that made the lane.
    #[non_exhaustive]
    Forked {
        /// The name of the lane.
        lane: String,
    },
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::Closed { lane } => {
                write!(f, "the lane {:?} is closed and takes no more blocking jobs", Escaped(lane))
            }
            SubmitError::NoThread { lane, error } => write!(
                f,
                "no thread could be started for a blocking job of the lane {:?}, which has none: {}",
                Escaped(lane),
                Escaped(error)
            ),
            SubmitError::Forked { lane } => write!(
                f,
                "the lane {:?} belongs to the process that this one was forked from, and its threads do not exist here; make \
                 a lane of this process",
                Escaped(lane)
            ),
        }
    }
}

impl std::error::Error for SubmitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SubmitError::Closed { .. } | SubmitError::Forked { .. } => None,
            SubmitError::NoThread { error, .. } => Some(error),
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
