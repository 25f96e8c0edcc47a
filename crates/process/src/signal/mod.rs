//! Signals of the operating system.

#[cfg(unix)]
pub(crate) mod disposition;
mod dump;
mod handler;
#[cfg(unix)]
mod hub;
mod listen;
mod number;

pub use dump::dump_on;
pub use handler::SignalHandlers;
pub use listen::{Signals, ctrl_c, signal, signals};
pub use number::Signal;
