//! All of several: their values in the order in which they were passed.
//!
//! The invariant: when the wait is over, in whatever way, no member is left. The first error drops the others before it is
//! returned, and dropping the wait drops them all.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::crowd::Crowd;
use crate::members::{Gather, GatherSettled, Many};

/// Waits for all members, and gives their values in the order in which they were passed, whichever came first (asyncio's
/// `gather`). The first error ends it: the other members are dropped, and then it is returned.
///
/// Members are a tuple of up to eight, or anything that can be iterated over; futures of a `Result`, or tasks. They run
/// inside of the one task that waits: they may borrow from it, and take turns with the rest of the loop. What is woken is
/// polled and no more, so it may be a hundred thousand. Without members it is done at once. For all outcomes, errors
/// included, there is [`gather_settled`]; for members with an id and a name of their own there is [`scope`](crate::scope).
///
/// # Errors
/// The first error of a member.
///
/// # If dropped
/// So are the members; tasks among them are cancelled.
///
/// ```
/// use picot_tasks::gather;
///
/// async fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
///     text.parse()
/// }
///
/// picot_loop::run(async {
///     assert_eq!(gather((parse("1"), async { Ok("two") })).await, Ok((1, "two")));
///     assert_eq!(gather(["1", "2", "3"].map(parse)).await, Ok(vec![1, 2, 3]));
///     assert!(gather(["1", "zwei", "3"].map(parse)).await.is_err());
/// });
/// ```
#[doc(alias = "try_join_all")]
#[doc(alias = "try_join")]
pub fn gather<Kind, M: Gather<Kind>>(members: M) -> impl Future<Output = Result<M::Values, M::Error>> {
    members.gather()
}

/// Waits for all members, and gives what each of them gave, in the order in which they were passed (asyncio's `gather` with
/// `return_exceptions`, JavaScript's `allSettled`). An error is an outcome as any other, and ends nothing. Otherwise it is
/// as [`gather`].
///
/// # If dropped
/// So are the members; tasks among them are cancelled.
///
/// ```
/// picot_loop::run(async {
///     let members = ["1", "zwei"].map(|text| async { text.parse::<u32>().ok() });
///     assert_eq!(picot_tasks::gather_settled(members).await, [Some(1), None]);
/// });
/// ```
#[doc(alias = "return_exceptions")]
#[doc(alias = "join_all")]
#[doc(alias = "join")]
pub fn gather_settled<Kind, M: GatherSettled<Kind>>(members: M) -> impl Future<Output = M::Outcomes> {
    members.gather_settled()
}

impl<I, T, E> Gather<Many> for I
where
    I: IntoIterator,
    I::Item: IntoFuture<Output = Result<T, E>>,
{
    type Values = Vec<T>;
    type Error = E;

    fn gather(self) -> impl Future<Output = Result<Vec<T>, E>> {
        collect(self.into_iter().map(IntoFuture::into_future), |output| output)
    }
}

impl<I> GatherSettled<Many> for I
where
    I: IntoIterator,
    I::Item: IntoFuture,
{
    type Outcomes = Vec<<I::Item as IntoFuture>::Output>;

    async fn gather_settled(self) -> Self::Outcomes {
        let members = self.into_iter().map(IntoFuture::into_future);
        match collect(members, Ok::<_, Infallible>).await {
            Ok(outcomes) => outcomes,
            Err(never) => match never {},
        }
    }
}

/// Waits for all members, or until `judge` finds an error in what one of them gave.
async fn collect<F: Future, T, E>(
    members: impl Iterator<Item = F>,
    judge: impl Fn(F::Output) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    let mut all = All::new(members);
    poll_fn(|cx| all.poll(cx, &judge)).await
}

struct All<F, T> {
    crowd: Crowd<(usize, Pin<Box<F>>)>,
    values: Vec<Option<T>>,
}

impl<F: Future, T> All<F, T> {
    fn new(members: impl Iterator<Item = F>) -> All<F, T> {
        let mut crowd = Crowd::new();
        let mut values = Vec::new();
        for (n, member) in members.enumerate() {
            crowd.insert((n, Box::pin(member)));
            values.push(None);
        }
        All { crowd, values }
    }

    fn poll<E>(&mut self, cx: &mut Context<'_>, judge: impl Fn(F::Output) -> Result<T, E>) -> Poll<Result<Vec<T>, E>> {
        for _ in 0..self.crowd.begin(cx.waker()) {
            let Some(mut out) = self.crowd.take() else { break };
            let (n, member) = &mut out.value;
            match member.as_mut().poll(&mut Context::from_waker(&out.waker)) {
                Poll::Pending => self.crowd.put_back(out),
                Poll::Ready(output) => match judge(output) {
                    Ok(value) => {
                        self.values[*n] = Some(value);
                        self.crowd.remove(out.key);
                    }
                    Err(error) => {
                        drop(out);
                        drop(self.crowd.drain());
                        return Poll::Ready(Err(error));
                    }
                },
            }
        }
        if self.crowd.len() == 0 {
            let values = std::mem::take(&mut self.values);
            return Poll::Ready(Ok(values.into_iter().map(|value| value.expect("every member is done")).collect()));
        }
        self.crowd.end();
        Poll::Pending
    }
}
