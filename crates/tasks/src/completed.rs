//! Each of several, in the order in which they end.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;
use picot_context::{budget, contain};

use crate::contained::{self, Contained};
use crate::cooperate::Gate;
use crate::crowd::Crowd;

/// Gives the members' outputs in the order in which they end, each with its number in the order in which they were passed
/// (asyncio's `as_completed`). It is a [`Stream`], and more members can be [pushed](AsCompleted::push) meanwhile.
///
/// Members are futures, or tasks. Futures run only while the next output is waited for; tasks run by themselves. All members
/// are polled once before the first output is given, so that later ones come in the order in which they end, however long the
/// caller takes in between. Those that have ended before count in the order in which they were passed.
///
/// # If dropped
/// So are the members; tasks among them are cancelled.
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
    let mut completed =
        AsCompleted { crowd: Crowd::new(), pushed: 0, fresh: 0, ended: VecDeque::new(), gate: Gate::default() };
    for member in members {
        completed.push(member);
    }
    completed
}

/// Outputs in the order in which they come; made by [`as_completed`].
#[doc(alias = "FuturesUnordered")]
#[must_use = "futures do nothing unless they are awaited"]
pub struct AsCompleted<F: Future> {
    crowd: Crowd<Member<F>>,
    pushed: usize,
    /// How many members were not polled yet.
    fresh: usize,
    /// The outputs that came while others were polled for the first time.
    ended: VecDeque<(usize, F::Output)>,
    gate: Gate,
}

struct Member<F> {
    number: usize,
    is_fresh: bool,
    future: Pin<Box<Contained<F>>>,
}

/// Members are pinned in boxes of their own.
impl<F: Future> Unpin for AsCompleted<F> {}

impl<F: Future> AsCompleted<F> {
    /// Adds a member, and returns its number.
    pub fn push(&mut self, member: impl IntoFuture<IntoFuture = F>) -> usize {
        let number = self.pushed;
        self.pushed += 1;
        self.fresh += 1;
        let future = Box::pin(Contained::new(member.into_future()));
        self.crowd.insert(Member { number, is_fresh: true, future });
        number
    }

    /// How many members there are whose output was not given.
    pub fn len(&self) -> usize {
        self.crowd.len() + self.ended.len()
    }

    /// Whether all outputs were given.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the members that have not ended.
    pub(crate) fn clear(&mut self) {
        self.fresh = 0;
        drop(self.crowd.drain());
    }

    /// Waits for the next output; `None` once all were given.
    ///
    /// # If dropped
    /// Nothing is lost: the members stay.
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
        if self.fresh > 0 {
            for _ in 0..self.crowd.begin(cx.waker()) {
                let Some(ended) = self.poll_one() else { break };
                self.ended.extend(ended);
            }
            self.crowd.end();
            if self.fresh > 0 {
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

    /// Waits for a member that ends, whether the others were polled or not. The caller looks at the budget.
    pub(crate) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        for _ in 0..self.crowd.begin(cx.waker()) {
            let Some(ended) = self.poll_one() else { break };
            if let Some(next) = ended {
                budget::spend();
                return Poll::Ready(Some(next));
            }
        }
        if self.crowd.len() == 0 {
            budget::spend();
            return Poll::Ready(None);
        }
        self.crowd.end();
        Poll::Pending
    }

    /// Polls the next member that is ready; `None` if none is. Returns its output if it has ended.
    fn poll_one(&mut self) -> Option<Option<(usize, F::Output)>> {
        let mut out = self.crowd.take()?;
        let member = &mut out.value;
        self.fresh -= usize::from(std::mem::take(&mut member.is_fresh));
        match member.future.as_mut().poll(&mut Context::from_waker(&out.waker)) {
            Poll::Pending => {
                self.crowd.put_back(out);
                Some(None)
            }
            Poll::Ready(output) => {
                self.crowd.remove(out.key);
                Some(Some((out.value.number, output)))
            }
        }
    }
}

impl<F: Future> Drop for AsCompleted<F> {
    fn drop(&mut self) {
        contain::discard_each(contained::origin, self.ended.drain(..));
    }
}

/// Lets go of the waker of a wait that is dropped.
struct Next<'a, F: Future> {
    completed: &'a mut AsCompleted<F>,
    is_pending: bool,
}

impl<F: Future> Drop for Next<'_, F> {
    fn drop(&mut self) {
        if self.is_pending {
            self.completed.crowd.forget_parent();
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
