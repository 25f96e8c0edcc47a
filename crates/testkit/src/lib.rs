//! Test helpers that several crates share: traces, wakers, panics, an allocator that counts,
//! folders, and messages of the compiler.
//!
//! Depends on no other crate, so that each crate can use it, also `context` and `timers`. It is a
//! dev-dependency with a path and without a version: a package is published without it.

pub mod alloc;

mod folder;
mod futures;
mod messages;
mod panics;
mod trace;
mod traits;
mod wakers;

pub use folder::Folder;
pub use futures::{Gate, poll_once, yield_now};
pub use messages::{MessageCase, assert_messages};
pub use panics::{Bomb, quiet_panic};
pub use trace::{OnDrop, Trace};
pub use wakers::{WakeCount, waker_fn, waker_with_drop};
