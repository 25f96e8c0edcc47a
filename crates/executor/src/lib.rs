#![doc = include_str!("../README.md")]
//!
//! # How it fits together
//! An [`Executor`] belongs to its driver, on one thread. A [`Spawner`] is its handle on that
//! thread, a [`Remote`] its handle on other threads, a [`Task`] the handle of a task, and a
//! [`CallHandle`] the handle of a callback.
//!
//! They share one allocation in two halves. The half of the executor's own thread (the run queue,
//! the table of tasks) has no lock and no atomic operation; only the inbox half is visible to other
//! threads. A waker compares thread ids to find its side.
//!
//! # Driving it
//! [`Executor::block_on`] runs until a future is done, and sleeps in between. A loop that sleeps
//! elsewhere uses the parts: [`take_remote`](Executor::take_remote),
//! [`run_batch`](Executor::run_batch), [`deliver_reports`](Executor::deliver_reports), and
//! [`fall_asleep`](Executor::fall_asleep) around its wait.

mod bound;
mod close;
mod error;
mod executor;
mod extras;
mod flag_guard;
mod local_value;
mod remote;
mod run;
mod shared;
mod spawner;
mod status;
mod task;

pub use close::ClosedTasks;
pub use error::{CancelReason, JoinError, WaitError};
pub use executor::{Asleep, Executor};
pub use extras::hooks::{Exit, Hooks};
pub use extras::section::{Exclusive, ExclusiveGuard};
pub use local_value::Local;
pub use picot_context::{Closed, Place, Step, TaskId, TaskInfo};
pub use remote::handle::{Refused, Remote};
pub use remote::task::{RemoteJoin, RemoteTask};
pub use run::call::CallHandle;
pub use run::root::{AnyRoot, Root};
pub use spawner::{Spawner, TaskBuilder};
#[doc(hidden)]
pub use status::QueueEnd;
pub use status::{Activity, TaskStatus};
pub use task::cancel_handle::CancelHandle;
pub use task::handle::{CancelAndWait, Join, Task};
pub use task::wake_key::WakeKey;
