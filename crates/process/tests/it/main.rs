//! The tests of this crate, one file a topic.

#[cfg(unix)]
mod program;
#[cfg(unix)]
mod signals;
