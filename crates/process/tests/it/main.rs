//! The tests of this crate, one file a topic: real pipes, real children, real signals. Everything
//! runs on the portable reactor path as well, under `--cfg polling_test_poll_backend`.
#![cfg(unix)]

mod children;
mod interrupt;
mod pipes;
mod program;
mod protocols;
mod run;
mod signals;
mod stdio;
#[cfg(feature = "tokio-io")]
mod tokio_io;
