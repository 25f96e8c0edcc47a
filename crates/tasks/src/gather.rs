//! The outputs of all members, in the order in which the members were passed.
//!
//! The invariant: once the wait has ended or was dropped, no member is left. The first error drops
//! the other members before it is returned, and dropping the wait drops them all.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use picot_context::contain;
use pin_project_lite::pin_project;

use crate::contained;
use crate::cooperate::Counted;
use crate::inputs::{Gather, GatherSettled, Many};
use crate::member_set::MemberSet;

/// Waits for all members and returns their values in the order in which they were passed (asyncio's
/// `gather`).
///
/// The first error ends the wait: the other members are dropped, and then the error is returned.
///
/// Members are a tuple of up to eight, or anything that can be iterated over: futures of a
/// `Result`, or tasks. They run inside the task that waits, so they may borrow from it. Of more
/// than sixteen members only those are polled that were woken, so 100 000 members cost no more per
/// wake than twenty. The iterator is consumed at the first poll. Without members the wait is done
/// at once. For all outcomes, errors included, use [`gather_settled`]; for members with an id and a
/// name, use [`scope`](crate::scope()).
///
/// # Errors
/// Returns the first error of a member.
///
/// # If dropped
/// The members are dropped; tasks among them are cancelled.
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
    Counted::new(members.gather())
}

/// Waits for all members and returns their outputs in order (asyncio's `gather` with
/// `return_exceptions`).
///
/// An error is an output like any other and ends nothing (JavaScript's `allSettled`). Otherwise it
/// is as [`gather()`].
///
/// # If dropped
/// The members are dropped; tasks among them are cancelled.
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
    Counted::new(members.gather_settled())
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

/// Waits for all members, or until `judge` turns an output into an error.
async fn collect<F: Future, T, E>(
    members: impl Iterator<Item = F>,
    judge: impl Fn(F::Output) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    let mut all = All::new(members);
    poll_fn(|cx| all.poll(cx, &judge)).await
}

/// The number of members in a block. If one block holds all members, each poll polls them all: for
/// so few, that costs less than wakers of their own.
const BLOCK: usize = 16;

struct All<F, T> {
    /// Apart from `others`: mostly there are no others, and then they need no allocation.
    first: Pin<Box<Block<F>>>,
    others: Vec<Pin<Box<Block<F>>>>,
    values: Vec<Option<T>>,
    /// How many members are not done.
    left: usize,
    /// Finds the woken members if there are too many to poll all; the values are their numbers.
    woken: Option<MemberSet<usize>>,
}

impl<F: Future, T> All<F, T> {
    fn new(mut members: impl Iterator<Item = F>) -> All<F, T> {
        let mut others = Vec::with_capacity(members.size_hint().0.saturating_sub(1) / BLOCK);
        let mut first = Box::pin(Block::default());
        let mut held = fill(first.as_mut().members(), &mut members);
        let mut count = held;
        // An iterator that has returned `None` is not called again: it need not be fused.
        while held == BLOCK {
            let Some(next) = members.next() else { break };
            let mut block = Box::pin(Block::default());
            held = fill(block.as_mut().members(), std::iter::once(next).chain(&mut members));
            others.push(block);
            count += held;
        }
        // For one block it is cheaper to poll all members than to make a waker for each.
        let woken = (count > BLOCK).then(|| {
            let mut woken = MemberSet::new();
            (0..count).for_each(|n| _ = woken.insert(n));
            woken
        });
        All { first, others, values: (0..count).map(|_| None).collect(), left: count, woken }
    }

    fn poll<E>(&mut self, cx: &mut Context<'_>, judge: impl Fn(F::Output) -> Result<T, E>) -> Poll<Result<Vec<T>, E>> {
        // Taken out, so that `self` can be borrowed for the poll of a member.
        let polled = match self.woken.take() {
            None => self.poll_first(cx, &judge),
            Some(mut woken) => {
                let polled = self.poll_woken(&mut woken, cx, &judge);
                self.woken = Some(woken);
                polled
            }
        };
        match polled {
            // The caller drops this, and the other members with it, before it returns the error.
            Err(error) => Poll::Ready(Err(error)),
            Ok(()) if self.left == 0 => {
                let values = std::mem::take(&mut self.values);
                Poll::Ready(Ok(values.into_iter().map(|value| value.expect("present: no member is left")).collect()))
            }
            Ok(()) => Poll::Pending,
        }
    }

    fn poll_woken<E>(
        &mut self,
        woken: &mut MemberSet<usize>,
        cx: &mut Context<'_>,
        judge: impl Fn(F::Output) -> Result<T, E>,
    ) -> Result<(), E> {
        for _ in 0..woken.begin(cx.waker()) {
            let Some(out) = woken.take() else { break };
            if self.poll_member(out.value, &mut Context::from_waker(&out.waker), &judge)? {
                woken.remove(out.key);
            } else {
                woken.put_back(out);
            }
        }
        woken.end();
        Ok(())
    }

