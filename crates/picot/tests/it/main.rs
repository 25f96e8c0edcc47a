//! The umbrella: everything that the crates below export can be reached through it, and the macro
//! works from outside.

mod auto_traits;
mod dead_end;
mod deferred;
#[cfg(feature = "macros")]
mod main_macro;
mod names;
#[cfg(feature = "macros")]
mod prelude;
#[cfg(feature = "macros")]
mod test_macro;
mod waits;
