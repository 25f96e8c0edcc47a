#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[doc(inline)]
pub use picot_deferred::{Deferred, Promise, when};
#[doc(inline)]
pub use picot_loop::{
    CallHandle, EventLoop, JoinError, LoopHandle, RemoteHandle, Task, TimerHandle, VirtualClock, dump, interval, run,
    sleep, sleep_until, spawn, spawn_blocking, spawn_named, task_local, yield_now,
};
#[cfg(feature = "macros")]
#[doc(inline)]
pub use picot_macros::{main, test};
#[doc(inline)]
pub use picot_tasks::{
    CancelScope, CancelSource, JoinSet, as_completed, as_completed_bounded, gather, gather_bounded, gather_settled,
    move_on_after, race, scope, shield, supervised, timeout,
};

/// Promises: what `Deferred`, `Promise` and `when` at the root come from.
pub mod deferred {
    #[doc(inline)]
    pub use picot_deferred::*;
}

/// The I/O traits that picot's streams implement, and their extensions, as `futures-lite` has them.
pub mod io {
    #[doc(inline)]
    pub use futures_lite::io::{
        AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter,
    };
}

/// The loop, its handles, options, errors and reports.
///
/// [`EventLoop`] runs and closes a loop, [`LoopHandle`] schedules on its thread, and
/// [`RemoteHandle`] on any thread. [`Builder`](event_loop::Builder) holds the options.
/// [`Report`](event_loop::Report) is what the error hook receives, [`Metrics`](event_loop::Metrics)
/// are the loop's figures.
pub mod event_loop {
    #[doc(inline)]
    pub use picot_loop::{
        Activity, Builder, Cause, Clock, CloseReport, Closed, Direction, Dump, EventLoop, Exit, Hooks, Kind, LockWait,
        LoopError, LoopHandle, Metrics, Origin, Payload, Place, Pollable, Refused, RemoteHandle, Report, RunError,
        SlowStep, Snapshot, Source, Step, StepTime, Stuck, SubmitError, TaskDump, TaskSteps, Trace, TurnHook,
        TurnsUntilComplete, VirtualClock, WaitInfo, WaitKind, Waiting, blocking_section, dump, exclusive, run,
    };
}

/// Sockets, streams, servers and protocols.
pub mod net {
    #[doc(inline)]
    pub use picot_net::*;
}

/// Child processes, pipes, signals, the standard streams, and runs that end on Ctrl-C.
#[cfg(feature = "process")]
pub mod process {
    #[doc(inline)]
    pub use picot_process::*;
}

/// The trait `Stream` and its extension, as `futures-lite` has them.
///
/// [`AsCompleted`](task::AsCompleted), [`JoinSet`], [`net::Incoming`] and [`net::Lines`] are
/// streams.
///
/// ```
/// use std::time::Duration;
/// use picot::stream::StreamExt;
///
/// picot::run(async {
///     let sleep = |millis| async move {
///         picot::sleep(Duration::from_millis(millis)).await;
///         millis
///     };
///     let ended = picot::as_completed([sleep(2), sleep(1)]).map(|(_, millis)| millis);
///     let ended: Vec<u64> = ended.collect().await;
///     assert_eq!(ended, [1, 2], "in the order of their ends");
/// });
/// ```
pub mod stream {
    #[doc(inline)]
    pub use futures_lite::stream::{Stream, StreamExt};
}

/// Locks, events, semaphores, barriers and queues for the tasks of one loop.
pub mod sync {
    #[doc(inline)]
    pub use picot_sync::*;
}

/// Tasks: their handles, and how to wait for one or many of them.
///
/// [`spawn`] makes a [`Task`], [`scope`] binds tasks to a block, [`gather`], [`race`] and
/// [`JoinSet`] wait for many.
pub mod task {
    #[doc(inline)]
    pub use picot_loop::{
        CancelAndWait, CancelHandle, CancelReason, Exclusive, ExclusiveGuard, Join, JoinError, Local, RemoteJoin,
        RemoteTask, Task, TaskBuilder, TaskId, TaskInfo, WaitError, YieldNow, current, spawn, spawn_blocking,
        spawn_named, yield_now,
    };
    #[doc(inline)]
    pub use picot_tasks::*;
}

/// The loop's time: sleeps, intervals, deadlines.
///
/// [`sleep`] waits, [`timeout`] limits a wait, [`interval`] ticks. [`Instant`](time::Instant) is a
/// time of the loop's clock.
pub mod time {
    #[doc(inline)]
    pub use picot_loop::{Instant, Interval, MissedTick, Sleep, interval, interval_at, sleep, sleep_until};
    #[doc(inline)]
    pub use picot_tasks::{Elapsed, effective_deadline, move_on_after, move_on_at, timeout, timeout_at};
}

/// What most programs use: `use picot::prelude::*`.
///
/// The prelude leaves out the attributes `main` and `test`: write `#[picot::main]` and
/// `#[picot::test]`. A glob import of the crate's root, `use picot::*`, would make a plain
/// `#[test]` ambiguous.
///
/// ```
/// use std::time::Duration;
/// use picot::prelude::*;
///
/// run(async {
///     let task = spawn(async {
///         sleep(Duration::from_millis(1)).await;
///         42
///     });
///     assert_eq!(task.await.unwrap(), 42);
/// });
/// ```
pub mod prelude {
    #[doc(no_inline)]
    pub use crate::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
    #[doc(no_inline)]
    pub use crate::{
        Deferred, EventLoop, JoinError, JoinSet, LoopHandle, Promise, RemoteHandle, Task, VirtualClock, gather,
        interval, race, run, scope, sleep, spawn, spawn_blocking, timeout, when, yield_now,
    };
}
