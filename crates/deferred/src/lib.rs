#![doc = include_str!("../README.md")]
//!
//! # How it fits together
//! A [`Deferred`] settles, a [`Promise`] is what it promises; both are handles of one state. The thread's
//! [host](picot_context::Host) runs what is scheduled. No borrow of the state lives while a callback runs, so a callback
//! may do anything to it: settle, add callbacks, drop handles.
#![forbid(unsafe_code)]

mod deferred;
mod progress;
mod promise;
mod rejection;
mod state;
mod then;
mod when;

pub use deferred::Deferred;
pub use promise::{Promise, Settled};
pub use rejection::Rejection;
pub use state::State;
pub use then::Chained;
pub use when::{Awaited, Group, when, when_all};
