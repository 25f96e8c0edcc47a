//! Lists of waiters: which task waits, for what, and where. A loop's dump and tests read them.

use std::fmt;

use picot_context::{Place, TaskInfo, WaitKind};

use crate::wait_list;

/// A task that waits for a primitive of this crate.
///
/// ```
/// let event = picot_sync::Event::new();
/// let waiters: Vec<picot_sync::Waiter> = event.waiters();
/// assert!(waiters.is_empty());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Waiter {
    /// The operation, such as `Mutex::lock`.
    pub what: &'static str,
    /// Where the primitive was made.
    pub made: Place,
    /// The task that waits; `None` under an executor that does not report the running task.
    pub task: Option<TaskInfo>,
    /// Where the task called the operation.
    pub place: Place,
    /// Whether it was notified and only has to be polled.
    pub is_notified: bool,
}

/// `fetch (task 7, spawned at …) waits at src/main.rs:12:5 in Mutex::lock, made at
/// src/main.rs:3:9`.
impl fmt::Display for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task {
            Some(task) => task.fmt(f)?,
            None => f.write_str("a task")?,
        }
        let waits = if self.is_notified { "continues" } else { "waits" };
        write!(f, " {waits} at {} in {}, made at {}", self.place, self.what, self.made)
    }
}

/// The kind of an operation and what it waits for, by the name of the operation.
pub(crate) fn describe(operation: &'static str) -> (WaitKind, &'static str) {
    match operation {
        "Mutex::lock" => (WaitKind::Lock, "the lock"),
        "Semaphore::acquire" => (WaitKind::Semaphore, "permits of the semaphore"),
        "Queue::get" => (WaitKind::Queue, "an item of the queue"),
        "Queue::put" => (WaitKind::Queue, "room in the queue"),
        "Queue::join" => (WaitKind::Queue, "the last item to be done of the queue"),
        "Event::wait" => (WaitKind::Event, "the event"),
        "Barrier::wait" => (WaitKind::Barrier, "the other tasks of the barrier"),
        "Condvar::wait" => (WaitKind::Condition, "a notification of the condition"),
        "oneshot::Receiver" => (WaitKind::Channel, "the value of the one-shot channel"),
        "oneshot::Sender::closed" => (WaitKind::Channel, "the end of the receiver of the one-shot channel"),
        "mpsc::Receiver::recv" => (WaitKind::Channel, "an item of the channel"),
        "mpsc::Sender::send" => (WaitKind::Channel, "room in the channel"),
        "mpsc::Sender::closed" => (WaitKind::Channel, "the end of the receiver of the channel"),
        "broadcast::Receiver::recv" => (WaitKind::Channel, "a message of the broadcast channel"),
        "OnceCell::get_or_init" => (WaitKind::Event, "the value that another task makes for the cell"),
        "watch::Receiver::changed" => (WaitKind::Watch, "a change of the watched value"),
        other => unreachable!("the waits of {other} have no description"),
    }
}

/// Lists every waiter of this thread, longest wait first.
///
/// ```
/// use std::task::{Context, Waker};
/// use picot_sync::Event;
///
/// let event = Event::new();
/// let mut wait = std::pin::pin!(event.wait());
/// assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
///
/// let waiting = picot_sync::waiting();
/// assert_eq!((waiting.len(), waiting[0].what), (1, "Event::wait"));
/// assert_eq!(waiting[0].place.file(), file!());
/// ```
#[doc(alias = "print_call_graph")]
pub fn waiting() -> Vec<Waiter> {
    wait_list::all()
}
