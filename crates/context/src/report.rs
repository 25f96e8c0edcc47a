//! What went wrong, where, and in what: the one type that every error hook gets.
//!
//! It is a value, not an action: leaves make it, the host queues it, the loop's hook sees it at the end of the turn.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::{Payload, Place, Step, TaskInfo, current, running};

/// Something that went wrong outside of anybody's return value.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// What it happened in.
    pub origin: Origin,
    /// What happened.
    pub cause: Cause,
}

impl Report {
    /// A report of `cause` in `origin`.
    pub fn new(origin: Origin, cause: Cause) -> Report {
        Report { origin, cause }
    }

    /// A report of a panic.
    pub fn panic(origin: Origin, payload: Payload) -> Report {
        Report::new(origin, Cause::Panic(payload))
    }
}

/// What a report speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A task's future: its poll or its drop.
    Task,
    /// A callback, from `call_soon`, `call_later` or `call_at`.
    Callback,
    /// A callback or handler of a promise.
    Promise,
    /// A waker that the loop called.
    Waker,
    /// The error hook itself.
    Hook,
    /// The loop.
    Loop,
}

/// In what something went wrong: the kind of thing, and as far as known which task and which place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Origin {
    /// The kind of thing.
    pub kind: Kind,
    /// The task, where it is one.
    pub task: Option<TaskInfo>,
    /// Where it was spawned, scheduled or made.
    pub place: Option<Place>,
}

impl Origin {
    /// An origin of which only the kind is known.
    pub fn new(kind: Kind) -> Origin {
        Origin { kind, task: None, place: None }
    }

    /// The same with the place where it came from.
    pub fn at(self, place: Place) -> Origin {
        Origin { place: Some(place), ..self }
    }

    /// The origin that is a task.
    pub fn task(task: TaskInfo) -> Origin {
        Origin { kind: Kind::Task, place: Some(task.place()), task: Some(task) }
    }

    /// The step that runs now: a task with all that is known of it, or a callback.
    pub fn running() -> Option<Origin> {
        let place = running().as_ref().map(Step::place)?;
        Some(current().map_or_else(|| Origin::new(Kind::Callback).at(place), Origin::task))
    }
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// It panicked, with this payload.
    Panic(Payload),
    /// It kept the loop from everything else for this long.
    SlowStep(Duration),
    /// An operating system call of the loop failed.
    Io(io::Error),
    /// It has closed a circle of locks: each of these waits for a lock that the next one holds, and the last for one
    /// that the first holds.
    Deadlock(Vec<LockWait>),
}

/// Who waits for which lock: one member of a [`Cause::Deadlock`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LockWait {
    /// The task that waits; `None` under an executor that does not say what runs.
    pub task: Option<TaskInfo>,
    /// Where it waits.
    pub place: Place,
    /// Where the lock was made.
    pub lock: Place,
    /// Where the holder, which is the next member, asked for the lock.
    pub held_since: Place,
}

impl LockWait {
    /// `task` waits at `place` for the lock made at `lock`, which somebody asked for at `held_since` and holds.
    pub fn new(task: Option<TaskInfo>, place: Place, lock: Place, held_since: Place) -> LockWait {
        LockWait { task, place, lock, held_since }
    }
}

impl fmt::Display for LockWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task {
            Some(task) => task.fmt(f)?,
            None => f.write_str("somebody")?,
        }
        write!(f, " waits at {} for the lock made at {}, held since {}", self.place, self.lock, self.held_since)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Task => "a task",
            Kind::Callback => "the callback",
            Kind::Promise => "a promise's callback",
            Kind::Waker => "a waker",
            Kind::Hook => "the error hook",
            Kind::Loop => "the loop",
        };
        match (&self.task, self.place) {
            (Some(task), _) => task.fmt(f),
            (None, Some(place)) => write!(f, "{what} from {place}"),
            (None, None) => f.write_str(what),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Panic(payload) => write!(f, "panicked with {payload}"),
            Cause::SlowStep(took) => write!(
                f,
                "kept the loop from everything else for {took:.0?}; move the work to `spawn_blocking`, or yield in between"
            ),
            Cause::Io(error) => write!(f, "met an error of the operating system: {error}"),
            Cause::Deadlock(circle) => {
                f.write_str("has closed a circle of locks, in which nobody goes on unless one lets go: ")?;
                for wait in circle {
                    write!(f, "{wait} by ")?;
                }
                f.write_str(if circle.len() == 1 { "itself" } else { "the first" })
            }
        }
    }
}

/// One line, as the default hook prints it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.origin, self.cause)
    }
}
