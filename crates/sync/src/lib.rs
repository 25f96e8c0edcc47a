#![doc = include_str!("../README.md")]
//!
//! # Modules
//! - One holder, or several, at a time: [`Mutex`], [`Semaphore`].
//! - Waiting for something to happen: [`Event`], [`Condvar`], [`Barrier`].
//! - Handing over values: [`Queue`], [`PriorityQueue`], [`LifoQueue`], and channels whose ends
//!   notice each other: [`mpsc`], [`oneshot`], [`watch`], [`broadcast`].
//! - Making a value once: [`OnceCell`].
//! - Diagnosis: [`waiting`] lists every [`Waiter`] of the thread.
//!
//! # Rules that all of them keep
//! - **First come, first served**, counted from a future's first poll.
//! - **A dropped wait loses nothing.** A grant that a waiter has not used goes to the next
//!   one.
//! - **Foreign code runs outside.** Wakers and values are called and dropped with no borrow live.
//! - **Fair to other tasks.** Each completed operation spends one unit of its step's
//!   [budget](picot_context::budget), so a task whose queue is never empty lets other tasks run.
//! - **One thread.** No type here is `Send`, and nothing is atomic. Do not leak futures and guards
//!   by [`std::mem::forget`]: a leaked place in line blocks the waiters behind it.
#![forbid(unsafe_code)]

mod barrier;
pub mod broadcast;
mod condvar;
mod deadlock;
mod dump;
mod event;
mod lease;
pub mod mpsc;
mod mutex;
mod once_cell;
pub mod oneshot;
mod order;
mod permits;
mod queue;
mod semaphore;
mod wait_list;
mod wake;
pub mod watch;

pub use barrier::{Barrier, Broken, WaitBarrier};
pub use condvar::{Condvar, WaitCondvar, WaitWhile};
pub use dump::{Waiter, waiting};
pub use event::{Event, WaitEvent};
pub use lease::{JoinQueue, Lease};
pub use mutex::{Lock, Mutex, MutexGuard};
pub use once_cell::OnceCell;
pub use order::{Fifo, Lifo, Order, Smallest};
pub use queue::{Get, GetLease, LifoQueue, PriorityQueue, Put, PutError, Queue, TryGetError, TryPutError};
pub use semaphore::{Acquire, AcquireOrClosed, Permit, Semaphore, SemaphoreClosed, TooManyPermits};
