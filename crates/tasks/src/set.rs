//! A set of tasks: their outcomes in the order in which they end, and waiting for some of them.

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::Stream;
use picot_context::{Place, budget, contain, is_err};
use picot_loop::{CancelReason, JoinError, LoopHandle, Sleep, Task, TaskId, sleep, spawn};

use crate::contained;
use crate::cooperate::{Gate, is_spent};
use crate::member_set::{MemberSet, Taken};
use crate::ready_list::Key;
use crate::visits::visit;

/// A set of the loop's tasks (tokio's `JoinSet`; what asyncio passes to `wait`).
///
/// The tasks run whether the set is polled or not. The set returns their outcomes in the order in
/// which the tasks end: one at a time by [`next`](JoinSet::next) or as a [`Stream`], or several at
/// a time by [`wait_first`](JoinSet::wait_first), [`wait_first_error`](JoinSet::wait_first_error)
/// and [`wait_all`](JoinSet::wait_all).
///
/// Dropping the set cancels the tasks that have not ended; [`detach`](JoinSet::detach) lets them
/// continue. For children that borrow, use a [`scope`](crate::scope()).
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
    members: MemberSet<(TaskId, Task<T>)>,
    /// The outcomes that the caller has not taken.
    ended: VecDeque<(TaskId, Result<T, JoinError>)>,
    /// The tasks that the set has not polled since they were inserted.
    unpolled: VecDeque<Key>,
}

impl<T> JoinSet<T> {
    /// Creates an empty set.
    ///
    /// ```
    /// assert!(picot_tasks::JoinSet::<()>::new().is_empty());
    /// ```
    pub fn new() -> JoinSet<T> {
        JoinSet { members: MemberSet::new(), ended: VecDeque::new(), unpolled: VecDeque::new() }
    }

    /// Spawns a task on this thread's loop and adds it to the set.
    ///
    /// # Panics
    /// If this thread has no loop.
    ///
    /// ```
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     let id = set.spawn(async { 1 });
    ///     let (ended, outcome) = set.next().await.unwrap();
    ///     assert_eq!((ended, outcome.unwrap()), (id, 1));
    /// });
    /// ```
    #[track_caller]
    pub fn spawn(&mut self, future: impl Future<Output = T> + 'static) -> TaskId {
        self.insert(spawn(future))
    }

    /// Spawns a task with a name for reports, and adds it to the set.
    ///
    /// # Panics
    /// If this thread has no loop.
    ///
    /// ```
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     set.spawn_named("reader", std::future::pending::<()>());
    ///     set.cancel_all("no more input");
    ///     let (_id, outcome) = set.next().await.unwrap();
    ///     assert!(outcome.unwrap_err().to_string().contains("reader"));
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_named(&mut self, name: &str, future: impl Future<Output = T> + 'static) -> TaskId {
        self.insert(LoopHandle::current().spawn_named(name, future))
    }

    /// Adds a task that was spawned before.
    ///
    /// ```
    /// use picot_loop::spawn;
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     set.insert(spawn(async { "done" }));
    ///     assert_eq!(set.next().await.unwrap().1.unwrap(), "done");
    /// });
    /// ```
    pub fn insert(&mut self, task: Task<T>) -> TaskId {
        let id = task.id();
        // Registered now and not at the first wait, so that the order of the wakes is the order of
        // the ends.
        let key = self.members.insert_waiting(|waker| {
            task.wake_at_end(waker);
            (id, task)
        });
        self.unpolled.push_back(key);
        id
    }

    /// Returns the number of tasks whose outcome was not taken.
    ///
    /// ```
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     set.spawn(async {});
    ///     assert_eq!(set.len(), 1);
    ///     set.next().await;
    ///     assert_eq!(set.len(), 0);
    /// });
    /// ```
    pub fn len(&self) -> usize {
        self.members.len() + self.ended.len()
    }

    /// Returns whether all outcomes were taken.
    ///
    /// ```
    /// assert!(picot_tasks::JoinSet::<u8>::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the next task to end. Returns `None` once all outcomes were taken.
    ///
    /// # If dropped
    /// Nothing is lost: tasks and outcomes stay in the set.
    ///
    /// ```
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     set.spawn(async { 7 });
    ///     assert_eq!(set.next().await.unwrap().1.unwrap(), 7);
    ///     assert!(set.next().await.is_none());
    /// });
    /// ```
    #[doc(alias = "join_next")]
    pub async fn next(&mut self) -> Option<(TaskId, Result<T, JoinError>)> {
        let mut next = WaitGuard { set: self, is_pending: false };
        std::future::poll_fn(|cx| {
            let poll = next.set.poll_ended(cx);
            next.is_pending = poll.is_pending();
            poll
        })
        .await
    }

