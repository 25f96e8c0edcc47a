//! The lane: accepts jobs, starts threads up to its bound, and knows which jobs run.

use std::fmt;
use std::io;
use std::panic::Location;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use concurrent_queue::ConcurrentQueue;
use picot_context::{Escaped, Place};

use crate::job::{AnyJob, Job, JobCell};
use crate::worker::{self, Worker};

/// How long an idle thread waits for a job before it ends.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Which job it is: where it was submitted.
///
/// ```
/// use picot_blocking::Lane;
///
/// let lane = Lane::new("files", 1);
/// let (end, ended) = std::sync::mpsc::channel::<()>();
/// let job = lane.submit(move || ended.recv());
/// for info in lane.running() {
///     assert_eq!(info.place.file(), file!());
///     println!("still running: {info}"); // the blocking job submitted at src/main.rs:5:16
/// }
/// drop((end, job));
/// ```
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
        write!(f, "the blocking job submitted at {}", self.place)
    }
}

/// A bounded number of threads that run blocking jobs, first in, first out.
///
/// It starts without threads. A job starts one if none is idle and the bound allows it. A thread
/// that was idle for ten seconds ends.
///
/// Dropping the lane closes it; see [`close`](Lane::close).
///
/// # Forked processes
/// A lane belongs to the process that made it. Its threads do not exist in a forked child. There,
/// the lane refuses jobs, the jobs that it had end with an error at their next poll, and closing
/// and dropping do nothing.
///
/// ```
/// use picot_blocking::Lane;
///
/// # futures_lite::future::block_on(async {
/// let lane = Lane::new("files", 4);
/// let size = lane.submit(|| std::fs::metadata(".").map(|file| file.len())).unwrap();
/// assert!(size.await.unwrap().is_ok());
/// # });
/// ```
pub struct Lane {
    shared: Arc<Shared>,
}

/// What a lane, its jobs and its threads share.
pub(crate) struct Shared {
    pub(crate) name: String,
    threads_max: ThreadsMax,
    pub(crate) jobs: ConcurrentQueue<Arc<dyn AnyJob>>,
    pool: Mutex<Pool>,
    /// Notified when a worker has left the pool.
    worker_left: Condvar,
    pending: Arc<PendingCount>,
    pub(crate) keep_alive: Duration,
    /// The id of the process that made the lane.
    process: u32,
}

/// The bound of a lane's threads.
enum ThreadsMax {
    Fixed(usize),
    /// Found at the first job, by the function.
    Late(OnceLock<usize>, fn() -> usize),
}

impl ThreadsMax {
    /// The bound. May run user code, so no lock may be held at the first call.
    fn get(&self) -> usize {
        match self {
            ThreadsMax::Fixed(number) => *number,
            ThreadsMax::Late(number, find) => *number.get_or_init(|| find().max(1)),
        }
    }
}

/// How many jobs are not over.
#[derive(Default)]
struct PendingCount {
    number: AtomicUsize,
    /// Woken when a job ends that was abandoned while it ran: its own waiter is gone.
    waker: Option<Waker>,
}

#[derive(Default)]
pub(crate) struct Pool {
    pub(crate) workers: Vec<Arc<Worker>>,
    /// The workers that sleep. The last one is woken first, so that the others reach their timeout.
    pub(crate) idle: Vec<Arc<Worker>>,
    pub(crate) is_closed: bool,
    /// How many threads run an abandoned job. The `Job` adds one and its thread subtracts one, in
    /// either order, so the number may be negative for a moment.
    abandoned: isize,
    /// How many of those may have a replacement.
    replacements_max: usize,
}

/// Counts one job as pending for as long as it lives.
pub(crate) struct Pending(Arc<PendingCount>);

impl Pending {
    fn new(count: &Arc<PendingCount>) -> Pending {
        // Relaxed: the job reaches its thread through the queue, which orders this before it. The
        // submitting thread sees its own increment in any case.
        count.number.fetch_add(1, Ordering::Relaxed);
        Pending(count.clone())
    }

