//! Reports: an error and its source location, in the one type that every error hook receives.
//!
//! A report is a value: leaves make it, the host queues it, and the loop's hook gets it at the end
//! of the turn.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::time::Duration;

use crate::{Escaped, Payload, Place, Step, TaskInfo, WaitInfo, catch, contain, current, host, running};

/// An error that no return value carries.
///
/// ```
/// use picot_context::{Cause, Report};
///
/// /// An error hook.
/// fn tell(report: &Report) {
///     match &report.cause {
///         Cause::SlowStep(time) => println!("{} took {:?}", report.origin, time.took),
///         _ => println!("{report}"),
///     }
/// }
/// # tell(&Report::unhandled(std::panic::Location::caller(), "x"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// The task, callback or other origin of the report.
    pub origin: Origin,
    /// What happened.
    pub cause: Cause,
}

impl Report {
    /// A report of `cause` in `origin`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_context::{Cause, Kind, Origin, Report, StepTime};
    ///
    /// let time = StepTime::new(Duration::from_millis(120), None);
    /// let report = Report::new(Origin::new(Kind::Callback), Cause::SlowStep(time));
    /// let text = report.to_string();
    /// assert!(text.starts_with("the callback kept the loop from everything else for 120ms"));
    /// ```
    pub fn new(origin: Origin, cause: Cause) -> Report {
        Report { origin, cause }
    }

    /// A report of a panic.
    ///
    /// ```
    /// use picot_context::{Kind, Origin, Report, catch};
    ///
    /// let payload = catch(|| panic!("boom")).unwrap_err();
    /// let report = Report::panic(Origin::new(Kind::Waker), payload);
    /// assert_eq!(report.to_string(), "a waker panicked with \"boom\"");
    /// ```
    pub fn panic(origin: Origin, payload: Payload) -> Report {
        Report::new(origin, Cause::Panic(payload))
    }

    /// A report of a promise, made at `place`, whose rejection has no handler.
    ///
    /// ```
    /// let place = std::panic::Location::caller();
    /// let report = picot_context::Report::unhandled(place, "no such page");
    /// assert!(report.to_string().starts_with("the promise from "));
    /// ```
    pub fn unhandled(place: Place, reason: impl Into<Box<str>>) -> Report {
        Report::new(Origin::new(Kind::Rejection).at(place), Cause::Unhandled(reason.into()))
    }
}

/// Passes `report` to this thread's [host](crate::host), or [prints](print()) it without one.
///
/// It never panics: if the host panics, this report is lost and that panic is printed instead.
///
/// ```
/// use picot_context::{Kind, ManualHost, Origin, Report, catch, report};
///
/// let (host, _guard) = ManualHost::installed();
/// let payload = catch(|| panic!("boom")).unwrap_err();
/// report(Report::panic(Origin::new(Kind::Waker), payload));
/// assert_eq!(host.take_reports().len(), 1);
/// ```
pub fn report(report: Report) {
    match host() {
        Some(host) => {
            if let Err(payload) = catch(move || host.report(report)) {
                print(&Report::panic(Origin::new(Kind::Hook), payload));
            }
        }
        None => {
            print(&report);
            contain::discard(|| Origin::new(Kind::Hook), report);
        }
    }
}

/// Prints `report` on standard error: the default error hook. It is one line, except that a dead
/// end and a circle of locks have an indented line per task.
///
/// It never panics. If standard error is closed or full, the line is lost, in whole or part.
///
/// ```
/// use picot_context::{Report, print};
///
/// print(&Report::unhandled(std::panic::Location::caller(), "no such page"));
/// ```
pub fn print(report: &Report) {
    // Formatted first, so that one call writes the line, and no lock of std is held while foreign
    // code formats.
    let mut line = String::new();
    let _ = writeln!(line, "picot: {report}");
    let _ = io::stderr().write_all(line.as_bytes());
}

/// The kind of the subject of a report.
///
/// ```
/// use picot_context::{Kind, Origin};
///
/// assert_eq!(Origin::new(Kind::Reader).to_string(), "the reader or writer");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A task's future: its poll or its drop.
    Task,
    /// A callback, from `call_soon`, `call_later` or `call_at`.
    Callback,
    /// A callback of `add_reader` or `add_writer`.
    Reader,
    /// A blocking job on a thread of a lane.
    Job,
    /// A callback or handler of a promise.
    Promise,
    /// A promise itself: that it was rejected.
    Rejection,
    /// A waker that the loop called.
    Waker,
    /// The error hook itself, or another hook.
    Hook,
    /// The loop.
    Loop,
}

