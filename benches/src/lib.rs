//! What every benchmark shares: how a block is measured, and the workloads that are the same for every runtime.
//!
//! The machine may be shared, and wall time then wanders. So each block is run several times and the fastest counts, and
//! user-mode instructions are counted beside it where the processor has counters that this process may use. Compare
//! figures of one run with each other, not with those of another day.

mod measure;
#[cfg(feature = "executor")]
pub mod picot;
pub mod scheduler;
#[cfg(feature = "tasks")]
pub mod tasks;
pub mod waiting;

pub use measure::{Figures, Table, measure};
