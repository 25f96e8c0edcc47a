//! The inputs of `gather`, `gather_settled` and `race`: tuples, and everything that can be iterated
//! over.
//!
//! Each trait has a parameter `Kind` that says which of the two its input is, because one trait
//! could not be implemented for both; the compiler infers it. Tuples are combined by
//! `futures-lite`'s functions for two futures, everything else is put into a member set.

use futures_lite::future;
use picot_context::Place;

use crate::contained::Contained;

/// Marks the members as a tuple. The compiler infers it.
///
/// ```
/// use picot_tasks::{Tuple, gather};
///
/// picot_loop::run(async {
///     let members = (async { Ok::<_, ()>(1) }, async { Ok('a') });
///     assert_eq!(gather::<Tuple, _>(members).await, Ok((1, 'a')));
/// });
/// ```
#[derive(Debug)]
pub enum Tuple {}

/// Marks the members as coming from an iterator: a `Vec`, an array, a `map` … The compiler infers
/// it.
///
/// ```
/// use picot_tasks::{Many, gather};
///
/// picot_loop::run(async {
///     assert_eq!(gather::<Many, _>([async { Ok::<_, ()>(1) }]).await, Ok(vec![1]));
/// });
/// ```
#[derive(Debug)]
pub enum Many {}

/// The inputs of [`gather`](crate::gather()).
///
/// They are a tuple of up to eight, or an iterator, of futures that return a `Result` with the same
/// error, or of what turns into such futures, as tasks do.
///
/// ```
/// use picot_tasks::{Gather, gather};
///
/// async fn count<Kind, M: Gather<Kind, Values = Vec<u8>>>(members: M) -> Result<usize, M::Error> {
///     Ok(gather(members).await?.len())
/// }
///
/// picot_loop::run(async { assert_eq!(count([async { Ok::<u8, ()>(1) }]).await, Ok(1)) });
/// ```
///
/// Futures of plain values do not compile; they need `gather_settled`:
///
/// ```compile_fail,E0277
/// picot_loop::run(picot_tasks::gather((async { 1 }, async { 2 })));
/// ```
#[diagnostic::on_unimplemented(
    message = "`gather` cannot wait for `{Self}`",
    label = "not a tuple or an iterator of futures that return a `Result` with one error type",
    note = "pass a tuple of at most eight, a `Vec`, an array or an iterator; use `gather_settled` for futures of plain values"
)]
pub trait Gather<Kind> {
    /// The values: a tuple or a `Vec`, in the order of the members.
    type Values;
    /// The error type of all members.
    type Error;

    #[doc(hidden)]
    fn gather(self) -> impl Future<Output = Result<Self::Values, Self::Error>>;
}

/// The inputs of [`gather_settled`](crate::gather_settled).
///
/// They are a tuple of up to eight, or an iterator, of futures or of what turns into futures.
///
/// ```
/// use picot_tasks::{GatherSettled, gather_settled};
///
/// async fn count<Kind, M: GatherSettled<Kind, Outcomes = Vec<u8>>>(members: M) -> usize {
///     gather_settled(members).await.len()
/// }
///
/// picot_loop::run(async { assert_eq!(count([async { 1 }]).await, 1) });
/// ```
///
/// Values do not compile:
///
/// ```compile_fail,E0277
/// picot_loop::run(picot_tasks::gather_settled((1, 2)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`gather_settled` cannot wait for `{Self}`",
    label = "not a tuple or an iterator of futures",
    note = "pass a tuple of at most eight, a `Vec`, an array or an iterator of futures or tasks"
)]
pub trait GatherSettled<Kind> {
    /// The outputs: a tuple or a `Vec`, in the order of the members.
    type Outcomes;

    #[doc(hidden)]
    fn gather_settled(self) -> impl Future<Output = Self::Outcomes>;
}