/// The origin of an error: its kind, and the task and the source location if known.
///
/// ```
/// use std::panic::Location;
/// use picot_context::{Kind, Origin};
///
/// let origin = Origin::new(Kind::Callback).at(Location::caller());
/// println!("{origin}"); // the callback from src/main.rs:4:44
/// # assert!(origin.to_string().starts_with("the callback from "));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Origin {
    /// The kind.
    pub kind: Kind,
    /// The task, if it is one.
    pub task: Option<TaskInfo>,
    /// Where it was spawned, scheduled or made.
    pub place: Option<Place>,
}

impl Origin {
    /// An origin of which only the kind is known.
    ///
    /// ```
    /// use picot_context::{Kind, Origin};
    ///
    /// assert_eq!(Origin::new(Kind::Hook).to_string(), "a hook");
    /// ```
    pub fn new(kind: Kind) -> Origin {
        Origin { kind, task: None, place: None }
    }

    /// The same with the place where it came from.
    ///
    /// ```
    /// use std::panic::Location;
    /// use picot_context::{Kind, Origin};
    ///
    /// let origin = Origin::new(Kind::Promise).at(Location::caller());
    /// assert_eq!(origin.place.unwrap().line(), line!() - 1);
    /// ```
    pub fn at(self, place: Place) -> Origin {
        Origin { place: Some(place), ..self }
    }

    /// The origin that is a task.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{Origin, TaskId, TaskInfo};
    ///
    /// let id = TaskId::new(NonZeroU64::new(7).unwrap());
    /// let origin = Origin::task(TaskInfo::new(id, Some("fetch"), std::panic::Location::caller()));
    /// assert!(origin.to_string().starts_with("fetch (task 7, spawned at "));
    /// ```
    pub fn task(task: TaskInfo) -> Origin {
        Origin { kind: Kind::Task, place: Some(task.place()), task: Some(task) }
    }

    /// The step that runs now: a task with its id, name and source location, or a callback.
    ///
    /// ```
    /// use picot_context::{Kind, Origin, Step, enter};
    ///
    /// assert!(Origin::running().is_none());
    /// let _step = enter(Step::callback(std::panic::Location::caller()), None);
    /// assert_eq!(Origin::running().unwrap().kind, Kind::Callback);
    /// ```
    pub fn running() -> Option<Origin> {
        let place = running().as_ref().map(Step::place)?;
        Some(current().map_or_else(|| Origin::new(Kind::Callback).at(place), Origin::task))
    }
}

/// What happened.
///
/// ```
/// use picot_context::Cause;
///
/// let cause = Cause::Failed("no route".into());
/// assert_eq!(cause.to_string(), "ended with an error: no route");
/// ```
#[non_exhaustive]
pub enum Cause {
    /// It panicked, with this payload.
    Panic(Payload),
    /// It ended with this error, and no caller can receive it.
    Failed(Box<dyn Error>),
    /// It returned this error, and its outcome was dropped without having been taken; see
    /// [`unclaimed`](crate::unclaimed).
    Unclaimed(Box<dyn Error>),
    /// It was rejected for this reason, and has no handler.
    Unhandled(Box<str>),
    /// It blocked the loop for this long.
    SlowStep(StepTime),
    /// An operating system call of the loop failed.
    Io(io::Error),
    /// It waits for this task, which is held back by the exclusive section that the waiting task
    /// itself is in.
    WaitsForHeld(TaskInfo),
    /// The loop has nothing to do and nothing to wait for, while these tasks have not ended.
    DeadEnd(Vec<Waiting>),
    /// It has closed a circle of locks: each of these waits for a lock that the next one holds, and
    /// the last for one that the first holds.
    Deadlock(Vec<LockWait>),
}

/// How long a slow step took, and how much of that time it ran.
///
/// ```
/// use std::time::Duration;
/// use picot_context::{Cause, StepTime};
///
/// let time = StepTime::new(Duration::from_millis(300), Some(Duration::from_millis(4)));
/// assert!(!time.has_used_processor());
/// assert!(Cause::SlowStep(time).to_string().contains("300ms, of which it ran for 4ms"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepTime {
    /// The time between the step's begin and its end.
    pub took: Duration,
    /// The time that the loop's thread ran on a processor, at most; `None` if it was not measured.
    pub ran: Option<Duration>,
}

