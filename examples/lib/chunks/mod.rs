//! The machinery of `sort_chunks`, one role a file.
//!
//! A [`Sorter`] sorts an [`Input`] in a task. Its jobs on other threads read a run of the file
//! (`reader`, `parse`), sort it (`run`), keep it or write it to a temporary file (`runs`, `spill`),
//! and merge all runs (`merge`) into what is kept of the chunk (`digest`). `memory` says how large
//! everything may be.

mod digest;
mod input;
mod memory;
pub mod merge;
mod options;
pub mod parse;
mod progress;
mod reader;
mod run;
mod runs;
mod sorter;
mod spill;

pub use digest::Digest;
pub use input::Input;
pub use options::{Options, USAGE};
pub use progress::Progress;
pub use sorter::{Sorted, Sorter};
