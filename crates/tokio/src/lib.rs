#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(unix)]
mod alarm;
mod error;
mod guest;
#[cfg(unix)]
mod readable;
mod run;
#[cfg(unix)]
mod waits;
#[cfg(not(unix))]
#[path = "no_waits.rs"]
mod waits;

pub use error::GuestError;
pub use guest::{RunGuest, run_guest};
pub use run::run;
