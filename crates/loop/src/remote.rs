//! The handle of a loop for other threads.

use std::fmt;

use picot_executor::{Refused, Remote, RemoteTask};

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

    /// How much other threads have handed over, by any handle, that the loop has not taken yet. It takes at most 512 of it a turn,
    /// so that its own timers and tasks stay on time under a flood. A sender that reads a number which grows is faster than
    /// the loop.
    pub fn backlog(&self) -> usize {
        self.remote.backlog()
    }

    /// A handle that refuses calls and spawns while the [backlog](RemoteHandle::backlog) is `limit` or more: back-pressure for
    /// senders that may be faster than the loop. Other handles keep their own limits; unless set, there is none.
    ///
    /// Wakes and [`stop`](RemoteHandle::stop) are never refused for this reason, nor is what is called on the loop's own thread.
    /// Threads that call at the same moment may exceed the limit, each by one.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new().unwrap();
    /// let remote = event_loop.handle().remote().with_limit(1);
    /// let sender = std::thread::spawn(move || {
    ///     remote.call_soon(|| ()).unwrap();
    ///     remote.call_soon(|| ()).unwrap_err().is_full()
    /// });
    /// assert!(sender.join().unwrap());
    /// ```
    pub fn with_limit(self, limit: usize) -> RemoteHandle {
        RemoteHandle { remote: self.remote.with_limit(limit) }
    }

    /// Runs `call` on the loop's thread, and wakes the loop if it waits. Calls from one thread keep their order; on the loop's
    /// own thread this is the same as [`LoopHandle::call_soon`], in one order with it.
    ///
    /// # Errors
    /// [`Refused`] with the call, if the loop is closed, or as much as the handle's [limit](RemoteHandle::with_limit) waits. If it is closed later and the call has not run, the call is dropped
    /// on the loop's thread, and counted in the [`CloseReport`](crate::CloseReport).
    #[doc(alias = "call_soon_threadsafe")]
    #[track_caller]
    pub fn call_soon(&self, call: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
        self.remote.call_soon(call)
    }

    /// Makes a task on the loop's thread: `make` is called there, in the task's first step, and what it makes is the task's
    /// future, which need not be `Send`. The handle can be awaited anywhere, cancelled, and [waited for](RemoteTask::wait) with a
    /// limit by a thread that has no loop.
    ///
    /// # Errors
    /// [`Refused`] with `make`, if the loop is closed, or as much as the handle's [limit](RemoteHandle::with_limit) waits. If it is closed later, the task is dropped on the loop's thread and
    /// counted in the [`CloseReport`](crate::CloseReport), and its joiner gets a cancellation.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{EventLoop, sleep};
    ///
    /// let event_loop = EventLoop::new().unwrap();
    /// let remote = event_loop.handle().remote();
    /// let thread = std::thread::spawn(move || {
    ///     let mut task = remote.spawn(|| async { sleep(Duration::from_millis(1)).await; 42 }).unwrap();
    ///     let answer = task.wait(Some(Duration::from_secs(10))).unwrap();
    ///     remote.stop().unwrap();
    ///     answer
    /// });
    /// event_loop.run_forever().unwrap();
    /// assert_eq!(thread.join().unwrap(), 42);
    /// ```
    #[doc(alias = "run_coroutine_threadsafe")]
    #[track_caller]
    pub fn spawn<M, F>(&self, make: M) -> Result<RemoteTask<F::Output>, Refused<M>>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        self.remote.spawn(make)
    }

    /// Stops the loop; see [`LoopHandle::stop`].
    ///
    /// # Errors
    /// If the loop is closed: then it is stopped already.
    #[track_caller]
    pub fn stop(&self) -> Result<(), Refused> {
        // One loop a thread: on its thread, it is the current one.
        self.remote.clone().with_limit(usize::MAX).call_soon(|| LoopHandle::current().stop())
    }
}

impl LoopHandle {
    /// The handle for other threads.
    #[doc(alias = "call_soon_threadsafe")]
    pub fn remote(&self) -> RemoteHandle {
        RemoteHandle::new(self.inner.executor.remote())
    }
}

impl fmt::Debug for RemoteHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle").finish_non_exhaustive()
    }
}
