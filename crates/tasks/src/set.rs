//! A set of tasks: their outcomes in the order in which they end, and waiting for some of them.

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::Stream;
use picot_context::{Place, budget, contain};
use picot_loop::{CancelReason, JoinError, LoopHandle, Sleep, Task, TaskId, sleep, spawn};

use crate::contained;
use crate::cooperate::{Gate, is_spent};
use crate::crowd::{Crowd, Out};
use crate::wake::Key;

/// What a task of a set has ended with.
pub type Outcome<T> = Result<T, JoinError>;

/// A set of the loop's tasks (tokio's `JoinSet`; what asyncio passes to `wait`). They run by themselves; the set gives their
/// outcomes in the order in which they end, whenever it is asked for them, as a [`Stream`], by [`next`](JoinSet::next), or several at a time by [`wait`].
///
/// Dropping the set cancels the tasks that have not ended; [`detach`](JoinSet::detach) lets them run on. Children that
/// borrow belong into a [`scope`](crate::scope()).
///
/// ```
/// use picot_tasks::JoinSet;
///
/// picot_loop::run(async {
///     let mut set = JoinSet::new();
///     for n in 0..3 {
///         set.spawn(async move { n * n });
///     }
///     let mut sum = 0;
///     while let Some((_id, outcome)) = set.next().await {
///         sum += outcome.unwrap();
///     }
///     assert_eq!(sum, 5);
/// });
/// ```
pub struct JoinSet<T> {
    crowd: Crowd<(TaskId, Task<T>)>,
    /// The outcomes that were not taken.
    ended: VecDeque<(TaskId, Outcome<T>)>,
    /// The tasks that were not looked at since they were inserted.
    fresh: VecDeque<Key>,
}

impl<T> JoinSet<T> {
    /// An empty set.
    pub fn new() -> JoinSet<T> {
        JoinSet { crowd: Crowd::new(), ended: VecDeque::new(), fresh: VecDeque::new() }
    }

    /// Spawns a task on this thread's loop, into the set.
    ///
    /// # Panics
    /// If this thread has no loop, or it is closed.
    #[track_caller]
    pub fn spawn(&mut self, future: impl Future<Output = T> + 'static) -> TaskId {
        self.insert(spawn(future))
    }

    /// Adds a task that is there already.
    pub fn insert(&mut self, task: Task<T>) -> TaskId {
        let id = task.id();
        // From here on, and not from the first wait on, so that the order of the wakes is that of the ends.
        let key = self.crowd.insert_waiting(|waker| {
            task.wake_at_end(waker);
            (id, task)
        });
        self.fresh.push_back(key);
        id
    }

    /// How many tasks there are whose outcome was not taken.
    pub fn len(&self) -> usize {
        self.crowd.len() + self.ended.len()
    }

    /// Whether all outcomes were taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the next task to end; `None` once all outcomes were taken.
    ///
    /// # If dropped
    /// Nothing is lost: the tasks stay.
    #[doc(alias = "join_next")]
    pub async fn next(&mut self) -> Option<(TaskId, Outcome<T>)> {
        let mut next = Waiting { set: self, is_pending: false };
        std::future::poll_fn(|cx| {
            let poll = next.set.poll_ended(cx);
            next.is_pending = poll.is_pending();
            poll
        })
        .await
    }

    /// Asks for all tasks to be cancelled that have not ended. Their outcomes still come.
    #[doc(alias = "abort_all")]
    pub fn cancel_all(&self, reason: impl Into<CancelReason>) {
        let reason = reason.into();
        for (_, task) in self.crowd.values() {
            task.cancel(reason.clone());
        }
    }

    /// Cancels all tasks, and waits until the last of them has been dropped.
    ///
    /// # If dropped
    /// The tasks are cancelled all the same.
    #[doc(alias = "shutdown")]
    pub async fn cancelled(mut self) {
        self.cancel_all("its set waits for its end");
        while self.next().await.is_some() {}
    }

