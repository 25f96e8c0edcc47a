//! The outputs of several futures, in the order in which they end.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;
use picot_context::{budget, contain};

use crate::contained::{self, Contained};
use crate::cooperate::Gate;
use crate::member_set::MemberSet;

/// Returns the members' outputs in the order in which they end, each with its number (asyncio's
/// `as_completed`).
///
/// The number is the position among the members as passed. The result is a [`Stream`], and more
/// members can be [pushed](AsCompleted::push) later.
///
/// Members are futures or tasks. Futures run only while the next output is awaited; tasks run by
/// themselves. All members are polled once before the first output is returned, so that later
/// outputs come in the order in which the members end, however long the caller takes in between.
/// Members that have ended before count in the order in which they were passed.
///
/// # If dropped
/// The members are dropped; tasks among them are cancelled.
///
/// ```
/// use std::time::Duration;
/// use picot_loop::sleep;
///
/// picot_loop::run(async {
///     let mut sleeps = picot_tasks::as_completed([2, 1].map(|n| async move {
///         sleep(Duration::from_millis(n)).await;
///         n
///     }));
///     while let Some((index, millis)) = sleeps.next().await {
///         println!("number {index} is done after {millis} ms");
///     }
/// });
/// ```
pub fn as_completed<I>(members: I) -> AsCompleted<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator,
    I::Item: IntoFuture,
{
    let mut completed = AsCompleted {
        members: MemberSet::new(),
        pushed: 0,
        unpolled: 0,
        ended: VecDeque::new(),
        gate: Gate::default(),
    };
    for member in members {
        completed.push(member);
    }
    completed
}

/// Outputs in the order in which their members end; made by [`as_completed`].
///
/// ```
/// use futures_lite::StreamExt;
///
/// picot_loop::run(async {
///     let outputs: Vec<_> = picot_tasks::as_completed([async { 1 }]).collect().await;
///     assert_eq!(outputs, [(0, 1)]);
/// });
/// ```
#[doc(alias = "FuturesUnordered")]
#[must_use = "futures do nothing unless they are awaited"]
pub struct AsCompleted<F: Future> {
    members: MemberSet<Member<F>>,
    pushed: usize,
    /// How many members have not been polled yet.
    unpolled: usize,
    /// The outputs that came while others were polled for the first time.
    ended: VecDeque<(usize, F::Output)>,
    gate: Gate,
}

struct Member<F> {
    number: usize,
    is_unpolled: bool,
    future: Pin<Box<Contained<F>>>,
}

/// Members are pinned in boxes of their own.
impl<F: Future> Unpin for AsCompleted<F> {}

impl<F: Future> AsCompleted<F> {
    /// Adds a member and returns its number.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let mut outputs = picot_tasks::as_completed([std::future::ready(1)]);
    ///     assert_eq!(outputs.push(std::future::ready(2)), 1);
    ///     assert_eq!(outputs.len(), 2);
    /// });
    /// ```
    pub fn push(&mut self, member: impl IntoFuture<IntoFuture = F>) -> usize {
        let number = self.pushed;
        self.pushed += 1;
        self.unpolled += 1;
        let future = Box::pin(Contained::new(member.into_future()));
        self.members.insert(Member { number, is_unpolled: true, future });
        number
    }

    /// Returns the number of members whose output was not returned.
    ///
    /// ```
    /// let members = [std::future::ready(1), std::future::ready(2)];
    /// assert_eq!(picot_tasks::as_completed(members).len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        self.members.len() + self.ended.len()
    }

    /// Returns whether all outputs were returned.
    ///
    /// ```
    /// assert!(!picot_tasks::as_completed([async { 1 }]).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the waker of the last poll: nothing waits for the members until the next one.
    pub(crate) fn forget_parent(&self) {
        self.members.forget_parent();
    }

    /// Drops the members that have not ended.
    pub(crate) fn clear(&mut self) {
        self.unpolled = 0;
        drop(self.members.drain());
    }

    /// Waits for the next output. Returns `None` once all were returned.
    ///
    /// # If dropped
    /// Nothing is lost: the members stay.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let mut outputs = picot_tasks::as_completed([async { 1 }]);
    ///     assert_eq!(outputs.next().await, Some((0, 1)));
    ///     assert_eq!(outputs.next().await, None);
    /// });
    /// ```
    pub async fn next(&mut self) -> Option<(usize, F::Output)> {
        let mut next = Next { completed: self, is_pending: false };
        std::future::poll_fn(|cx| {
            let poll = next.completed.poll_completed(cx);
            next.is_pending = poll.is_pending();
            poll
        })
        .await
    }

    fn poll_completed(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        ready!(self.gate.poll(cx));
        // All members start before the first output is returned, so that they run concurrently even
        // if the first ones are ready at once. With many members this takes several steps.
        if self.unpolled > 0 {
            for _ in 0..self.members.begin(cx.waker()) {
                let Some(ended) = self.poll_one() else { break };
                self.ended.extend(ended);
            }
            self.members.end();
            if self.unpolled > 0 {
                return Poll::Pending;
            }
        }
        match self.ended.pop_front() {
            Some(next) => {
                budget::spend();
                Poll::Ready(Some(next))
            }
            None => self.poll_first(cx),
        }
    }

    /// Returns the next output, whether all members were polled or not. The caller checks the
    /// budget.
    pub(crate) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        for _ in 0..self.members.begin(cx.waker()) {
            let Some(ended) = self.poll_one() else { break };
            if let Some(next) = ended {
                budget::spend();
                return Poll::Ready(Some(next));
            }
        }
        if self.members.len() == 0 {
            budget::spend();
            return Poll::Ready(None);
        }
        self.members.end();
        Poll::Pending
    }

    /// Polls the next ready member; `None` if there is none. Returns its output if it has ended.
    fn poll_one(&mut self) -> Option<Option<(usize, F::Output)>> {
        let mut out = self.members.take()?;
        let member = &mut out.value;
        self.unpolled -= usize::from(std::mem::take(&mut member.is_unpolled));
        match member.future.as_mut().poll(&mut Context::from_waker(&out.waker)) {
            Poll::Pending => {
                self.members.put_back(out);
                Some(None)
            }
            Poll::Ready(output) => {
                self.members.remove(out.key);
                Some(Some((out.value.number, output)))
            }
        }
    }
}

impl<F: Future> Drop for AsCompleted<F> {
    fn drop(&mut self) {
        // Outputs are user values: a panic in a drop is reported, and the others are dropped too.
        contain::discard_each(contained::origin, self.ended.drain(..));
    }
}

/// A wait for the next output. If it is dropped unfinished, the set forgets the waker of its last
/// poll.
struct Next<'a, F: Future> {
    completed: &'a mut AsCompleted<F>,
    is_pending: bool,
}

impl<F: Future> Drop for Next<'_, F> {
    fn drop(&mut self) {
        // The set outlives the wait. It must not keep the waker, and so the task, that waited.
        if self.is_pending {
            self.completed.forget_parent();
        }
    }
}

impl<F: Future> Stream for AsCompleted<F> {
    type Item = (usize, F::Output);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        self.poll_completed(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<F: Future> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("len", &self.len()).finish_non_exhaustive()
    }
}