    /// Ends the count of an abandoned job, and wakes the lane's waker: no result wakes its owner.
    pub(crate) fn end_and_wake(self) {
        let count = self.0.clone();
        // First, so that the woken loop sees the lower number.
        drop(self);
        if let Some(waker) = &count.waker {
            waker.wake_by_ref();
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Release, paired with the Acquire in `Lane::pending`: a reader that sees zero also sees
        // the effects of every job.
        self.0.number.fetch_sub(1, Ordering::Release);
    }
}

impl Shared {
    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        // No user code runs under this lock, so a poisoned lock still guards a valid pool.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process is a child that was forked from the one that made the lane.
    ///
    /// A thread of the parent may have held a lock at the moment of the fork. That lock is never
    /// released in the child, so a child must take none.
    pub(crate) fn is_forked(&self) -> bool {
        process::id() != self.process
    }

    /// How many threads the lane may have now: the bound, and replacements of stuck threads.
    fn threads_allowed(&self, pool: &Pool) -> usize {
        // A negative number means that the `Job` is about to add one: nothing is stuck.
        let stuck = usize::try_from(pool.abandoned).unwrap_or(0);
        self.threads_max.get().saturating_add(stuck.min(pool.replacements_max))
    }

    /// Starts a thread, unless one is idle or the lane has as many as it may have.
    fn start_thread(self: &Arc<Self>, pool: &mut Pool) -> io::Result<()> {
        if pool.idle.is_empty() && pool.workers.len() < self.threads_allowed(pool) {
            pool.workers.push(worker::start(self)?);
        }
        Ok(())
    }

    /// Counts a running job as abandoned. Starts a replacement if a job waits and the bound allows.
    pub(crate) fn abandoned_job_runs(self: &Arc<Self>) {
        let mut pool = self.pool();
        pool.abandoned += 1;
        if !pool.is_closed && !self.jobs.is_empty() {
            // An error is fine: the lane's other threads run the jobs later.
            let _ = self.start_thread(&mut pool);
        }
    }

    /// An abandoned job has ended on `worker`. Returns true if that thread was replaced: it has
    /// left the pool then, and has to end.
    pub(crate) fn abandoned_job_ended(&self, worker: &Arc<Worker>) -> bool {
        let mut pool = self.pool();
        pool.abandoned -= 1;
        let is_surplus = pool.workers.len() > self.threads_allowed(&pool);
        if is_surplus {
            self.remove_worker(pool, worker);
        }
        is_surplus
    }

    /// Removes a worker that is about to end, and wakes [`Lane::close_within`].
    pub(crate) fn remove_worker(&self, mut pool: MutexGuard<'_, Pool>, worker: &Arc<Worker>) {
        pool.workers.retain(|other| !Arc::ptr_eq(other, worker));
        drop(pool);
        self.worker_left.notify_all();
    }
}

impl Lane {
    /// Makes a lane of at most `threads_max` threads, which carry its name.
    ///
    /// # Panics
    /// If `threads_max` is 0: such a lane could never run a job.
    ///
    /// ```
    /// use picot_blocking::Lane;
    ///
    /// let lane = Lane::new("files", 4);
    /// assert_eq!(lane.threads(), 0); // the first job starts the first thread
    /// ```
    #[track_caller]
    pub fn new(name: impl Into<String>, threads_max: usize) -> Lane {
        Lane::build(name.into(), threads_max, KEEP_ALIVE, None)
    }

    /// Makes a lane that wakes `waker` when a job ends that was abandoned while it ran.
    ///
    /// Such a job is [pending](Lane::pending) until then, and no result wakes its owner. A loop
    /// that waits until no job is pending needs this waker. It is called on the lane's threads.
    ///
    /// # Panics
    /// As [`new`](Lane::new).
    ///
    /// ```
    /// use picot_blocking::Lane;
    ///
    /// let (woken, has_woken) = std::sync::mpsc::channel();
    /// let waker = waker_fn(move || woken.send(()).unwrap());
    /// let lane = Lane::with_waker("files", 1, waker);
    /// let (started, has_started) = std::sync::mpsc::channel();
    /// let (end, ended) = std::sync::mpsc::channel::<()>();
    /// let job = lane.submit(move || (started.send(()), ended.recv()));
    /// has_started.recv().unwrap();
    /// drop(job); // abandoned, and still running
    /// drop(end);
    /// has_woken.recv().unwrap();
    /// assert_eq!(lane.pending(), 0);
    /// # fn waker_fn(f: impl Fn() + Send + Sync + 'static) -> std::task::Waker {
    /// #     struct Call<F>(F);
    /// #     impl<F: Fn() + Send + Sync + 'static> std::task::Wake for Call<F> {
    /// #         fn wake(self: std::sync::Arc<Self>) {
    /// #             (self.0)();
    /// #         }
    /// #     }
    /// #     std::sync::Arc::new(Call(f)).into()
    /// # }
    /// ```
    #[track_caller]
    pub fn with_waker(name: impl Into<String>, threads_max: usize, waker: Waker) -> Lane {
        Lane::build(name.into(), threads_max, KEEP_ALIVE, Some(waker))
    }

