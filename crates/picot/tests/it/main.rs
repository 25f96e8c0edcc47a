//! The umbrella: everything that the crates below export can be reached through it, and the macro
//! works from outside.

mod auto_traits;
mod dead_end;
mod deferred;
mod main_macro;
mod names;
mod prelude;
mod test_macro;
mod waits;