impl StepTime {
    /// A step that took this long, and ran on a processor for at most `ran` of it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let time = picot_context::StepTime::new(Duration::from_secs(1), None);
    /// assert_eq!(time.took, Duration::from_secs(1));
    /// ```
    pub fn new(took: Duration, ran: Option<Duration>) -> StepTime {
        StepTime { took, ran }
    }

    /// Whether the step ran for at least half of the time, as far as is known. Otherwise it waited:
    /// in a call that blocks, or for a processor that other threads used.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_context::StepTime;
    ///
    /// let took = Duration::from_millis(300);
    /// assert!(StepTime::new(took, Some(took / 2)).has_used_processor());
    /// assert!(StepTime::new(took, None).has_used_processor());
    /// ```
    pub fn has_used_processor(&self) -> bool {
        self.ran.is_none_or(|ran| ran >= self.took / 2)
    }
}

/// A task that has not ended, and what it waits for.
///
/// ```
/// use picot_context::{Cause, Report};
///
/// /// Of a loop that cannot go on: which task waits for what.
/// fn tell(report: &Report) {
///     if let Cause::DeadEnd(tasks) = &report.cause {
///         for waiting in tasks {
///             for wait in &waiting.waits {
///                 println!("{} waits for {wait}", waiting.task);
///             }
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Waiting {
    /// The task.
    pub task: TaskInfo,
    /// What its branches wait for. Empty if it waits in a future that has no record of it, such as
    /// one of another library, or if it does not wait.
    pub waits: Vec<WaitInfo>,
}

impl Waiting {
    /// Describes a task that waits.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{WaitInfo, TaskId, TaskInfo, Waiting};
    ///
    /// let [one, two] = [1, 2].map(|number| TaskId::new(NonZeroU64::new(number).unwrap()));
    /// let info = TaskInfo::new(one, None, std::panic::Location::caller());
    /// let waiting = Waiting::new(info, vec![WaitInfo::task(two)]);
    /// assert!(waiting.to_string().ends_with(" waits for task 2"));
    /// ```
    pub fn new(task: TaskInfo, waits: Vec<WaitInfo>) -> Waiting {
        Waiting { task, waits }
    }
}

/// `fetch (task 7, spawned at src/main.rs:12:5) waits for task 3`. Several waits are joined by
/// `and`. A task without a known wait `waits in a future that picot does not know (its waker is
/// kept elsewhere)`.
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task.fmt(f)?;
        if self.waits.is_empty() {
            return write!(f, " waits in {FOREIGN}");
        }
        for (index, wait) in self.waits.iter().enumerate() {
            f.write_str(if index == 0 { " waits for " } else { ", and for " })?;
            match &*wait.on {
                [own] if *own == self.task.id() && wait.held_since.is_some() => {
                    write!(f, "{wait}: the task holds it itself, so it must unlock it before it locks it again")?;
                }
                _ => wait.fmt(f)?,
            }
        }
        Ok(())
    }
}

/// The description of a wait that no leaf has a record of.
pub(crate) const FOREIGN: &str = "a future that picot does not know (its waker is kept elsewhere)";

/// A task and the lock that it waits for: one member of a [`Cause::Deadlock`].
///
/// ```
/// use picot_context::{Cause, Report};
///
/// /// Of a circle of locks: where to look in the source.
/// fn tell(report: &Report) {
///     if let Cause::Deadlock(circle) = &report.cause {
///         for wait in circle {
///             println!("{} waits for what was taken at {}", wait.place, wait.held_since);
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LockWait {
    /// The task that waits; `None` under an executor that does not report the running task.
    pub task: Option<TaskInfo>,
    /// Where it waits.
    pub place: Place,
    /// Where the lock was made.
    pub lock: Place,
    /// The source location where the holder, which is the next member, requested the lock.
    pub held_since: Place,
}

impl LockWait {
    /// `task` waits at `place` for the lock made at `lock`, which its holder asked for at
    /// `held_since`.
    ///
    /// ```
    /// let here = std::panic::Location::caller();
    /// let wait = picot_context::LockWait::new(None, here, here, here);
    /// assert!(wait.to_string().starts_with("a task waits at "));
    /// ```
    pub fn new(task: Option<TaskInfo>, place: Place, lock: Place, held_since: Place) -> LockWait {
        LockWait { task, place, lock, held_since }
    }
}

