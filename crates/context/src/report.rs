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

    /// A report of a promise, made at `place`, whose rejection nobody has looked at.
    pub fn unhandled(place: Place, reason: impl Into<Box<str>>) -> Report {
        Report::new(Origin::new(Kind::Rejection).at(place), Cause::Unhandled(reason.into()))
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
    /// A promise itself: that it was rejected.
    Rejection,
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
    /// It was rejected for this reason, and nobody has looked at it.
    Unhandled(Box<str>),
    /// It kept the loop from everything else for this long.
    SlowStep(Duration),
    /// An operating system call of the loop failed.
    Io(io::Error),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Task => "a task",
            Kind::Callback => "the callback",
            Kind::Promise => "a promise's callback",
            Kind::Rejection => "the promise",
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
            Cause::Unhandled(reason) => write!(
                f,
                "was rejected, which nothing handles ({reason}); await it, or add `fail`, `catch` or `always`"
            ),
            Cause::SlowStep(took) => write!(
                f,
                "kept the loop from everything else for {took:.0?}; move the work to `spawn_blocking`, or yield in between"
            ),
            Cause::Io(error) => write!(f, "met an error of the operating system: {error}"),
        }
    }
}

/// One line, as the default hook prints it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.origin, self.cause)
    }
}
