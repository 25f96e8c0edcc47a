#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod signal;

pub use signal::Signal;
