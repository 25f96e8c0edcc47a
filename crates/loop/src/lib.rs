#![doc = include_str!("../README.md")]
//!
//! # The turn
//! 1. The timeout: zero if anything is ready, here or from other threads, or if the loop is
//!    stopping; else until the next deadline, at most 24 hours; else none.
//! 2. Wait for I/O.
//! 3. Queue the tasks whose sources are ready.
//! 4. Queue the timers that are due, by deadline, then by insertion.
//! 5. Take what came from other threads, at most 512 items.
//! 6. Run exactly what is queued now. What that schedules waits for the next turn.
//!
//! Phases 1 to 4 are the *event poll*. A turn skips it, and does not read the clock, while work is
//! queued and the last event poll is recent: fewer than 61 steps have run since, or fewer than fit
//! into 50 µs or before the next timer (estimated from the steps before), and the coarse clock has
//! not ticked.
#![forbid(unsafe_code)]

mod blocking;
mod builder;
mod close;
mod current;
mod diagnose;
mod embed;
mod error;
mod event_loop;
mod handle;
mod hooks;
mod inner;
mod lanes;
mod options;
mod remote;
mod section;
mod status;
mod time;
mod turn;
mod turn_hook;
mod watch;
mod watches;

pub use blocking::spawn_blocking;
pub use builder::Builder;
pub use close::CloseReport;
pub use current::{spawn, spawn_named};
pub use diagnose::counters::{Metrics, Snapshot};
pub use diagnose::dump::{Dump, TaskDump, dump};
pub use diagnose::slow_steps::SlowStep;
pub use diagnose::steps::TaskSteps;
pub use diagnose::trace::Trace;
pub use diagnose::watchdog::Stuck;
pub use embed::TurnsUntilComplete;
pub use error::{LoopError, RunError};
pub use event_loop::{EventLoop, run};
pub use handle::LoopHandle;
pub use remote::RemoteHandle;
pub use section::{blocking_section, exclusive};
pub use time::clock::{Clock, VirtualClock};
pub use time::instant::Instant;
pub use time::interval::{Interval, MissedTick, interval, interval_at};
pub use time::sleep::{Sleep, YieldNow, sleep, sleep_until, yield_now};
pub use time::timer_handle::TimerHandle;
pub use turn_hook::TurnHook;

pub use picot_blocking::SubmitError;
pub use picot_context::{
    Cause, Closed, Kind, LockWait, Origin, Payload, Place, Report, StepTime, TaskId, TaskInfo, WaitInfo, WaitKind,
    Waiting, current, task_local,
};
pub use picot_executor::{
    Activity, CallHandle, CancelAndWait, CancelHandle, CancelReason, Exclusive, ExclusiveGuard, Exit, Hooks, Join,
    JoinError, Local, Refused, RemoteJoin, RemoteTask, Step, Task, TaskBuilder, WaitError,
};
pub use picot_reactor::{Direction, Pollable, Source};
