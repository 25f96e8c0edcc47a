//! The errors of loops. Each text says what to do.

use std::fmt;
use std::io;

use picot_context::Place;

/// Why no loop could be built or found.
///
/// ```
/// use picot_loop::{EventLoop, LoopError};
///
/// let _first = EventLoop::new()?;
/// let error = EventLoop::new().unwrap_err();
/// assert!(error.to_string().starts_with("this thread already has an event loop, built at "));
/// # Ok::<(), LoopError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LoopError {
    /// This thread already has a loop. A thread has at most one.
    Exists {
        /// Where that loop was built.
        built_at: Place,
    },
    /// This thread has no loop.
    None,
    /// This process is a fork of the one that built this thread's loop.
    Forked,
    /// The operating system refused a resource that a loop needs.
    Io(io::Error),
}

impl fmt::Display for LoopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoopError::Exists { built_at } => write!(
                f,
                "this thread already has an event loop, built at {built_at}, and a thread has at most one: use it by \
                 `LoopHandle::current()` (inside of it, await or `spawn`), close it before you build another, or \
                 build the other one on its own thread"
            ),
            LoopError::None => f.write_str(
                "this thread has no event loop: call this from inside of `picot::run(…)` or `#[picot::main]`, or \
                 build an `EventLoop` on this thread first; from another thread, use a `RemoteHandle` of the loop",
            ),
            LoopError::Forked => f.write_str(
                "this process is a fork of the one that built this thread's event loop, and a loop does not survive a \
                 fork: build an `EventLoop` in this process, or fork before the first one is built",
            ),
            LoopError::Io(error) => {
                write!(f, "the operating system refused a resource that an event loop needs: {error}")
            }
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
///
/// ```
/// use picot_loop::{EventLoop, RunError};
///
/// let event_loop = EventLoop::new()?;
/// event_loop.stop();
/// let outcome = event_loop.run_until_complete(std::future::pending::<()>());
/// assert_eq!(outcome, Err(RunError::Stopped));
/// # Ok::<(), picot_loop::LoopError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// The loop was stopped before the future was done.
    Stopped,
    /// The loop is closed.
    Closed,
    /// The loop is already running, further up this thread's stack.
    Nested,
    /// The loop has nothing to do, and nothing that it knows of could change that.
    ///
    /// See [`Builder::error_on_deadlock`](crate::Builder::error_on_deadlock). The error hook gets a
    /// report that lists the tasks. On Linux, a process without other threads gets this error at
    /// once:
    ///
    /// ```standalone_crate
    /// use picot_loop::{EventLoop, RunError};
    ///
    /// # if cfg!(target_os = "linux") {
    /// let event_loop = EventLoop::new().unwrap();
    /// let outcome = event_loop.run_until_complete(std::future::pending::<()>());
    /// assert_eq!(outcome, Err(RunError::DeadEnd));
    /// # }
    /// ```
    DeadEnd,
    /// This process is a fork of the one that built the loop.
    Forked,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RunError::Stopped => {
                "the loop was stopped before the future was done; to continue it later, run `pin!(future).as_mut()`"
            }
            RunError::Closed => "the loop is closed and runs nothing any more; build another one",
            RunError::Nested => {
                "this loop is already running, further up this thread's stack: await the future there, `spawn` it, or \
                 run another loop on another thread; to end the loop from inside, `stop` it"
            }
            RunError::DeadEnd => {
                "the loop cannot go on: its tasks wait for each other, or for an event that nothing can cause any \
                 more; the report to the error hook lists them"
            }
            RunError::Forked => {
                "this process is a fork of the one that built the loop; build an `EventLoop` in this process"
            }
        })
    }
}

impl std::error::Error for RunError {}
