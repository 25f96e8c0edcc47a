#![doc = include_str!("../README.md")]
//!
//! # How it fits together
//! A [`Reactor`] waits for events and brings the readiness of its [`Source`]s up to date; wakers that wait for it are
//! then woken, when all events of the wait are noted and nothing is borrowed. How events are had is a [driver]'s matter:
//! on Linux an epoll instance is waited on directly, everywhere else `polling` does it. Both run the same tests.

mod check;
pub mod driver;
mod fork;
mod key;
mod pollable;
mod reactor;
mod ready;
mod source;
mod table;

pub use pollable::Pollable;
pub use reactor::{Reactor, RegisterError, WakeHandle};
pub use ready::{Direction, Readiness};
pub use source::{Ready, Source};
