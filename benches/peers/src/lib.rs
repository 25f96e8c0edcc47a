//! The adapters through which the shared workloads reach other runtimes. Each is the plainest use of that runtime that
//! spawns tasks which need not be `Send`.

mod schedulers;

pub use schedulers::{
    Compio, FuturesLocalPool, Monoio, SmolLocalExecutor, SmolStaticExecutor, TokioLocalRuntime, TokioLocalSet,
};