    /// Lets the tasks go: they run on.
    #[doc(alias = "detach_all")]
    pub fn detach(mut self) {
        drop(self.crowd.drain());
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<(TaskId, Outcome<T>)>> {
        ready!(budget::poll_left(cx));
        if self.ended.is_empty() {
            self.look(cx);
        }
        match self.ended.pop_front() {
            Some(next) => {
                budget::spend();
                Poll::Ready(Some(next))
            }
            None if self.crowd.len() == 0 => {
                budget::spend();
                Poll::Ready(None)
            }
            None => Poll::Pending,
        }
    }

    /// Takes the outcomes of tasks that have ended, in the order of their ends, as many as the budget allows. No code of the
    /// user's runs for that. The task that polls is woken for what comes later, and for what is left.
    fn look(&mut self, cx: &mut Context<'_>) {
        self.crowd.begin(cx.waker());
        // A look at a task that has ended spends the budget. Without one, each of the others would be refused in turn.
        for n in 0..self.crowd.len() {
            if n > 0 && is_spent() {
                break;
            }
            let Some(out) = self.crowd.take() else { break };
            self.look_at(out);
        }
        // Each of those that have not ended by now is looked at once: a task that waits for itself gets an error for it.
        while !is_spent() {
            let Some(key) = self.fresh.pop_front() else { break };
            if let Some(out) = self.crowd.take_key(key) {
                self.look_at(out);
            }
        }
        if !self.fresh.is_empty() {
            cx.waker().wake_by_ref();
        }
        self.crowd.end();
    }

    fn look_at(&mut self, mut out: Out<(TaskId, Task<T>)>) {
        let (id, task) = &mut out.value;
        match Pin::new(&mut &mut *task).poll(&mut Context::from_waker(&out.waker)) {
            Poll::Pending => self.crowd.put_back(out),
            Poll::Ready(outcome) => {
                self.ended.push_back((*id, outcome));
                self.crowd.remove(out.key);
            }
        }
    }
}

/// Lets go of the waker of a wait that is dropped.
struct Waiting<'a, T> {
    set: &'a mut JoinSet<T>,
    is_pending: bool,
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if self.is_pending {
            self.set.crowd.forget_parent();
        }
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> JoinSet<T> {
        JoinSet::new()
    }
}

impl<T> Extend<Task<T>> for JoinSet<T> {
    fn extend<I: IntoIterator<Item = Task<T>>>(&mut self, tasks: I) {
        for task in tasks {
            self.insert(task);
        }
    }
}

impl<T> FromIterator<Task<T>> for JoinSet<T> {
    fn from_iter<I: IntoIterator<Item = Task<T>>>(tasks: I) -> JoinSet<T> {
        let mut set = JoinSet::new();
        set.extend(tasks);
        set
    }
}

impl<T> Stream for JoinSet<T> {
    type Item = (TaskId, Outcome<T>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_ended(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<T> Unpin for JoinSet<T> {}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.cancel_all("its set was dropped");
        contain::discard_each(contained::origin, self.ended.drain(..));
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet")
            .field("running", &self.crowd.len())
            .field("ended", &self.ended.len())
            .finish_non_exhaustive()
    }
}

/// When a [`wait`] is over: [`FirstCompleted`], [`FirstError`] or [`AllCompleted`]. It is over in any case when all tasks
/// have ended.
pub trait Until<T>: sealed::Sealed {
    #[doc(hidden)]
    fn is_reached(&self, outcome: &Outcome<T>) -> bool;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::FirstCompleted {}
    impl Sealed for super::FirstError {}
    impl Sealed for super::AllCompleted {}
}

/// Wait until a task has ended, in whatever way (asyncio's `FIRST_COMPLETED`).
#[doc(alias = "FIRST_COMPLETED")]
#[derive(Clone, Copy, Debug)]
pub struct FirstCompleted;

/// Wait until a task has ended with an error, or has panicked or was cancelled (asyncio's `FIRST_EXCEPTION`). Tasks give
/// nothing, or a `Result`.
#[doc(alias = "FIRST_EXCEPTION")]
#[derive(Clone, Copy, Debug)]
pub struct FirstError;

/// Wait until all tasks have ended (asyncio's `ALL_COMPLETED`).
#[doc(alias = "ALL_COMPLETED")]
#[derive(Clone, Copy, Debug)]
pub struct AllCompleted;

impl<T> Until<T> for FirstCompleted {
    fn is_reached(&self, _outcome: &Outcome<T>) -> bool {
        true
    }
}

impl<T> Until<T> for AllCompleted {
    fn is_reached(&self, _outcome: &Outcome<T>) -> bool {
        false
    }
}

impl Until<()> for FirstError {
    fn is_reached(&self, outcome: &Outcome<()>) -> bool {
        outcome.is_err()
    }
}

impl<T, E> Until<Result<T, E>> for FirstError {
    fn is_reached(&self, outcome: &Outcome<Result<T, E>>) -> bool {
        !matches!(outcome, Ok(Ok(_)))
    }
}

/// Waits for tasks of a set, and gives the outcomes of those that have ended by then (asyncio's `wait`). The others stay in
/// the set, and run on: this cancels nothing. A [`limit`](Wait::limit) of time is no error either; it gives what has ended
/// so far.
///
/// # Errors
/// [`NothingToWaitFor`] if the set is empty.
///
/// # Panics
/// When awaited with a [`limit`](Wait::limit), if this thread has no loop; the message names the place of the call.
///
/// # If dropped
/// Nothing is lost: tasks and outcomes stay in the set.
///
/// ```
/// use std::time::Duration;
/// use picot_loop::sleep;
/// use picot_tasks::{FirstCompleted, JoinSet, wait};
///
/// picot_loop::run(async {
///     let mut set = JoinSet::new();
///     for millis in [1, 3_600_000] {
///         set.spawn(async move {
///             sleep(Duration::from_millis(millis)).await;
///             millis
///         });
///     }
///     let done = wait(&mut set, FirstCompleted).limit(Duration::from_secs(60)).await.unwrap();
///     assert_eq!(done.len(), 1);
///     assert_eq!(set.len(), 1); // it runs on, until the set is dropped
/// });
/// ```
#[track_caller]
pub fn wait<T, U: Until<T>>(set: &mut JoinSet<T>, until: U) -> Wait<'_, T, U> {
    let set = Waiting { set, is_pending: false };
    Wait {
        set,
        until,
        seen: 0,
        limit: None,
        timer: None,
        place: Location::caller(),
        gate: Gate::default(),
        limit_gate: Gate::default(),
    }
}