/// The inputs of [`race`](crate::race()).
///
/// They are a tuple of up to eight, or an iterator, of futures with the same output, or of what
/// turns into such futures.
///
/// ```
/// use picot_tasks::{Race, race};
///
/// async fn first<Kind, M: Race<Kind>>(members: M) -> M::Output {
///     race(members).await
/// }
///
/// picot_loop::run(async { assert_eq!(first([async { 1 }]).await, 1) });
/// ```
///
/// Members with different outputs do not compile:
///
/// ```compile_fail,E0277
/// picot_loop::run(async { picot_tasks::race((async { 1 }, async { "two" })).await });
/// ```
#[diagnostic::on_unimplemented(
    message = "`race` cannot wait for `{Self}`",
    label = "not a tuple or an iterator of futures with one output type",
    note = "pass a tuple of at most eight, a `Vec`, an array or an iterator; map the members to a common type, such as an enum"
)]
pub trait Race<Kind> {
    /// The output type of all members.
    type Output;

    #[doc(hidden)]
    fn race(self, place: Place) -> impl Future<Output = Self::Output>;
}

/// Makes a member of a tuple. A panic in its drop is contained, so that it cannot abort while a
/// sibling unwinds.
fn member<F: IntoFuture>(member: F) -> Contained<F::IntoFuture> {
    Contained::new(member.into_future())
}

macro_rules! nested {
    ($combine:path, $one:expr) => { $one };
    ($combine:path, $one:expr, $($rest:expr),+) => { $combine($one, nested!($combine, $($rest),+)) };
}

macro_rules! nested_pattern {
    ($one:ident) => { $one };
    ($one:ident, $($rest:ident),+) => { ($one, nested_pattern!($($rest),+)) };
}

macro_rules! tuple {
    ($first:ident $(, $member:ident)*: $value:ident $(, $values:ident)*) => {
        #[allow(non_snake_case, reason = "the macro names a member's variable like its type")]
        impl<E, $first, $value $(, $member, $values)*> Gather<Tuple> for ($first, $($member,)*)
        where
            $first: IntoFuture<Output = Result<$value, E>>,
            $($member: IntoFuture<Output = Result<$values, E>>,)*
        {
            type Values = ($value, $($values,)*);
            type Error = E;

            async fn gather(self) -> Result<Self::Values, E> {
                let ($first, $($member,)*) = self;
                let nested_pattern!($first $(, $member)*) =
                    nested!(future::try_zip, member($first) $(, member($member))*).await?;
                Ok(($first, $($member,)*))
            }
        }

        #[allow(non_snake_case, reason = "the macro names a member's variable like its type")]
        impl<$first: IntoFuture $(, $member: IntoFuture)*> GatherSettled<Tuple> for ($first, $($member,)*) {
            type Outcomes = ($first::Output, $($member::Output,)*);

            async fn gather_settled(self) -> Self::Outcomes {
                let ($first, $($member,)*) = self;
                let nested_pattern!($first $(, $member)*) =
                    nested!(future::zip, member($first) $(, member($member))*).await;
                ($first, $($member,)*)
            }
        }

        #[allow(non_snake_case, reason = "the macro names a member's variable like its type")]
        impl<$value, $first: IntoFuture<Output = $value> $(, $member: IntoFuture<Output = $value>)*> Race<Tuple>
            for ($first, $($member,)*)
        {
            type Output = $value;

            async fn race(self, _: Place) -> $value {
                let ($first, $($member,)*) = self;
                nested!(future::or, member($first) $(, member($member))*).await
            }
        }
    };
}

tuple!(A: TA);
tuple!(A, B: TA, TB);
tuple!(A, B, C: TA, TB, TC);
tuple!(A, B, C, D: TA, TB, TC, TD);
tuple!(A, B, C, D, F: TA, TB, TC, TD, TF);
tuple!(A, B, C, D, F, G: TA, TB, TC, TD, TF, TG);
tuple!(A, B, C, D, F, G, H: TA, TB, TC, TD, TF, TG, TH);
tuple!(A, B, C, D, F, G, H, I: TA, TB, TC, TD, TF, TG, TH, TI);
