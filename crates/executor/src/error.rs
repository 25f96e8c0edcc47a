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
/// let (first, second) = (executor.spawn(std::future::pending::<()>()), executor.spawn(std::future::pending::<()>()));
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

/// The text, [escaped](Escaped): a reason may quote what a peer has sent.
impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

/// Why waiting for a task gave no value: it was cancelled, or it panicked, or it waited for itself.
///
/// It is one pointer wide, so that a result that carries it is not wider than its value needs.
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

    /// The error of a task that was cancelled; for those who run tasks inside of ours, such as scopes.
    ///
    /// ```
    /// use picot_executor::{Executor, JoinError, TaskInfo};
    ///
    /// let executor = Executor::new();
    /// let child = TaskInfo::new(executor.spawner().allocate_id(), Some("child"), std::panic::Location::caller());
    /// let error = JoinError::cancelled(child, "its scope has ended".into());
    /// assert_eq!(error.reason().unwrap().as_str(), "its scope has ended");
    /// ```
    pub fn cancelled(task: TaskInfo, reason: CancelReason) -> JoinError {
        JoinError::new(task, Cause::Cancelled(reason))
    }

    /// The error of a task that panicked; as [`cancelled`](JoinError::cancelled).
    ///
    /// ```
    /// use picot_executor::{Executor, JoinError, TaskInfo};
    ///
    /// let executor = Executor::new();
    /// let child = TaskInfo::new(executor.spawner().allocate_id(), Some("child"), std::panic::Location::caller());
    /// let payload = picot_context::catch(|| panic!("boom")).unwrap_err();
    /// assert!(JoinError::panicked(child, payload).is_panic());
    /// ```
    pub fn panicked(task: TaskInfo, payload: Payload) -> JoinError {
        JoinError::new(task, Cause::Panicked(payload))
    }

    /// The error of a task that waits for itself; as [`cancelled`](JoinError::cancelled).
    ///
    /// ```
    /// use picot_executor::{Executor, JoinError, TaskInfo};
    ///
    /// let executor = Executor::new();
    /// let child = TaskInfo::new(executor.spawner().allocate_id(), Some("child"), std::panic::Location::caller());
    /// let error = JoinError::itself(child);
    /// assert!(error.to_string().ends_with("waits for itself, which would never end"));
    /// assert!(!error.is_cancelled() && !error.is_panic());
    /// ```
    pub fn itself(task: TaskInfo) -> JoinError {
        JoinError::new(task, Cause::Itself)
    }

    /// Claims a panic, so that it needs no report any more.
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

    /// What the task panicked with, to be passed to [`std::panic::resume_unwind`]; the error itself if it did not panic.
    ///
    /// If the error hook has taken the payload out of its report, a text that says so stands in for it.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(async { std::panic::panic_any(404) });
    /// let error = executor.block_on(async { task.await.unwrap_err() });
    /// match error.into_panic() {
    ///     Ok(payload) => assert_eq!(payload.downcast_ref(), Some(&404)), // or `std::panic::resume_unwind(payload)`
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

    /// The name of the task, if it was given one.
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

/// Why [`RemoteTask::wait`](crate::RemoteTask::wait) gave no value.
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
    /// The limit has passed. The task runs on.
    TimedOut,
    /// The task runs on the very thread that would wait, so it would never end.
    OwnThread,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitError::Join(error) => error.fmt(f),
            WaitError::TimedOut => f.write_str("the task has not ended within the limit; it runs on"),
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
