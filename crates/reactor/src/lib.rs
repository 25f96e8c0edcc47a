#![doc = include_str!("../README.md")]
//!
//! # How it fits together
//! A [`Reactor`] waits for events and goes through them: the readiness of the [`Source`] is brought up to date, and
//! whoever waits for it is woken, with nothing borrowed. How events are had is a [driver]'s matter: on Linux an epoll instance
//! is waited on directly, everywhere else `polling` does it. Both run the same tests.

mod check;
pub mod driver;
mod foreign;
mod fork;
mod growing;
mod inner;
mod key;
mod pollable;
mod reactor;
mod ready;
mod ready_list;
mod source;
mod table;
mod waiter;

pub use pollable::Pollable;
pub use reactor::{Reactor, RegisterError, WakeHandle};
pub use ready::{Direction, Readiness};
pub use ready_list::ReadyList;
pub use source::{Ready, Source};
