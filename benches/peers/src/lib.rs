//! The adapters through which the shared workloads reach other runtimes. Each is the plainest use of that runtime that
//! spawns tasks which need not be `Send`.

mod schedulers;
mod waiting;

pub use schedulers::{Compio, Monoio, SmolLocalExecutor, TokioLocalRuntime, TokioLocalSet};
pub use waiting::{FuturesUnordered, JoinAll, TokioJoinSet};
