#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod signal;

pub use signal::{Signal, SignalHandlers, Signals, ctrl_c, signal, signals};
