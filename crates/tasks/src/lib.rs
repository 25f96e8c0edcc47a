#![doc = include_str!("../README.md")]
//!
//! # Contents
//! - Children that borrow: [`scope()`], [`supervised()`], [`Scope`], [`Child`].
//! - Cancelling: [`CancelScope`], [`CancelSource`], [`CancelToken`], [`timeout`],
//!   [`move_on_after`], [`effective_deadline`], [`shield()`].
//! - Waiting for several: [`gather()`], [`gather_settled`], [`gather_bounded`], [`as_completed`],
//!   [`as_completed_bounded`], [`JoinSet`], [`race()`], [`race_staggered`].
//!
//! # Other crates
//! `futures-lite` and `futures-util` work here as on any executor: `future::zip`, `future::or`,
//! `StreamExt`, `FuturesUnordered`, `select!`. This crate has its own functions where those lack
//! information about the loop: ids and steps of children, the order of clean-up, and tasks that
//! are cancelled with the wait for them.
#![forbid(unsafe_code)]

mod bounded;
mod cancel;
mod child;
mod completed;
mod contained;
mod cooperate;
mod error;
mod gather;
mod inputs;
mod member_set;
mod race;
mod ready_list;
mod request;
mod roster;
mod scope;
mod set;
mod shield;
mod start;
mod supervised;
mod timeout;
mod visits;

pub use bounded::{AsCompletedBounded, as_completed_bounded, gather_bounded};
pub use cancel::{CancelError, CancelScope, RescheduleError, Run, effective_deadline};
pub use child::{Child, ChildJoin};
pub use completed::{AsCompleted, as_completed};
pub use error::{Failure, ScopeEnded, ScopeError};
pub use gather::{gather, gather_settled};
pub use inputs::{Gather, GatherSettled, Many, Race, Tuple};
pub use race::{Staggered, race, race_staggered};
pub use request::{CancelGuard, CancelRequest, CancelSource, CancelToken, TokenCancelled};
pub use scope::{ChildOutput, Scope, ScopeRun, scope};
pub use set::{JoinSet, NothingToWaitFor, Wait};
pub use shield::{Shield, shield};
pub use start::{Start, Started};
pub use supervised::{Supervised, Supervisor, supervised};
pub use timeout::{Elapsed, MoveOn, Timeout, move_on_after, move_on_at, timeout, timeout_at};
