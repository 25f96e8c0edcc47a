//! Signals of the operating system.

#[cfg(unix)]
pub(crate) mod disposition;
mod handler;
#[cfg(unix)]
mod hub;
mod listen;
mod number;

pub use handler::SignalHandlers;
pub use listen::{Signals, ctrl_c, signal, signals};
pub use number::Signal;
