//! The seam between the reactor and the operating system: how events are had.
//!
//! There is one driver a build. On Linux it is [`direct`], everywhere else, and under `--cfg polling_test_poll_backend`
//! on Linux, [`portable`]. Nothing outside of this folder knows which one it is.

#[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
mod direct;
#[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
use direct::{Alarm, Direct as Chosen};

#[cfg(not(all(target_os = "linux", not(polling_test_poll_backend))))]
mod portable;
#[cfg(not(all(target_os = "linux", not(polling_test_poll_backend))))]
use portable::{Alarm, Portable as Chosen};

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::key::Key;
use crate::pollable::BorrowedIo;
use crate::ready::Readiness;

/// The driver of this build.
pub(crate) type Active = Chosen;

/// What the driver keeps of each source.
pub(crate) type Registration = <Active as Driver>::Registration;

/// Which directions are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

pub(crate) trait Driver: Sized {
    type Registration;

    fn new() -> io::Result<Self>;

    /// Registers an object for both directions. Its owner sees to it that it is deregistered before it is closed.
    fn register(&self, io: BorrowedIo<'_>, key: Key) -> io::Result<Self::Registration>;

    /// Takes an object out that is still open.
    fn deregister(&self, registration: &Self::Registration);

    /// Whether every change to ready is told once, for both directions and whoever asks. If not, a source is told of only
    /// what [`set_interest`](Driver::set_interest) has asked for.
    fn is_edge(&self) -> bool;

    /// Asks for the next event of these directions.
    fn set_interest(&self, registration: &Self::Registration, key: Key, interest: Interest) -> io::Result<()>;

    /// An event of the last wait was for this source.
    fn told(&self, registration: &Self::Registration, readiness: Readiness);

    /// Whether the object is one that no kernel polls, and so ready at all times.
    fn is_always_ready(registration: &Self::Registration) -> bool;

    /// Whether a stream socket whose last transfer was a partial one can be taken to be not ready: what comes after it,
    /// an end of the stream included, will be told.
    fn trusts_partial_transfers(&self) -> bool;

    /// Waits for events, at most for `timeout`, and passes each on. An interruption by a signal counts as no events.
    fn wait(&self, timeout: Option<Duration>, each: impl FnMut(Key, Readiness)) -> io::Result<()>;

    fn alarm(&self) -> &Arc<Alarm>;
}

/// Ends a wait of the reactor, from any thread; made by [`Reactor::wake_handle`](crate::Reactor::wake_handle).
///
/// If the reactor does not wait just then, its next wait ends at once. The handle may outlive the reactor; then it does
/// nothing. It becomes a [`Waker`] by `into`.
#[derive(Clone)]
pub struct WakeHandle(Arc<Alarm>);

impl WakeHandle {
    pub(crate) fn of(driver: &Active) -> WakeHandle {
        WakeHandle(driver.alarm().clone())
    }

    /// Ends the wait. Each call may cost a system call: whoever wakes often keeps a flag of its own.
    pub fn wake(&self) {
        self.0.ring();
    }
}

impl From<WakeHandle> for Waker {
    fn from(handle: WakeHandle) -> Waker {
        handle.0.into()
    }
}

impl fmt::Debug for WakeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeHandle").finish_non_exhaustive()
    }
}

impl std::task::Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
