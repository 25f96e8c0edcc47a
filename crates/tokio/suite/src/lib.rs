//! picot's loop for tests, with one difference: each run is that of a guest of tokio.
//!
//! The tests of the loop, of its tasks and of its sockets are compiled against this library as they
//! are. A test that cannot run in a guest is in the list of exceptions, with the reason, and runs
//! without.

mod builder;
mod event_loop;
mod exceptions;

pub use real_loop::*;

pub use builder::Builder;
pub use event_loop::{EventLoop, run};