    /// Returns the outcome of the next task that has ended, without waiting. `None` if none has.
    ///
    /// ```
    /// use picot_loop::yield_now;
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     let id = set.spawn(async { 7 });
    ///     assert!(set.try_next().is_none());
    ///     yield_now().await;
    ///     let (ended, outcome) = set.try_next().unwrap();
    ///     assert_eq!((ended, outcome.unwrap()), (id, 7));
    ///     assert!(set.try_next().is_none() && set.is_empty());
    /// });
    /// ```
    #[doc(alias = "try_join_next")]
    pub fn try_next(&mut self) -> Option<(TaskId, Result<T, JoinError>)> {
        // The members that were woken, in the order of their ends. The number of members bounds the
        // loop, because one that has not ended is queued again.
        for _ in 0..self.members.len() {
            if !self.ended.is_empty() {
                break;
            }
            let mut taken = self.members.take()?;
            let (id, task) = &mut taken.value;
            match task.try_join() {
                // Woken in its last step, which has not returned yet.
                None => {
                    let waker = taken.waker.clone();
                    self.members.put_back(taken);
                    waker.wake();
                }
                Some(outcome) => {
                    self.ended.push_back((*id, outcome));
                    self.members.remove(taken.key);
                }
            }
        }
        self.ended.pop_front()
    }

    /// Waits until a task has ended, also by an error (asyncio's `wait` with `FIRST_COMPLETED`).
    ///
    /// Awaiting it returns the outcomes of all tasks that have ended by then. The other tasks stay
    /// in the set and continue. A time [`limit`](Wait::limit) is not an error: the wait then
    /// returns the outcomes so far.
    ///
    /// # Errors
    /// Awaiting returns [`NothingToWaitFor`] if the set is empty.
    ///
    /// # Panics
    /// When awaited with a [`limit`](Wait::limit), if this thread has no loop. The message names
    /// the line of this call.
    ///
    /// # If dropped
    /// Nothing is lost: tasks and outcomes stay in the set.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::sleep;
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     for millis in [1, 3_600_000] {
    ///         set.spawn(sleep(Duration::from_millis(millis)));
    ///     }
    ///     let done = set.wait_first().limit(Duration::from_secs(60)).await.unwrap();
    ///     assert_eq!(done.len(), 1);
    ///     assert_eq!(set.len(), 1); // runs on until the set is dropped
    /// });
    /// ```
    #[doc(alias = "FIRST_COMPLETED")]
    #[track_caller]
    pub fn wait_first(&mut self) -> Wait<'_, T> {
        Wait::new(self, |_| true, Location::caller())
    }

