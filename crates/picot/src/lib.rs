#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[doc(no_inline)]
pub use picot_deferred::{Deferred, Promise, when};
#[doc(no_inline)]
pub use picot_loop::{
    CallHandle, EventLoop, JoinError, LoopHandle, RemoteHandle, Task, TimerHandle, VirtualClock, interval, run, sleep,
    sleep_until, spawn, spawn_blocking, spawn_named, task_local, yield_now,
};
#[doc(no_inline)]
pub use picot_macros::{main, test};
#[doc(no_inline)]
pub use picot_tasks::{
    CancelScope, JoinSet, as_completed, gather, gather_settled, move_on_after, race, scope, shield, supervised, timeout,
};

/// Promises: what `Deferred`, `Promise` and `when` at the root come from.
pub mod deferred {
    #[doc(no_inline)]
    pub use picot_deferred::*;
}

/// The I/O traits that picot's streams implement, and their extensions, as `futures-lite` has them.
pub mod io {
    #[doc(no_inline)]
    pub use futures_lite::io::{
        AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter,
    };
}

/// The loop: what `EventLoop` and `LoopHandle` at the root come from, with its options, errors and reports.
pub mod event_loop {
    #[doc(no_inline)]
    pub use picot_loop::{
        Builder, Cause, Clock, CloseReport, Closed, Direction, EventLoop, Exit, Hooks, Kind, LockWait, LoopError,
        LoopHandle, Metrics, Origin, Payload, Place, Pollable, Refused, RemoteHandle, Report, RunError, Snapshot,
        Source, Step, StepTime, Stuck, SubmitError, TurnHook, VirtualClock, Waiting, blocking_section, exclusive, run,
    };
}

/// Internet connections.
pub mod net {
    #[doc(no_inline)]
    pub use picot_net::*;
}

/// Locks, events, semaphores, barriers and queues for the tasks of one loop.
pub mod sync {
    #[doc(no_inline)]
    pub use picot_sync::*;
}

/// Tasks: their handles, what waiting for them gives, and which one runs.
pub mod task {
    #[doc(no_inline)]
    pub use picot_loop::{
        CancelAndWait, CancelReason, Exclusive, ExclusiveGuard, Join, JoinError, RemoteJoin, RemoteTask, Task,
        TaskBuilder, TaskId, TaskInfo, WaitError, YieldNow, current, spawn, spawn_blocking, spawn_named, yield_now,
    };
    #[doc(no_inline)]
    pub use picot_tasks::*;
}

/// The loop's time.
pub mod time {
    #[doc(no_inline)]
    pub use picot_loop::{Instant, Interval, MissedTick, Sleep, interval, interval_at, sleep, sleep_until};
    #[doc(no_inline)]
    pub use picot_tasks::{Elapsed, effective_deadline, move_on_after, move_on_at, timeout, timeout_at};
}

/// What most programs use: `use picot::prelude::*`.
pub mod prelude {
    #[doc(no_inline)]
    pub use crate::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
    #[doc(no_inline)]
    pub use crate::{
        Deferred, EventLoop, LoopHandle, Promise, Task, gather, scope, sleep, spawn, spawn_blocking, timeout, when,
    };
}
