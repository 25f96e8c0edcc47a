//! Signals of the operating system.

mod number;

pub use number::Signal;
