//! What every benchmark shares: how a block is measured, and the workloads that are the same for
//! every runtime.
//!
//! The machine may be shared, and wall time then wanders. So each block is run several times and
//! the fastest counts, and user-mode instructions are counted beside it where the processor has
//! counters that this process may use. Compare figures of one run with each other, not with those
//! of another day.

#[cfg(feature = "timers")]
pub mod deadlines;
#[cfg(feature = "deferred")]
pub mod deferred;
#[cfg(feature = "growth")]
pub mod growth;
mod measure;
mod memory;
#[cfg(feature = "executor")]
pub mod picot;
mod picture;
#[cfg(feature = "reactor")]
pub mod reactor;
pub mod scheduler;
pub mod sleepers;
#[cfg(feature = "sync")]
pub mod sync;
#[cfg(feature = "tasks")]
pub mod tasks;
#[cfg(feature = "loop")]
pub mod turn;
pub mod waiting;

pub use measure::{Figures, Table, Time, begin_part, callgrind, end_part, measure, measure_async, measure_by};
pub use memory::{Counting, count_allocations, live_bytes};
pub use picture::Picture;
