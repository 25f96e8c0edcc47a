//! The loop as other threads see it.

use std::fmt;

use picot_executor::{Refused, Remote};

use crate::handle::LoopHandle;

/// A handle of a loop for other threads: the only way in from outside.
#[derive(Clone)]
pub struct RemoteHandle {
    remote: Remote,
}

impl RemoteHandle {
    pub(crate) fn new(remote: Remote) -> RemoteHandle {
        RemoteHandle { remote }
    }

    /// Runs `call` on the loop's thread, and wakes the loop if it waits. Calls from one thread keep their order; on the loop's
    /// own thread this is the same as [`LoopHandle::call_soon`], in one order with it.
    ///
    /// # Errors
    /// [`Refused`] with the call, if the loop is closed. If it is closed later and the call has not run, the call is dropped
    /// on the loop's thread, and counted in the [`CloseReport`](crate::CloseReport).
    #[doc(alias = "call_soon_threadsafe")]
    #[track_caller]
    pub fn call_soon(&self, call: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
        self.remote.call_soon(call)
    }

    /// Stops the loop; see [`LoopHandle::stop`].
    ///
    /// # Errors
    /// If the loop is closed: then it is stopped already.
    #[track_caller]
    pub fn stop(&self) -> Result<(), Refused> {
        // One loop a thread: on its thread, it is the current one.
        self.remote.call_soon(|| LoopHandle::current().stop())
    }
}

impl fmt::Debug for RemoteHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle").finish_non_exhaustive()
    }
}
