//! Deferreds and promises on a host that is driven by hand, so that every turn is seen.

mod future;
mod order;
mod panics;
mod progress;
mod settle;
mod then;
mod trace;
mod when;