    /// Waits until a task has failed: returned an `Err`, panicked or was cancelled (asyncio's
    /// `wait` with `FIRST_EXCEPTION`).
    ///
    /// Without a failure it waits for all tasks. Otherwise it is as
    /// [`wait_first`](JoinSet::wait_first).
    ///
    /// # Errors
    /// Awaiting returns [`NothingToWaitFor`] if the set is empty.
    ///
    /// # Panics
    /// When awaited with a [`limit`](Wait::limit), if this thread has no loop. The message names
    /// the line of this call.
    ///
    /// # If dropped
    /// Nothing is lost: tasks and outcomes stay in the set.
    ///
    /// ```
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     set.spawn(async { Ok(1) });
    ///     set.spawn(async { Err("disk full") });
    ///     set.spawn(std::future::pending());
    ///     let done = set.wait_first_error().await.unwrap();
    ///     assert_eq!((done.len(), set.len()), (2, 1));
    /// });
    /// ```
    #[doc(alias = "FIRST_EXCEPTION")]
    #[track_caller]
    pub fn wait_first_error(&mut self) -> Wait<'_, T> {
        let is_failure = |outcome: &Result<T, JoinError>| outcome.as_ref().map_or(true, is_err);
        Wait::new(self, is_failure, Location::caller())
    }

    /// Waits until all tasks have ended (asyncio's `wait` with `ALL_COMPLETED`).
    ///
    /// Otherwise it is as [`wait_first`](JoinSet::wait_first).
    ///
    /// # Errors
    /// Awaiting returns [`NothingToWaitFor`] if the set is empty.
    ///
    /// # Panics
    /// When awaited with a [`limit`](Wait::limit), if this thread has no loop. The message names
    /// the line of this call.
    ///
    /// # If dropped
    /// Nothing is lost: tasks and outcomes stay in the set.
    ///
    /// ```
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     (0..3).for_each(|n| _ = set.spawn(async move { n }));
    ///     assert_eq!(set.wait_all().await.unwrap().len(), 3);
    /// });
    /// ```
    #[doc(alias = "ALL_COMPLETED")]
    #[track_caller]
    pub fn wait_all(&mut self) -> Wait<'_, T> {
        Wait::new(self, |_| false, Location::caller())
    }

    /// Requests the cancellation of one task. Its outcome still comes. Returns `false` if it has
    /// ended, or is not in the set.
    ///
    /// This searches the set. To cancel many of a large set, keep a
    /// [`cancel_handle`](Task::cancel_handle) of each task before it is
    /// [inserted](JoinSet::insert).
    ///
    /// ```
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     let slow = set.spawn(std::future::pending());
    ///     let fast = set.spawn(async {});
    ///     assert!(set.cancel(slow, "too slow"));
    ///     let (id, outcome) = set.next().await.unwrap();
    ///     assert!(id == slow && outcome.unwrap_err().is_cancelled());
    ///     let (id, outcome) = set.next().await.unwrap();
    ///     assert!(id == fast && outcome.is_ok());
    /// });
    /// ```
    #[doc(alias = "abort")]
    pub fn cancel(&self, id: TaskId, reason: impl Into<CancelReason>) -> bool {
        let task = self.members.values().find(|(member, _)| *member == id);
        task.is_some_and(|(_, task)| task.cancel(reason))
    }

    /// Requests the cancellation of all tasks that have not ended. Their outcomes still come.
    ///
    /// ```
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     set.spawn(std::future::pending::<()>());
    ///     set.cancel_all("not needed");
    ///     assert!(set.next().await.unwrap().1.unwrap_err().is_cancelled());
    /// });
    /// ```
    #[doc(alias = "abort_all")]
    pub fn cancel_all(&self, reason: impl Into<CancelReason>) {
        let reason = reason.into();
        for (_, task) in self.members.values() {
            task.cancel(reason.clone());
        }
    }

    /// Cancels all tasks and waits until the last of them has been dropped.
    ///
    /// # If dropped
    /// The tasks are still cancelled.
    ///
    /// ```
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     set.spawn(std::future::pending::<()>());
    ///     set.cancel_and_wait("the server shuts down").await;
    /// });
    /// ```
    #[doc(alias = "shutdown")]
    pub async fn cancel_and_wait(mut self, reason: impl Into<CancelReason>) {
        self.cancel_all(reason);
        while self.next().await.is_some() {}
    }

    /// Drops the set without its tasks, which continue.
    ///
    /// ```
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     set.spawn(async { println!("still printed, if the loop runs on") });
    ///     set.detach();
    /// });
    /// ```
    #[doc(alias = "detach_all")]
    pub fn detach(mut self) {
        // A dropped handle does not end its task. The drop of the set finds no members to cancel.
        drop(self.members.drain());
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<(TaskId, Result<T, JoinError>)>> {
        ready!(budget::poll_left(cx));
        if self.ended.is_empty() {
            self.collect_ended(cx);
        }
        match self.ended.pop_front() {
            Some(next) => {
                budget::spend();
                Poll::Ready(Some(next))
            }
            None if self.members.len() == 0 => {
                budget::spend();
                Poll::Ready(None)
            }
            None => Poll::Pending,
        }
    }

    /// Moves outcomes of ended tasks to `ended`, in the order of their ends, as many as the budget
    /// allows.
    ///
    /// No user code runs meanwhile: polling a task's handle does not poll its future. The polling
    /// task is woken for later ends, and for ended tasks that the budget did not suffice for.
    fn collect_ended(&mut self, cx: &mut Context<'_>) {
        self.members.begin(cx.waker());
        // The members that are in the set now bound the loop: a handle that wakes itself is queued
        // again and waits for the next poll.
        // Polling the handle of an ended task spends the budget. Without a budget each of the
        // remaining handles would refuse its poll and queue itself again, which took quadratic
        // time.
        for n in 0..self.members.len() {
            if n > 0 && is_spent() {
                break;
            }
            let Some(taken) = self.members.take() else { break };
            self.poll_task(taken);
        }
        // Polls each other new task once, so that a task that waits for a set with itself in it
        // gets an error.
        while !is_spent() {
            let Some(key) = self.unpolled.pop_front() else { break };
            if let Some(taken) = self.members.take_key(key) {
                self.poll_task(taken);
            }
        }
        // The budget ran out: the rest follows in the next step.
        if !self.unpolled.is_empty() {
            cx.waker().wake_by_ref();
        }
        self.members.end();
    }

    fn poll_task(&mut self, mut taken: Taken<(TaskId, Task<T>)>) {
        visit();
        let (id, task) = &mut taken.value;
        match Pin::new(&mut &mut *task).poll(&mut Context::from_waker(&taken.waker)) {
            Poll::Pending => self.members.put_back(taken),
            Poll::Ready(outcome) => {
                self.ended.push_back((*id, outcome));
                self.members.remove(taken.key);
            }
        }
    }
}

