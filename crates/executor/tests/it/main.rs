//! The behaviour of the executor, by topic. Each test records events in a list and compares the
//! list.

// The models under loom are in the library; nothing here runs under it.
#![cfg(not(loom))]

mod allocations;
mod batches;
mod calls;
mod cancel;
mod close;
mod contained;
mod eager;
mod errors;
mod fairness;
mod hooks;
mod join;
mod local_value;
mod locals;
mod model;
mod order;
mod panics;
mod places;
mod process;
mod remote_task;
mod section;
mod sleep;
mod threads;
mod trace;
mod traits;
mod wakers;
