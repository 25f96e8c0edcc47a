//! The handle of a loop for other threads.

use std::fmt;

use picot_executor::{Refused, Remote, RemoteTask};

use crate::handle::LoopHandle;

/// A handle of a loop for other threads. It is `Send`, `Sync` and cheap to clone.
///
/// ```
/// let event_loop = picot_loop::EventLoop::new()?;
/// let remote = event_loop.handle().remote();
/// let thread = std::thread::spawn(move || remote.stop());
/// event_loop.run_forever()?;
/// assert!(thread.join().unwrap().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RemoteHandle {
    remote: Remote,
}

impl RemoteHandle {
    pub(crate) fn new(remote: Remote) -> RemoteHandle {
        RemoteHandle { remote }
    }

    /// The number of calls and tasks from other threads, by any handle, that the loop has not taken
    /// yet.
    ///
    /// The loop takes at most 512 per turn, so that its own timers and tasks stay on time under a
    /// flood. If the number grows, the senders are faster than the loop.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let remote = event_loop.handle().remote();
    /// let sender = std::thread::spawn(move || {
    ///     remote.call_soon(|| ()).unwrap();
    ///     remote.backlog()
    /// });
    /// assert_eq!(sender.join().unwrap(), 1);
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn backlog(&self) -> usize {
        self.remote.backlog()
    }

    /// Returns a handle that refuses calls and spawns while the [backlog](RemoteHandle::backlog) is
    /// at least `limit`.
    ///
    /// This is back-pressure for senders that may be faster than the loop. Other handles keep their
    /// own limits; the default is none. Wakes, [`stop`](RemoteHandle::stop), and calls on the
    /// loop's own thread are never refused for this reason. Threads that call at the same moment
    /// may exceed the limit, each by one.
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

    /// Runs `call` on the loop's thread, and wakes the loop if it waits.
    ///
    /// Calls from one thread keep their order. On the loop's own thread this is the same as
    /// [`LoopHandle::call_soon`], in one order with it.
    ///
    /// # Errors
    /// [`Refused`] with the call, if the loop is closed or the [backlog](RemoteHandle::backlog) has
    /// reached the handle's [limit](RemoteHandle::with_limit). If the loop is closed before the
    /// call has run, the call is dropped on the loop's thread, and counted in the
    /// [`CloseReport`](crate::CloseReport).
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let remote = event_loop.handle().remote();
    /// std::thread::spawn(move || remote.call_soon(|| picot_loop::LoopHandle::current().stop()));
    /// event_loop.run_forever()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "call_soon_threadsafe")]
    #[track_caller]
    pub fn call_soon(&self, call: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
        self.remote.call_soon(call)
    }

    /// Spawns a task on the loop's thread. Its future need not be `Send`.
    ///
    /// The loop calls `make` on its own thread, in the task's first step, and polls the returned
    /// future. The task's handle can be awaited on any executor, cancelled, and
    /// [waited for](RemoteTask::wait) with a limit by a thread that has no loop.
    ///
    /// # Errors
    /// [`Refused`] with `make`, if the loop is closed or the [backlog](RemoteHandle::backlog) has
    /// reached the handle's [limit](RemoteHandle::with_limit). If the loop is closed later, the
    /// task is dropped on the loop's thread and counted in the [`CloseReport`](crate::CloseReport),
    /// and its joiner gets a cancellation.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_loop::{EventLoop, sleep};
    ///
    /// let event_loop = EventLoop::new().unwrap();
    /// let remote = event_loop.handle().remote();
    /// let thread = std::thread::spawn(move || {
    ///     let mut task = remote
    ///         .spawn(|| async {
    ///             sleep(Duration::from_millis(1)).await;
    ///             42
    ///         })
    ///         .unwrap();
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
    /// If the loop is closed. It is stopped then.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let remote = event_loop.handle().remote();
    /// event_loop.close()?;
    /// assert!(remote.stop().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn stop(&self) -> Result<(), Refused> {
        // A thread has one loop, so on the loop's thread it is the current one. Without a limit,
        // because a stop must work under a flood, too.
        self.remote.clone().with_limit(usize::MAX).call_soon(|| LoopHandle::current().stop())
    }
}

impl LoopHandle {
    /// Returns a handle for other threads.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let remote = event_loop.handle().remote();
    /// std::thread::spawn(move || remote.stop());
    /// event_loop.run_forever()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
