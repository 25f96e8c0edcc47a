//! At most n members at a time, which an iterator makes when there is room for them.

use std::fmt;
use std::future::poll_fn;
use std::iter::Fuse;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::Stream;
use picot_context::contain;

use crate::completed::{AsCompleted, as_completed};
use crate::contained;

/// Waits for all members, of which at most `limit` run at a time, and returns their values in the
/// order of the iterator.
///
/// The iterator is asked for the next member only when there is room for it. So a closure in a
/// `map` makes each future just before it starts, and a million members need the memory of `limit`
/// of them, and of the values. Otherwise it is as [`gather`](crate::gather()): the first error
/// drops the other members and is returned.
///
/// For the values one by one, in the order in which they come, use [`as_completed_bounded`].
///
/// # Errors
/// Returns the first error of a member.
///
/// # Panics
/// If `limit` is 0: no member could start.
///
/// # If dropped
/// The members that run are dropped; tasks among them are cancelled. The iterator is dropped.
///
/// ```
/// use std::time::Duration;
///
/// async fn fetch(page: u32) -> std::io::Result<u32> {
///     picot_loop::sleep(Duration::from_millis(1)).await;
///     Ok(page * 10)
/// }
///
/// picot_loop::run(async {
///     let pages = picot_tasks::gather_bounded(3, (0..100).map(fetch)).await.unwrap();
///     assert_eq!((pages.len(), pages[99]), (100, 990));
/// });
/// ```
#[track_caller]
#[doc(alias = "buffered")]
#[doc(alias = "map")]
pub fn gather_bounded<I, T, E>(limit: usize, members: I) -> impl Future<Output = Result<Vec<T>, E>>
where
    I: IntoIterator,
    I::Item: IntoFuture<Output = Result<T, E>>,
{
    let mut running = as_completed_bounded(limit, members);
    async move {
        let mut values = Values(Vec::new());
        while let Some((number, output)) = running.next().await {
            match output {
                Ok(value) => values.set(number, value),
                Err(error) => {
                    // Before the error is returned, as `gather` does.
                    drop(running);
                    return Err(error);
                }
            }
        }
        Ok(values.take())
    }
}

/// Returns the members' outputs in the order in which they end, each with its number. At most
/// `limit` members run at a time.
///
/// The iterator is asked for the next member only when there is room for it, so it may be endless.
/// An output that was not taken occupies its member's room. Otherwise it is as
/// [`as_completed`](crate::as_completed()): the number is the position in the iterator, and the
/// result is a [`Stream`].
///
/// # Panics
/// If `limit` is 0: no member could start.
///
/// # If dropped
/// The members that run are dropped; tasks among them are cancelled. The iterator is dropped.
///
/// ```
/// use std::time::Duration;
/// use picot_tasks::as_completed_bounded;
///
/// picot_loop::run(async {
///     let sleep = |millis: u64| async move {
///         picot_loop::sleep(Duration::from_millis(millis)).await;
///         millis
///     };
///     let mut ended = as_completed_bounded(2, [20, 10, 1].map(sleep));
///     let mut order = Vec::new();
///     while let Some((_number, millis)) = ended.next().await {
///         order.push(millis);
///     }
///     assert_eq!(order, [10, 1, 20], "the third one starts when the second one has ended");
/// });
/// ```
#[track_caller]
#[doc(alias = "buffer_unordered")]
pub fn as_completed_bounded<I>(limit: usize, members: I) -> AsCompletedBounded<I::IntoIter>
where
    I: IntoIterator,
    I::Item: IntoFuture,
{
    assert!(limit > 0, "at most 0 members at a time: none could start; the limit has to be at least 1");
    AsCompletedBounded {
        limit,
        waiting: members.into_iter().fuse(),
        running: as_completed(std::iter::empty::<I::Item>()),
        made: Location::caller(),
    }
}

/// Outputs in the order in which their members end, with a limit of members that run at a time;
/// made by [`as_completed_bounded`].
///
/// ```
/// use futures_lite::StreamExt;
///
/// picot_loop::run(async {
///     let squares = (0..5).map(|n| async move { n * n });
///     let outputs: Vec<_> = picot_tasks::as_completed_bounded(1, squares).collect().await;
///     assert_eq!(outputs, [(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)]);
/// });
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct AsCompletedBounded<I>
where
    I: Iterator,
    I::Item: IntoFuture,
{
    limit: usize,
    waiting: Fuse<I>,
    running: AsCompleted<<I::Item as IntoFuture>::IntoFuture>,
    made: picot_context::Place,
}

/// The iterator is called, never pinned, and members are pinned in boxes of their own.
impl<I: Iterator> Unpin for AsCompletedBounded<I> where I::Item: IntoFuture {}

impl<I> AsCompletedBounded<I>
where
    I: Iterator,
    I::Item: IntoFuture,
{
    /// Waits for the next output. Returns `None` once all were returned.
    ///
    /// # If dropped
    /// Nothing is lost: the members stay.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let mut outputs = picot_tasks::as_completed_bounded(1, [async { 1 }]);
    ///     assert_eq!(outputs.next().await, Some((0, 1)));
    ///     assert_eq!(outputs.next().await, None);
    /// });
    /// ```
    pub async fn next(&mut self) -> Option<(usize, <I::Item as IntoFuture>::Output)> {
        let mut next = Next { bounded: self, is_pending: false };
        poll_fn(|cx| {
            let poll = Pin::new(&mut *next.bounded).poll_next(cx);
            next.is_pending = poll.is_pending();
            poll
        })
        .await
    }
}

/// A wait for the next output. If it is dropped unfinished, the set forgets the waker of its last
/// poll.
struct Next<'a, I>
where
    I: Iterator,
    I::Item: IntoFuture,
{
    bounded: &'a mut AsCompletedBounded<I>,
    is_pending: bool,
}

impl<I> Drop for Next<'_, I>
where
    I: Iterator,
    I::Item: IntoFuture,
{
    fn drop(&mut self) {
        if self.is_pending {
            self.bounded.running.forget_parent();
        }
    }
}

impl<I> Stream for AsCompletedBounded<I>
where
    I: Iterator,
    I::Item: IntoFuture,
{
    type Item = (usize, <I::Item as IntoFuture>::Output);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while self.running.len() < self.limit {
            let Some(member) = self.waiting.next() else { break };
            self.running.push(member);
        }
        Pin::new(&mut self.running).poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let ((lower, upper), running) = (self.waiting.size_hint(), self.running.len());
        (lower.saturating_add(running), upper.and_then(|upper| upper.checked_add(running)))
    }
}

impl<I> fmt::Debug for AsCompletedBounded<I>
where
    I: Iterator,
    I::Item: IntoFuture,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompletedBounded")
            .field("limit", &self.limit)
            .field("running", &self.running.len())
            .field("made", &format_args!("{}", self.made))
            .finish_non_exhaustive()
    }
}

/// The values that have come, by number. A panic in the drop of one is reported, and the others are
/// dropped, too.
struct Values<T>(Vec<Option<T>>);

impl<T> Values<T> {
    fn set(&mut self, number: usize, value: T) {
        if self.0.len() <= number {
            self.0.resize_with(number + 1, || None);
        }
        self.0[number] = Some(value);
    }

    fn take(&mut self) -> Vec<T> {
        let values = std::mem::take(&mut self.0);
        values.into_iter().map(|value| value.expect("present: every member has ended")).collect()
    }
}

impl<T> Drop for Values<T> {
    fn drop(&mut self) {
        contain::discard_each(contained::origin, self.0.drain(..));
    }
}
