//! One thread of a lane: runs jobs, and sleeps when there is none.
//!
//! A worker lists itself as idle under the pool's lock, after it has looked at the queue once more
//! under that lock. A submitter pushes under the same lock, and then wakes an idle worker. So
//! either the worker sees the job, or the submitter sees the worker.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use parking::{Parker, Unparker};
use picot_context::{Escaped, contain};

use crate::job::{self, Ended};
use crate::lane::{JobInfo, Shared};

pub(crate) struct Worker {
    unparker: Unparker,
    /// The job whose closure runs now. Other threads read it, so it is behind a lock of its own.
    running: Mutex<Option<JobInfo>>,
}

impl Worker {
    pub(crate) fn wake(&self) {
        self.unparker.unpark();
    }

    pub(crate) fn running(&self) -> Option<JobInfo> {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_running(&self, job: Option<JobInfo>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = job;
    }
}

/// Starts a thread. The caller holds the pool's lock, and adds the returned worker to the pool
/// before it releases that lock, so the thread never finds itself missing from the pool.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<Arc<Worker>> {
    let (parker, unparker) = parking::pair();
    let worker = Arc::new(Worker { unparker, running: Mutex::new(None) });
    let (shared, this) = (shared.clone(), worker.clone());
    // A thread's name must not contain NUL; escaping replaces it.
    let name = Escaped(&shared.name).to_string();
    thread::Builder::new().name(name).spawn(move || run_jobs(&shared, &this, &parker))?;
    Ok(worker)
}

fn run_jobs(shared: &Shared, this: &Arc<Worker>, parker: &Parker) {
    loop {
        while let Ok(job) = shared.jobs.pop() {
            let place = job.info().place;
            this.set_running(Some(*job.info()));
            // Cleared before the result can be taken: a caller that has the result must not find
            // the job among those that run.
            let ended = job.run(&|| this.set_running(None));
            // Clears it once more for an abandoned job: that one skips the callback above.
            this.set_running(None);
            // User code may run here: this may be the last reference, and drop the closure's
            // captures. No lock is held.
            contain::discard(|| job::job_origin(place), job);
            if ended == Ended::Abandoned && shared.abandoned_job_ended(this) {
                return;
            }
        }
        let mut pool = shared.pool();
        // A job was pushed since the last `pop`. Its submitter saw no idle worker.
        if !shared.jobs.is_empty() {
            continue;
        }
        // Checked after the queue: closing leaves the jobs that it has not dropped yet to `pop`.
        if pool.is_closed {
            return shared.remove_worker(pool, this);
        }
        pool.idle.push(this.clone());
        drop(pool);
        if parker.park_timeout(shared.keep_alive) {
            continue;
        }
        // The timeout has passed. A worker that is still listed as idle was not chosen by a
        // submitter, and cannot be chosen while the lock is held: it may end.
        let mut pool = shared.pool();
        if let Some(index) = pool.idle.iter().position(|worker| Arc::ptr_eq(worker, this)) {
            pool.idle.remove(index);
            return shared.remove_worker(pool, this);
        }
        drop(pool);
        // A submitter took it off the list and is about to unpark it. Consume that unpark now: left
        // over, it would end the next park early, and list this worker as idle twice.
        parker.park();
    }
}
