//! The watchdog: a thread that reports a step while the step still runs.
//!
//! It finds steps that never end, which no report at their end can. It costs a thread, and an
//! uncontended lock at the beginning and the end of each step, so it runs only if the builder asks for
//! it. It reports; it stops nothing.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use parking::{Parker, Unparker};
use picot_context::{Place, Step, TaskId, TaskInfo, catch};
use picot_reactor::Reactor;

/// A step that has not ended; see [`Builder::watchdog`](crate::Builder::watchdog).
///
/// Displayed, it is a line for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stuck {
    /// The task, unless the step is a callback.
    pub task: Option<TaskId>,
    /// Where the task was spawned or the callback scheduled.
    pub place: Place,
    /// The name of the loop's thread.
    pub thread: Option<String>,
    /// The step has taken longer than this.
    pub limit: Duration,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.task {
            Some(id) => write!(f, "{}", TaskInfo::new(id, None, self.place))?,
            None => write!(f, "the callback from {}", self.place)?,
        }
        write!(f, " has kept the loop from everything else for more than {:.0?}, and does so still", self.limit)?;
        match &self.thread {
            Some(thread) => write!(f, ", on the thread {thread:?}"),
            None => Ok(()),
        }
    }
}

type Hook = Box<dyn FnMut(&Stuck) + Send>;

/// What a loop is to be built with.
pub(crate) struct WatchdogOptions {
    pub(crate) limit: Duration,
    pub(crate) hook: Hook,
}

impl fmt::Debug for WatchdogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The loop's side of it. Dropping it ends the thread.
pub(crate) struct Watchdog {
    seen: Arc<Mutex<Seen>>,
    /// Knows whether this is a process that was forked from the thread's, which may have held the lock in that moment.
    reactor: Reactor,
    unparker: Unparker,
    /// What was seen when each of the steps began that run now, one inside of the other: a task may be spawned eagerly.
    outer: RefCell<Vec<Option<Step>>>,
    /// Whether an exclusive section lasts, from which it looks away.
    is_exclusive: Cell<bool>,
}

/// What the thread is to see.
#[derive(Default)]
struct Seen {
    /// The number of steps that have begun.
    number: u64,
    step: Option<Step>,
    is_over: bool,
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watchdog {
    /// Starts the thread, for a loop on this one.
    pub(crate) fn start(options: WatchdogOptions, reactor: &Reactor) -> std::io::Result<Watchdog> {
        let (parker, unparker) = parking::pair();
        let seen = Arc::<Mutex<Seen>>::default();
        let watched = seen.clone();
        let name = thread::current().name().map(str::to_string);
        let watch = move || watch(&watched, &parker, options, name);
        thread::Builder::new().name("picot-watchdog".into()).spawn(watch)?;
        Ok(Watchdog {
            seen,
            reactor: reactor.clone(),
            unparker,
            outer: RefCell::default(),
            is_exclusive: Cell::new(false),
        })
    }

    /// What the thread is to see; none in a forked child, where there is no such thread.
    fn seen(&self) -> Option<MutexGuard<'_, Seen>> {
        if self.reactor.is_forked() { None } else { Some(lock(&self.seen)) }
    }

    /// Shows a step, or none. Returns what was shown before.
    fn set_step(&self, step: Option<Step>) -> Option<Step> {
        let step = step.filter(|_| !self.is_exclusive.get());
        let mut seen = self.seen()?;
        seen.number += u64::from(step.is_some());
        std::mem::replace(&mut seen.step, step)
    }

    pub(crate) fn begin_step(&self, step: Step) {
        let outer = self.set_step(Some(step));
        self.outer.borrow_mut().push(outer);
    }

    pub(crate) fn end_step(&self) {
        let outer = self.outer.borrow_mut().pop().flatten();
        self.set_step(outer);
    }

    pub(crate) fn set_exclusive(&self, lasts: bool) {
        self.is_exclusive.set(lasts);
        self.set_step(picot_context::running());
    }

    /// Looks away while `f` runs.
    pub(crate) fn look_away<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Again<'a>(&'a Watchdog, Option<Step>);
        impl Drop for Again<'_> {
            fn drop(&mut self) {
                self.0.set_step(self.1);
            }
        }
        let step = self.seen().and_then(|mut seen| seen.step.take());
        let _again = Again(self, step);
        f()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(mut seen) = self.seen() {
            seen.is_over = true;
            drop(seen);
            self.unparker.unpark();
        }
    }
}

/// Looks once every `limit`. A step that is there twice has taken longer than that.
fn watch(seen: &Mutex<Seen>, parker: &Parker, mut options: WatchdogOptions, thread: Option<String>) {
    let (mut last, mut told) = (0, 0);
    loop {
        parker.park_timeout(options.limit);
        let seen = lock(seen);
        if seen.is_over {
            return;
        }
        let (number, step) = (seen.number, seen.step);
        drop(seen);
        if let Some(step) = step.filter(|_| number == last && number != told) {
            told = number;
            let (task, place, limit) = (step.task_id(), step.place(), options.limit);
            let stuck = Stuck { task, place, thread: thread.clone(), limit };
            // std's panic hook has printed a panic of the hook. The watchdog goes on with the next step.
            let _ = catch(|| (options.hook)(&stuck));
        }
        last = if step.is_some() { number } else { 0 };
    }
}
