//! The watchdog: a thread that reports a step while the step still runs.
//!
//! It finds steps that never end, which no report at their end can. It costs a thread, and an
//! uncontended lock at the beginning and the end of each step, so it runs only if the builder asks
//! for it. It reports; it stops nothing.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use parking::{Parker, Unparker};
use picot_context::{Place, Step, TaskId, TaskInfo, catch};
use picot_reactor::Reactor;

/// A step that exceeds the watchdog's limit; see [`Builder::watchdog`](crate::Builder::watchdog).
///
/// Its `Display` is one line for a log.
///
/// ```
/// use std::time::Duration;
/// use picot_loop::{EventLoop, Stuck};
///
/// fn log(stuck: &Stuck) {
///     eprintln!("{} exceeds {:?}: {stuck}", stuck.place, stuck.limit);
/// }
/// let event_loop = EventLoop::builder().watchdog(Duration::from_secs(1), log).build()?;
/// # Ok::<(), picot_loop::LoopError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stuck {
    /// The task, unless the step is a callback.
    pub task: Option<TaskId>,
    /// Where the task was spawned or the callback scheduled.
    pub place: Place,
    /// The name of the loop's thread.
    pub thread: Option<String>,
    /// The watchdog's limit, which the step has exceeded.
    pub limit: Duration,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.task {
            Some(id) => write!(f, "{}", TaskInfo::new(id, None, self.place))?,
            None => write!(f, "the callback from {}", self.place)?,
        }
        write!(f, " has blocked the loop for more than {:.0?} and still runs", self.limit)?;
        match &self.thread {
            Some(thread) => write!(f, ", on the thread {thread:?}"),
            None => Ok(()),
        }
    }
}

type Hook = Box<dyn FnMut(&Stuck) + Send>;

/// The builder's options for the watchdog.
pub(crate) struct WatchdogOptions {
    pub(crate) limit: Duration,
    pub(crate) hook: Hook,
}

impl fmt::Debug for WatchdogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The loop's side of the watchdog. Dropping it ends the thread.
pub(crate) struct Watchdog {
    shared: Arc<Mutex<Shared>>,
    /// For `is_forked`: in a forked child the thread does not exist, and it may have held the lock
    /// at the fork.
    reactor: Reactor,
    unparker: Unparker,
    /// A stack: what was published when each current step began. A step runs inside another one
    /// when a task is spawned eagerly.
    outer: RefCell<Vec<Option<Step>>>,
    /// Whether an exclusive section lasts, in which no step is published.
    is_exclusive: Cell<bool>,
}

/// What the loop publishes to the watchdog's thread.
#[derive(Default)]
struct Shared {
    /// The number of steps that have begun: tells a long step from two short ones.
    number: u64,
    step: Option<Step>,
    is_over: bool,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watchdog {
    /// Starts the watchdog's thread, for a loop on this thread.
    pub(crate) fn start(options: WatchdogOptions, reactor: &Reactor) -> std::io::Result<Watchdog> {
        let (parker, unparker) = parking::pair();
        let shared = Arc::<Mutex<Shared>>::default();
        let watched = shared.clone();
        let name = thread::current().name().map(str::to_string);
        let watch = move || watch(&watched, &parker, options, name);
        thread::Builder::new().name("picot-watchdog".into()).spawn(watch)?;
        Ok(Watchdog {
            shared,
            reactor: reactor.clone(),
            unparker,
            outer: RefCell::default(),
            is_exclusive: Cell::new(false),
        })
    }

    /// Locks the shared state. `None` in a forked child, where the thread does not exist.
    fn shared(&self) -> Option<MutexGuard<'_, Shared>> {
        if self.reactor.is_forked() { None } else { Some(lock(&self.shared)) }
    }

    /// Publishes a step, or none. Returns what was published before.
    fn set_step(&self, step: Option<Step>) -> Option<Step> {
        // An exclusive section may block for as long as it likes.
        let step = step.filter(|_| !self.is_exclusive.get());
        let mut shared = self.shared()?;
        shared.number += u64::from(step.is_some());
        std::mem::replace(&mut shared.step, step)
    }

    pub(crate) fn begin_step(&self, step: Step) {
        let outer = self.set_step(Some(step));
        self.outer.borrow_mut().push(outer);
    }

    pub(crate) fn end_step(&self) {
        // The outer step gets a new number, so its time counts from here. It may be reported later,
        // but never for the time of an inner step.
        let outer = self.outer.borrow_mut().pop().flatten();
        self.set_step(outer);
    }

    pub(crate) fn set_exclusive(&self, lasts: bool) {
        self.is_exclusive.set(lasts);
        self.set_step(picot_context::running());
    }

    /// Runs `f` while no step is published, so that the watchdog ignores its duration.
    pub(crate) fn pause_while<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore<'a>(&'a Watchdog, Option<Step>);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.set_step(self.1);
            }
        }
        let step = self.shared().and_then(|mut shared| shared.step.take());
        // Restored by a guard, also while unwinding.
        let _restore = Restore(self, step);
        f()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(mut shared) = self.shared() {
            shared.is_over = true;
            drop(shared);
            self.unparker.unpark();
        }
    }
}

/// The watchdog's thread: wakes up once per `limit`. A step that is published at two wake-ups in a
/// row has taken longer than that.
fn watch(shared: &Mutex<Shared>, parker: &Parker, mut options: WatchdogOptions, thread: Option<String>) {
    let (mut last, mut reported) = (0, 0);
    loop {
        parker.park_timeout(options.limit);
        // Held for a few instructions: the loop takes this lock at each step.
        let shared = lock(shared);
        if shared.is_over {
            return;
        }
        let (number, step) = (shared.number, shared.step);
        drop(shared);
        if let Some(step) = step.filter(|_| number == last && number != reported) {
            // Once per step, however long it takes.
            reported = number;
            let (task, place, limit) = (step.task_id(), step.place(), options.limit);
            let stuck = Stuck { task, place, thread: thread.clone(), limit };
            // User code; the lock is released. std's panic hook prints a panic of it, and the
            // watchdog goes on with the next step.
            let _ = catch(|| (options.hook)(&stuck));
        }
        last = if step.is_some() { number } else { 0 };
    }
}
