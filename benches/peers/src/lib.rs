//! The adapters through which the shared workloads reach other runtimes. Each is the plainest use of that runtime that
//! spawns tasks which need not be `Send`.

pub mod net;
mod schedulers;

pub use schedulers::{Compio, Monoio, SmolLocalExecutor, TokioLocalRuntime, TokioLocalSet};
