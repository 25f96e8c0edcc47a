//! Errors of loops. Each text says what to do.

use std::fmt;
use std::io;

use picot_context::Place;

/// Why there is no loop: why one could not be built, or was not found.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoopError {
    /// This thread has a loop already. There is one a thread.
    Exists {
        /// Where that loop was built.
        built_at: Place,
    },
    /// This thread has no loop.
    None,
    /// This thread's loop was built in the process that this one was forked from.
    Forked,
    /// The operating system does not give what a loop needs.
    Io(io::Error),
}

impl fmt::Display for LoopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoopError::Exists { built_at } => write!(
                f,
                "this thread has an event loop already, built at {built_at}, and there is one a thread: reach it by \
                 `LoopHandle::current()` (inside of it, await or `spawn`), close it before building another, or build the \
                 other on a thread of its own"
            ),
            LoopError::None => f.write_str(
                "this thread has no event loop: call this from inside of `picot::run(…)` or `#[picot::main]`, or build an \
                 `EventLoop` on this thread first; from another thread, use a `RemoteHandle` of the loop",
            ),
            LoopError::Forked => f.write_str(
                "this process was forked from the one that built this thread's event loop, and a loop does not survive that: \
                 build an `EventLoop` of this process, or fork before the first is built",
            ),
            LoopError::Io(error) => write!(f, "the operating system does not give what an event loop needs: {error}"),
        }
    }
}

impl std::error::Error for LoopError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoopError::Io(error) => Some(error),
            LoopError::Exists { .. } | LoopError::None | LoopError::Forked => None,
        }
    }
}

impl From<io::Error> for LoopError {
    fn from(error: io::Error) -> LoopError {
        LoopError::Io(error)
    }
}

impl From<LoopError> for io::Error {
    fn from(error: LoopError) -> io::Error {
        match error {
            LoopError::Io(error) => error,
            other => io::Error::other(other),
        }
    }
}

/// Why a run ended without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// The loop was stopped before the future was done.
    Stopped,
    /// The loop is closed.
    Closed,
    /// The loop runs already, further up this thread's stack.
    Nested,
    /// The loop has nothing to do, and nothing that it knows of could change that: see
    /// [`Builder::error_on_deadlock`](crate::Builder::error_on_deadlock). The report that went to the error hook lists the
    /// tasks.
    ///
    /// On Linux, a process without another thread is told at once:
    ///
    /// ```standalone_crate
    /// use picot_loop::{EventLoop, RunError};
    ///
    /// # if cfg!(target_os = "linux") {
    /// let event_loop = EventLoop::new().unwrap();
    /// assert_eq!(event_loop.run_until_complete(std::future::pending::<()>()), Err(RunError::DeadEnd));
    /// # }
    /// ```
    DeadEnd,
    /// The loop was built in the process that this one was forked from.
    Forked,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RunError::Stopped => {
                "the loop was stopped before the future was done; to go on with it later, run `pin!(future).as_mut()`"
            }
            RunError::Closed => "the loop is closed and runs nothing any more; build another one",
            RunError::Nested => {
                "this loop runs already, further up this thread's stack: await the future there, `spawn` it, or run another \
                 loop on another thread; to end the loop from inside, `stop` it"
            }
            RunError::DeadEnd => {
                "the loop cannot go on: its tasks wait for each other, or for an event that nothing can cause any more; the \
                 report that went to the error hook lists them"
            }
            RunError::Forked => {
                "this loop was built in the process that this one was forked from; build an `EventLoop` of this process"
            }
        })
    }
}

impl std::error::Error for RunError {}