    /// Allows up to `most` additional threads while abandoned jobs run.
    ///
    /// A job that is [dropped](Job) while it runs cannot be stopped, and keeps its thread. Without
    /// replacements, as many such jobs as the lane has threads keep all other jobs from running.
    /// With them, the lane starts another thread for each stuck one, so it may have up to
    /// `threads_max + most` threads. A thread that was replaced ends with its job. The default is
    /// 0: an abandoned computation still uses a processor.
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
    /// drop(stuck); // abandoned, but it runs on
    /// assert_eq!(lookups.submit(|| "localhost").unwrap().await.unwrap(), "localhost");
    /// drop(answer);
    /// # });
    /// ```
    pub fn with_replacements(self, most: usize) -> Lane {
        self.shared.pool().replacements_max = most;
        self
    }

    /// Sets the bound of threads to what `threads_max` returns at the first job, and at least 1.
    ///
    /// For a bound that takes time to find, such as the number of processors, in a program that may
    /// never submit a job. It replaces the number that the lane was made with.
    ///
    /// # Panics
    /// If a job was submitted before.
    ///
    /// ```
    /// use std::thread::available_parallelism;
    /// use picot_blocking::Lane;
    ///
    /// # futures_lite::future::block_on(async {
    /// let processors = || available_parallelism().map_or(1, usize::from);
    /// let lane = Lane::new("sums", 1).with_threads_from(processors);
    /// assert_eq!(lane.submit(|| 1 + 1).unwrap().await.unwrap(), 2);
    /// # });
    /// ```
    #[track_caller]
    pub fn with_threads_from(mut self, threads_max: fn() -> usize) -> Lane {
        let shared = Arc::get_mut(&mut self.shared).expect("`with_threads_from` comes before the first job");
        shared.threads_max = ThreadsMax::Late(OnceLock::new(), threads_max);
        self
    }

    #[track_caller]
    fn build(name: String, threads_max: usize, keep_alive: Duration, waker: Option<Waker>) -> Lane {
        assert!(threads_max > 0, "the lane {:?} needs at least one thread to run jobs", Escaped(&name));
        Lane {
            shared: Arc::new(Shared {
                name,
                threads_max: ThreadsMax::Fixed(threads_max),
                jobs: ConcurrentQueue::unbounded(),
                pool: Mutex::default(),
                worker_left: Condvar::new(),
                pending: Arc::new(PendingCount { number: AtomicUsize::new(0), waker }),
                keep_alive,
                process: process::id(),
            }),
        }
    }

    /// Queues a job. It runs as soon as a thread is free, whether the [`Job`] is polled or not.
    ///
    /// # Errors
    /// If the lane is closed or belongs to the parent of this process, or if the lane has no thread
    /// and the operating system refuses to start one. The closure is dropped.
    ///
    /// ```
    /// use picot_blocking::Lane;
    ///
    /// # futures_lite::future::block_on(async {
    /// let lane = Lane::new("names", 2);
    /// let job = lane.submit(|| std::env::current_dir()).unwrap();
    /// assert!(job.await.unwrap().is_ok());
    /// # });
    /// ```
    #[track_caller]
    pub fn submit<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<Job<T>, SubmitError> {
        self.submit_at(Location::caller(), job)
    }

