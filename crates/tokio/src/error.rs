//! Why a guest cannot run. Each text says what to do.

use std::error::Error;
use std::fmt;
use std::io;

use picot_loop::RunError;

/// Why a run inside of a tokio runtime ended without a value.
///
/// ```
/// use picot_loop::EventLoop;
/// use picot_tokio::{GuestError, run_guest};
///
/// let event_loop = EventLoop::new()?;
/// let runtime = tokio::runtime::Runtime::new()?; // with worker threads
/// let outcome = runtime.block_on(run_guest(&event_loop, async {}));
/// assert!(matches!(outcome, Err(GuestError::MultiThread)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum GuestError {
    /// The future was polled outside of a tokio runtime.
    NoRuntime,
    /// The runtime has worker threads, and a guest shares one thread with its host.
    MultiThread,
    /// The loop's driver has no descriptor on which tokio could wait; on Windows none has one.
    NoDescriptor,
    /// The operating system refused a resource, or failed to wait.
    Io(io::Error),
    /// The loop refused or ended the run; the same as of
    /// [`EventLoop::run_until_complete`](picot_loop::EventLoop::run_until_complete).
    Run(RunError),
}

impl fmt::Display for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GuestError::NoRuntime => f.write_str(
                "no tokio runtime runs on this thread: call `picot_tokio::run(…)`, or await `run_guest` inside of a \
                 current-thread runtime",
            ),
            GuestError::MultiThread => f.write_str(
                "this tokio runtime has worker threads, and a guest shares one thread with its host: build the \
                 runtime with `Builder::new_current_thread()`, write `#[tokio::main(flavor = \"current_thread\")]`, \
                 or call `picot_tokio::run(…)` on a thread of its own",
            ),
            GuestError::NoDescriptor => f.write_str(
                "the event loop's driver has no descriptor on which tokio could wait: build the loop with the \
                 default driver (Linux, macOS, BSD), or run tokio on a thread of its own",
            ),
            GuestError::Io(error) => write!(f, "the event loop cannot wait inside of the tokio runtime: {error}"),
            GuestError::Run(error) => error.fmt(f),
        }
    }
}

impl Error for GuestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            GuestError::Io(error) => Some(error),
            GuestError::Run(error) => Some(error),
            GuestError::NoRuntime | GuestError::MultiThread | GuestError::NoDescriptor => None,
        }
    }
}

impl From<io::Error> for GuestError {
    fn from(error: io::Error) -> GuestError {
        GuestError::Io(error)
    }
}

impl From<RunError> for GuestError {
    fn from(error: RunError) -> GuestError {
        GuestError::Run(error)
    }
}
