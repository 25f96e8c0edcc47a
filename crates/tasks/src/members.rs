//! What the functions for several futures take: tuples, and whatever can be iterated over.
//!
//! One name is to serve both, so each trait has a parameter that says which of the two it is; the compiler finds it out by
//! itself. Tuples come down to `futures-lite`'s combinators of two, everything else to a crowd.

use futures_lite::future;
use picot_context::Place;

use crate::contained::Contained;

/// Says that the members are a tuple.
#[derive(Debug)]
pub enum Tuple {}

/// Says that the members come from an iterator: a `Vec`, an array, a `map` …
#[derive(Debug)]
pub enum Many {}

/// What [`gather`](crate::gather) takes: a tuple of up to eight, or an iterator, of futures that give a `Result` with the
/// same error, or of what turns into such futures, as tasks do.
pub trait Gather<Kind> {
    /// The values: a tuple, or a `Vec`.
    type Values;
    /// The error that they share.
    type Error;

    #[doc(hidden)]
    fn gather(self) -> impl Future<Output = Result<Self::Values, Self::Error>>;
}

/// What [`gather_settled`](crate::gather_settled) takes: a tuple of up to eight, or an iterator, of futures or of what
/// turns into futures.
pub trait GatherSettled<Kind> {
    /// The outputs: a tuple, or a `Vec`.
    type Outcomes;

    #[doc(hidden)]
    fn gather_settled(self) -> impl Future<Output = Self::Outcomes>;
}

/// What [`race`](crate::race) takes: a tuple of up to eight, or an iterator, of futures with the same output, or of what
/// turns into such futures.
pub trait Race<Kind> {
    /// The output that they share.
    type Output;

    #[doc(hidden)]
    fn race(self, place: Place) -> impl Future<Output = Self::Output>;
}

/// A member of a tuple, whose drop is contained.
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
        #[allow(non_snake_case, reason = "a member's variable is called like its type")]
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

        #[allow(non_snake_case, reason = "a member's variable is called like its type")]
        impl<$first: IntoFuture $(, $member: IntoFuture)*> GatherSettled<Tuple> for ($first, $($member,)*) {
            type Outcomes = ($first::Output, $($member::Output,)*);

            async fn gather_settled(self) -> Self::Outcomes {
                let ($first, $($member,)*) = self;
                let nested_pattern!($first $(, $member)*) =
                    nested!(future::zip, member($first) $(, member($member))*).await;
                ($first, $($member,)*)
            }
        }

        #[allow(non_snake_case, reason = "a member's variable is called like its type")]
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