    /// As [`submit`](Lane::submit), and names `place` as the place of submission.
    ///
    /// For a function that submits on behalf of its own caller.
    ///
    /// # Errors
    /// As [`submit`](Lane::submit).
    ///
    /// ```
    /// use std::panic::Location;
    /// use picot_blocking::{Job, Lane, SubmitError};
    ///
    /// #[track_caller]
    /// fn is_file(lane: &Lane, path: &'static str) -> Result<Job<bool>, SubmitError> {
    ///     lane.submit_at(Location::caller(), move || std::path::Path::new(path).is_file())
    /// }
    /// let lane = Lane::new("files", 1);
    /// let job = is_file(&lane, "/no/such/file").unwrap();
    /// assert!(!futures_lite::future::block_on(job).unwrap());
    /// ```
    pub fn submit_at<T: Send + 'static>(
        &self,
        place: Place,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Job<T>, SubmitError> {
        let shared = &self.shared;
        if shared.is_forked() {
            return Err(SubmitError::Forked { lane: shared.name.clone() });
        }
        // Before the lock: the closure is moved, and on refusal dropped, which is user code. Its
        // destructor runs after `pool`'s, because locals are dropped in reverse order.
        let cell = JobCell::new(place, Pending::new(&shared.pending), job);
        shared.threads_max.get();
        let mut pool = shared.pool();
        if pool.is_closed {
            return Err(SubmitError::Closed { lane: shared.name.clone() });
        }
        match shared.start_thread(&mut pool) {
            Err(error) if pool.workers.is_empty() => {
                return Err(SubmitError::NoThread { lane: shared.name.clone(), error });
            }
            // Without a new thread, the threads that exist run the job later.
            Ok(()) | Err(_) => {}
        }
        // Pushed under the pool's lock: see `worker.rs` for why no job is missed.
        if shared.jobs.push(cell.clone()).is_err() {
            unreachable!("the queue is unbounded, and it is closed under the pool's lock only");
        }
        let woken = pool.idle.pop();
        drop(pool);
        if let Some(worker) = woken {
            worker.wake();
        }
        Ok(Job::new(cell, shared.clone()))
    }

    /// The jobs that run now.
    ///
    /// ```
    /// use picot_blocking::Lane;
    ///
    /// let lane = Lane::new("files", 1);
    /// assert!(lane.running().is_empty());
    /// ```
    pub fn running(&self) -> Vec<JobInfo> {
        if self.shared.is_forked() {
            return Vec::new();
        }
        self.shared.pool().workers.iter().filter_map(|worker| worker.running()).collect()
    }

    /// The number of jobs that are not over.
    ///
    /// These are the jobs that wait or run, and those whose result was not taken yet. An abandoned
    /// job counts only while it runs. A reader that sees 0 also sees the effects of every job.
    ///
    /// ```
    /// use picot_blocking::Lane;
    ///
    /// # futures_lite::future::block_on(async {
    /// let lane = Lane::new("files", 1);
    /// let job = lane.submit(|| 7).unwrap();
    /// assert_eq!(lane.pending(), 1); // also after it has ended: its result was not taken
    /// assert_eq!(job.await.unwrap(), 7);
    /// assert_eq!(lane.pending(), 0);
    /// # });
    /// ```
    pub fn pending(&self) -> usize {
        // Acquire, paired with the Release in `Pending::drop`.
        let pending = self.shared.pending.number.load(Ordering::Acquire);
        // Asked second, because it is a system call.
        if pending != 0 && self.shared.is_forked() { 0 } else { pending }
    }

    /// The number of threads that the lane has now, idle ones included.
    ///
    /// ```
    /// use picot_blocking::Lane;
    ///
    /// let lane = Lane::new("files", 4);
    /// let job = lane.submit(|| ()).unwrap();
    /// assert_eq!(lane.threads(), 1);
    /// # drop(job);
    /// ```
    pub fn threads(&self) -> usize {
        if self.shared.is_forked() {
            return 0;
        }
        self.shared.pool().workers.len()
    }

