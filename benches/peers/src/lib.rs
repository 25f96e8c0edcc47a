//! The adapters through which the shared workloads reach other runtimes. Each is the plainest use
//! of that runtime that spawns tasks which need not be `Send`.

mod bare;
pub mod descriptors;
#[cfg(target_os = "linux")]
pub mod echo;
pub mod http;
pub mod net;
mod oneshots;
mod schedulers;
mod sleepers;
pub mod sort;
mod sync;
mod waiting;
mod wheels;

pub use bare::BareAsyncTask;
pub use oneshots::{FuturesOneshot, TokioOneshot};
pub use schedulers::{
    Compio, FuturesLocalPool, Monoio, SmolLocalExecutor, SmolStaticExecutor, TokioLocalRuntime, TokioLocalSet,
};
pub use sleepers::{MonoioTimed, Smol, TokioLocalSetTimed};
pub use sync::{LocalSync, SmolSync, TokioSync};
pub use waiting::{FuturesUnordered, JoinAll, TokioJoinSet};
pub use wheels::QuadWheel;
