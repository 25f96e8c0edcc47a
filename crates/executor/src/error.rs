//! The errors of a task: how it can end without a value.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;

use picot_context::{Escaped, Payload, TaskId, TaskInfo};

/// Why a task was cancelled, in the words of its canceller.
///
/// ```
/// let executor = picot_executor::Executor::new();
/// let spawn = || executor.spawn(std::future::pending::<()>());
/// let (first, second) = (spawn(), spawn());
/// first.cancel("a text that stands in the program");
/// second.cancel(format!("or one that was made for {}", second.id()));
/// let reason = executor.block_on(async { second.await.unwrap_err().reason().cloned() });
/// assert_eq!(reason.unwrap().to_string(), "or one that was made for 2");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelReason(Cow<'static, str>);

impl CancelReason {
    /// The reason of every task that a close ends.
    pub(crate) const LOOP_CLOSED: CancelReason = CancelReason::new("the loop that ran it was closed");
    /// The reason of a task whose future a close had to leak.
    pub(crate) const LEAKED_AT_CLOSE: CancelReason =
        CancelReason::new("the loop that ran it was closed, and its future could not be dropped");
    /// The reason of a task whose [`Join`](crate::Join) was dropped.
    pub(crate) const WAIT_DROPPED: CancelReason = CancelReason::new("the wait for it was dropped");

    const fn new(text: &'static str) -> CancelReason {
        CancelReason(Cow::Borrowed(text))
    }

    /// The reason as text.
    ///
    /// ```
    /// let reason = picot_executor::CancelReason::from("too slow");
    /// assert_eq!(reason.as_str(), "too slow");
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for CancelReason {
    fn from(text: &'static str) -> CancelReason {
        CancelReason::new(text)
    }
}

impl From<String> for CancelReason {
    fn from(text: String) -> CancelReason {
        CancelReason(Cow::Owned(text))
    }
}

/// The text, [escaped](Escaped): a reason may quote data of a peer.
impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

/// Why waiting for a task returned no value: it was cancelled, it panicked, or it waited for
/// itself.
///
/// It is one pointer wide, so that a result with it is no wider than its value needs.
///
/// ```
/// let executor = picot_executor::Executor::new();
/// let task = executor.spawner().spawn_named("fetch", async { panic!("no such page") });
/// let error: picot_executor::JoinError = executor.block_on(async { task.await.unwrap_err() });
/// println!("{error}"); // fetch (task 1, spawned at src/main.rs:2:51) panicked with "no such page"
/// # assert!(error.to_string().ends_with("panicked with \"no such page\""));
/// ```
pub struct JoinError(Box<Inner>);

struct Inner {
    task: TaskInfo,
    cause: Cause,
}

enum Cause {
    Cancelled(CancelReason),
    Panicked(Payload),
    Itself,
}

impl JoinError {
    fn new(task: TaskInfo, cause: Cause) -> JoinError {
        JoinError(Box::new(Inner { task, cause }))
    }

    /// The error of a cancelled task, for crates that run tasks inside of tasks, such as scopes.
    ///
    /// ```
    /// use picot_executor::{Executor, JoinError, TaskInfo};
    ///
    /// let executor = Executor::new();
    /// let (id, place) = (executor.spawner().allocate_id(), std::panic::Location::caller());
    /// let child = TaskInfo::new(id, Some("child"), place);
    /// let error = JoinError::cancelled(child, "its scope has ended".into());
    /// assert_eq!(error.reason().unwrap().as_str(), "its scope has ended");
    /// ```
    pub fn cancelled(task: TaskInfo, reason: CancelReason) -> JoinError {
        JoinError::new(task, Cause::Cancelled(reason))
    }

    /// The error of a task that panicked; see [`cancelled`](JoinError::cancelled).
    ///
    /// ```
    /// use picot_executor::{Executor, JoinError, TaskInfo};
    ///
    /// let executor = Executor::new();
    /// let (id, place) = (executor.spawner().allocate_id(), std::panic::Location::caller());
    /// let child = TaskInfo::new(id, Some("child"), place);
    /// let payload = picot_context::catch(|| panic!("boom")).unwrap_err();
    /// assert!(JoinError::panicked(child, payload).is_panic());
    /// ```
    pub fn panicked(task: TaskInfo, payload: Payload) -> JoinError {
        JoinError::new(task, Cause::Panicked(payload))
    }

    /// The error of a task that waits for itself; see [`cancelled`](JoinError::cancelled).
    ///
    /// ```
    /// use picot_executor::{Executor, JoinError, TaskInfo};
    ///
    /// let executor = Executor::new();
    /// let (id, place) = (executor.spawner().allocate_id(), std::panic::Location::caller());
    /// let child = TaskInfo::new(id, Some("child"), place);
    /// let error = JoinError::itself(child);
    /// assert!(error.to_string().ends_with("waits for itself, which would never end"));
    /// assert!(!error.is_cancelled() && !error.is_panic());
    /// ```
    pub fn itself(task: TaskInfo) -> JoinError {
        JoinError::new(task, Cause::Itself)
    }

    /// Claims a panic, so that it is not reported.
    pub(crate) fn claim(&self) {
        if let Cause::Panicked(payload) = &self.0.cause {
            payload.claim();
        }
    }

    /// Whether the task waited for itself.
    pub(crate) fn is_itself(&self) -> bool {
        matches!(self.0.cause, Cause::Itself)
    }