    /// Closes the lane without waiting for the jobs that run.
    ///
    /// New jobs are refused. Jobs that have not started are dropped, and their waiters get
    /// [`JobError::Refused`](crate::JobError::Refused). Each thread ends after its job. Closing
    /// twice is fine.
    ///
    /// ```
    /// use picot_blocking::Lane;
    ///
    /// let lane = Lane::new("files", 1);
    /// assert!(lane.close().running.is_empty());
    /// assert!(lane.submit(|| ()).is_err());
    /// ```
    pub fn close(&self) -> ClosedLane {
        self.close_within(Duration::ZERO)
    }

    /// [Closes](Lane::close) the lane, and blocks until every job has ended, up to `limit`.
    ///
    /// The result names the jobs that still run then.
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
    pub fn close_within(&self, limit: Duration) -> ClosedLane {
        if self.shared.is_forked() {
            return ClosedLane::default();
        }
        let mut pool = self.shared.pool();
        pool.is_closed = true;
        self.shared.jobs.close();
        // Off the list, so that a worker whose timeout passes now waits for the wake below.
        let idle = std::mem::take(&mut pool.idle);
        drop(pool);
        // User code may run here: closures are dropped and waiters woken. No lock is held.
        let dropped = self.drop_waiting_jobs();
        for worker in idle {
            worker.wake();
        }
        let mut pool = self.shared.pool();
        if limit != Duration::ZERO {
            let waited = self.shared.worker_left.wait_timeout_while(pool, limit, |pool| !pool.workers.is_empty());
            pool = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let running = pool.workers.iter().filter_map(|worker| worker.running()).collect();
        ClosedLane { running, dropped }
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

/// The jobs that were in a lane when it was closed.
///
/// ```
/// use picot_blocking::Lane;
///
/// let closed = Lane::new("files", 1).close();
/// assert!(closed.running.is_empty() && closed.dropped.is_empty());
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ClosedLane {
    /// The jobs that still run.
    pub running: Vec<JobInfo>,
    /// The jobs that had not started and were dropped. Jobs that were abandoned before are not
    /// among them.
    pub dropped: Vec<JobInfo>,
}

/// Why a lane refused a job.
///
/// ```
/// use picot_blocking::{Lane, SubmitError};
///
/// let lane = Lane::new("files", 1);
/// lane.close();
/// let error = lane.submit(|| ()).unwrap_err();
/// assert!(matches!(error, SubmitError::Closed { .. }));
/// assert_eq!(error.to_string(), "the lane \"files\" is closed and takes no more blocking jobs");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SubmitError {
    /// The lane is closed.
    #[non_exhaustive]
    Closed {
        /// The name of the lane.
        lane: String,
    },
    /// The lane has no thread, and the operating system refused to start one.
    #[non_exhaustive]
    NoThread {
        /// The name of the lane.
        lane: String,
        /// The operating system's error.
        error: io::Error,
    },
    /// This process is a forked child, and the lane belongs to its parent.
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
            SubmitError::NoThread { lane, error } => {
                write!(f, "cannot start a thread for the lane {:?}, which has none: {}", Escaped(lane), Escaped(error))
            }
            SubmitError::Forked { lane } => write!(
                f,
                "the lane {:?} belongs to the parent of this forked process, and its threads do not exist here; \
                 make a lane in this process",
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

    /// Each pause is about as long as the thread's idle timeout, so the timeout races the wake.
    #[test]
    fn a_thread_that_is_woken_at_its_idle_timeout_still_runs_the_job() {
        let lane = Lane::build("brief".into(), 2, Duration::from_micros(60), None);
        let (sender, receiver) = mpsc::channel();
        for round in 0..20_000 {
            let sender = sender.clone();
            let _job = lane.submit(move || sender.send(round).unwrap()).unwrap();
            let done = receiver.recv_timeout(Duration::from_secs(20));
            assert_eq!(done, Ok(round), "no thread ran the job");
            let pool = lane.shared.pool();
            for (index, worker) in pool.idle.iter().enumerate() {
                assert!(pool.workers.iter().any(|other| Arc::ptr_eq(worker, other)), "an idle thread is in the pool");
                assert!(
                    !pool.idle[..index].iter().any(|other| Arc::ptr_eq(worker, other)),
                    "an idle thread is listed once"
                );
            }
            drop(pool);
            // Idle times of different lengths, around the timeout.
            for _ in 0..(round % 64) * 10 {
                std::hint::spin_loop();
            }
        }
    }
}
