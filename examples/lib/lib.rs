//! What several examples share, and the pages of the documentation whose code the tests run.

mod echo;
mod sort;

pub use echo::{echo, round_trip};
pub use sort::{pseudo_random, sort};

/// Everything in the README and in `docs/` that looks like code is compiled and run.
#[cfg(doctest)]
mod documentation {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/architecture.md")]
    struct Architecture;
    #[doc = include_str!("../../docs/non-goals.md")]
    struct NonGoals;
}
