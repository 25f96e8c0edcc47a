#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(unix)]
mod pipe;
mod signal;

#[cfg(unix)]
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use signal::{Signal, SignalHandlers, Signals, ctrl_c, signal, signals};