    /// Polls the members of the first block.
    fn poll_first<E>(&mut self, cx: &mut Context<'_>, judge: impl Fn(F::Output) -> Result<T, E>) -> Result<(), E> {
        for (member, value) in self.first.as_mut().members().into_iter().zip(&mut self.values) {
            self.left -= usize::from(poll_member(member, value, cx, &judge)?);
        }
        Ok(())
    }

    /// Polls member `n`. Returns whether it is done.
    #[inline]
    fn poll_member<E>(
        &mut self,
        n: usize,
        cx: &mut Context<'_>,
        judge: impl Fn(F::Output) -> Result<T, E>,
    ) -> Result<bool, E> {
        let block = (n / BLOCK).checked_sub(1).map_or(&mut self.first, |block| &mut self.others[block]);
        let is_done = poll_member(block.as_mut().get(n % BLOCK), &mut self.values[n], cx, judge)?;
        self.left -= usize::from(is_done);
        Ok(is_done)
    }
}

impl<F, T> Drop for All<F, T> {
    fn drop(&mut self) {
        // Only after an error or an early drop are there values left.
        contain::discard_each(contained::origin, self.values.drain(..));
    }
}

/// Puts members into slots until one of the two runs out. Returns the number of filled slots.
#[inline]
fn fill<F>(slots: [Pin<&mut Option<F>>; BLOCK], mut members: impl Iterator<Item = F>) -> usize {
    let mut held = 0;
    for mut slot in slots {
        let Some(member) = members.next() else { break };
        slot.set(Some(member));
        held += 1;
    }
    held
}

/// Polls a member unless it is done, and stores its value. Returns whether it became done.
#[inline]
fn poll_member<F: Future, T, E>(
    mut member: Pin<&mut Option<F>>,
    value: &mut Option<T>,
    cx: &mut Context<'_>,
    judge: impl Fn(F::Output) -> Result<T, E>,
) -> Result<bool, E> {
    // A member that has ended is polled again only in the one block that polls all.
    let Some(future) = member.as_mut().as_pin_mut() else { return Ok(false) };
    let Poll::Ready(output) = future.poll(cx) else { return Ok(false) };
    // The future goes before its output counts, as in a task. A panic in its drop is reported.
    contained::clear(member);
    *value = Some(judge(output)?);
    Ok(true)
}

pin_project! {
    /// Members that share an allocation. The fields are separate because safe code cannot pin the
    /// elements of an array one by one.
    struct Block<F> {
        #[pin] a: Option<F>,
        #[pin] b: Option<F>,
        #[pin] c: Option<F>,
        #[pin] d: Option<F>,
        #[pin] e: Option<F>,
        #[pin] f: Option<F>,
        #[pin] g: Option<F>,
        #[pin] h: Option<F>,
        #[pin] i: Option<F>,
        #[pin] j: Option<F>,
        #[pin] k: Option<F>,
        #[pin] l: Option<F>,
        #[pin] m: Option<F>,
        #[pin] n: Option<F>,
        #[pin] o: Option<F>,
        #[pin] p: Option<F>,
    }

    impl<F> PinnedDrop for Block<F> {
        fn drop(this: Pin<&mut Self>) {
            // One by one: a panic in a drop is reported, and the others are dropped too.
            if std::mem::needs_drop::<F>() {
                this.members().into_iter().for_each(contained::clear);
            }
        }
    }
}

impl<F> Default for Block<F> {
    fn default() -> Block<F> {
        Block {
            a: None,
            b: None,
            c: None,
            d: None,
            e: None,
            f: None,
            g: None,
            h: None,
            i: None,
            j: None,
            k: None,
            l: None,
            m: None,
            n: None,
            o: None,
            p: None,
        }
    }
}

impl<F> Block<F> {
    /// Returns all slots, in order.
    #[inline]
    fn members(self: Pin<&mut Self>) -> [Pin<&mut Option<F>>; BLOCK] {
        let this = self.project();
        [
            this.a, this.b, this.c, this.d, this.e, this.f, this.g, this.h, this.i, this.j, this.k, this.l, this.m,
            this.n, this.o, this.p,
        ]
    }

    #[inline]
    fn get(self: Pin<&mut Self>, n: usize) -> Pin<&mut Option<F>> {
        let this = self.project();
        match n {
            0 => this.a,
            1 => this.b,
            2 => this.c,
            3 => this.d,
            4 => this.e,
            5 => this.f,
            6 => this.g,
            7 => this.h,
            8 => this.i,
            9 => this.j,
            10 => this.k,
            11 => this.l,
            12 => this.m,
            13 => this.n,
            14 => this.o,
            _ => this.p,
        }
    }
}
