#![doc = include_str!("../README.md")]
//!
//! # How it fits together
//! A [`Deferred`] settles, a [`Promise`] is what it promises; both are handles of one state. The thread's
//! [host](picot_context::Host) runs what is scheduled. No borrow of the state lives while a callback runs, so a callback
//! may do anything to it: settle, add callbacks, drop handles.
#![forbid(unsafe_code)]

mod cancel;
mod cascade;
mod deferred;
mod line;
mod progress;
mod promise;
mod rejection;
mod resolver;
mod settled;
mod state;
mod then;
mod when;

pub use deferred::Deferred;
pub use promise::Promise;
pub use rejection::Rejection;
pub use resolver::Resolver;
pub use settled::Settled;
pub use state::State;
pub use then::{CallbackId, Chained};
pub use when::{Awaited, Group, when, when_all, when_any, when_race, when_settled};
