#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(unix)]
mod child;
#[cfg(unix)]
mod command;
mod interrupt;
#[cfg(unix)]
mod pipe;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod protocol;
mod signal;
mod stdio;

#[cfg(unix)]
pub use child::Child;
#[cfg(unix)]
pub use command::Command;
pub use interrupt::{Interrupt, Interrupted, RunUntilInterrupted};
#[cfg(unix)]
pub use pipe::{PipeReader, PipeWriter, pipe};
#[cfg(unix)]
pub use protocol::{SubprocessProtocol, SubprocessTransport};
pub use signal::{Signal, SignalHandlers, Signals, ctrl_c, signal, signals};
pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