/// A wait for a set. If it is dropped unfinished, the set forgets the waker of its last poll.
struct WaitGuard<'a, T> {
    set: &'a mut JoinSet<T>,
    is_pending: bool,
}

impl<T> Drop for WaitGuard<'_, T> {
    fn drop(&mut self) {
        // The set outlives the wait. It must not keep the waker, and so the task, that waited.
        if self.is_pending {
            self.set.members.forget_parent();
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
    type Item = (TaskId, Result<T, JoinError>);

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
        // The cancel is only requested here; the loop drops each task in a step of its own.
        self.cancel_all("its set was dropped");
        // Outcomes are user values: a panic in one's drop is reported, and the others are dropped
        // too.
        contain::discard_each(contained::origin, self.ended.drain(..));
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet")
            .field("running", &self.members.len())
            .field("ended", &self.ended.len())
            .finish_non_exhaustive()
    }
}

/// Waits for tasks of a set; made by [`JoinSet::wait_first`], [`JoinSet::wait_first_error`] and
/// [`JoinSet::wait_all`].
///
/// ```
/// use picot_tasks::JoinSet;
///
/// picot_loop::run(async {
///     assert!(JoinSet::<()>::new().wait_all().await.is_err()); // nothing to wait for
/// });
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Wait<'a, T> {
    guard: WaitGuard<'a, T>,
    /// Whether an outcome ends the wait.
    ends_wait: fn(&Result<T, JoinError>) -> bool,
    /// How many of the outcomes `ends_wait` has seen.
    seen: usize,
    limit: Option<Duration>,
    timer: Option<Sleep>,
    place: Place,
    gate: Gate,
    limit_gate: Gate,
}

impl<'a, T> Wait<'a, T> {
    fn new(set: &'a mut JoinSet<T>, ends_wait: fn(&Result<T, JoinError>) -> bool, place: Place) -> Wait<'a, T> {
        Wait {
            guard: WaitGuard { set, is_pending: false },
            ends_wait,
            seen: 0,
            limit: None,
            timer: None,
            place,
            gate: Gate::default(),
            limit_gate: Gate::default(),
        }
    }

    /// Ends the wait when `duration` has passed since its first poll. `None` means no limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_tasks::JoinSet;
    ///
    /// picot_loop::run(async {
    ///     let mut set = JoinSet::new();
    ///     set.spawn(std::future::pending::<()>());
    ///     assert!(set.wait_all().limit(Duration::from_millis(1)).await.unwrap().is_empty());
    /// });
    /// ```
    #[doc(alias = "timeout")]
    pub fn limit(self, duration: impl Into<Option<Duration>>) -> Self {
        Wait { limit: duration.into(), ..self }
    }

    fn is_over(&mut self) -> bool {
        let set = &*self.guard.set;
        // Each outcome is tested once, so that a wait for many is linear.
        let mut new = set.ended.iter().skip(std::mem::replace(&mut self.seen, set.ended.len()));
        let is_over = new.any(|(_, outcome)| (self.ends_wait)(outcome));
        is_over || set.members.len() == 0
    }
}

impl<T> Future for Wait<'_, T> {
    type Output = Result<Vec<(TaskId, Result<T, JoinError>)>, NothingToWaitFor>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        ready!(this.gate.poll(cx));
        let set = &mut *this.guard.set;
        if set.is_empty() {
            budget::spend();
            return Poll::Ready(Err(NothingToWaitFor));
        }
        set.collect_ended(cx);
        this.guard.is_pending = true;
        if !this.is_over() {
            // Without a budget, outcomes may be left in the set. They come before the limit, so it
            // is not checked yet.
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
        (this.seen, this.timer, this.guard.is_pending) = (0, None, false);
        budget::spend();
        Poll::Ready(Ok(this.guard.set.ended.drain(..).collect()))
    }
}

impl<T> fmt::Debug for Wait<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("set", &self.guard.set).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The error of a wait for an empty set, which has no task that could end it.
///
/// ```
/// assert!(picot_tasks::JoinSet::<()>::new().is_empty()); // ask before the wait
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NothingToWaitFor;

impl fmt::Display for NothingToWaitFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the set is empty, so there is nothing to wait for; ask `is_empty` before")
    }
}

impl std::error::Error for NothingToWaitFor {}
