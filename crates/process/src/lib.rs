#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod interrupt;
#[cfg(unix)]
mod pipe;
mod signal;
mod stdio;

pub use interrupt::{Interrupt, Interrupted, RunUntilInterrupted};
#[cfg(unix)]
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use signal::{Signal, SignalHandlers, Signals, ctrl_c, signal, signals};
pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