    /// Whether the task was cancelled.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(std::future::pending::<()>());
    /// task.cancel("not needed");
    /// assert!(executor.block_on(async { task.await.unwrap_err() }).is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Whether the task panicked.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(async { panic!("boom") });
    /// assert!(executor.block_on(async { task.await.unwrap_err() }).is_panic());
    /// ```
    pub fn is_panic(&self) -> bool {
        matches!(self.0.cause, Cause::Panicked(_))
    }

    /// Why the task was cancelled, if it was.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(std::future::pending::<()>());
    /// task.cancel("the first reason");
    /// task.cancel("and another");
    /// let error = executor.block_on(async { task.await.unwrap_err() });
    /// assert_eq!(error.reason().unwrap().as_str(), "the first reason");
    /// ```
    pub fn reason(&self) -> Option<&CancelReason> {
        match &self.0.cause {
            Cause::Cancelled(reason) => Some(reason),
            Cause::Panicked(_) | Cause::Itself => None,
        }
    }

    /// The payload of the panic, for [`std::panic::resume_unwind`]. Returns the error itself if the
    /// task did not panic.
    ///
    /// If the error hook has taken the payload out of its report, the payload is a text that says
    /// so.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(async { std::panic::panic_any(404) });
    /// let error = executor.block_on(async { task.await.unwrap_err() });
    /// match error.into_panic() {
    ///     Ok(payload) => assert_eq!(payload.downcast_ref(), Some(&404)),
    ///     Err(error) => unreachable!("it did not panic: {error}"),
    /// }
    /// ```
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match &self.0.cause {
            Cause::Panicked(payload) => {
                Ok(payload.take().unwrap_or_else(|| Box::new("the error hook took this panic's payload")))
            }
            Cause::Cancelled(_) | Cause::Itself => Err(self),
        }
    }

    /// The id of the task.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(async { panic!("boom") });
    /// let id = task.id();
    /// assert_eq!(executor.block_on(async { task.await.unwrap_err() }).id(), id);
    /// ```
    pub fn id(&self) -> TaskId {
        self.0.task.id()
    }

    /// The name of the task, if it has one.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawner().spawn_named("fetch", async { panic!("boom") });
    /// assert_eq!(executor.block_on(async { task.await.unwrap_err() }).name(), Some("fetch"));
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.0.task.given_name()
    }

    /// Where the task was spawned.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let (task, line) = (executor.spawn(async { panic!("boom") }), line!());
    /// assert_eq!(executor.block_on(async { task.await.unwrap_err() }).place().line(), line);
    /// ```
    pub fn place(&self) -> &'static Location<'static> {
        self.0.task.place()
    }
}

/// The cause to report of an unclaimed value. Like [`picot_context::unclaimed`], which does not
/// know [`JoinError`].
pub(crate) fn unclaimed<T: 'static>(value: T) -> Option<picot_context::Cause> {
    if !picot_context::is_err(&value) {
        return None;
    }
    let mut value = Some(value);
    if let Some(value) = (&mut value as &mut dyn Any).downcast_mut::<Option<Result<(), JoinError>>>() {
        let error = value.take()?.err()?;
        return Some(picot_context::Cause::Unclaimed(Box::new(error)));
    }
    value.and_then(picot_context::unclaimed)
}

/// Why [`RemoteTask::wait`](crate::RemoteTask::wait) returned no value.
///
/// ```
/// use std::time::Duration;
/// use picot_executor::{Executor, WaitError};
///
/// let executor = Executor::new();
/// let mut task = executor.remote().spawn(|| std::future::pending::<()>()).unwrap();
/// assert!(matches!(task.wait(None), Err(WaitError::OwnThread)), "it would never end");
/// let waited = std::thread::spawn(move || task.wait(Some(Duration::from_millis(1))));
/// assert!(matches!(waited.join().unwrap(), Err(WaitError::TimedOut)));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum WaitError {
    /// The task was cancelled, or it panicked.
    Join(JoinError),
    /// The limit has passed. The task continues.
    TimedOut,
    /// The task runs on the thread that would wait, so the wait would never end.
    OwnThread,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitError::Join(error) => error.fmt(f),
            WaitError::TimedOut => f.write_str("the task has not ended within the limit; it continues"),
            WaitError::OwnThread => {
                f.write_str("the task runs on this thread, which must not block for it; await it there instead")
            }
        }
    }
}

impl std::error::Error for WaitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WaitError::Join(error) => Some(error),
            WaitError::TimedOut | WaitError::OwnThread => None,
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = &self.0.task;
        match &self.0.cause {
            Cause::Cancelled(reason) => write!(f, "{task} was cancelled: {reason}"),
            Cause::Panicked(payload) => write!(f, "{task} panicked with {payload}"),
            Cause::Itself => write!(f, "{task} waits for itself, which would never end"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

/// An error of the kind [`Other`](std::io::ErrorKind::Other) with the [`JoinError`] inside, so that
/// `task.await?` works in a function that returns an [`io::Result`](std::io::Result).
///
/// ```
/// use std::io;
/// use picot_executor::{Executor, JoinError};
///
/// let executor = Executor::new();
/// let task = executor.spawn(std::future::pending::<()>());
/// task.cancel("not needed any more");
/// let outcome: io::Result<()> = executor.block_on(async { Ok(task.await?) });
/// let error = outcome.unwrap_err().downcast::<JoinError>().unwrap();
/// assert!(error.is_cancelled());
/// ```
impl From<JoinError> for std::io::Error {
    fn from(error: JoinError) -> std::io::Error {
        std::io::Error::other(error)
    }
}