/// Waits for tasks of a set; made by [`wait`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Wait<'a, T, U> {
    set: Waiting<'a, T>,
    until: U,
    /// How many of the outcomes were looked at.
    seen: usize,
    limit: Option<Duration>,
    timer: Option<Sleep>,
    place: Place,
    gate: Gate,
    limit_gate: Gate,
}

impl<T, U> Wait<'_, T, U> {
    /// Ends the wait when `duration` has passed since its first poll.
    #[doc(alias = "timeout")]
    pub fn limit(self, duration: impl Into<Option<Duration>>) -> Self {
        Wait { limit: duration.into(), ..self }
    }
}

impl<T, U: Until<T>> Wait<'_, T, U> {
    fn is_reached(&mut self) -> bool {
        let set = &*self.set.set;
        let mut new = set.ended.iter().skip(std::mem::replace(&mut self.seen, set.ended.len()));
        let is_reached = new.any(|(_, outcome)| self.until.is_reached(outcome));
        is_reached || set.crowd.len() == 0
    }
}

impl<T, U: Until<T> + Unpin> Future for Wait<'_, T, U> {
    type Output = Result<Vec<(TaskId, Outcome<T>)>, NothingToWaitFor>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        ready!(this.gate.poll(cx));
        let set = &mut *this.set.set;
        if set.is_empty() {
            budget::spend();
            return Poll::Ready(Err(NothingToWaitFor));
        }
        set.look(cx);
        this.set.is_pending = true;
        if !this.is_reached() {
            // If outcomes are left because the budget is spent, they count before the limit does.
            ready!(this.limit_gate.poll(cx));
            if let Some(limit) = this.limit.take() {
                if let Err(error) = LoopHandle::try_current() {
                    panic!(
                        "the wait at {} has a limit, for which it needs a loop when it is polled: {error}",
                        this.place
                    );
                }
                this.timer = Some(sleep(limit));
            }
            match &mut this.timer {
                Some(timer) => ready!(Pin::new(timer).poll(cx)),
                None => return Poll::Pending,
            }
        }
        (this.seen, this.timer, this.set.is_pending) = (0, None, false);
        budget::spend();
        Poll::Ready(Ok(this.set.set.ended.drain(..).collect()))
    }
}

impl<T, U> fmt::Debug for Wait<'_, T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("set", &self.set.set).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// A wait for an empty set, which would either be pointless or never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NothingToWaitFor;

impl fmt::Display for NothingToWaitFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the set is empty, so there is nothing to wait for; ask `is_empty` before")
    }
}

impl std::error::Error for NothingToWaitFor {}
