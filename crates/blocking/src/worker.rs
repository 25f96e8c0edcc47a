//! One thread of a lane: takes jobs, and sleeps when there is none.
//!
//! A worker goes idle under the pool's lock and looks at the queue once more there; a submitter pushes under the same lock
//! and then wakes an idle worker. So either the worker sees the job, or the submitter sees the worker.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use parking::{Parker, Unparker};
use picot_context::{Escaped, contain};

use crate::job::{self, End};
use crate::lane::{JobInfo, Shared};

pub(crate) struct Worker {
    unparker: Unparker,
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

/// Starts a thread. The caller holds the pool's lock, and adds the worker to it.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<Arc<Worker>> {
    let (parker, unparker) = parking::pair();
    let worker = Arc::new(Worker { unparker, running: Mutex::new(None) });
    let (shared, this) = (shared.clone(), worker.clone());
    // A thread's name must not contain a NUL.
    let name = Escaped(&shared.name).to_string();
    thread::Builder::new().name(name).spawn(move || work(&shared, &this, &parker))?;
    Ok(worker)
}

fn work(shared: &Shared, this: &Arc<Worker>, parker: &Parker) {
    loop {
        while let Ok(job) = shared.jobs.pop() {
            let place = job.info().place;
            this.set_running(Some(*job.info()));
            let end = job.run(&|| this.set_running(None));
            // Also where the job was abandoned and did not run.
            this.set_running(None);
            // The last reference, if the job's owner is gone: what it still holds is foreign.
            contain::discard(|| job::origin(place), job);
            if end == End::Abandoned && shared.end_abandoned(this) {
                return;
            }
        }
        let mut pool = shared.pool();
        if !shared.jobs.is_empty() {
            continue;
        }
        if pool.is_closed {
            return shared.dismiss(pool, this);
        }
        pool.idle.push(this.clone());
        drop(pool);
        if parker.park_timeout(shared.keep_alive) {
            continue;
        }
        // Nobody has woken this thread. If it is still listed as idle, nobody is about to, and it can end.
        let mut pool = shared.pool();
        if let Some(index) = pool.idle.iter().position(|worker| Arc::ptr_eq(worker, this)) {
            pool.idle.remove(index);
            return shared.dismiss(pool, this);
        }
        drop(pool);
        // Somebody was just about to. That comes, and is not for the next time: it would stand in the list twice then.
        parker.park();
    }
}
