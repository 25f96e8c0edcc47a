#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(not(unix))]
mod absent;
#[cfg_attr(not(unix), allow(dead_code, reason = "no child starts"))]
mod child;
#[cfg_attr(not(unix), allow(dead_code, reason = "no child starts"))]
mod command;
#[cfg(unix)]
mod explain;
mod interrupt;
#[cfg_attr(not(unix), allow(dead_code, reason = "no child starts"))]
mod pipe;
#[cfg(unix)]
mod poll_now;
#[cfg(unix)]
mod process;
#[cfg_attr(not(unix), allow(dead_code, reason = "no child starts"))]
mod protocol;
mod signal;
mod stdio;

pub use child::Child;
pub use command::Command;
pub use interrupt::{Interrupt, Interrupted, RunUntilInterrupted};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use protocol::{SubprocessProtocol, SubprocessTransport};
pub use signal::{Signal, SignalHandlers, Signals, ctrl_c, dump_on, signal, signals};
pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
