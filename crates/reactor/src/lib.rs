#![doc = include_str!("../README.md")]
//!
//! # How it works
//! A [`Reactor`] waits for events. For each event it updates the readiness of the [`Source`] and
//! wakes the tasks that wait for it, with nothing borrowed. A [driver] gets the events from the
//! operating system: on Linux it waits on an epoll instance directly, everywhere else it uses
//! `polling`. Both run the same tests.

mod check;
mod describe;
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
pub use source::{Ready, ReadyOwned, Source};
