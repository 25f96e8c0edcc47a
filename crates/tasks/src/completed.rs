//! Each of several, in the order in which they end.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;
use picot_context::budget;

use crate::crowd::Crowd;

/// Gives the members' outputs in the order in which they end, each with its number in the order in which they were passed
/// (asyncio's `as_completed`). It is a [`Stream`], and more members can be [pushed](AsCompleted::push) meanwhile.
///
/// Members are futures, or tasks. Futures run only while somebody waits for the next output; tasks run by themselves.
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
    let mut completed = AsCompleted { crowd: Crowd::new(), pushed: 0 };
    for member in members {
        completed.push(member);
    }
    completed
}

/// Outputs in the order in which they come; made by [`as_completed`].
#[doc(alias = "FuturesUnordered")]
#[must_use = "futures do nothing unless somebody waits for them"]
pub struct AsCompleted<F> {
    crowd: Crowd<(usize, Pin<Box<F>>)>,
    pushed: usize,
}

impl<F: Future> AsCompleted<F> {
    /// Adds a member, and returns its number.
    pub fn push(&mut self, member: impl IntoFuture<IntoFuture = F>) -> usize {
        let number = self.pushed;
        self.pushed += 1;
        self.crowd.insert((number, Box::pin(member.into_future())));
        number
    }

    /// How many members have not ended.
    pub fn len(&self) -> usize {
        self.crowd.len()
    }

    /// Whether all members have ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the members that have not ended.
    pub(crate) fn clear(&mut self) {
        drop(self.crowd.drain());
    }

    /// Waits for the next output; `None` once all members have ended.
    ///
    /// # If dropped
    /// Nothing is lost: the members stay.
    pub async fn next(&mut self) -> Option<(usize, F::Output)> {
        std::future::poll_fn(|cx| self.poll_completed(cx)).await
    }

    pub(crate) fn poll_completed(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        ready!(budget::poll_left(cx));
        for _ in 0..self.crowd.begin(cx.waker()) {
            let Some(mut out) = self.crowd.take() else { break };
            let (number, member) = &mut out.value;
            match member.as_mut().poll(&mut Context::from_waker(&out.waker)) {
                Poll::Pending => self.crowd.put_back(out),
                Poll::Ready(output) => {
                    budget::spend();
                    let number = *number;
                    self.crowd.remove(out.key);
                    return Poll::Ready(Some((number, output)));
                }
            }
        }
        if self.crowd.len() == 0 {
            return Poll::Ready(None);
        }
        self.crowd.end();
        Poll::Pending
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

impl<F> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("len", &self.crowd.len()).finish_non_exhaustive()
    }
}
