//! Deferreds and promises on a host that the tests drive by hand, so that they see every turn.

// The models under loom are in the library; nothing here runs under it.
#![cfg(not(loom))]

mod allocations;
mod budget;
mod cancel;
mod conformance;
mod depth;
mod future;
mod model;
mod order;
mod panics;
mod places;
mod progress;
mod registered;
mod resolver;
mod scheduled;
mod settle;
mod shared_errors;
mod then;
mod trace;
mod unhandled;
mod wakers;
mod when;