impl fmt::Display for LockWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task {
            Some(task) => task.fmt(f)?,
            None => f.write_str("a task")?,
        }
        let [place, lock, held_since] = [self.place, self.lock, self.held_since].map(Escaped);
        write!(f, " waits at {place} for the lock made at {lock}, held since {held_since}")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Task => "a task",
            Kind::Callback => "the callback",
            Kind::Reader => "the reader or writer",
            Kind::Job => "the blocking job",
            Kind::Promise => "a promise's callback",
            Kind::Rejection => "the promise",
            Kind::Waker => "a waker",
            Kind::Hook => "a hook",
            Kind::Loop => "the loop",
        };
        match (&self.task, self.place) {
            (Some(task), _) => task.fmt(f),
            (None, Some(place)) => write!(f, "{what} from {}", Escaped(place)),
            (None, None) => f.write_str(what),
        }
    }
}

/// As derived, except that the text of a foreign error is escaped.
impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Panic(payload) => f.debug_tuple("Panic").field(payload).finish(),
            Cause::Failed(error) => f.debug_tuple("Failed").field(&Escaped(error)).finish(),
            Cause::Unclaimed(error) => f.debug_tuple("Unclaimed").field(&Escaped(error)).finish(),
            Cause::Unhandled(reason) => f.debug_tuple("Unhandled").field(reason).finish(),
            Cause::SlowStep(time) => f.debug_tuple("SlowStep").field(time).finish(),
            Cause::Io(error) => f.debug_tuple("Io").field(&Escaped(error)).finish(),
            Cause::WaitsForHeld(task) => f.debug_tuple("WaitsForHeld").field(task).finish(),
            Cause::DeadEnd(tasks) => f.debug_tuple("DeadEnd").field(tasks).finish(),
            Cause::Deadlock(circle) => f.debug_tuple("Deadlock").field(circle).finish(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Panic(payload) => write!(f, "panicked with {payload}"),
            Cause::Failed(error) => write!(f, "ended with an error: {}", Escaped(error)),
            Cause::Unclaimed(error) => write!(
                f,
                "returned an error that nothing has taken: {}; await it, or let it `ignore_errors`",
                Escaped(error)
            ),
            Cause::Unhandled(reason) => write!(
                f,
                "was rejected, which nothing handles ({}); await it, or add `fail`, `catch` or `always`",
                Escaped(reason)
            ),
            Cause::SlowStep(time) => {
                write!(f, "kept the loop from everything else for {:.0?}", time.took)?;
                if let Some(ran) = time.ran {
                    write!(f, ", of which it ran for {ran:.0?}")?;
                }
                f.write_str(if time.has_used_processor() {
                    "; move the work to `spawn_blocking`, or yield in between"
                } else {
                    "; for the rest it waited: for a processor that others used, or in a call that blocks, which `spawn_blocking` is for"
                })
            }
            Cause::WaitsForHeld(task) => write!(
                f,
                "waits for {task}, which its own exclusive section holds back; drop the section's guard before the wait"
            ),
            Cause::Io(error) => write!(f, "met an error of the operating system: {}", Escaped(error)),
            Cause::DeadEnd(tasks) => {
                f.write_str(
                    "cannot go on, unless another thread helps: nothing is ready, and no timer, no I/O and no blocking job is left",
                )?;
                tasks.iter().try_for_each(|waiting| write!(f, "\n  {waiting}"))
            }
            Cause::Deadlock(circle) => {
                f.write_str("has closed a circle of locks, in which no task continues unless one unlocks:")?;
                for (index, wait) in circle.iter().enumerate() {
                    let next = circle.get(index + 1).map_or("the first", |_| "the next");
                    write!(f, "\n  {wait}, by {next}")?;
                }
                f.write_str(
                    "\n  take the locks in the same order everywhere, or release one before you wait for the other\n  \
                     (branches of one task cannot be told apart, so another branch may still unlock)",
                )
            }
        }
    }
}

/// As the default hook prints it. Names, source locations and errors are
/// [escaped](Escaped), and a panic in the `Display` of an error is noted in the text.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.origin, self.cause)
    }
}
