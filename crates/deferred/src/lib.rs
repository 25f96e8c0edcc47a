#![doc = include_str!("../README.md")]
//!
//! # How it fits together
//! A [`Deferred`] settles and a [`Promise`] waits; both are handles of one shared state. The
//! thread's [host](picot_context::Host) runs the handlers and futures. No borrow of the state is
//! live while a callback runs, so a callback may settle, add callbacks and drop handles.
#![forbid(unsafe_code)]

mod cancel;
mod cascade;
mod deferred;
mod group;
mod numbered_queue;
mod progress;
mod promise;
mod rejection;
mod resolver;
mod settled;
mod state;
mod then;
mod unhandled;
mod upstream;
mod waiter;
mod when;

pub use deferred::Deferred;
/// A host that is driven by hand, for tests and for programs with a loop of their own.
#[doc(inline)]
pub use picot_context::ManualHost;
pub use promise::Promise;
pub use rejection::Rejection;
pub use resolver::Resolver;
pub use settled::Settled;
pub use state::State;
pub use then::{CallbackId, Chained};
pub use when::{Awaited, Group, when, when_all, when_any, when_race, when_settled};
